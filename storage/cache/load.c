/* Reading a resource from the store into a tree. The calling thread reads; what it has read is decoded by others, chunk
 * after chunk, while it reads on. When it is ahead of them it decodes too. Chunks leave in the order they came, and
 * their room is used again: a large store passes through a few megabytes. */
#include "storage/cache/cache_internal.h"

#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    CHUNKS = 4,
    CHUNK_PAIRS = 512,
    CHUNK_BYTES = 1 << 20,
    FIRST_BYTES = 32 << 10,
    NOT_OUT = INT32_MAX,
    TAKE = 16,
    THREADS_MAX = 8
};

struct chunk {
    struct kv_pair pairs[CHUNK_PAIRS];
    struct object *objects[CHUNK_PAIRS];
    struct buf text;              /* of the pairs; never moves while it holds some */
    _Atomic size_t n, next, done; /* next is set last when it is handed out: until then nobody takes anything */
};

struct load {
    struct store *store;
    const struct object_tree *now;
    struct object_tree *tree;
    struct chunk *chunks[CHUNKS]; /* a ring: [retired, shipped) are out, shipped is being filled */
    size_t shipped, retired;
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    bool over;
    pthread_t threads[THREADS_MAX];
    int n_threads;
    _Atomic int rc;
    struct err *err;
};

/* A tree of the past costs what has changed since. */
static struct object *find_unchanged(const struct load *l, const struct kv_pair *p)
{
    struct str namespace_, name;

    if (!l->now)
        return NULL;
    store_split_key(l->store, p->key, &namespace_, &name);
    const struct object *o = object_tree_find(l->now, namespace_, name);
    if (!o || o->revision != p->mod_revision)
        return NULL;
    return (struct object *)(uintptr_t)object_get(o);
}

static void decode_one(struct load *l, struct arena *a, const struct kv_pair *p, struct object **ret)
{
    struct err err;

    *ret = find_unchanged(l, p);
    if (!*ret && store_decode(l->store, a, p, ret, &err) < 0) {
        pthread_mutex_lock(&l->lock);
        atomic_store(&l->rc, err.code);
        *l->err = err;
        err_context(l->err, "key " STR_FMT, STR_ARG(p->key));
        pthread_mutex_unlock(&l->lock);
    }
    arena_reset(a);
}

/* What nobody has taken yet of a chunk. */
static void decode(struct load *l, struct chunk *k, struct arena *a)
{
    size_t i, n;

    while ((i = atomic_load(&k->next)) < atomic_load(&k->n) && (i = atomic_fetch_add(&k->next, TAKE)) < (n = k->n)) {
        size_t end = i + TAKE < n ? i + TAKE : n;

        for (size_t j = i; j < end; j++)
            decode_one(l, a, &k->pairs[j], &k->objects[j]);
        if (atomic_fetch_add(&k->done, end - i) + (end - i) == n) {
            pthread_mutex_lock(&l->lock);
            pthread_cond_signal(&l->finished);
            pthread_mutex_unlock(&l->lock);
        }
    }
}

static void *work(void *arg)
{
    struct load *l = arg;
    struct arena *a = arena_create(0);

    pthread_mutex_lock(&l->lock);
    while (!l->over) {
        struct chunk *k = NULL;

        for (size_t i = l->retired; i < l->shipped && !k; i++)
            if (atomic_load(&l->chunks[i % CHUNKS]->next) < atomic_load(&l->chunks[i % CHUNKS]->n))
                k = l->chunks[i % CHUNKS];
        if (!k) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        decode(l, k, a);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    arena_destroy(a);
    return NULL;
}

/* The oldest chunk that is out goes into the tree. */
static void retire(struct load *l, struct arena *a)
{
    struct chunk *k = l->chunks[l->retired % CHUNKS];
    size_t n = k->n;

    decode(l, k, a);
    pthread_mutex_lock(&l->lock);
    while (atomic_load(&k->done) < n)
        pthread_cond_wait(&l->finished, &l->lock);
    l->retired++;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++) {
        if (!k->objects[i])
            continue;
        l->tree = object_tree_set(l->tree, k->objects[i]);
        object_put(k->objects[i]);
    }
    atomic_store(&k->next, NOT_OUT);
    atomic_store(&k->n, 0);
    k->text.len = 0;
}

static struct chunk *filling(struct load *l)
{
    struct chunk **k = &l->chunks[l->shipped % CHUNKS];

    if (!*k) {
        *k = MEM_NEW(struct chunk);
        atomic_store(&(*k)->next, NOT_OUT);
        buf_reserve(&(*k)->text, l->shipped ? CHUNK_BYTES : FIRST_BYTES);
    }
    return *k;
}

static void hand_out(struct load *l, struct chunk *k, size_t n)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&k->done, 0);
    atomic_store(&k->n, n);
    atomic_store(&k->next, 0);
    l->shipped++;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

static void start_threads(struct load *l)
{
    long cpus = l->n_threads ? 0 : sysconf(_SC_NPROCESSORS_ONLN);

    while (l->n_threads < THREADS_MAX && l->n_threads + 1 < cpus &&
           pthread_create(&l->threads[l->n_threads], NULL, work, l) == 0)
        l->n_threads++;
}

struct reading {
    struct load *load;
    struct arena *arena; /* of the calling thread's decoding */
    struct chunk *chunk;
    size_t n;
};

static struct str keep(struct buf *to, struct str s)
{
    struct str kept = {to->p + to->len, s.len};

    buf_add_str(to, s);
    return kept;
}

static void next_chunk(struct reading *r)
{
    struct load *l = r->load;

    if (r->n) {
        hand_out(l, r->chunk, r->n);
        start_threads(l);
    }
    if (l->shipped - l->retired == CHUNKS)
        retire(l, r->arena);
    r->chunk = filling(l);
    r->n = 0;
}

static bool add_pair(void *arg, const struct kv_pair *p)
{
    struct reading *r = arg;
    size_t size = p->key.len + p->value.len;

    if (r->n == CHUNK_PAIRS || (r->n && r->chunk->text.len + size > r->chunk->text.cap))
        next_chunk(r);
    if (r->chunk->text.len + size > r->chunk->text.cap)
        buf_reserve(&r->chunk->text, size); /* one value alone is larger; nothing points here yet */
    r->chunk->pairs[r->n] = *p;
    r->chunk->pairs[r->n].key = keep(&r->chunk->text, p->key);
    r->chunk->pairs[r->n++].value = keep(&r->chunk->text, p->value);
    return atomic_load(&r->load->rc) == 0;
}

/* What is out is waited for even when reading has failed. */
static void finish(struct reading *r)
{
    struct load *l = r->load;

    if (r->n)
        hand_out(l, r->chunk, r->n);
    while (l->retired < l->shipped)
        retire(l, r->arena);
    pthread_mutex_lock(&l->lock);
    l->over = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++)
        pthread_join(l->threads[i], NULL);
    for (int i = 0; i < CHUNKS && l->chunks[i]; i++) {
        buf_free(&l->chunks[i]->text);
        free(l->chunks[i]);
    }
}

int store_load(struct store *s, int64_t revision, const struct object_tree *now, struct object_tree **ret,
               int64_t *ret_revision, struct err *err)
{
    struct load l = {.store = s, .now = now, .tree = object_tree_create(s->resource)};
    struct reading r = {.load = &l, .arena = arena_create(0)};
    struct err read_err, decode_err;

    l.err = &decode_err;
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.work, NULL);
    pthread_cond_init(&l.finished, NULL);
    r.chunk = filling(&l);
    struct arena *keys = arena_create(0);
    struct str prefix = arena_str(keys, s->resource->storage_prefix);
    int rc =
        kv_range(s->cache->kv, prefix, kv_prefix_end(keys, prefix), revision, 0, add_pair, &r, ret_revision, &read_err);
    finish(&r);
    if (rc < 0)
        *err = read_err;
    else if ((rc = atomic_load(&l.rc)) < 0)
        *err = decode_err;
    if (rc < 0)
        object_tree_put(l.tree);
    else
        *ret = object_tree_set_revision(l.tree, *ret_revision);
    arena_destroy(keys);
    arena_destroy(r.arena);
    pthread_mutex_destroy(&l.lock);
    pthread_cond_destroy(&l.work);
    pthread_cond_destroy(&l.finished);
    return rc;
}
