/* Publishing, on the committer's thread: the events of one batch become new trees, history and one message per loop.
 * What a local write brought along (its object) is used as it is; only foreign changes (raw operations, leases that
 * ended) are looked up or parsed. */
#include "storage/cache/cache_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* ---- events ---- */

static void watch_event_free(struct ref *r)
{
    struct watch_event *e = (struct watch_event *)r;

    for (int i = 0; i < 3; i++) {
        struct slice *frame = atomic_load_explicit(&e->frames[i], memory_order_acquire);

        if (frame) {
            ref_put(frame->owner);
            free(frame);
        }
    }
    object_put(e->object);
    object_put(e->prev);
    free(e);
}

struct watch_event *watch_event_create(struct store *s, enum watch_type type, int64_t revision,
                                       const struct object *object, const struct object *prev)
{
    struct watch_event *e = MEM_NEW(struct watch_event);

    ref_init(&e->ref, watch_event_free);
    e->type = type;
    e->revision = revision;
    e->store = s;
    e->object = object;
    e->prev = prev;
    e->size = sizeof *e + (prev ? sizeof *prev + prev->body.len : 0) +
              (type == WATCH_DELETED ? sizeof *object + object->body.len : 0);
    return e;
}

void store_split_key(const struct store *s, struct str key, struct str *ret_namespace, struct str *ret_name)
{
    struct str rest = str_sub(key, s->resource->storage_prefix.len, key.len);
    size_t slash;

    *ret_namespace = STR("");
    *ret_name = rest;
    if (s->resource->namespaced && str_index(rest, '/', &slash)) {
        *ret_namespace = str_sub(rest, 0, slash);
        *ret_name = str_sub(rest, slash + 1, rest.len);
    }
}

/* Prefixes end in a slash: the store of a key is found by its parts. */
struct store *cache_store_of_key(struct cache *c, struct str key)
{
    for (size_t i = 1; i < key.len; i++) {
        struct store *s = key.p[i] == '/' ? map_get(&c->by_prefix, (struct str){key.p, i + 1}) : NULL;

        if (s)
            return s;
    }
    return NULL;
}

static const struct object *new_state(struct cache *c, struct store *s, const struct kv_event *from)
{
    struct commit_item *item = from->cookie;
    struct object *o;
    struct err err;

    if (item && item->object) {
        object_set_revision(item->object, from->pair.mod_revision, from->pair.create_revision);
        return object_get(item->object);
    }
    arena_reset(c->scratch);
    int rc = store_decode(s, c->scratch, &from->pair, &o, &err);
    if (rc < 0)
        log_error("storage", "key " STR_FMT ": %s", STR_ARG(from->pair.key), err.message);
    return rc ? NULL : o;
}

static struct watch_event *event_from(struct cache *c, struct store *s, const struct kv_event *from)
{
    struct object_tree *t = s->working;
    struct str namespace_, name;
    const struct object *prev, *now;

    store_split_key(s, from->pair.key, &namespace_, &name);
    prev = t ? object_tree_find(t, namespace_, name) : NULL;
    if (from->kind == KV_EVENT_DELETE) {
        if (!prev)
            return NULL;
        return watch_event_create(s, WATCH_DELETED, from->pair.mod_revision,
                                  object_at_revision(prev, from->pair.mod_revision), object_get(prev));
    }
    now = new_state(c, s, from);
    if (!now)
        return NULL;
    return watch_event_create(s, prev ? WATCH_MODIFIED : WATCH_ADDED, from->pair.mod_revision, now,
                              prev ? object_get(prev) : NULL);
}

/* ---- stores ---- */

void store_apply(struct store *s, struct watch_event *e)
{
    if (e->type == WATCH_DELETED)
        s->working = object_tree_remove(s->working, e->object->namespace_, e->object->name);
    else
        s->working = object_tree_set(s->working, e->object);
    pthread_mutex_lock(&s->lock);
    history_add(s, e);
    pthread_mutex_unlock(&s->lock);
}

void store_finish_batch(struct store *s, int64_t revision)
{
    struct object_tree *old = s->root;

    s->working = object_tree_set_revision(s->working, revision);
    pthread_mutex_lock(&s->lock);
    s->root = s->working;
    pthread_mutex_unlock(&s->lock);
    s->working = NULL;
    object_tree_put(old);
}

/* While a resource is being loaded its previous states are not known yet: what matters then is what it is now. */
static void queue_event(struct cache *c, struct store *s, const struct kv_event *from)
{
    if (from->kind == KV_EVENT_PUT) {
        const struct object *now = new_state(c, s, from);

        if (now)
            vec_push(&s->queued, watch_event_create(s, WATCH_MODIFIED, from->pair.mod_revision, now, NULL));
    } else {
        /* a stand-in that has the key */
        struct buf text = {0};
        struct str namespace_, name;
        struct object *o;
        struct err err;

        store_split_key(s, from->pair.key, &namespace_, &name);
        buf_printf(&text, "{\"metadata\":{\"name\":\"" STR_FMT "\",\"namespace\":\"" STR_FMT "\"}}", STR_ARG(name),
                   STR_ARG(namespace_));
        arena_reset(c->scratch);
        int rc = object_from_stored(c->scratch, s->resource, buf_str(&text), from->pair.mod_revision,
                                    from->pair.mod_revision, &o, &err);
        buf_free(&text);
        if (rc == 0)
            vec_push(&s->queued, watch_event_create(s, WATCH_DELETED, from->pair.mod_revision, o, NULL));
    }
}

/* Some write comes along every few seconds, if only a lease's: trees of the past need no timer of their own. One at a
 * time: what only it held is freed here. */
static void sweep(struct cache *c)
{
    if (!atomic_load_explicit(&c->n_kept, memory_order_relaxed))
        return;
    int64_t now_ms = clock_mono_ms();
    if (now_ms - c->swept_ms >= KEPT_SWEEP_MS && !history_sweep(c, now_ms))
        c->swept_ms = now_ms;
}

void cache_publish(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    struct cache *c = arg;
    struct event_batch *b = mem_alloc(sizeof *b + n * sizeof b->events[0]);
    VEC(struct store *) touched = {0};

    b->n = 0;
    b->revision = revision;
    pthread_mutex_lock(&c->publish_lock);
    for (size_t i = 0; i < n; i++) {
        struct commit_item *item = events[i].cookie;
        struct store *s = item ? item->store : cache_store_of_key(c, events[i].pair.key);

        if (!s) {
            keys_publish(c, &events[i]);
            continue;
        }
        if (s->loading) {
            queue_event(c, s, &events[i]);
            continue;
        }
        if (!s->working) {
            s->working = object_tree_get(s->root);
            vec_push(&touched, s);
        }
        struct watch_event *e = event_from(c, s, &events[i]);
        if (!e)
            continue;
        ref_get(&e->ref);
        b->events[b->n++] = e;
        store_apply(s, e);
    }
    for (size_t i = 0; i < touched.len; i++)
        store_finish_batch(touched.items[i], revision);
    vec_free(&touched);
    sweep(c);
    atomic_store_explicit(&c->revision, revision, memory_order_release);
    pthread_mutex_unlock(&c->publish_lock);
    hub_publish(c, b);
    cache_wake_waiters(c, revision); /* after what watchers on the same loop are sent */
}
