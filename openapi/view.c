/* One walk over the schema table fills a view struct from JSON (yyjson's document) or from a value tree: `struct node`
 * is the little they have in common. The text is parsed in a scratch copy; strings that need no unescaping are pointed
 * back into the caller's text, where they stand at the same offset. */
#include "openapi/view.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"

#include <assert.h>
#include <stdlib.h>
#include <yyjson.h>

enum { MAX_DEPTH = 128, ZEROS = 4096, HEAD_FIELDS = 5 };

/* What metadata, spec and status point at when they are absent. */
static const _Alignas(16) char zeros[ZEROS];

struct walk {
    struct arena *a;
    const char *scratch, *text; /* of the same length */
    size_t len;
};

struct node {
    yyjson_val *json; /* or */
    const struct value *value;
};

struct any_array { /* the shape of every *_array */
    const void *items;
    size_t len;
};

static void fill(struct walk *w, const struct schema_message *m, struct node n, char *out, int depth);

/* ---- nodes ---- */

static bool node_is(struct node n, enum value_kind kind)
{
    if (n.value)
        return n.value->kind == kind;
    switch (kind) {
    case VALUE_NULL:
        return yyjson_is_null(n.json);
    case VALUE_BOOL:
        return yyjson_is_bool(n.json);
    case VALUE_INT:
        return yyjson_is_int(n.json);
    case VALUE_DOUBLE:
        return yyjson_is_real(n.json);
    case VALUE_STRING:
        return yyjson_is_str(n.json);
    case VALUE_LIST:
        return yyjson_is_arr(n.json);
    case VALUE_MAP:
        return yyjson_is_obj(n.json);
    }
    return false;
}

static struct str json_str(const struct walk *w, yyjson_val *v)
{
    struct str s = {unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v)};
    const char *original = w->text + (s.p - w->scratch);
    if (memcmp(original, s.p, s.len) == 0)
        return (struct str){original, s.len};
    return arena_str(w->a, s);
}

static struct str node_str(const struct walk *w, struct node n)
{
    if (!node_is(n, VALUE_STRING))
        return STR_NULL;
    return n.value ? n.value->string : json_str(w, n.json);
}

static bool node_int(struct node n, int64_t *ret)
{
    if (!node_is(n, VALUE_INT))
        return false;
    *ret = n.value ? n.value->integer : yyjson_get_sint(n.json);
    return true;
}

static bool node_double(struct node n, double *ret)
{
    int64_t integer;
    if (node_int(n, &integer))
        *ret = (double)integer;
    else if (node_is(n, VALUE_DOUBLE))
        *ret = n.value ? n.value->number : yyjson_get_real(n.json);
    else
        return false;
    return true;
}

static size_t node_len(struct node n)
{
    return n.value ? value_len(n.value) : unsafe_yyjson_get_len(n.json);
}

/* The members of a list or map in turn; zero-initialise `at`. */
struct node_iter {
    struct node of;
    size_t at;
    yyjson_val *next;
};

static bool next_item(struct node_iter *it, struct node *ret)
{
    if (it->at == node_len(it->of))
        return false;
    if (it->of.value) {
        *ret = (struct node){.value = it->of.value->list.items[it->at]};
    } else {
        it->next = it->at ? unsafe_yyjson_get_next(it->next) : unsafe_yyjson_get_first(it->of.json);
        *ret = (struct node){.json = it->next};
    }
    it->at++;
    return true;
}

static bool next_member(struct node_iter *it, struct str *ret_raw_key, struct node *ret)
{
    if (it->at == node_len(it->of))
        return false;
    if (it->of.value) {
        *ret_raw_key = it->of.value->map.members[it->at].key;
        *ret = (struct node){.value = it->of.value->map.members[it->at].value};
    } else {
        it->next = it->at ? unsafe_yyjson_get_next(it->next + 1) : unsafe_yyjson_get_first(it->of.json);
        *ret_raw_key = (struct str){unsafe_yyjson_get_str(it->next), unsafe_yyjson_get_len(it->next)};
        *ret = (struct node){.json = it->next + 1};
    }
    it->at++;
    return true;
}

/* A key as next_member gave it, to be kept. */
static struct str kept_key(const struct walk *w, struct node of, const struct node_iter *it, struct str raw)
{
    return of.value ? raw : json_str(w, it->next);
}

static struct value *node_value(struct walk *w, struct node n, int depth)
{
    if (n.value)
        return (struct value *)n.value;
    if (depth > MAX_DEPTH)
        return value_null(w->a);
    struct node_iter it = {.of = n};
    struct node child;
    struct str key;
    int64_t integer;
    double number;
    if (node_is(n, VALUE_STRING))
        return value_string(w->a, node_str(w, n));
    if (node_int(n, &integer))
        return value_int(w->a, integer);
    if (node_double(n, &number))
        return value_double(w->a, number);
    if (node_is(n, VALUE_BOOL))
        return value_bool(w->a, yyjson_is_true(n.json));
    if (node_is(n, VALUE_LIST)) {
        struct value *list = value_list(w->a);
        while (next_item(&it, &child))
            value_append(w->a, list, node_value(w, child, depth + 1));
        return list;
    }
    if (node_is(n, VALUE_MAP)) {
        struct value *map = value_map(w->a);
        while (next_member(&it, &key, &child))
            ARENA_PUSH(w->a, map->map.members, map->map.len, map->map.cap,
                       (struct value_member){kept_key(w, n, &it, key), node_value(w, child, depth + 1)});
        return map;
    }
    return value_null(w->a);
}

/* ---- members ---- */

static bool is_text(enum field_type t)
{
    return t == FIELD_STRING || t == FIELD_BYTES || t == FIELD_QUANTITY || t == FIELD_DURATION;
}

/* A text, or the digits of a quantity given as a number. */
static struct str text_or_number(struct walk *w, struct node n)
{
    int64_t integer;
    double number;
    if (node_int(n, &integer))
        return arena_printf(w->a, "%lld", (long long)integer);
    if (node_double(n, &number))
        return arena_printf(w->a, "%g", number);
    return node_str(w, n);
}

static void fill_int_or_string(struct walk *w, struct node n, struct int_or_string *out)
{
    int64_t integer;
    if (node_int(n, &integer)) {
        out->integer = (int32_t)integer;
        out->present = true;
    } else if (node_is(n, VALUE_STRING)) {
        out->string = node_str(w, n);
        out->is_string = out->present = true;
    }
}

/* Scalars: `at` is the member, `has` its presence or NULL. */
static void fill_scalar(struct walk *w, const struct schema_field *f, struct node n, char *at, bool *has)
{
    int64_t integer;
    bool filled = false;
    switch (f->type) {
    case FIELD_BOOL:
        filled = node_is(n, VALUE_BOOL);
        if (filled)
            *(bool *)at = n.value ? n.value->boolean : yyjson_is_true(n.json);
        break;
    case FIELD_INT32:
        filled = node_int(n, &integer);
        if (filled)
            *(int32_t *)at = (int32_t)integer;
        break;
    case FIELD_INT64:
        filled = node_int(n, (int64_t *)at);
        break;
    case FIELD_DOUBLE:
        filled = node_double(n, (double *)at);
        break;
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        *(int64_t *)at = time_from(node_str(w, n));
        break;
    case FIELD_INT_OR_STRING:
        fill_int_or_string(w, n, (struct int_or_string *)at);
        break;
    case FIELD_QUANTITY:
        *(struct str *)at = text_or_number(w, n);
        break;
    default:
        *(struct str *)at = node_str(w, n);
        break;
    }
    if (has)
        *has = filled;
}

static size_t item_size(const struct schema_field *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_INT32:
        return sizeof(int32_t);
    case FIELD_INT64:
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return sizeof(int64_t);
    case FIELD_MESSAGE:
        return f->message->view_size;
    case FIELD_ANY:
        return sizeof(void *);
    default:
        return sizeof(struct str);
    }
}

static void fill_item(struct walk *w, const struct schema_field *f, struct node n, char *at, int depth)
{
    if (f->type == FIELD_MESSAGE)
        fill(w, f->message, n, at, depth + 1);
    else if (f->type == FIELD_ANY)
        *(const struct value **)at = node_value(w, n, depth + 1);
    else
        fill_scalar(w, f, n, at, NULL);
}

static struct any_array fill_list(struct walk *w, const struct schema_field *f, struct node n, int depth)
{
    if (!node_is(n, VALUE_LIST) || node_len(n) == 0)
        return (struct any_array){0};
    size_t size = item_size(f);
    char *items = arena_zalloc(w->a, size * node_len(n)), *at = items;
    struct node_iter it = {.of = n};
    struct node child;
    for (; next_item(&it, &child); at += size)
        fill_item(w, f, child, at, depth);
    return (struct any_array){items, node_len(n)};
}

/* Entries are {struct str key; V value}. */
static size_t entry_size(const struct schema_field *f)
{
    if (f->flags & FIELD_MAP_OF_LISTS)
        return sizeof(struct str_array_entry);
    return (sizeof(struct str) + item_size(f) + 7) & ~(size_t)7;
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct any_array fill_map(struct walk *w, const struct schema_field *f, struct node n, int depth)
{
    if (!node_is(n, VALUE_MAP) || node_len(n) == 0)
        return (struct any_array){0};
    size_t size = entry_size(f), len = node_len(n);
    char *items = arena_zalloc(w->a, size * len), *at = items;
    struct node_iter it = {.of = n};
    struct node child;
    struct str key;
    bool sorted = true;
    for (; next_member(&it, &key, &child); at += size) {
        *(struct str *)at = kept_key(w, n, &it, key);
        sorted &= at == items || by_key(at - size, at) < 0;
        if (f->flags & FIELD_MAP_OF_LISTS)
            *(struct any_array *)(at + sizeof(struct str)) = fill_list(w, f, child, depth);
        else
            fill_item(w, f, child, at + sizeof(struct str), depth);
    }
    if (!sorted)
        qsort(items, len, size, by_key);
    return (struct any_array){items, len};
}

static void fill_field(struct walk *w, const struct schema_field *f, struct node n, char *out, int depth)
{
    char *at = out + f->view_offset;
    if (f->shape == SHAPE_LIST) {
        *(struct any_array *)at = fill_list(w, f, n, depth);
    } else if (f->shape == SHAPE_MAP) {
        *(struct any_array *)at = fill_map(w, f, n, depth);
    } else if (f->type == FIELD_MESSAGE) {
        if (!node_is(n, VALUE_MAP))
            return;
        char *inner = arena_zalloc(w->a, f->message->view_size);
        fill(w, f->message, n, inner, depth + 1);
        *(const void **)at = inner;
    } else if (f->type == FIELD_ANY) {
        *(const struct value **)at = node_is(n, VALUE_NULL) ? NULL : node_value(w, n, depth + 1);
    } else {
        fill_scalar(w, f, n, at, f->view_presence ? (bool *)(out + f->view_presence) : NULL);
    }
}

static bool is_head_field(const struct schema_field *f)
{
    return f->type == FIELD_MESSAGE && f->shape == SHAPE_SINGLE &&
           (str_eqz(f->name, "metadata") || str_eqz(f->name, "spec") || str_eqz(f->name, "status"));
}

/* metadata, spec and status stand among the first fields of the messages that have them; they are never NULL. */
static void fill_heads(const struct schema_message *m, char *out)
{
    for (size_t i = 0; i < m->n_fields && i < HEAD_FIELDS; i++) {
        const struct schema_field *f = &m->fields[i];
        if (!is_head_field(f) || *(const void **)(out + f->view_offset))
            continue;
        assert(f->message->view_size <= ZEROS);
        *(const void **)(out + f->view_offset) = zeros;
    }
}

static void fill(struct walk *w, const struct schema_message *m, struct node n, char *out, int depth)
{
    struct node_iter it = {.of = n};
    struct node child;
    struct str name;
    size_t guess = 0; /* members mostly stand in the table's order */
    if (depth > MAX_DEPTH || !node_is(n, VALUE_MAP))
        return;
    while (next_member(&it, &name, &child)) {
        const struct schema_field *f = NULL;
        for (size_t i = guess; i < m->n_fields && i < guess + 3 && !f; i++)
            if (str_eq(m->fields[i].name, name))
                f = &m->fields[i];
        if (!f)
            f = schema_field_find(m, name);
        if (!f)
            continue;
        guess = (size_t)(f - m->fields) + 1;
        fill_field(w, f, child, out, depth);
    }
    fill_heads(m, out);
}

/* ---- entry points ---- */

int view_from_json(struct arena *a, const struct schema_message *m, struct str json, const void **ret, struct err *err)
{
    char *scratch = malloc(json.len + YYJSON_PADDING_SIZE);
    if (!scratch)
        abort();
    if (json.len)
        memcpy(scratch, json.p, json.len);
    memset(scratch + json.len, 0, YYJSON_PADDING_SIZE);
    yyjson_read_err bad;
    yyjson_doc *doc = yyjson_read_opts(scratch, json.len, YYJSON_READ_INSITU, NULL, &bad);
    int rc = 0;
    if (!doc) {
        rc = err_set(err, ERR_BAD_REQUEST, "%s at byte %zu", bad.msg, bad.pos);
    } else {
        assert(m->view_size);
        struct walk w = {.a = a, .scratch = scratch, .text = json.p, .len = json.len};
        char *out = arena_zalloc(a, m->view_size);
        fill(&w, m, (struct node){.json = yyjson_doc_get_root(doc)}, out, 0);
        fill_heads(m, out);
        *ret = out;
    }
    yyjson_doc_free(doc);
    free(scratch);
    return rc;
}

const void *view_from_value(struct arena *a, const struct schema_message *m, const struct value *v)
{
    struct walk w = {.a = a};
    assert(m->view_size);
    char *out = arena_zalloc(a, m->view_size);
    if (v)
        fill(&w, m, (struct node){.value = v}, out, 0);
    fill_heads(m, out);
    return out;
}

static void *member(const struct schema_message *m, const void *view, const char *name)
{
    const struct schema_field *f = schema_field_find(m, str_from(name));
    return f ? (char *)view + f->view_offset : NULL;
}

const void *view_object(struct arena *a, const struct object *o)
{
    const struct resource_version *v = resource_storage_version(o->resource);
    struct err err = ERR_INIT;
    const void *view = NULL;
    assert(v);
    int rc = view_from_json(a, v->message, o->body, &view, &err);
    assert(rc == 0);
    struct str *kind = member(v->message, view, "kind"), *api_version = member(v->message, view, "apiVersion");
    if (kind)
        *kind = o->resource->kind;
    if (api_version)
        *api_version = resource_api_version(a, o->resource->storage_group, v->version);
    const struct schema_field *metadata = schema_field_find(v->message, STR("metadata"));
    if (metadata) {
        const void *meta = *(const void **)((char *)view + metadata->view_offset);
        struct str *revision = member(metadata->message, meta, "resourceVersion");
        if (meta != zeros && revision)
            *revision = arena_printf(a, "%lld", (long long)o->revision);
    }
    return view;
}

struct str view_map_get(struct str_entry_array map, struct str key)
{
    size_t low = 0, high = map.len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(key, map.items[middle].key);
        if (c == 0)
            return map.items[middle].value;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return STR_NULL;
}

/* ---- back to a tree ---- */

static struct value *time_value(struct arena *a, const struct schema_field *f, int64_t us)
{
    return value_string(a, f->type == FIELD_MICRO_TIME ? time_format_micro(a, us) : time_format(a, us));
}

/* NULL = absent. `has` is NULL where presence shows in the value, or inside lists and maps. */
static struct value *scalar_value(struct arena *a, const struct schema_field *f, const char *at, const bool *has)
{
    switch (f->type) {
    case FIELD_BOOL:
        return !has || *has || *(const bool *)at ? value_bool(a, *(const bool *)at) : NULL;
    case FIELD_INT32:
        return !has || *has || *(const int32_t *)at ? value_int(a, *(const int32_t *)at) : NULL;
    case FIELD_INT64:
        return !has || *has || *(const int64_t *)at ? value_int(a, *(const int64_t *)at) : NULL;
    case FIELD_DOUBLE:
        return !has || *has ? value_double(a, *(const double *)at) : NULL;
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return *(const int64_t *)at ? time_value(a, f, *(const int64_t *)at) : NULL;
    case FIELD_INT_OR_STRING: {
        const struct int_or_string *i = (const struct int_or_string *)at;
        if (i->is_string)
            return value_string(a, i->string);
        return i->present || i->integer ? value_int(a, i->integer) : NULL;
    }
    case FIELD_MESSAGE:
        return view_to_value(a, f->message, at);
    case FIELD_ANY:
        return *(const struct value *const *)at ? value_copy(a, *(const struct value *const *)at) : NULL;
    default:
        return ((const struct str *)at)->p ? value_string(a, *(const struct str *)at) : NULL;
    }
}

static struct value *list_value(struct arena *a, const struct schema_field *f, struct any_array items)
{
    struct value *list = value_list(a);
    const char *at = items.items;
    for (size_t i = 0; i < items.len; i++, at += item_size(f)) {
        struct value *item = scalar_value(a, f, at, NULL);
        value_append(a, list, item ? item : is_text(f->type) ? value_stringz(a, "") : value_null(a));
    }
    return list;
}

static struct value *map_value(struct arena *a, const struct schema_field *f, struct any_array items)
{
    struct value *map = value_map(a);
    const char *at = items.items;
    for (size_t i = 0; i < items.len; i++, at += entry_size(f)) {
        const char *inner = at + sizeof(struct str);
        struct value *item = f->flags & FIELD_MAP_OF_LISTS ? list_value(a, f, *(const struct any_array *)inner)
                                                           : scalar_value(a, f, inner, NULL);
        if (!item)
            item = is_text(f->type) ? value_stringz(a, "") : value_null(a);
        ARENA_PUSH(a, map->map.members, map->map.len, map->map.cap,
                   (struct value_member){*(const struct str *)at, item});
    }
    return map;
}

struct value *view_to_value(struct arena *a, const struct schema_message *m, const void *view)
{
    struct value *out = value_map(a);
    for (size_t i = 0; view && i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        const char *at = (const char *)view + f->view_offset;
        struct value *v = NULL;
        if (f->shape != SHAPE_SINGLE) {
            struct any_array items = *(const struct any_array *)at;
            if (items.len)
                v = f->shape == SHAPE_LIST ? list_value(a, f, items) : map_value(a, f, items);
        } else if (f->type == FIELD_MESSAGE) {
            const void *inner = *(const void *const *)at;
            if (inner && inner != zeros)
                v = view_to_value(a, f->message, inner);
        } else {
            v = scalar_value(a, f, at, f->view_presence ? (const bool *)view + f->view_presence : NULL);
        }
        if (v)
            ARENA_PUSH(a, out->map.members, out->map.len, out->map.cap, (struct value_member){f->name, v});
    }
    return out;
}
