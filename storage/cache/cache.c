#include "storage/cache/cache_internal.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- keys ---- */

struct str cache_key(struct arena *a, const struct resource *r, struct str namespace_, struct str name)
{
    if (namespace_.len)
        return arena_printf(a, STR_FMT STR_FMT "/" STR_FMT, STR_ARG(r->storage_prefix), STR_ARG(namespace_),
                            STR_ARG(name));
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(r->storage_prefix), STR_ARG(name));
}

struct store *cache_store(struct cache *c, const struct resource *r)
{
    const struct resource *stored = r->stored_as ? r->stored_as : r;
    struct store *s = atomic_load_explicit(&c->stores[stored->index], memory_order_acquire);

    assert(s);
    return s;
}

/* ---- life ---- */

static struct store *store_create(struct cache *c, const struct resource *r)
{
    struct store *s = MEM_NEW(struct store);

    s->cache = c;
    s->resource = r;
    size_t n_builtin;
    const struct resource *const *builtin = resources_builtin(&n_builtin);
    for (size_t i = 0; i < n_builtin && !s->builtin; i++)
        s->builtin = builtin[i] == r;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void store_destroy(struct store *s)
{
    for (size_t i = 0; i < s->queued.len; i++)
        ref_put(&s->queued.items[i]->ref);
    vec_free(&s->queued);
    history_finish(s);
    object_tree_put(s->root);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Events of the resource wait from here on; readers find it once it is loaded. */
static struct store *announce(struct cache *c, const struct resource *r)
{
    struct store *s = store_create(c, r);

    s->loading = true;
    pthread_mutex_lock(&c->publish_lock);
    map_put(&c->by_prefix, r->storage_prefix, s);
    vec_push(&c->all, s);
    pthread_mutex_unlock(&c->publish_lock);
    return s;
}

static void withdraw(struct cache *c, struct store *s)
{
    pthread_mutex_lock(&c->publish_lock);
    map_remove(&c->by_prefix, s->resource->storage_prefix);
    for (size_t i = 0; i < c->all.len; i++)
        if (c->all.items[i] == s)
            vec_remove_swap(&c->all, i);
    pthread_mutex_unlock(&c->publish_lock);
    store_destroy(s);
}

int cache_add_resource(struct cache *c, const struct resource *r, struct err *err)
{
    const struct resource *stored = r->stored_as ? r->stored_as : r;
    int64_t revision;

    assert(stored->index < CACHE_RESOURCES_MAX);
    if (atomic_load(&c->stores[stored->index]))
        return 0;
    struct store *s = announce(c, stored);
    struct object_tree *root = NULL;
    do { /* until the store did not start over meanwhile */
        object_tree_put(root);
        int rc = store_load(s, 0, NULL, &root, &revision, err);
        if (rc < 0) {
            withdraw(c, s);
            return err_context(err, "load " STR_FMT, STR_ARG(stored->name));
        }
        pthread_mutex_lock(&c->publish_lock);
        if (!s->load_again)
            break;
        s->load_again = false;
        pthread_mutex_unlock(&c->publish_lock);
    } while (true);
    s->root = root;
    s->floor = revision;
    s->working = object_tree_get(root);
    for (size_t i = 0; i < s->queued.len; i++) {
        struct watch_event *e = s->queued.items[i];

        if (e->revision > revision)
            store_apply(s, e);
        else
            ref_put(&e->ref);
    }
    vec_free(&s->queued);
    s->loading = false;
    int64_t published = atomic_load(&c->revision);
    store_finish_batch(s, published > revision ? published : revision);
    atomic_store_explicit(&c->stores[stored->index], s, memory_order_release);
    pthread_mutex_unlock(&c->publish_lock);
    return 0;
}

int cache_create(struct kv *kv, const struct resource *const *resources, size_t n, struct cache **ret, struct err *err)
{
    struct cache *c = MEM_NEW(struct cache);

    c->kv = kv;
    c->scratch = arena_create(0);
    pthread_mutex_init(&c->publish_lock, NULL);
    pthread_mutex_init(&c->hub_lock, NULL);
    pthread_mutex_init(&c->waiters_lock, NULL);
    atomic_store(&c->revision, kv_revision(kv));
    c->hub_revision = kv_revision(kv);
    kv_set_publish(kv, cache_publish, c);
    kv_set_restart(kv, cache_restart, c);
    for (size_t i = 0; i < n; i++) {
        int rc = cache_add_resource(c, resources[i], err);
        if (rc < 0) {
            cache_destroy(c);
            return rc;
        }
    }
    *ret = c;
    return 0;
}

void cache_destroy(struct cache *c)
{
    if (!c)
        return;
    kv_set_publish(c->kv, NULL, NULL);
    kv_set_restart(c->kv, NULL, NULL);
    hub_finish(c);
    keys_finish(c);
    for (size_t i = 0; i < c->all.len; i++)
        store_destroy(c->all.items[i]);
    vec_free(&c->all);
    map_finish(&c->by_prefix);
    arena_destroy(c->scratch);
    pthread_mutex_destroy(&c->publish_lock);
    pthread_mutex_destroy(&c->hub_lock);
    pthread_mutex_destroy(&c->waiters_lock);
    free(c);
}

/* ---- reading ---- */

int64_t cache_revision(struct cache *c)
{
    return atomic_load_explicit(&c->revision, memory_order_acquire);
}

struct object_tree *store_root(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    struct object_tree *t = object_tree_get(s->root);
    pthread_mutex_unlock(&s->lock);
    return t;
}

struct object_tree *cache_snapshot(struct cache *c, const struct resource *r)
{
    /* The revision first: the root taken after it holds at least everything up to it. */
    int64_t revision = cache_revision(c);
    struct object_tree *t = store_root(cache_store(c, r));

    return object_tree_revision(t) < revision ? object_tree_set_revision(t, revision) : t;
}

const struct object *cache_find(struct cache *c, const struct resource *r, struct str namespace_, struct str name)
{
    struct object_tree *t = store_root(cache_store(c, r));
    const struct object *o = object_tree_find(t, namespace_, name);

    if (o)
        object_get(o);
    object_tree_put(t);
    return o;
}
