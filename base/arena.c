#include "base/arena.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* The arena's own struct stands at the start of its first block, so a small request costs one malloc. */

enum { ARENA_FIRST_BLOCK = 4096 - 32, ARENA_MAX_BLOCK = 1 << 20, ARENA_ALIGN = 16 };

struct arena_block {
    struct arena_block *next; /* older */
    size_t size;              /* of the whole block */
};

struct arena_defer {
    struct arena_defer *next;
    void (*fn)(void *arg);
    void *arg;
};

struct arena {
    struct arena_block *blocks; /* all but the first, newest first */
    char *at, *end;             /* free room in the newest block */
    size_t used, limit, first_size, next_size;
    struct arena_defer *defers;
};

/* ---- blocks ----
 *
 * Request after request needs the same few blocks: each thread keeps some of the sizes that arenas begin with, still
 * warm, instead of asking the heap (and its lock) every time. */

#ifdef __SANITIZE_ADDRESS__
enum { KEPT_SIZES = 0 }; /* uses after the end of an arena are to be seen */
#else
enum { KEPT_SIZES = 4 };
#endif

struct kept_blocks {
    void *first[4]; /* linked through their first word */
    unsigned n[4];
};

static const unsigned kept_max[4] = {16, 4, 2, 1};
static _Thread_local struct kept_blocks *kept;
static pthread_key_t kept_key;
static pthread_once_t kept_once = PTHREAD_ONCE_INIT;

static void kept_free(void *arg)
{
    struct kept_blocks *k = arg;
    for (int i = 0; i < KEPT_SIZES; i++)
        for (void *b = k->first[i], *next; b; b = next) {
            next = *(void **)b;
            free(b);
        }
    free(k);
    kept = NULL;
}

static void kept_init(void)
{
    if (pthread_key_create(&kept_key, kept_free))
        abort();
}

static int kept_at(size_t size)
{
    for (int i = 0; i < KEPT_SIZES; i++)
        if (size == (size_t)ARENA_FIRST_BLOCK << i)
            return i;
    return -1;
}

static void *block_alloc(size_t size)
{
    int i = kept ? kept_at(size) : -1;
    if (i < 0 || !kept->first[i])
        return mem_alloc(size);
    void *b = kept->first[i];
    kept->first[i] = *(void **)b;
    kept->n[i]--;
    return b;
}

static void block_free(void *b, size_t size)
{
    int i = kept_at(size);
    if (i >= 0 && !kept) {
        pthread_once(&kept_once, kept_init);
        kept = mem_zalloc(sizeof *kept);
        if (pthread_setspecific(kept_key, kept))
            abort();
    }
    if (i < 0 || kept->n[i] == kept_max[i]) {
        free(b);
        return;
    }
    *(void **)b = kept->first[i];
    kept->first[i] = b;
    kept->n[i]++;
}

/* ---- arenas ---- */

static size_t arena_round(size_t size)
{
    return (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

static void arena_init(struct arena *a)
{
    a->blocks = NULL;
    a->at = (char *)a + arena_round(sizeof *a);
    a->end = (char *)a + a->first_size;
    a->used = 0;
    a->next_size = a->first_size < ARENA_FIRST_BLOCK ? a->first_size : 2 * ARENA_FIRST_BLOCK;
    a->defers = NULL;
}

struct arena *arena_create(size_t limit_bytes)
{
    struct arena *a = block_alloc(ARENA_FIRST_BLOCK);
    a->limit = limit_bytes;
    a->first_size = ARENA_FIRST_BLOCK;
    arena_init(a);
    return a;
}

struct arena *arena_create_small(size_t first_block)
{
    assert(first_block >= 256 && first_block <= ARENA_FIRST_BLOCK);
    struct arena *a = mem_alloc(first_block);
    a->limit = 0;
    a->first_size = first_block;
    arena_init(a);
    return a;
}

static void arena_run_defers(struct arena *a)
{
    while (a->defers) {
        struct arena_defer *d = a->defers;
        a->defers = d->next;
        d->fn(d->arg);
    }
}

static void arena_release(struct arena *a)
{
    arena_run_defers(a);
    while (a->blocks) {
        struct arena_block *b = a->blocks;
        a->blocks = b->next;
        block_free(b, b->size);
    }
}

void arena_destroy(struct arena *a)
{
    if (!a)
        return;
    arena_release(a);
    block_free(a, a->first_size);
}

void arena_wipe(struct arena *a)
{
    if (!a)
        return;
    arena_run_defers(a);
    for (struct arena_block *b = a->blocks; b; b = b->next)
        explicit_bzero(b + 1, b->size - sizeof *b);
    explicit_bzero((char *)a + arena_round(sizeof *a), a->first_size - arena_round(sizeof *a));
    arena_destroy(a);
}

void arena_reset(struct arena *a)
{
    arena_release(a);
    arena_init(a);
}

bool arena_over_limit(const struct arena *a)
{
    return a->limit && a->used > a->limit;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg)
{
    struct arena_defer *d = arena_alloc(a, sizeof *d);
    *d = (struct arena_defer){a->defers, fn, arg};
    a->defers = d;
}

static void arena_add_block(struct arena *a, size_t want)
{
    size_t head = arena_round(sizeof(struct arena_block));
    assert(want < SIZE_MAX - head);
    size_t size = a->next_size > want + head ? a->next_size : want + head;
    struct arena_block *b = block_alloc(size);
    b->size = size;
    b->next = a->blocks;
    a->blocks = b;
    a->at = (char *)b + head;
    a->end = (char *)b + size;
    if (a->next_size < ARENA_MAX_BLOCK)
        a->next_size *= 2;
}

void *arena_alloc(struct arena *a, size_t size)
{
    assert(size < SIZE_MAX / 2);
    size_t n = arena_round(size ? size : 1);
    if ((size_t)(a->end - a->at) < n)
        arena_add_block(a, n);
    void *p = a->at;
    a->at += n;
    a->used += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

void *arena_grow(struct arena *a, void *p, size_t old_size, size_t new_size)
{
    if (!p)
        return arena_alloc(a, new_size);
    size_t old_n = arena_round(old_size ? old_size : 1), new_n = arena_round(new_size ? new_size : 1);
    if (new_n <= old_n)
        return p;
    if ((char *)p + old_n == a->at && (size_t)(a->end - (char *)p) >= new_n) {
        a->at += new_n - old_n;
        a->used += new_n - old_n;
        return p;
    }
    void *q = arena_alloc(a, new_size);
    memcpy(q, p, old_size);
    return q;
}

void *arena_memdup(struct arena *a, const void *p, size_t len)
{
    void *q = arena_alloc(a, len);
    if (len)
        memcpy(q, p, len);
    return q;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup(a, s, strlen(s) + 1);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (s.len)
        memcpy(p, s.p, s.len);
    p[s.len] = 0;
    return (struct str){p, s.len};
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    char small[256];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    assert(n >= 0);
    size_t len = (size_t)n;
    char *p = arena_alloc(a, len + 1);
    if (len < sizeof small)
        memcpy(p, small, len + 1);
    else
        vsnprintf(p, len + 1, fmt, again);
    va_end(again);
    return (struct str){p, len};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}
