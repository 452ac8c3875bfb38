#include "openapi/defaults.h"

#include "openapi/defaults_rules.h"
#include "openapi/normalize.h"

#include <assert.h>
#include <pthread.h>

/* Rules by message address: an open-addressed table made once. */
#define RULE_SLOTS 256
static struct defaults_entry rules[RULE_SLOTS];
static pthread_once_t rules_once = PTHREAD_ONCE_INIT;

static size_t slot_of(const struct schema_message *m)
{
    size_t at = ((uintptr_t)m >> 4) * 0x9e3779b97f4a7c15ULL >> 56;
    while (rules[at].message && rules[at].message != m)
        at = (at + 1) % RULE_SLOTS;
    return at;
}

static void rules_make(void)
{
    const struct defaults_entry *const families[] = {defaults_pod_entries, defaults_core_entries,
                                                     defaults_workload_entries, defaults_policy_entries};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        for (const struct defaults_entry *e = families[i]; e->message; e++) {
            size_t at = slot_of(e->message);
            assert(!rules[at].message);
            rules[at] = *e;
        }
    }
}

bool defaults_missing(const struct value *v, const char *key)
{
    const struct value *at = value_getz(v, key);
    return !at || at->kind == VALUE_NULL || (at->kind == VALUE_STRING && at->string.len == 0);
}

bool defaults_set(struct defaulting *d, struct value *v, const char *key, struct value *to)
{
    const struct value *at = value_getz(v, key);
    if (at && at->kind != VALUE_NULL)
        return false;
    value_setz(d->a, v, key, to);
    return true;
}

bool defaults_set_str(struct defaulting *d, struct value *v, const char *key, const char *to)
{
    if (!defaults_missing(v, key))
        return false;
    value_setz(d->a, v, key, value_stringz(d->a, to));
    return true;
}

bool defaults_set_int(struct defaulting *d, struct value *v, const char *key, int64_t to)
{
    const struct value *at = value_getz(v, key);
    if (at && at->kind != VALUE_NULL)
        return false;
    value_setz(d->a, v, key, value_int(d->a, to));
    return true;
}

struct value *defaults_map(struct defaulting *d, struct value *v, const char *key)
{
    struct value *at = value_getz(v, key);
    if (!value_is(at, VALUE_MAP)) {
        at = value_map(d->a);
        value_setz(d->a, v, key, at);
    }
    return at;
}

/* The table's defaults are a word, a number, true, false, {} or []. */
static struct value *default_value(struct arena *a, const char *json)
{
    int64_t n = 0;
    struct str s = str_from(json);
    if (json[0] == '"')
        return value_string(a, str_sub(s, 1, s.len - 1));
    if (json[0] == '{')
        return value_map(a);
    if (json[0] == '[')
        return value_list(a);
    if (json[0] == 't' || json[0] == 'f')
        return value_bool(a, json[0] == 't');
    bool ok = str_to_i64(s, &n);
    assert(ok);
    return value_int(a, n);
}

/* Fields that are no pointers in Go: zero and absent are the same to their defaults. */
static bool zero_is_absent(const struct schema_message *m)
{
    return m == &schema_core_v1_probe || m == &schema_flowcontrol_v1_flow_schema_spec ||
           m == &schema_flowcontrol_v1_queuing_configuration;
}

static bool wants_default(const struct schema_message *m, const struct schema_field *f, const struct value *v)
{
    if (!v || v->kind == VALUE_NULL)
        return true;
    if (v->kind == VALUE_STRING)
        return v->string.len == 0;
    return v->kind == VALUE_INT && v->integer == 0 && zero_is_absent(m) && f->type != FIELD_MESSAGE;
}

/* Parts that Go holds as plain structs are there even when nobody wrote them: their defaults apply too. */
static void make_always(struct arena *a, const struct schema_message *m, struct value *obj)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        if ((f->flags & (FIELD_ALWAYS | FIELD_POINTER)) != FIELD_ALWAYS || f->type != FIELD_MESSAGE ||
            f->shape != SHAPE_SINGLE)
            continue;
        const struct value *at = value_get(obj, f->name);
        if (!at || at->kind == VALUE_NULL)
            value_set(a, obj, f->name, value_map(a));
    }
}

static void walk(struct defaulting *d, const struct schema_message *m, struct value *v);

static void walk_field(struct defaulting *d, const struct schema_field *f, struct value *v)
{
    if (v->kind == VALUE_LIST && f->shape == SHAPE_LIST) {
        for (size_t i = 0; i < v->list.len; i++)
            walk(d, f->message, v->list.items[i]);
    } else if (v->kind == VALUE_MAP && f->shape == SHAPE_MAP) {
        for (size_t i = 0; i < v->map.len; i++)
            walk(d, f->message, v->map.members[i].value);
    } else if (f->shape == SHAPE_SINGLE) {
        walk(d, f->message, v);
    }
}

static void walk(struct defaulting *d, const struct schema_message *m, struct value *v)
{
    if (v->kind != VALUE_MAP || !m)
        return;
    struct defaulting outer = *d;
    make_always(d->a, m, v);
    bool skip_own = m == &schema_batch_v1_job_spec && d->in_cron_job;
    for (size_t i = 0; i < m->n_fields && !skip_own; i++) {
        const struct schema_field *f = &m->fields[i];
        if (f->default_json && wants_default(m, f, value_get(v, f->name)))
            value_set(d->a, v, f->name, default_value(d->a, f->default_json));
    }
    const struct defaults_entry *e = &rules[slot_of(m)];
    if (e->message && !skip_own)
        e->rule(d, v);
    for (size_t i = 0; i < v->map.len; i++) {
        const struct schema_field *f = schema_field_find(m, v->map.members[i].key);
        if (f && f->type == FIELD_MESSAGE)
            walk_field(d, f, v->map.members[i].value);
    }
    *d = outer;
}

void defaults_apply_message(struct arena *a, const struct schema_message *m, struct value *v)
{
    struct defaulting d = {.a = a};
    if (!m || v->kind != VALUE_MAP)
        return;
    pthread_once(&rules_once, rules_make);
    walk(&d, m, v);
    normalize(a, m, v);
}

void defaults_apply(struct arena *a, const struct resource *r, struct str version, struct value *obj)
{
    const struct resource_version *v = resource_version_find(r, version);
    if (v)
        defaults_apply_message(a, v->message, obj);
}
