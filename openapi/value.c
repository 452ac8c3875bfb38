#include "openapi/value.h"

#include <assert.h>
#include <string.h>

static struct value *value_new(struct arena *a, enum value_kind kind)
{
    struct value *v = arena_alloc(a, sizeof *v);
    *v = (struct value){.kind = kind};
    return v;
}

struct value *value_null(struct arena *a)
{
    return value_new(a, VALUE_NULL);
}

struct value *value_bool(struct arena *a, bool b)
{
    struct value *v = value_new(a, VALUE_BOOL);
    v->boolean = b;
    return v;
}

struct value *value_int(struct arena *a, int64_t i)
{
    struct value *v = value_new(a, VALUE_INT);
    v->integer = i;
    return v;
}

struct value *value_double(struct arena *a, double d)
{
    struct value *v = value_new(a, VALUE_DOUBLE);
    v->number = d;
    return v;
}

struct value *value_string(struct arena *a, struct str s)
{
    struct value *v = value_new(a, VALUE_STRING);
    v->string = s.p ? s : STR("");
    return v;
}

struct value *value_stringz(struct arena *a, const char *z)
{
    return value_string(a, str_from(z));
}

struct value *value_list(struct arena *a)
{
    return value_new(a, VALUE_LIST);
}

struct value *value_map(struct arena *a)
{
    return value_new(a, VALUE_MAP);
}

struct value *value_copy(struct arena *a, const struct value *v)
{
    if (!v)
        return NULL;
    struct value *copy = arena_memdup(a, v, sizeof *v);
    if (v->kind == VALUE_LIST) {
        copy->list.items = v->list.len ? arena_alloc(a, v->list.len * sizeof *v->list.items) : NULL;
        copy->list.cap = v->list.len;
        for (size_t i = 0; i < v->list.len; i++)
            copy->list.items[i] = value_copy(a, v->list.items[i]);
    } else if (v->kind == VALUE_MAP) {
        copy->map.members = v->map.len ? arena_alloc(a, v->map.len * sizeof *v->map.members) : NULL;
        copy->map.cap = v->map.len;
        for (size_t i = 0; i < v->map.len; i++) {
            copy->map.members[i].key = v->map.members[i].key;
            copy->map.members[i].value = value_copy(a, v->map.members[i].value);
        }
    }
    return copy;
}

/* ---- readers ---- */

static struct value_member *member_find(const struct value *map, struct str key)
{
    if (!value_is(map, VALUE_MAP))
        return NULL;
    /* the length and the last byte tell most keys apart without a call */
    struct value_member *m = map->map.members, *end = m + map->map.len;
    char last = key.len ? key.p[key.len - 1] : 0;
    for (; m < end; m++)
        if (m->key.len == key.len &&
            (!key.len || (m->key.p[key.len - 1] == last && memcmp(m->key.p, key.p, key.len) == 0)))
            return m;
    return NULL;
}

struct value *value_get(const struct value *map, struct str key)
{
    struct value_member *m = member_find(map, key);
    return m ? m->value : NULL;
}

struct value *value_path(const struct value *v, const char *path)
{
    while (v) {
        const char *end = path;
        while (*end && *end != '.')
            end++;
        v = value_get(v, (struct str){path, (size_t)(end - path)});
        if (!*end)
            break;
        path = end + 1;
    }
    return (struct value *)v;
}

struct str value_str(const struct value *v)
{
    return value_is(v, VALUE_STRING) ? v->string : STR_NULL;
}

struct str value_path_str(const struct value *v, const char *path)
{
    return value_str(value_path(v, path));
}

int64_t value_path_int(const struct value *v, const char *path, int64_t otherwise)
{
    const struct value *found = value_path(v, path);
    return value_is(found, VALUE_INT) ? found->integer : otherwise;
}

bool value_path_bool(const struct value *v, const char *path, bool otherwise)
{
    const struct value *found = value_path(v, path);
    return value_is(found, VALUE_BOOL) ? found->boolean : otherwise;
}

size_t value_len(const struct value *v)
{
    if (!v)
        return 0;
    switch (v->kind) {
    case VALUE_LIST:
        return v->list.len;
    case VALUE_MAP:
        return v->map.len;
    case VALUE_STRING:
        return v->string.len;
    default:
        return 0;
    }
}

struct value *value_at(const struct value *list, size_t i)
{
    return value_is(list, VALUE_LIST) && i < list->list.len ? list->list.items[i] : NULL;
}

/* Members mostly stand in the same order on both sides, so the same place is tried first. */
static const struct value *partner(const struct value *map, size_t i, struct str key)
{
    if (i < map->map.len && str_eq(map->map.members[i].key, key))
        return map->map.members[i].value;
    return value_get(map, key);
}

static bool scalar_equal(const struct value *a, const struct value *b)
{
    switch (a->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_INT:
        return a->integer == b->integer;
    case VALUE_DOUBLE:
        return a->number >= b->number && a->number <= b->number;
    default:
        return str_eq(a->string, b->string);
    }
}

bool value_equal(const struct value *a, const struct value *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->kind != b->kind)
        return false;
    if (a->kind == VALUE_LIST) {
        if (a->list.len != b->list.len)
            return false;
        for (size_t i = 0; i < a->list.len; i++)
            if (!value_equal(a->list.items[i], b->list.items[i]))
                return false;
        return true;
    }
    if (a->kind == VALUE_MAP) {
        if (a->map.len != b->map.len)
            return false;
        for (size_t i = 0; i < a->map.len; i++) {
            const struct value *other = partner(b, i, a->map.members[i].key);
            if (!other || !value_equal(a->map.members[i].value, other))
                return false;
        }
        return true;
    }
    return scalar_equal(a, b);
}

static bool semantically_empty(const struct value *v)
{
    return !v || v->kind == VALUE_NULL || (v->kind == VALUE_LIST && v->list.len == 0) ||
           (v->kind == VALUE_MAP && v->map.len == 0);
}

bool value_semantic_equal(const struct value *a, const struct value *b)
{
    bool empty_a = semantically_empty(a), empty_b = semantically_empty(b);
    if (empty_a || empty_b) {
        /* a map whose members are all empty counts as empty too: it compares with an empty map member by member */
        const struct value *rest = empty_a ? b : a;
        if (empty_a && empty_b)
            return true;
        if (rest->kind != VALUE_MAP)
            return false;
        for (size_t i = 0; i < rest->map.len; i++)
            if (!value_semantic_equal(NULL, rest->map.members[i].value))
                return false;
        return true;
    }
    if (a->kind != b->kind)
        return false;
    if (a->kind == VALUE_LIST) {
        if (a->list.len != b->list.len)
            return false;
        for (size_t i = 0; i < a->list.len; i++)
            if (!value_semantic_equal(a->list.items[i], b->list.items[i]))
                return false;
        return true;
    }
    if (a->kind != VALUE_MAP)
        return scalar_equal(a, b);
    for (size_t i = 0; i < a->map.len; i++)
        if (!value_semantic_equal(a->map.members[i].value, partner(b, i, a->map.members[i].key)))
            return false;
    for (size_t i = 0; i < b->map.len; i++)
        if (!partner(a, i, b->map.members[i].key) && !value_semantic_equal(NULL, b->map.members[i].value))
            return false;
    return true;
}

/* ---- writers ---- */

void value_set(struct arena *a, struct value *map, struct str key, struct value *v)
{
    assert(value_is(map, VALUE_MAP) && v);
    struct value_member *m = member_find(map, key);
    if (m)
        m->value = v;
    else
        ARENA_PUSH(a, map->map.members, map->map.len, map->map.cap, (struct value_member){key, v});
}

/* The map that holds the last step of path; NULL when it is missing and `make` is not set. */
static struct value *parent_of(struct arena *make, struct value *map, const char *path, struct str *ret_last)
{
    struct str rest = str_from(path), step = STR_NULL;
    str_split(&rest, '.', &step);
    while (rest.p) {
        struct value *next = value_get(map, step);
        if (!value_is(next, VALUE_MAP)) {
            if (!make)
                return NULL;
            next = value_map(make);
            value_set(make, map, arena_str(make, step), next);
        }
        map = next;
        str_split(&rest, '.', &step);
    }
    *ret_last = step;
    return map;
}

void value_set_path(struct arena *a, struct value *map, const char *path, struct value *v)
{
    struct str last;
    struct value *parent = parent_of(a, map, path, &last);
    if (!member_find(parent, last))
        last = arena_str(a, last);
    value_set(a, parent, last, v);
}

bool value_remove(struct value *map, struct str key)
{
    struct value_member *m = member_find(map, key);
    if (!m)
        return false;
    size_t at = (size_t)(m - map->map.members);
    memmove(m, m + 1, (map->map.len - at - 1) * sizeof *m);
    map->map.len--;
    return true;
}

bool value_removez(struct value *map, const char *key)
{
    return value_remove(map, str_from(key));
}

void value_remove_path(struct value *map, const char *path)
{
    struct str last;
    struct value *parent = parent_of(NULL, map, path, &last);
    if (parent)
        value_remove(parent, last);
}

void value_append(struct arena *a, struct value *list, struct value *v)
{
    assert(value_is(list, VALUE_LIST) && v);
    ARENA_PUSH(a, list->list.items, list->list.len, list->list.cap, v);
}

void value_insert(struct arena *a, struct value *list, size_t at, struct value *v)
{
    assert(at <= value_len(list));
    value_append(a, list, v);
    memmove(list->list.items + at + 1, list->list.items + at, (list->list.len - 1 - at) * sizeof *list->list.items);
    list->list.items[at] = v;
}

void value_remove_at(struct value *list, size_t at)
{
    assert(at < value_len(list));
    memmove(list->list.items + at, list->list.items + at + 1, (list->list.len - at - 1) * sizeof *list->list.items);
    list->list.len--;
}

static struct value *ensure(struct arena *a, struct value *map, const char *path, enum value_kind kind)
{
    struct str last;
    struct value *parent = parent_of(a, map, path, &last);
    struct value *found = value_get(parent, last);
    if (value_is(found, kind))
        return found;
    struct value *made = value_new(a, kind);
    value_set(a, parent, found ? last : arena_str(a, last), made);
    return made;
}

struct value *value_ensure_map(struct arena *a, struct value *map, const char *path)
{
    return ensure(a, map, path, VALUE_MAP);
}

struct value *value_ensure_list(struct arena *a, struct value *map, const char *path)
{
    return ensure(a, map, path, VALUE_LIST);
}
