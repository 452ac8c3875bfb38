#include "openapi/json_decode.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_STRICT_ERRORS = 100, SLOTS = 64 };

static int decode_typed(struct decoder *d, const struct schema_field *f, enum field_shape shape, yyjson_val *in,
                        const struct step *at, struct value **ret);
static int decode_plain(struct decoder *d, yyjson_val *in, const struct step *at, struct value **ret);

/* ---- strict errors ---- */

static size_t step_text(const struct step *s, char *out, size_t size)
{
    size_t len = s->up ? step_text(s->up, out, size) : 0;
    char *o = len < size ? out + len : NULL;
    size_t left = o ? size - len : 0;
    int n = s->name.p ? snprintf(o, left, "%s" STR_FMT, len ? "." : "", STR_ARG(s->name))
                      : snprintf(o, left, "[%zu]", s->index);
    return len + (size_t)n;
}

static void strict_error(struct decoder *d, const char *what, const struct step *up, struct str name)
{
    if (d->opt->strictness == JSON_IGNORE || d->n_strict >= MAX_STRICT_ERRORS)
        return;
    const struct step at = {.up = up, .name = name};
    size_t len = step_text(&at, NULL, 0);
    char *path = arena_alloc(d->a, len + 1);
    step_text(&at, path, len + 1);
    struct str text = arena_printf(d->a, "%s field \"%s\"", what, path);
    for (size_t i = 0; i < d->n_strict; i++)
        if (str_eq(d->strict[i], text))
            return;
    ARENA_PUSH(d->a, d->strict, d->n_strict, d->cap_strict, text);
}

/* ---- structures ---- */

static int too_deep(struct decoder *d, char opening)
{
    return err_set(d->err, ERR_BAD_REQUEST, "invalid character '%c' exceeded max depth", opening);
}

/* Fields mostly come in the order of the table or of the last object: the next one is tried before searching. */
static const struct schema_field *find_field(const struct schema_message *m, struct str name, size_t *guess)
{
    for (size_t i = *guess; i < m->n_fields && i < *guess + 2; i++)
        if (str_eq(m->fields[i].name, name)) {
            *guess = i + 1;
            return &m->fields[i];
        }
    const struct schema_field *f = schema_field_find(m, name);
    if (f)
        *guess = (size_t)(f - m->fields) + 1;
    return f;
}

static int decode_message(struct decoder *d, const struct schema_message *m, yyjson_val *in, const struct step *at,
                          struct value **ret)
{
    struct value *on_stack[SLOTS], **slots = on_stack;
    if (m->n_fields > SLOTS)
        slots = arena_alloc(d->a, m->n_fields * sizeof *slots);
    memset(slots, 0, m->n_fields * sizeof *slots);
    uint64_t seen_null = 0; /* a duplicate after null is one too; past 64 fields this is not told */
    size_t n = 0, guess = 0, i, max;
    yyjson_val *key, *val;
    if (d->depth_left-- == 0)
        return too_deep(d, '{');
    yyjson_obj_foreach(in, i, max, key, val)
    {
        struct str name = text_of(key);
        const struct schema_field *f = find_field(m, name, &guess);
        if (!f) {
            strict_error(d, "unknown", at, name);
            continue;
        }
        size_t slot = (size_t)(f - m->fields);
        if (slots[slot] || (slot < 64 && seen_null >> slot & 1))
            strict_error(d, "duplicate", at, name);
        if (yyjson_is_null(val)) {
            if (slot < 64)
                seen_null |= (uint64_t)1 << slot;
            continue;
        }
        const struct step field = {.up = at, .name = f->name, .holder = m};
        n += !slots[slot];
        int rc = decode_typed(d, f, f->shape, val, &field, &slots[slot]);
        if (rc < 0)
            return rc;
    }
    d->depth_left++;
    struct value *v = value_map(d->a);
    v->map.members = n ? arena_alloc(d->a, n * sizeof *v->map.members) : NULL;
    v->map.cap = n;
    for (size_t slot = 0; slot < m->n_fields && v->map.len < n; slot++)
        if (slots[slot])
            v->map.members[v->map.len++] = (struct value_member){m->fields[slot].name, slots[slot]};
    *ret = v;
    return 0;
}

/* Sets or replaces a member of a free map; many keys get a linear look back only while the map is small. */
static void add_member(struct decoder *d, struct value *map, struct str key, struct value *v, const struct step *at)
{
    for (size_t i = map->map.len; i > 0; i--)
        if (str_eq(map->map.members[i - 1].key, key)) {
            strict_error(d, "duplicate", at, key);
            map->map.members[i - 1].value = v;
            return;
        }
    map->map.members[map->map.len++] = (struct value_member){key, v};
}

static int by_key(const void *a, const void *b)
{
    const struct value_member *const *x = a, *const *y = b;
    int c = str_cmp((*x)->key, (*y)->key);
    return c ? c : (*x < *y ? -1 : 1);
}

/* Big maps: all members were appended; drop the earlier ones of every repeated key by sorting pointers to them. */
static void drop_repeated(struct decoder *d, struct value *map, const struct step *at)
{
    size_t n = map->map.len;
    struct value_member **sorted = arena_alloc(d->a, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &map->map.members[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    bool any = false;
    for (size_t i = 0; i + 1 < n; i++)
        if (str_eq(sorted[i]->key, sorted[i + 1]->key)) {
            strict_error(d, "duplicate", at, sorted[i]->key);
            sorted[i]->value = NULL; /* the last wins */
            any = true;
        }
    if (!any)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (map->map.members[i].value)
            map->map.members[kept++] = map->map.members[i];
    map->map.len = kept;
}

static int by_member_key(const void *a, const void *b)
{
    return str_cmp(((const struct value_member *)a)->key, ((const struct value_member *)b)->key);
}

/* Go writes the keys of a typed map in order; mostly they come in it. */
static void sort_members(struct value *map)
{
    for (size_t i = 1; i < map->map.len; i++)
        if (str_cmp(map->map.members[i - 1].key, map->map.members[i].key) > 0) {
            qsort(map->map.members, map->map.len, sizeof *map->map.members, by_member_key);
            return;
        }
}

enum { LOOK_BACK = 32 };

/* A map with free keys; f == NULL: plain values. */
static int decode_map(struct decoder *d, const struct schema_field *f, yyjson_val *in, const struct step *at,
                      struct value **ret)
{
    size_t count = unsafe_yyjson_get_len(in), i, max;
    struct value *v = value_map(d->a);
    yyjson_val *key, *val;
    if (d->depth_left-- == 0)
        return too_deep(d, '{');
    v->map.members = count ? arena_alloc(d->a, count * sizeof *v->map.members) : NULL;
    v->map.cap = count;
    yyjson_obj_foreach(in, i, max, key, val)
    {
        const struct step entry = {.up = at, .name = text_of(key)};
        struct value *item = NULL;
        int rc;
        if (!f)
            rc = decode_plain(d, val, &entry, &item);
        else
            rc = decode_typed(d, f, f->flags & FIELD_MAP_OF_LISTS ? SHAPE_LIST : SHAPE_SINGLE, val, &entry, &item);
        if (rc < 0)
            return rc;
        if (count <= LOOK_BACK)
            add_member(d, v, entry.name, item, at);
        else
            v->map.members[v->map.len++] = (struct value_member){entry.name, item};
    }
    if (count > LOOK_BACK)
        drop_repeated(d, v, at);
    if (f)
        sort_members(v);
    d->depth_left++;
    *ret = v;
    return 0;
}

static int decode_list(struct decoder *d, const struct schema_field *f, yyjson_val *in, const struct step *at,
                       struct value **ret)
{
    size_t count = unsafe_yyjson_get_len(in), i, max;
    struct value *v = value_list(d->a);
    yyjson_val *val;
    if (d->depth_left-- == 0)
        return too_deep(d, '[');
    v->list.items = count ? arena_alloc(d->a, count * sizeof *v->list.items) : NULL;
    v->list.cap = count;
    yyjson_arr_foreach(in, i, max, val)
    {
        const struct step item = {.up = at, .index = i};
        int rc = f ? decode_typed(d, f, SHAPE_SINGLE, val, &item, &v->list.items[i])
                   : decode_plain(d, val, &item, &v->list.items[i]);
        if (rc < 0)
            return rc;
    }
    v->list.len = count;
    d->depth_left++;
    *ret = v;
    return 0;
}

static int decode_typed(struct decoder *d, const struct schema_field *f, enum field_shape shape, yyjson_val *in,
                        const struct step *at, struct value **ret)
{
    if (yyjson_is_null(in)) {
        *ret = shape == SHAPE_LIST ? value_list(d->a) : json_zero_of(d->a, f);
        return 0;
    }
    if (arena_over_limit(d->a))
        return err_set(d->err, ERR_LIMIT, "the object needs more memory than a request may use");
    if (shape == SHAPE_LIST) {
        if (!yyjson_is_arr(in))
            return json_field_type_error(d, f, shape, in, false, at);
        return decode_list(d, f, in, at, ret);
    }
    if (shape == SHAPE_MAP) {
        if (!yyjson_is_obj(in))
            return json_field_type_error(d, f, shape, in, false, at);
        return decode_map(d, f, in, at, ret);
    }
    if (f->type == FIELD_MESSAGE) {
        if (!yyjson_is_obj(in))
            return json_field_type_error(d, f, shape, in, false, at);
        return decode_message(d, f->message, in, at, ret);
    }
    if (f->type == FIELD_ANY)
        return decode_plain(d, in, at, ret);
    return json_decode_scalar(d, f, in, at, ret);
}

static int decode_plain(struct decoder *d, yyjson_val *in, const struct step *at, struct value **ret)
{
    int64_t integer;
    double number;
    if (yyjson_is_str(in)) {
        *ret = value_string(d->a, text_of(in));
    } else if (yyjson_is_raw(in)) {
        if (json_parse_int(text_of(in), &integer))
            *ret = value_int(d->a, integer);
        else if (json_parse_double(d->a, text_of(in), &number))
            *ret = value_double(d->a, number);
        else
            return json_type_error(d, in, true, "float64", at);
    } else if (yyjson_is_obj(in)) {
        if (arena_over_limit(d->a))
            return err_set(d->err, ERR_LIMIT, "the object needs more memory than a request may use");
        return decode_map(d, NULL, in, at, ret);
    } else if (yyjson_is_arr(in)) {
        return decode_list(d, NULL, in, at, ret);
    } else {
        *ret = yyjson_is_bool(in) ? value_bool(d->a, yyjson_is_true(in)) : value_null(d->a);
    }
    return 0;
}

static int decode_root(struct decoder *d, yyjson_val *root, struct value **ret)
{
    const struct schema_message *m = d->opt->schema;
    if (!m)
        return decode_plain(d, root, NULL, ret);
    if (yyjson_is_null(root)) {
        *ret = value_map(d->a);
        return 0;
    }
    if (!yyjson_is_obj(root)) {
        char type[256];
        snprintf(type, sizeof type, STR_FMT, STR_ARG(json_go_message_type(m->name)));
        return json_type_error(d, root, false, type, NULL);
    }
    return decode_message(d, m, root, NULL, ret);
}

static int report_strict(struct decoder *d)
{
    d->opt->ret_warnings = d->strict;
    d->opt->ret_n_warnings = d->n_strict;
    if (d->n_strict == 0 || d->opt->strictness != JSON_STRICT)
        return 0;
    struct buf text = {0};
    for (size_t i = 0; i < d->n_strict; i++)
        buf_printf(&text, "%s" STR_FMT, i ? ", " : "", STR_ARG(d->strict[i]));
    int rc = err_set(d->err, ERR_BAD_REQUEST, "strict decoding error: " STR_FMT, STR_ARG(buf_str(&text)));
    buf_free(&text);
    return rc;
}

int json_decode_after(struct arena *a, struct str first_strict_error, struct str text, struct json_options *opt,
                      struct value **ret, struct err *err)
{
    struct json_options plain = {0};
    struct decoder d = {.a = a, .opt = opt ? opt : &plain, .err = err};
    d.depth_left = d.opt->max_depth ? d.opt->max_depth : d.opt->schema ? JSON_MAX_DEPTH : 1000;
    d.opt->ret_warnings = NULL;
    d.opt->ret_n_warnings = 0;
    if (first_strict_error.p && d.opt->strictness != JSON_IGNORE)
        ARENA_PUSH(a, d.strict, d.n_strict, d.cap_strict, first_strict_error);
    yyjson_doc *doc;
    int rc = json_parse(a, text, &doc, err);
    if (rc < 0)
        return rc;
    rc = decode_root(&d, yyjson_doc_get_root(doc), ret);
    yyjson_doc_free(doc);
    return rc < 0 ? rc : report_strict(&d);
}

int json_decode(struct arena *a, struct str text, struct json_options *opt, struct value **ret, struct err *err)
{
    return json_decode_after(a, STR_NULL, text, opt, ret, err);
}
