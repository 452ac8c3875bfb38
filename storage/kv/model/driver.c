#include "storage/kv/model/driver_internal.h"

#include "base/clock.h"
#include "storage/kv/model/model.h"

#include <stdio.h>
#include <stdlib.h>

/* in order; with zero bytes, and prefixes of each other */
const struct str driver_keys[DRIVER_KEYS] = {{"a", 1},   {"a\0", 2}, {"a\0b", 3}, {"a-", 2}, {"ab", 2}, {"b", 1},
                                             {"b/1", 3}, {"b/2", 3}, {"b/\0", 3}, {"c", 1},  {"d", 1},  {"e", 1}};
enum { WINDOW = 6, TRACE_SHOWN = 6000 };

const struct str driver_first_key = {"\0", 1}, driver_last_key = {"\xff", 1};

/* ---- chance and reports ---- */

uint32_t driver_draw(struct driver *d, uint32_t below)
{
    uint64_t z = d->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) % below);
}

void driver_trace(struct driver *d, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    buf_addz(&d->trace, line);
    buf_add_char(&d->trace, '\n');
    if (getenv("SKIFF_TRACE"))
        fprintf(stderr, "%s\n", line);
}

void driver_fail(struct driver *d, const char *fmt, ...)
{
    va_list ap;
    size_t from = d->trace.len > TRACE_SHOWN ? d->trace.len - TRACE_SHOWN : 0;

    fprintf(stderr, "%s" STR_FMT, from ? "[…]" : "", STR_ARG(str_sub(buf_str(&d->trace), from, d->trace.len)));
    fprintf(stderr, "seed %llu: ", (unsigned long long)d->seed);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nonce more with all steps: SKIFF_SEED=%llu SKIFF_TRACE=1 storage-kv-model-model_test\n",
            (unsigned long long)d->seed);
    abort();
}

/* ---- words for what is compared ---- */

static void say_bytes(struct buf *out, struct str s)
{
    if (s.len > 20) {
        struct str head = str_sub(s, 0, 12);

        uint32_t sum = 2166136261;

        for (size_t i = 0; i < s.len; i++)
            sum = (sum ^ (uint8_t)s.p[i]) * 16777619;
        buf_printf(out, STR_FMT "…%zu#%x", STR_ARG(head), s.len, sum);
        return;
    }
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i])
            buf_add_char(out, s.p[i]);
        else
            buf_addz(out, "\\0");
}

static void say_pair(struct buf *out, const struct kv_pair *p, bool value)
{
    say_bytes(out, p->key);
    if (value) {
        buf_add_char(out, '=');
        say_bytes(out, p->value);
    }
    buf_printf(out, "@%lld/%lld/%lld", (long long)p->create_revision, (long long)p->mod_revision,
               (long long)p->version);
    if (p->lease)
        buf_printf(out, "~%llx", (unsigned long long)p->lease);
    buf_add_char(out, ' ');
}

static void say_event(struct buf *out, const struct kv_event *e)
{
    buf_addz(out, e->kind == KV_EVENT_PUT ? "put " : "del ");
    say_pair(out, &e->pair, e->kind == KV_EVENT_PUT);
    if (e->prev) {
        buf_addz(out, "was ");
        say_pair(out, e->prev, true);
    }
}

static void say_result(struct buf *out, const struct kv_txn_result *r)
{
    buf_printf(out, "%s, revision %lld:", r->succeeded ? "yes" : "no", (long long)r->revision);
    for (size_t i = 0; i < r->n_ops; i++) {
        buf_printf(out, " [%lld: ", (long long)r->ops[i].count);
        for (size_t j = 0; j < r->ops[i].n_pairs; j++)
            say_pair(out, &r->ops[i].pairs[j], true);
        buf_add_char(out, ']');
    }
}

static void say_txn(struct buf *out, const struct kv_txn *t)
{
    static const char *const targets[] = {"mod", "create", "version", "lease", "value"}, *const relations[] = {
                                                                                             "=", "!=", ">", "<"};

    for (size_t i = 0; i < t->n_compares; i++) {
        const struct kv_compare *c = &t->compares[i];

        buf_addz(out, i ? " and " : "if ");
        say_bytes(out, c->key);
        buf_printf(out, ".%s %s %lld", targets[c->target], relations[c->relation], (long long)c->number);
        say_bytes(out, c->value);
    }
    for (size_t branch = 0; branch < 2; branch++) {
        const struct kv_op *ops = branch ? t->failure : t->success;

        buf_addz(out, branch && t->n_failure ? " else" : "");
        for (size_t i = 0; i < (branch ? t->n_failure : t->n_success); i++) {
            buf_addz(out, ops[i].kind == KV_PUT ? " put " : ops[i].kind == KV_DELETE ? " delete " : " range ");
            say_bytes(out, ops[i].key);
            if (ops[i].end.p) {
                buf_addz(out, "..");
                say_bytes(out, ops[i].end);
            }
            if (ops[i].kind == KV_PUT) {
                buf_add_char(out, '=');
                say_bytes(out, ops[i].value);
            }
            if (ops[i].lease)
                buf_printf(out, "~%llx", (unsigned long long)ops[i].lease);
            if (ops[i].ttl_s)
                buf_printf(out, " for %lld s", (long long)ops[i].ttl_s);
            if (ops[i].cookie)
                buf_addz(out, " (known)");
        }
    }
}

bool driver_said_pair(void *arg, const struct kv_pair *p)
{
    say_pair(arg, p, true);
    return true;
}

bool driver_said_event(void *arg, const struct kv_event *e)
{
    say_event(arg, e);
    buf_add_char(arg, '\n');
    return true;
}

/* ---- the store's side: answers and events ---- */

/* The store may answer so without having been asked wrongly: the outcome is open. */
bool driver_is_trouble(int rc)
{
    return rc == ERR_IO || rc == ERR_NO_SPACE || rc == ERR_UNAVAILABLE;
}

void driver_on_publish(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    struct driver *d = arg;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < n; i++) {
        int64_t at = events[i].pair.mod_revision;
        struct kv_event shown = events[i];
        struct kv_pair without;
        struct buf text = {0};

        if (at != d->heard && at != d->heard + 1)
            driver_fail(d, "published: revision %lld after %lld", (long long)at, (long long)d->heard);
        d->heard = at;
        if (shown.prev && shown.cookie) { /* comes without its value; the model's has it */
            without = *shown.prev;
            shown.prev = &without;
        }
        buf_addz(&text, shown.kind == KV_EVENT_PUT ? "put " : "del ");
        say_pair(&text, &shown.pair, shown.kind == KV_EVENT_PUT);
        if (shown.prev) {
            buf_addz(&text, "was ");
            say_pair(&text, shown.prev, !shown.cookie);
        }
        vec_push(&d->events, (struct driver_event){.revision = at,
                                                   .lease = shown.pair.lease,
                                                   .deleted = shown.kind == KV_EVENT_DELETE,
                                                   .key = arena_str(d->arena, shown.pair.key),
                                                   .text = arena_str(d->arena, buf_str(&text))});
        buf_free(&text);
    }
    if (d->heard != revision || (d->kv && kv_revision(d->kv) < revision))
        driver_fail(d, "published up to %lld, said to be %lld, to be read %lld", (long long)d->heard,
                    (long long)revision, (long long)(d->kv ? kv_revision(d->kv) : 0));
    pthread_mutex_unlock(&d->lock);
}

static void on_done(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct driver_txn *t = arg;
    struct driver *d = t->driver;
    struct buf text = {0};

    pthread_mutex_lock(&d->lock);
    t->rc = err ? err->code : 0;
    t->revision = result ? result->revision : 0;
    if (err)
        buf_addz(&text, err_code_name(err->code));
    else
        say_result(&text, result);
    if (!err && result->revision > d->heard)
        driver_fail(d, "answered at revision %lld before it was published", (long long)result->revision);
    t->text = arena_str(d->arena, buf_str(&text));
    buf_free(&text);
    vec_push(&d->answers, t);
    d->n_answered++;
    pthread_cond_signal(&d->answered);
    pthread_mutex_unlock(&d->lock);
}

/* ---- the model's side ---- */

/* The model's changes after a revision, in words; the short ones are without the previous value. */
struct words {
    VEC(struct str) items;
    VEC(struct str) short_items;
    struct arena *arena;
};

static bool collect_words(void *arg, const struct kv_event *e)
{
    struct words *w = arg;
    struct buf text = {0};

    say_event(&text, e);
    vec_push(&w->items, arena_str(w->arena, buf_str(&text)));
    text.len = 0;
    buf_addz(&text, e->kind == KV_EVENT_PUT ? "put " : "del ");
    say_pair(&text, &e->pair, e->kind == KV_EVENT_PUT);
    if (e->prev) {
        buf_addz(&text, "was ");
        say_pair(&text, e->prev, false);
    }
    vec_push(&w->short_items, arena_str(w->arena, buf_str(&text)));
    buf_free(&text);
    return true;
}

static void words_free(struct words *w)
{
    vec_free(&w->items);
    vec_free(&w->short_items);
}

static void model_changes(struct driver *d, int64_t after, struct words *ret)
{
    struct err err;
    int64_t compacted = kv_compacted_revision(d->model);

    *ret = (struct words){.arena = d->arena};
    model_set_compacted(d->model, 0);
    if (kv_history(d->model, driver_first_key, driver_last_key, after, collect_words, ret, &err) < 0)
        driver_fail(d, "the model: %s", err.message);
    model_set_compacted(d->model, compacted);
}

struct driver_lease *driver_lease_of(struct driver *d, int64_t id)
{
    for (size_t i = 0; i < d->leases.len; i++)
        if (d->leases.items[i].id == id)
            return &d->leases.items[i];
    return NULL;
}

/* A put with a time to live came under a lease of the store's choosing: whether it may have. */
static bool joined(struct driver *d, int64_t id, int64_t ttl_s)
{
    struct driver_lease *l = driver_lease_of(d, id);
    int64_t now_ms = clock_mono_ms(), longest_ms = ttl_s * 50 < 60000 ? ttl_s * 50 : 60000;

    if (l && (l->ttl_s != ttl_s || now_ms + ttl_s * 1000 > l->due_by_ms))
        return false;
    model_add_lease(d->model, id, ttl_s);
    if (!l) {
        vec_push(&d->leases, (struct driver_lease){.id = id, .ttl_s = ttl_s, .was_due_ms = INT64_MAX, .shared = true});
        l = &d->leases.items[d->leases.len - 1];
        l->due_by_ms = now_ms + ttl_s * 1000 + longest_ms;
    }
    l->due_from_ms = now_ms + ttl_s * 1000;
    return true;
}

struct kv_txn driver_with_leases(struct driver *d, const struct kv_txn *t, const struct driver_event *events, size_t n,
                                 bool *ret_fits)
{
    struct kv_txn copy = *t;
    struct kv_txn asks = {.compares = t->compares, .n_compares = t->n_compares};
    struct kv_txn_result answer;
    struct err err;

    *ret_fits = true;
    kv_txn_wait(d->model, d->arena, &asks, &answer, &err);
    for (int branch = 0; branch < 2; branch++) {
        if (branch == answer.succeeded)
            continue;
        size_t n_ops = branch ? t->n_failure : t->n_success;
        struct kv_op *ops = ARENA_ARRAY(d->arena, struct kv_op, n_ops + 1);

        for (size_t i = 0; i < n_ops; i++) {
            ops[i] = branch ? t->failure[i] : t->success[i];
            for (size_t e = 0; ops[i].ttl_s && e < n; e++)
                if (!events[e].deleted && events[e].lease && str_eq(events[e].key, ops[i].key)) {
                    *ret_fits = joined(d, events[e].lease, ops[i].ttl_s) && *ret_fits;
                    ops[i].lease = events[e].lease;
                    ops[i].ttl_s = 0;
                }
        }
        if (branch)
            copy.failure = ops;
        else
            copy.success = ops;
    }
    return copy;
}

int driver_on_model(struct driver *d, const struct kv_txn *t, struct buf *text)
{
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct err err;
    int rc = kv_txn_wait(d->model, a, t, &result, &err);

    text->len = 0;
    if (rc < 0)
        buf_addz(text, err_code_name(rc));
    else
        say_result(text, &result);
    arena_destroy(a);
    return rc;
}

/* The first events that were heard are the model's changes after `revision`; takes them off. */
void driver_compare_heard(struct driver *d, int64_t revision)
{
    struct words want;

    model_changes(d, revision, &want);
    for (size_t i = 0; i < want.items.len; i++) {
        if (i >= d->events.len)
            driver_fail(d, "not published: " STR_FMT, STR_ARG(want.items.items[i]));
        if (!str_eq(d->events.items[i].text, want.items.items[i]) &&
            !str_eq(d->events.items[i].text, want.short_items.items[i]))
            driver_fail(d, "published: " STR_FMT "\nshould be: " STR_FMT, STR_ARG(d->events.items[i].text),
                        STR_ARG(want.items.items[i]));
    }
    d->events.len -= want.items.len;
    if (d->events.len)
        memmove(d->events.items, d->events.items + want.items.len, d->events.len * sizeof *d->events.items);
    words_free(&want);
}

bool driver_changes_are(struct driver *d, int64_t revision, const struct driver_event *events, size_t n)
{
    struct words want;
    bool same;

    model_changes(d, revision, &want);
    same = want.items.len == n;
    for (size_t i = 0; same && i < n; i++)
        same = str_eq(events[i].text, want.items.items[i]);
    words_free(&want);
    return same;
}

/* All answers are in: the model does the same in the same order. */
static void absorb(struct driver *d)
{
    struct buf text = {0};

    for (size_t i = 0; i < d->answers.len; i++) {
        struct driver_txn *t = d->answers.items[i];
        int64_t before = kv_revision(d->model);
        size_t n = 0;

        if (driver_is_trouble(t->rc)) {
            vec_push(&d->open, t);
            continue;
        }
        while (t->rc == 0 && t->revision == before + 1 && n < d->events.len &&
               d->events.items[n].revision == t->revision)
            n++;
        bool fits;
        struct kv_txn txn = driver_with_leases(d, &t->txn, d->events.items, n, &fits);
        if (!fits)
            driver_fail(d, "revision %lld joined a lease of another length, or too late", (long long)t->revision);
        driver_on_model(d, &txn, &text);
        if (!str_eq(buf_str(&text), t->text)) {
            struct buf asked = {0};

            say_txn(&asked, &t->txn);
            driver_fail(d, "asked:" STR_FMT "\nanswered: " STR_FMT "\nshould be: " STR_FMT, STR_ARG(buf_str(&asked)),
                        STR_ARG(t->text), STR_ARG(buf_str(&text)));
        }
        driver_compare_heard(d, before);
    }
    d->answers.len = 0;
    if (d->events.len)
        driver_fail(d, "published without cause: " STR_FMT, STR_ARG(d->events.items[0].text));
    buf_free(&text);
    if (!d->open.len)
        arena_reset(d->arena);
}

/* ---- transactions ---- */

static struct str some_key(struct driver *d)
{
    return driver_keys[driver_draw(d, DRIVER_KEYS)];
}

static struct str some_value(struct driver *d)
{
    size_t len = driver_draw(d, 6) ? 0 : driver_draw(d, 3) ? 1000 + driver_draw(d, 3000) : 9000;
    struct str v = arena_printf(d->arena, "v%u.", ++d->next_value);

    if (len <= v.len)
        return v;
    char *p = arena_alloc(d->arena, len);
    for (size_t i = 0; i < len; i++)
        p[i] = i < v.len ? v.p[i] : (char)('a' + (i * 7 + d->next_value) % 23);
    return (struct str){p, len};
}

struct look {
    struct driver *driver;
    struct kv_pair pair;
};
static bool looked(void *arg, const struct kv_pair *p)
{
    struct look *l = arg;

    l->pair = *p;
    l->pair.value = arena_str(l->driver->arena, p->value);
    return false;
}

static struct kv_compare some_compare(struct driver *d)
{
    struct kv_compare c = {.key = some_key(d), .target = driver_draw(d, 2) ? KV_TARGET_MOD : driver_draw(d, 5)};
    struct look now = {.driver = d};
    struct err err;

    c.relation = driver_draw(d, 3) ? KV_EQUAL : driver_draw(d, 4);
    kv_range(d->model, c.key, STR_NULL, 0, 0, looked, &now, NULL, &err);
    c.number = c.target == KV_TARGET_MOD       ? now.pair.mod_revision
               : c.target == KV_TARGET_CREATE  ? now.pair.create_revision
               : c.target == KV_TARGET_VERSION ? now.pair.version
               : c.target == KV_TARGET_LEASE   ? now.pair.lease
                                               : 0;
    if (c.target == KV_TARGET_VALUE)
        c.value = now.pair.value;
    else if (driver_draw(d, 5) == 0)
        c.number += 1 - (int64_t)driver_draw(d, 3);
    return c;
}

static struct kv_op some_op(struct driver *d)
{
    struct kv_op op = {.kind = KV_PUT, .key = some_key(d)};
    uint32_t what = driver_draw(d, 20);

    if (what < 11) {
        op.value = some_value(d);
        if (driver_draw(d, 8) == 0)
            op.ttl_s = (driver_draw(d, 2) ? 10 : 100) * (d->remote ? 100 : 1);
        else if (d->leases.len && driver_draw(d, 4) == 0)
            op.lease = d->leases.items[driver_draw(d, (uint32_t)d->leases.len)].id;
        if (driver_draw(d, 200) == 0 && !d->remote)
            op.lease = 1234567; /* not there */
        if (driver_draw(d, 200) == 0 && !d->remote)
            op.key = STR("");
        if (driver_draw(d, 4) == 0)
            op.cookie = d;
        return op;
    }
    op.kind = what < 16 ? KV_DELETE : KV_RANGE;
    if (driver_draw(d, 3) == 0) {
        op.end = driver_keys[driver_draw(d, DRIVER_KEYS)];
        if (driver_draw(d, 6) == 0)
            op.end = driver_last_key;
    } else if (op.kind == KV_DELETE && driver_draw(d, 4) == 0) {
        op.cookie = d;
    }
    if (op.kind == KV_RANGE && driver_draw(d, 3) == 0)
        op.limit = 1 + driver_draw(d, 3);
    return op;
}

static const struct kv_op *some_ops(struct driver *d, size_t n)
{
    struct kv_op *ops = ARENA_ARRAY(d->arena, struct kv_op, n + 1);

    for (size_t i = 0; i < n; i++) {
        ops[i] = some_op(d);
        /* etcd looks for what is wrong in both branches, the local store in the one that runs */
        if (d->remote && i && ops[i].kind != KV_RANGE)
            ops[i] = (struct kv_op){.kind = KV_RANGE, .key = ops[i].key};
    }
    return ops;
}

static struct driver_txn *some_txn(struct driver *d)
{
    struct driver_txn *t = ARENA_NEW(d->arena, struct driver_txn);
    size_t n_compares = driver_draw(d, 2) ? 0 : 1 + driver_draw(d, 2);
    struct kv_compare *compares = ARENA_ARRAY(d->arena, struct kv_compare, n_compares + 1);
    struct buf text = {0};

    t->driver = d;
    for (size_t i = 0; i < n_compares; i++)
        compares[i] = some_compare(d);
    t->txn = (struct kv_txn){.compares = compares, .n_compares = n_compares, .n_success = 1 + driver_draw(d, 3)};
    t->txn.success = some_ops(d, t->txn.n_success);
    t->txn.n_failure = n_compares ? driver_draw(d, 3) : 0;
    t->txn.failure = some_ops(d, t->txn.n_failure);
    say_txn(&text, &t->txn);
    driver_trace(d, "  txn" STR_FMT, STR_ARG(buf_str(&text)));
    buf_free(&text);
    return t;
}

void driver_window(struct driver *d)
{
    struct driver_txn *all[WINDOW];
    size_t n = d->remote ? 1 : 1 + driver_draw(d, WINDOW);
    bool stands = !d->until_stands;

    pthread_mutex_lock(&d->lock); /* the arena is shared with what is under way: nothing */
    for (size_t i = 0; i < n; i++)
        all[i] = some_txn(d);
    d->n_answered = 0;
    pthread_mutex_unlock(&d->lock);
    if (d->before)
        d->before(d->arg);
    for (size_t i = 0; i < n; i++) {
        kv_txn(d->kv, &all[i]->txn, on_done, all[i]);
        if (!stands && (stands = d->until_stands(d->arg, &d->n_answered, i + 1)) && driver_draw(d, 4) == 0)
            driver_check_range(d);
    }
    if (d->after_last)
        d->after_last(d->arg);
    pthread_mutex_lock(&d->lock);
    while (d->n_answered < n)
        pthread_cond_wait(&d->answered, &d->lock);
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < d->answers.len; i++)
        driver_trace(d, "  answer " STR_FMT, STR_ARG(d->answers.items[i]->text));
    absorb(d);
}
