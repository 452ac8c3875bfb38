/* Arena: memory with the lifetime of one request, one reconcile or one scheduling cycle.
 *
 * Allocations are released together by arena_reset or arena_destroy. Nothing here returns NULL: when the host is
 * out of memory the process aborts. An arena may have a limit; it is soft: allocation goes on, `arena_over_limit`
 * turns true, and whoever decodes or builds unbounded things checks it in its loop and returns ERR_LIMIT.
 * An arena belongs to one thread at a time. Blocks come from malloc and grow geometrically from 4 KiB.
 */
#ifndef SKIFF_BASE_ARENA_H
#define SKIFF_BASE_ARENA_H

#include "base/str.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

struct arena *arena_create(size_t limit_bytes); /* 0 = no limit */
/* Blocks grow from `first_block` bytes (the struct's own included) instead: for many arenas that live long and hold
 * little. */
struct arena *arena_create_small(size_t first_block);
void arena_destroy(struct arena *a); /* NULL is fine */
void arena_wipe(struct arena *a);    /* as destroy, over what lay in it first: for keys */
void arena_reset(struct arena *a);   /* keeps the first block for reuse */
bool arena_over_limit(const struct arena *a);
size_t arena_used(const struct arena *a);

/* Run fn(arg) when the arena is reset or destroyed, last registered first: releases what the arena refers to. */
void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg);

void *arena_alloc(struct arena *a, size_t size);                              /* 16-byte aligned, uninitialized */
void *arena_zalloc(struct arena *a, size_t size);                             /* zeroed */
void *arena_grow(struct arena *a, void *p, size_t old_size, size_t new_size); /* extends in place when it is last */
void *arena_memdup(struct arena *a, const void *p, size_t len);
char *arena_strdup(struct arena *a, const char *s);
struct str arena_str(struct arena *a, struct str s); /* copy, NUL-terminated behind its end */
struct str arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap);

#define ARENA_NEW(a, T) ((T *)arena_zalloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_zalloc((a), sizeof(T) * (n)))

/* Append to an array in an arena: `items` is the pointer, `len` and `cap` its size_t counters. */
#define ARENA_PUSH(a, items, len, cap, ...)                                                                \
    do {                                                                                                   \
        if ((len) == (cap)) {                                                                              \
            size_t arena_new_cap_ = (cap) ? (cap)*2 : 8;                                                   \
            (items) = arena_grow((a), (items), (cap) * sizeof *(items), arena_new_cap_ * sizeof *(items)); \
            (cap) = arena_new_cap_;                                                                        \
        }                                                                                                  \
        (items)[(len)++] = __VA_ARGS__;                                                                    \
    } while (0)

#endif
