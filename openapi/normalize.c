#include "openapi/normalize.h"

#include "openapi/meta/quantity.h"
#include "openapi/meta/time.h"

#include <math.h>

static struct value *empty_of(struct arena *a, const struct schema_field *f)
{
    if (f->shape != SHAPE_SINGLE || f->flags & FIELD_POINTER)
        return value_null(a);
    switch (f->type) {
    case FIELD_BOOL:
        return value_bool(a, false);
    case FIELD_INT32:
    case FIELD_INT64:
        return value_int(a, 0);
    case FIELD_DOUBLE:
        return value_int(a, 0);
    case FIELD_STRING:
    case FIELD_DURATION:
        return value_stringz(a, f->type == FIELD_STRING ? "" : "0s");
    case FIELD_QUANTITY:
        return value_stringz(a, "0");
    case FIELD_INT_OR_STRING:
        return value_int(a, 0);
    case FIELD_MESSAGE:
        return value_map(a);
    default: /* times, bytes, any */
        return value_null(a);
    }
}

static void set_text(struct value *v, struct str s)
{
    v->kind = VALUE_STRING;
    v->string = s;
}

static void normalize_scalar(struct arena *a, const struct schema_field *f, struct value *v)
{
    int64_t us = 0;
    switch (f->type) {
    case FIELD_INT32:
    case FIELD_INT64:
    case FIELD_INT_OR_STRING:
        if (v->kind == VALUE_DOUBLE && fabs(v->number) < 9e18 && v->number == floor(v->number)) {
            v->integer = (int64_t)v->number;
            v->kind = VALUE_INT;
        }
        break;
    case FIELD_QUANTITY: {
        struct str text = value_str(v);
        if (v->kind == VALUE_INT)
            text = arena_printf(a, "%lld", (long long)v->integer);
        else if (v->kind == VALUE_DOUBLE)
            text = arena_printf(a, "%.17g", v->number);
        if (text.p && quantity_canonical(a, text, &text) == 0)
            set_text(v, text);
        break;
    }
    case FIELD_TIME:
    case FIELD_MICRO_TIME: {
        struct str text = value_str(v);
        bool micro = f->type == FIELD_MICRO_TIME;
        bool canonical = text.len == (micro ? 27 : 20) && text.p[text.len - 1] == 'Z';
        if (!canonical && text.p && time_parse_rfc3339(text, &us) == 0)
            set_text(v, micro ? time_format_micro(a, us) : time_format(a, us));
        break;
    }
    default:
        break;
    }
}

static void normalize_item(struct arena *a, const struct schema_field *f, struct value *v)
{
    if (f->type == FIELD_MESSAGE)
        normalize(a, f->message, v);
    else if (v->kind != VALUE_NULL)
        normalize_scalar(a, f, v);
}

static void normalize_field(struct arena *a, const struct schema_field *f, struct value *v)
{
    if (f->type == FIELD_ANY)
        return;
    if (f->shape == SHAPE_LIST && v->kind == VALUE_LIST) {
        for (size_t i = 0; i < v->list.len; i++)
            normalize_item(a, f, v->list.items[i]);
    } else if (f->shape == SHAPE_MAP && v->kind == VALUE_MAP) {
        for (size_t i = 0; i < v->map.len; i++) {
            struct value *item = v->map.members[i].value;
            for (size_t j = 0; f->flags & FIELD_MAP_OF_LISTS && j < value_len(item) && item->kind == VALUE_LIST; j++)
                normalize_item(a, f, item->list.items[j]);
            if (!(f->flags & FIELD_MAP_OF_LISTS))
                normalize_item(a, f, item);
        }
    } else if (f->shape == SHAPE_SINGLE) {
        normalize_item(a, f, v);
    }
}

/* What omitempty leaves out whatever the Go type behind it: nulls, empty lists and maps. */
static bool is_left_out(const struct schema_field *f, const struct value *v)
{
    if (f->flags & FIELD_ALWAYS || f->type == FIELD_ANY)
        return false;
    return v->kind == VALUE_NULL || (f->shape != SHAPE_SINGLE && value_len(v) == 0);
}

static size_t field_at(const struct schema_message *m, struct str name, size_t guess)
{
    if (guess < m->n_fields && str_eq(m->fields[guess].name, name))
        return guess;
    const struct schema_field *f = schema_field_find(m, name);
    return f ? (size_t)(f - m->fields) : m->n_fields;
}

/* Most maps have their members in the fields' order, none to be added and none to be left out: these stay as they are
 * but for what is in them. false: nothing was touched. */
static bool normalize_in_place(struct arena *a, const struct schema_message *m, struct value *v)
{
    const struct schema_field *fields[64];
    struct value_member *members = v->map.members;
    size_t at = 0;
    if (v->map.len > sizeof fields / sizeof *fields)
        return false;
    for (size_t i = 0; i < v->map.len; i++, at++) {
        struct str key = members[i].key;
        for (;; at++) {
            if (at == m->n_fields)
                return false;
            struct str name = m->fields[at].name;
            if (name.len == key.len && name.p[0] == key.p[0] && memcmp(name.p, key.p, key.len) == 0)
                break;
            if (m->fields[at].flags & FIELD_ALWAYS)
                return false;
        }
        fields[i] = &m->fields[at];
        if (is_left_out(fields[i], members[i].value) || members[i].value->kind == VALUE_NULL)
            return false;
    }
    for (; at < m->n_fields; at++)
        if (m->fields[at].flags & FIELD_ALWAYS)
            return false;
    for (size_t i = 0; i < v->map.len; i++)
        normalize_field(a, fields[i], members[i].value);
    return true;
}

void normalize(struct arena *a, const struct schema_message *m, struct value *v)
{
    if (!m || v->kind != VALUE_MAP || m->n_fields == 0 || normalize_in_place(a, m, v))
        return;
    struct value *small[64] = {0};
    struct value **slots = m->n_fields <= 64 ? small : ARENA_ARRAY(a, struct value *, m->n_fields);
    size_t n_unknown = 0, guess = 0;
    for (size_t i = 0; i < v->map.len; i++) {
        size_t at = field_at(m, v->map.members[i].key, guess);
        n_unknown += at == m->n_fields;
        if (at == m->n_fields)
            continue;
        guess = at + 1;
        slots[at] = v->map.members[i].value;
    }
    size_t n = n_unknown;
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        bool always = f->flags & FIELD_ALWAYS;
        if (slots[i] && is_left_out(f, slots[i]))
            slots[i] = NULL;
        if (always && (!slots[i] || (slots[i]->kind == VALUE_NULL && f->type != FIELD_ANY)))
            slots[i] = empty_of(a, f);
        if (!slots[i])
            continue;
        normalize_field(a, f, slots[i]);
        n++;
    }
    struct value_member *members = n ? arena_alloc(a, n * sizeof *members) : NULL;
    size_t len = 0;
    for (size_t i = 0; i < m->n_fields; i++) {
        if (slots[i])
            members[len++] = (struct value_member){m->fields[i].name, slots[i]};
    }
    for (size_t i = 0; n_unknown && i < v->map.len; i++) {
        if (!schema_field_find(m, v->map.members[i].key))
            members[len++] = v->map.members[i];
    }
    v->map.members = members;
    v->map.len = v->map.cap = len;
}
