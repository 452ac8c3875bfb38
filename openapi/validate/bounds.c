/* The rules that the schema tables hold: required, enumerated values, bounds, formats, immutable fields. */
#include "openapi/validate/rules.h"

static bool is_empty(const struct schema_field *f, const struct value *v)
{
    if (!v || v->kind == VALUE_NULL)
        return true;
    if (f->shape != SHAPE_SINGLE || v->kind == VALUE_STRING)
        return value_len(v) == 0;
    return v->kind == VALUE_INT && v->integer == 0 && f->flags & FIELD_HAS_MIN && f->min > 0;
}

static bool in_values(const struct schema_field *f, struct str s)
{
    for (const struct str *v = f->values; v->p; v++) {
        if (str_eq(*v, s))
            return true;
    }
    return false;
}

/* Upstream lists most enumerations sorted, as the tables do; these it lists in its own order. */
static void bad_value(struct check *c, at_path at, const struct schema_field *f, const struct value *v)
{
    if (str_eqz(f->name, "restartPolicy") && in_values(f, STR("OnFailure")))
        bad_unsupported(c, at, v, "Always,OnFailure,Never");
    else if (str_eqz(f->name, "dnsPolicy"))
        bad_unsupported(c, at, v, "ClusterFirstWithHostNet,ClusterFirst,Default,None");
    else
        problems_add_unsupported(c->p, field_path_text(c->a, at), v, f->values);
}

static void out_of_range(struct check *c, at_path at, const struct schema_field *f, const struct value *v)
{
    bool low = f->flags & FIELD_HAS_MIN, high = f->flags & FIELD_HAS_MAX;
    if (low && high && f->min == 0 && f->max == 511)
        bad_invalid(c, at, v, "must be a number between 0 and 0777 (octal), both inclusive");
    else if (low && high && str_eqz(f->name, "weight"))
        bad_invalid(c, at, v, "must be in the range 1-100");
    else if (low && high && str_eqz(f->name, "timeoutSeconds") && f->max == 86400)
        bad_invalid(c, at, v, "must be greater than 0 and less than 86400");
    else if (low && high && str_eqz(f->name, "expirationSeconds"))
        bad_invalid(c, at, v,
                    v->integer < f->min ? "may not specify a duration less than 10 minutes"
                                        : "may not specify a duration larger than 2^32 seconds");
    else if (low && high)
        bad_invalid(c, at, v, "must be between %lld and %lld, inclusive", (long long)f->min, (long long)f->max);
    else if (low && f->min == 1)
        bad_invalid(c, at, v, str_eqz(f->name, "maxSkew") ? "must be greater than zero" : "must be greater than 0");
    else if (low)
        bad_invalid(c, at, v, "must be greater than or equal to %lld", (long long)f->min);
    else
        bad_invalid(c, at, v, "must be less than or equal to %lld", (long long)f->max);
}

static void check_scalar(struct check *c, at_path at, const struct schema_field *f, const struct value *v)
{
    if (v->kind == VALUE_INT && f->shape == SHAPE_SINGLE) {
        if ((f->flags & FIELD_HAS_MIN && v->integer < f->min) || (f->flags & FIELD_HAS_MAX && v->integer > f->max))
            out_of_range(c, at, f, v);
        return;
    }
    if (v->kind != VALUE_STRING || v->string.len == 0)
        return;
    if (f->values && !in_values(f, v->string)) {
        bad_value(c, at, f, v);
        return;
    }
    if (f->flags & FIELD_HAS_MAX && f->shape == SHAPE_SINGLE && v->string.len > (size_t)f->max)
        problems_add_too_long(c->p, field_path_text(c->a, at), (size_t)f->max);
    if (f->format == FORMAT_ABSOLUTE_PATH && v->string.p[0] != '/')
        bad_invalid(c, at, v, "must be an absolute path");
    struct name_faults faults = {0};
    name_check_format(&faults, f->format, v->string);
    for (size_t i = 0; i < faults.len; i++)
        bad_invalid(c, at, v, "%s", faults.items[i]);
}

static void check_item(struct check *c, at_path at, const struct schema_field *f, const struct value *v,
                       const struct value *old)
{
    if (f->type == FIELD_MESSAGE)
        check_table(c, at, f->message, v, old);
    else
        check_scalar(c, at, f, v);
}

static void check_field(struct check *c, at_path at, const struct schema_field *f, const struct value *v,
                        const struct value *old)
{
    if (f->shape == SHAPE_LIST && v->kind == VALUE_LIST) {
        if (f->flags & FIELD_HAS_MAX && v->list.len > (size_t)f->max)
            problems_add_too_many(c->p, field_path_text(c->a, at), v->list.len, (size_t)f->max);
        for (size_t i = 0; i < v->list.len; i++)
            check_item(c, AT_INDEX(at, i), f, v->list.items[i], NULL);
    } else if (f->shape == SHAPE_MAP && v->kind == VALUE_MAP) {
        for (size_t i = 0; f->type == FIELD_MESSAGE && i < v->map.len; i++)
            check_item(c, AT_KEY(at, v->map.members[i].key), f, v->map.members[i].value, NULL);
    } else if (f->shape == SHAPE_SINGLE) {
        check_item(c, at, f, v, old);
    }
}

static bool has_own_rules(const struct schema_message *m)
{
    return m == &schema_meta_v1_object_meta || m == &schema_meta_v1_label_selector ||
           m == &schema_core_v1_object_reference;
}

static const char *required_text(const struct schema_message *m, struct str field)
{
    if (m == &schema_core_v1_node_selector)
        return "must have at least one node selector term";
    if (str_eqz(field, "accessModes"))
        return "at least 1 access mode is required";
    if (str_eqz(field, "topologyKey"))
        return "can not be empty";
    return "";
}

/* The members in the fields' places, when they do not stand in the fields' order. */
static void values_by_field(const struct schema_message *m, const struct value *v, const struct value **ret)
{
    memset(ret, 0, m->n_fields * sizeof *ret);
    for (size_t i = 0; i < v->map.len; i++) {
        const struct schema_field *f = schema_field_find(m, v->map.members[i].key);
        if (f && !ret[f - m->fields])
            ret[f - m->fields] = v->map.members[i].value;
    }
}

static void check_value(struct check *c, at_path at, const struct schema_message *m, const struct schema_field *f,
                        const struct value *now, const struct value *old)
{
    const struct value *was = old ? value_get(old, f->name) : NULL;
    at_path here = AT_STR(at, f->name);
    if (!at && str_eqz(f->name, "status"))
        return;
    if (old && f->flags & FIELD_IMMUTABLE && !value_semantic_equal(now, was))
        bad_invalid(c, here, now, IMMUTABLE);
    if (!is_empty(f, now))
        check_field(c, here, f, now, was);
    else if (f->flags & FIELD_CHECK_REQUIRED)
        bad_required(c, here, required_text(m, f->name));
}

static bool is_named(const struct schema_field *f, struct str key)
{
    return f->name.len == key.len && f->name.p[0] == key.p[0] && memcmp(f->name.p, key.p, key.len) == 0;
}

/* Whether the members stand in the fields' order. */
static bool in_order(const struct schema_message *m, const struct value *v)
{
    size_t at = 0;
    for (size_t i = 0; i < v->map.len; i++, at++) {
        while (at < m->n_fields && !is_named(&m->fields[at], v->map.members[i].key))
            at++;
        if (at == m->n_fields)
            return false;
    }
    return true;
}

/* Most fields are absent: looking each of them up would cost more than the checks. */
void check_table(struct check *c, at_path at, const struct schema_message *m, const struct value *v,
                 const struct value *old)
{
    if (!value_is(v, VALUE_MAP) || !m || has_own_rules(m))
        return;
    const struct value *small[64];
    const struct value **values = small;
    bool ordered = in_order(m, v);
    if (!ordered) {
        values = m->n_fields <= 64 ? small : ARENA_ARRAY(c->a, const struct value *, m->n_fields);
        values_by_field(m, v, values);
    }
    for (size_t i = 0, next = 0; i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        const struct value *now = ordered ? NULL : values[i];
        if (ordered && next < v->map.len && is_named(f, v->map.members[next].key))
            now = v->map.members[next++].value;
        if (now || old || f->flags & FIELD_CHECK_REQUIRED)
            check_value(c, at, m, f, now, old);
    }
}
