/* The store starts over: what happened since its last revision cannot be told, only what is now. New trees are built
 * beside the old ones (an object that has not changed stays the one it was) and take their places all at once. Watchers
 * catch up from the store's history, as far as it still reaches; beyond that they end with ERR_EXPIRED and list anew.
 */
#include "storage/cache/cache_internal.h"

#include "base/log.h"

void store_restart_finish(struct store *s)
{
    object_tree_put(s->rebuilt);
    s->rebuilt = NULL;
}

static void begin(struct cache *c)
{
    for (size_t i = 0; i < c->all.len; i++) {
        struct store *s = c->all.items[i];

        store_restart_finish(s);
        s->rebuilt = object_tree_create(s->resource);
    }
}

static void add_pair(struct cache *c, const struct kv_pair *p)
{
    struct store *s = cache_store_of_key(c, p->key);
    struct str namespace_, name;
    struct object *now;
    struct err err;

    if (!s) {
        keys_restart(c, KV_RESTART_PAIRS, p);
        return;
    }
    if (s->loading || !s->rebuilt)
        return;
    store_split_key(s, p->key, &namespace_, &name);
    const struct object *old = object_tree_find(s->root, namespace_, name);
    if (old && old->revision == p->mod_revision) {
        s->rebuilt = object_tree_set(s->rebuilt, old);
        return;
    }
    arena_reset(c->scratch);
    int rc = store_decode(s, c->scratch, p, &now, &err);
    if (rc < 0)
        log_error("storage", "key " STR_FMT ": %s", STR_ARG(p->key), err.message);
    if (rc)
        return;
    s->rebuilt = object_tree_set(s->rebuilt, now);
    object_put(now);
}

static void end(struct cache *c, int64_t revision)
{
    for (size_t i = 0; i < c->all.len; i++) {
        struct store *s = c->all.items[i];

        if (s->loading) {
            for (size_t j = 0; j < s->queued.len; j++)
                ref_put(&s->queued.items[j]->ref);
            s->queued.len = 0;
            s->load_again = true;
        }
        if (s->loading || !s->rebuilt) {
            store_restart_finish(s);
            continue;
        }
        struct object_tree *old = s->root, *now = object_tree_set_revision(s->rebuilt, revision);
        s->rebuilt = NULL;
        pthread_mutex_lock(&s->lock);
        s->root = now;
        history_restart(s, revision);
        pthread_mutex_unlock(&s->lock);
        object_tree_put(old);
    }
    atomic_store_explicit(&c->revision, revision, memory_order_release);
}

void cache_restart(void *arg, enum kv_restart step, const struct kv_pair *pairs, size_t n, int64_t revision)
{
    struct cache *c = arg;

    pthread_mutex_lock(&c->publish_lock);
    if (step == KV_RESTART_BEGIN)
        begin(c);
    for (size_t i = 0; step == KV_RESTART_PAIRS && i < n; i++)
        add_pair(c, &pairs[i]);
    if (step == KV_RESTART_END)
        end(c, revision);
    if (step != KV_RESTART_PAIRS)
        keys_restart(c, step, NULL);
    pthread_mutex_unlock(&c->publish_lock);
    if (step != KV_RESTART_END)
        return;
    cache_wake_waiters(c, revision);
    hub_restart(c, revision);
}
