/* ref: the count inside things that several threads share and nobody changes.
 *
 * Embed `struct ref` as the first member. ref_get before handing on, ref_put when done; the last put calls `free_fn`.
 * Acquire/release ordering makes everything written before publication visible to who frees it.
 */
#ifndef SKIFF_BASE_REF_H
#define SKIFF_BASE_REF_H

#include <stdatomic.h>
#include <stddef.h>

struct ref {
    atomic_uint count;
    void (*free_fn)(struct ref *r);
};

static inline void ref_init(struct ref *r, void (*free_fn)(struct ref *r))
{
    atomic_init(&r->count, 1);
    r->free_fn = free_fn;
}
static inline void ref_get(struct ref *r)
{
    atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
}
static inline void ref_put(struct ref *r) /* NULL is fine */
{
    /* acquire and release in one: the thread sanitizer does not understand a fence here */
    if (r && atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel) == 1)
        r->free_fn(r);
}

/* Bytes kept alive by `owner` (which may be NULL for constants): what the network writes without a copy. */
struct slice {
    const char *p;
    size_t len;
    struct ref *owner;
};

/* A heap copy of bytes with its own count; the slice holds one reference. */
struct slice slice_copy(const void *p, size_t len);
struct slice slice_take(char *malloced, size_t len); /* takes over a malloc'd block */

#endif
