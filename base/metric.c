#include "base/metric.h"
#include "base/mem.h"
#include "base/vec.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* Series hang in a hash table that is only ever added to, under a lock; readers go without. */

enum { METRIC_SLOTS = 2048, METRIC_MAX_SERIES = 1024, METRIC_MAX_BUCKETS = 40 };

struct series {
    uint64_t hash;
    char *labels; /* the comma-separated values */
    size_t labels_len;
    _Atomic double value; /* of a histogram: the sum */
    _Atomic uint64_t count;
    _Atomic uint64_t buckets[]; /* not cumulative */
};

struct metric {
    enum metric_kind kind;
    const char *name, *help, *label_names;
    const double *bounds;
    size_t n_bounds, n_series;
    _Atomic(struct series *) *slots; /* one without labels */
    size_t n_slots;
    pthread_mutex_t lock;
};

static VEC(struct metric *) families;
static pthread_mutex_t families_lock = PTHREAD_MUTEX_INITIALIZER;

static struct series *series_create(const struct metric *m, struct str labels, uint64_t hash)
{
    struct series *s = mem_zalloc(sizeof *s + (m->n_bounds + 1) * sizeof s->buckets[0]);
    s->hash = hash;
    s->labels = mem_dup(labels.p, labels.len);
    s->labels_len = labels.len;
    return s;
}

struct metric *metric_register(enum metric_kind kind, const char *name, const char *help, const char *label_names,
                               const double *buckets)
{
    struct metric *m = MEM_NEW(struct metric);
    m->kind = kind;
    m->name = name;
    m->help = help;
    m->label_names = label_names;
    if (kind == METRIC_HISTOGRAM) {
        assert(buckets);
        m->bounds = buckets;
        while (buckets[m->n_bounds] >= 0)
            m->n_bounds++;
        assert(m->n_bounds <= METRIC_MAX_BUCKETS);
    }
    pthread_mutex_init(&m->lock, NULL);
    m->n_slots = label_names ? METRIC_SLOTS : 1;
    m->slots = mem_zalloc(m->n_slots * sizeof *m->slots);
    if (!label_names)
        m->slots[0] = series_create(m, STR_NULL, 0);
    pthread_mutex_lock(&families_lock);
    vec_push(&families, m);
    pthread_mutex_unlock(&families_lock);
    return m;
}

static struct series *series_find(struct metric *m, struct str labels, uint64_t hash, size_t *ret_slot)
{
    size_t at = hash & (m->n_slots - 1);
    for (struct series *s; (s = atomic_load_explicit(&m->slots[at], memory_order_acquire));
         at = (at + 1) & (m->n_slots - 1))
        if (s->hash == hash && str_eq((struct str){s->labels, s->labels_len}, labels))
            return s;
    *ret_slot = at;
    return NULL;
}

static struct series *series_add(struct metric *m, struct str labels, uint64_t hash)
{
    pthread_mutex_lock(&m->lock);
    char other[256] = "other";
    if (m->n_series >= METRIC_MAX_SERIES) {
        size_t len = 5;
        for (const char *c = m->label_names; *c && len + 7 < sizeof other; c++)
            if (*c == ',')
                len += (size_t)snprintf(other + len, sizeof other - len, ",other");
        labels = str_from(other);
        hash = str_hash(labels);
    }
    size_t slot;
    struct series *s = series_find(m, labels, hash, &slot);
    if (!s) {
        s = series_create(m, labels, hash);
        atomic_store_explicit(&m->slots[slot], s, memory_order_release);
        m->n_series++;
    }
    pthread_mutex_unlock(&m->lock);
    return s;
}

static struct series *series_of(struct metric *m, const char *label_values)
{
    if (!m->label_names)
        return atomic_load_explicit(&m->slots[0], memory_order_acquire);
    assert(label_values);
    struct str labels = str_from(label_values);
    uint64_t hash = str_hash(labels);
    size_t slot;
    struct series *s = series_find(m, labels, hash, &slot);
    return s ? s : series_add(m, labels, hash);
}

static void add_double(_Atomic double *to, double by)
{
    double old = atomic_load_explicit(to, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(to, &old, old + by, memory_order_relaxed, memory_order_relaxed))
        ;
}

void metric_add(struct metric *m, const char *label_values, double by)
{
    add_double(&series_of(m, label_values)->value, by);
}

void metric_set(struct metric *m, const char *label_values, double to)
{
    atomic_store_explicit(&series_of(m, label_values)->value, to, memory_order_relaxed);
}

void metric_observe(struct metric *m, const char *label_values, double seconds)
{
    struct series *s = series_of(m, label_values);
    size_t i = 0;
    while (i < m->n_bounds && seconds > m->bounds[i])
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
    add_double(&s->value, seconds);
}

/* ---- text ---- */

static void add_number(struct buf *out, double v)
{
    if (isinf(v))
        buf_addz(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == floor(v) && fabs(v) < 1e15)
        buf_add_i64(out, (int64_t)v);
    else
        buf_printf(out, "%.9g", v);
}

static void add_labels(struct buf *out, const struct metric *m, const struct series *s, const char *le)
{
    if (!m->label_names && !le)
        return;
    struct str names = str_from(m->label_names), values = {s->labels, s->labels_len}, name, value;
    bool first = true;
    buf_add_char(out, '{');
    while (str_split(&names, ',', &name)) {
        if (!str_split(&values, ',', &value))
            value = STR("");
        buf_printf(out, "%s" STR_FMT "=\"", first ? "" : ",", STR_ARG(name));
        for (size_t i = 0; i < value.len; i++) {
            if (value.p[i] == '\\' || value.p[i] == '"')
                buf_add_char(out, '\\');
            if (value.p[i] == '\n')
                buf_addz(out, "\\n");
            else
                buf_add_char(out, value.p[i]);
        }
        buf_add_char(out, '"');
        first = false;
    }
    if (le)
        buf_printf(out, "%sle=\"%s\"", first ? "" : ",", le);
    buf_add_char(out, '}');
}

static void add_series(struct buf *out, const struct metric *m, const struct series *s)
{
    if (m->kind != METRIC_HISTOGRAM) {
        buf_addz(out, m->name);
        add_labels(out, m, s, NULL);
        buf_add_char(out, ' ');
        add_number(out, s->value);
        buf_add_char(out, '\n');
        return;
    }
    uint64_t sum = 0;
    for (size_t i = 0; i <= m->n_bounds; i++) {
        char le[32] = "+Inf";
        if (i < m->n_bounds)
            snprintf(le, sizeof le, "%.9g", m->bounds[i]);
        sum += s->buckets[i];
        buf_printf(out, "%s_bucket", m->name);
        add_labels(out, m, s, le);
        buf_printf(out, " %llu\n", (unsigned long long)sum);
    }
    buf_printf(out, "%s_sum", m->name);
    add_labels(out, m, s, NULL);
    buf_add_char(out, ' ');
    add_number(out, s->value);
    buf_printf(out, "\n%s_count", m->name);
    add_labels(out, m, s, NULL);
    buf_printf(out, " %llu\n", (unsigned long long)sum);
}

void metric_render(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&families_lock);
    for (size_t i = 0; i < families.len; i++) {
        const struct metric *m = families.items[i];
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        for (size_t at = 0; at < m->n_slots; at++) {
            const struct series *s = atomic_load_explicit(&m->slots[at], memory_order_acquire);
            if (s)
                add_series(out, m, s);
        }
    }
    pthread_mutex_unlock(&families_lock);
}
