/* str: a borrowed run of bytes with its length. buf: a growing owned one.
 *
 * A `struct str` owns nothing; who made it says how long its bytes live. It need not end in NUL. {NULL, 0} is the
 * absent string, distinct from an empty one only where a header says so.
 */
#ifndef SKIFF_BASE_STR_H
#define SKIFF_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NULL ((struct str){NULL, 0})
#define STR_FMT "%.*s" /* with STR_ARG(s) */
#define STR_ARG(s) (int)(s).len, (s).p ? (s).p : ""

static inline struct str str_from(const char *z)
{
    return z ? (struct str){z, strlen(z)} : STR_NULL;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool str_eqz(struct str a, const char *z)
{
    return str_eq(a, str_from(z));
}
int str_cmp(struct str a, struct str b);        /* bytewise, as memcmp and then by length */
bool str_eq_nocase(struct str a, struct str b); /* ASCII */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_contains(struct str s, struct str needle);
struct str str_sub(struct str s, size_t from, size_t to); /* clamped to the string */
struct str str_trim(struct str s);                        /* ASCII white space on both sides */
/* Cut s at the first `sep`: ret_head gets what stands before, *s what follows (STR_NULL when none is left).
 * Returns false once *s is STR_NULL on entry. */
bool str_split(struct str *s, char sep, struct str *ret_head);
bool str_index(struct str s, char c, size_t *ret_at);
/* Whole string as a decimal integer; false for anything else, overflow included. */
bool str_to_i64(struct str s, int64_t *ret);
bool str_to_u64(struct str s, uint64_t *ret);
uint64_t str_hash(struct str s); /* seeded per process: safe for tables that outsiders fill */

/* A growing buffer on the heap. Zero-initialised is empty and valid; buf_free returns it to that state. */
struct buf {
    char *p;
    size_t len, cap;
};
void buf_free(struct buf *b);
void buf_reserve(struct buf *b, size_t extra);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_add_str(struct buf *b, struct str s);
void buf_addz(struct buf *b, const char *z);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_add_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *b, size_t n);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->len};
}

#endif
