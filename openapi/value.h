/* value: the one mutable form of an API object while something edits it.
 *
 * Decoding, defaulting, patching, applying, pruning, converting and validating all work on a tree of `struct value`
 * in an arena, beside its `struct schema_message`. Absent (no member), null and empty stay distinct. Integers
 * and floating-point numbers stay distinct. Maps keep insertion order; keys are unique.
 * Strings point into the arena or into bytes that outlive it. Nothing here frees: the arena does.
 */
#ifndef SKIFF_OPENAPI_VALUE_H
#define SKIFF_OPENAPI_VALUE_H

#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_DOUBLE, VALUE_STRING, VALUE_LIST, VALUE_MAP };

struct value_member;

struct value {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct str string;
        struct {
            struct value **items;
            size_t len, cap;
        } list;
        struct {
            struct value_member *members;
            size_t len, cap;
        } map;
    };
};

struct value_member {
    struct str key;
    struct value *value;
};

struct value *value_null(struct arena *a);
struct value *value_bool(struct arena *a, bool b);
struct value *value_int(struct arena *a, int64_t i);
struct value *value_double(struct arena *a, double d);
struct value *value_string(struct arena *a, struct str s);   /* borrows the bytes */
struct value *value_stringz(struct arena *a, const char *z); /* borrows a literal */
struct value *value_list(struct arena *a);
struct value *value_map(struct arena *a);
struct value *value_copy(struct arena *a, const struct value *v); /* deep; shares string bytes */

/* Readers take NULL for v (absent) and answer absent, so that look-ups chain. */
static inline bool value_is(const struct value *v, enum value_kind kind)
{
    return v && v->kind == kind;
}
struct value *value_get(const struct value *map, struct str key);                /* NULL when absent or not a map */
static inline struct value *value_getz(const struct value *map, const char *key) /* a literal's length costs nothing */
{
    return value_get(map, (struct str){key, strlen(key)});
}
/* Dotted path of map keys, e.g. "spec.template.metadata"; NULL when any step is missing. */
struct value *value_path(const struct value *v, const char *path);
struct str value_str(const struct value *v); /* STR_NULL unless a string */
struct str value_path_str(const struct value *v, const char *path);
int64_t value_path_int(const struct value *v, const char *path, int64_t otherwise);
bool value_path_bool(const struct value *v, const char *path, bool otherwise);
size_t value_len(const struct value *v);                        /* of a list, map or string; 0 otherwise */
struct value *value_at(const struct value *list, size_t i);     /* NULL past the end */
bool value_equal(const struct value *a, const struct value *b); /* deep; maps without regard to order */
/* As value_equal where absent, null, and empty map or list count as the same ("semantic deep equal"). */
bool value_semantic_equal(const struct value *a, const struct value *b);

/* Writers. `map` and `list` must be of that kind. */
void value_set(struct arena *a, struct value *map, struct str key, struct value *v); /* replaces or appends */
static inline void value_setz(struct arena *a, struct value *map, const char *key, struct value *v) /* a literal */
{
    value_set(a, map, (struct str){key, strlen(key)}, v);
}
/* Set by dotted path; missing maps on the way are made. */
void value_set_path(struct arena *a, struct value *map, const char *path, struct value *v);
bool value_remove(struct value *map, struct str key); /* keeps the order of the rest */
bool value_removez(struct value *map, const char *key);
void value_remove_path(struct value *map, const char *path);
void value_append(struct arena *a, struct value *list, struct value *v);
void value_insert(struct arena *a, struct value *list, size_t at, struct value *v);
void value_remove_at(struct value *list, size_t at);
/* The map at path, made when absent (or when null stood there). */
struct value *value_ensure_map(struct arena *a, struct value *map, const char *path);
struct value *value_ensure_list(struct arena *a, struct value *map, const char *path);

#endif
