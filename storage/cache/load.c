/* Reading a resource from the store into a tree. One thread reads; what it read is decoded by several when there is
 * enough of it, chunk after chunk, so that little is in memory twice. */
#include "storage/cache/cache_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

enum { CHUNK_PAIRS = 1024, THREADS_MAX = 8, PARALLEL_FROM = 256 };

struct chunk {
    struct store *store;
    struct arena *arena;
    struct kv_pair pairs[CHUNK_PAIRS];
    struct object *objects[CHUNK_PAIRS];
    size_t n;
    _Atomic size_t next;
    size_t bytes;
    pthread_mutex_t lock;
    struct err *err;
    int rc;
    struct object_tree *tree;
    const struct object_tree *now;
    int n_threads;
};

/* A tree of the past costs what has changed since. */
static struct object *find_unchanged(const struct chunk *k, const struct kv_pair *p)
{
    struct str namespace_, name;

    if (!k->now)
        return NULL;
    store_split_key(k->store, p->key, &namespace_, &name);
    const struct object *o = object_tree_find(k->now, namespace_, name);
    if (!o || o->revision != p->mod_revision)
        return NULL;
    return (struct object *)(uintptr_t)object_get(o);
}

static void *decode(void *arg)
{
    struct chunk *k = arg;
    struct arena *a = arena_create(0);
    size_t i;

    while ((i = atomic_fetch_add(&k->next, 16)) < k->n) {
        for (size_t j = i; j < i + 16 && j < k->n; j++) {
            const struct kv_pair *p = &k->pairs[j];
            struct err err;

            k->objects[j] = find_unchanged(k, p);
            if (!k->objects[j] && store_decode(k->store, a, p, &k->objects[j], &err) < 0) {
                pthread_mutex_lock(&k->lock);
                k->rc = err.code;
                *k->err = err;
                err_context(k->err, "key " STR_FMT, STR_ARG(p->key));
                pthread_mutex_unlock(&k->lock);
            }
            arena_reset(a);
        }
    }
    arena_destroy(a);
    return NULL;
}

static void flush(struct chunk *k)
{
    pthread_t threads[THREADS_MAX];
    int n = k->n >= PARALLEL_FROM ? k->n_threads - 1 : 0, started = 0;

    atomic_store(&k->next, 0);
    while (started < n && pthread_create(&threads[started], NULL, decode, k) == 0)
        started++;
    decode(k);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < k->n; i++) {
        if (!k->objects[i])
            continue;
        k->tree = object_tree_set(k->tree, k->objects[i]);
        object_put(k->objects[i]);
    }
    k->n = k->bytes = 0;
    arena_reset(k->arena);
}

static bool add_pair(void *arg, const struct kv_pair *p)
{
    struct chunk *k = arg;

    k->pairs[k->n] = *p;
    k->pairs[k->n].key = arena_str(k->arena, p->key);
    k->pairs[k->n++].value = arena_str(k->arena, p->value);
    k->bytes += p->value.len;
    if (k->n == CHUNK_PAIRS || k->bytes > 4u << 20)
        flush(k);
    return k->rc == 0;
}

int store_load(struct store *s, int64_t revision, const struct object_tree *now, struct object_tree **ret,
               int64_t *ret_revision, struct err *err)
{
    struct chunk *k = MEM_NEW(struct chunk);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    k->store = s;
    k->arena = arena_create(0);
    k->err = err;
    k->now = now;
    k->tree = object_tree_create(s->resource);
    k->n_threads = cpus > THREADS_MAX ? THREADS_MAX : cpus > 1 ? (int)cpus : 1;
    pthread_mutex_init(&k->lock, NULL);
    struct str prefix = arena_str(k->arena, s->resource->storage_prefix);
    struct arena *keys = arena_create(0);
    int rc = kv_range(s->cache->kv, s->resource->storage_prefix, kv_prefix_end(keys, prefix), revision, 0, add_pair, k,
                      ret_revision, err);
    if (rc == 0)
        flush(k);
    if (rc == 0)
        rc = k->rc;
    if (rc < 0)
        object_tree_put(k->tree);
    else
        *ret = object_tree_set_revision(k->tree, *ret_revision);
    arena_destroy(keys);
    arena_destroy(k->arena);
    pthread_mutex_destroy(&k->lock);
    free(k);
    return rc;
}
