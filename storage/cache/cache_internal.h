/* The inside of the cache: publish.c changes it (on the committer's thread), cache.c and history.c read it, commit.c
 * hands writes to kv, hub.c and watch.c live on the network loops.
 *
 * Order of locks: publish_lock, then a store's lock, then hub_lock. */
#ifndef SKIFF_STORAGE_CACHE_CACHE_INTERNAL_H
#define SKIFF_STORAGE_CACHE_CACHE_INTERNAL_H

#include "base/map.h"
#include "base/vec.h"
#include "storage/cache/cache.h"

#include <pthread.h>

enum {
    CACHE_RESOURCES_MAX = 16384,
    HISTORY_EVENTS = 8192,   /* per resource */
    HISTORY_BYTES = 8 << 20, /* of states nobody else holds, all resources together */
    KEPT_ROOTS = 32,         /* per resource: trees of the past that a paged list comes back to */
    KEPT_ROOT_MS = 60 * 1000,
    KEPT_SWEEP_MS = 5 * 1000,
};

struct kept_root {
    struct object_tree *tree;
    int64_t used_ms;
    uint64_t use; /* the store's kept_uses then: who is oldest */
};

struct store { /* one resource */
    struct cache *cache;
    const struct resource *resource;
    pthread_mutex_t lock; /* root, history, kept */
    struct object_tree *root;
    struct watch_event **ring; /* history: events[first .. first + len), modulo HISTORY_EVENTS; NULL until the first */
    size_t first, len;
    int64_t floor;          /* every event after this revision is in the ring */
    struct kept_root *kept; /* KEPT_ROOTS places, NULL until the first */
    size_t n_kept;
    uint64_t kept_uses;

    struct object_tree *working; /* the committer's, while it publishes a batch */
    struct object_tree *rebuilt; /* the committer's, while the store starts over */
    bool builtin;                /* its values may stand in the store as a stock API server writes them */
    bool loading;                /* cache_add_resource is reading it: events wait in `queued` */
    bool load_again;             /* the store has started over meanwhile */
    VEC(struct watch_event *) queued;
};

struct event_batch { /* what one publication gives the loops */
    struct ref ref;
    int64_t revision;
    size_t n;
    struct watch_event *events[];
};

struct revision_waiter;

struct key_set { /* keys.c */
    struct str prefix;
    pthread_mutex_t lock;
    struct map rebuilt;   /* while the store starts over */
    struct map revisions; /* key -> revision it was written at, as a pointer; while loading -revision it went away at */
    bool loading;
    struct key_set *next;
};

struct cache {
    struct kv *kv;
    _Atomic int64_t revision;
    _Atomic(struct store *) stores[CACHE_RESOURCES_MAX]; /* by resource index */
    pthread_mutex_t publish_lock;
    struct map by_prefix; /* storage prefix -> store */
    VEC(struct store *) all;
    struct key_set *key_sets; /* publish_lock */
    struct arena *scratch;    /* publishing */
    _Atomic size_t history_bytes;
    _Atomic size_t n_kept; /* trees of the past, all resources together */
    int64_t swept_ms;      /* publish_lock: when they were last looked through */

    pthread_mutex_t hub_lock;
    VEC(struct hub_loop *) loops;
    int64_t hub_revision; /* newest handed to the loops */

    pthread_mutex_t waiters_lock;
    struct revision_waiter *waiters;
};

struct store *cache_store(struct cache *c, const struct resource *r); /* asserts that it is served */
struct str cache_key(struct arena *a, const struct resource *r, struct str namespace_, struct str name);
struct object_tree *store_root(struct store *s); /* a reference */

/* What rides on a kv operation to the publish hook. */
struct commit_item {
    struct store *store;
    struct object *object; /* NULL: deletion */
};

/* restart.c */
kv_restart_fn cache_restart;
void store_restart_finish(struct store *s);
/* decode.c: a stored value as an object, in whatever form a stock API server may have left it. 1: its kind or version
 * is not served (the log says so). */
int store_decode(const struct store *s, struct arena *scratch, const struct kv_pair *p, struct object **ret,
                 struct err *err);

/* publish.c */
struct store *cache_store_of_key(struct cache *c, struct str key); /* publish_lock held; NULL: none */
void cache_publish(void *arg, const struct kv_event *events, size_t n, int64_t revision);
struct watch_event *watch_event_create(struct store *s, enum watch_type type, int64_t revision,
                                       const struct object *object, const struct object *prev);
void store_split_key(const struct store *s, struct str key, struct str *ret_namespace, struct str *ret_name);
void store_apply(struct store *s, struct watch_event *e);   /* to `working` */
void store_finish_batch(struct store *s, int64_t revision); /* working becomes root */

/* history.c; the caller holds the store's lock where it says so */
void history_add(struct store *s, struct watch_event *e); /* lock held; takes the reference */
void history_finish(struct store *s);
void history_restart(struct store *s, int64_t revision); /* lock held: nothing before that is known any more */
bool history_sweep(struct cache *c, int64_t now_ms);     /* publish_lock held: a tree nobody came back to goes */
/* Events after `after` up to `until`, at least one whole revision, about `limit`; each with a reference for the caller.
 * *ret_through: everything up to there has been seen. 1 = the ring does not reach back that far. */
int history_read(struct store *s, int64_t after, int64_t until, size_t limit, struct watch_event **ret, size_t cap,
                 size_t *ret_n, int64_t *ret_through);
/* An event from its stored form. */
int history_event(struct store *s, struct arena *scratch, const struct kv_event *e, struct watch_event **ret,
                  struct err *err);

/* load.c */
/* Objects that stand unchanged in `now` (NULL = none) are shared with it. */
int store_load(struct store *s, int64_t revision, const struct object_tree *now, struct object_tree **ret,
               int64_t *ret_revision, struct err *err);

/* keys.c; publish_lock held */
void keys_publish(struct cache *c, const struct kv_event *e);
void keys_restart(struct cache *c, enum kv_restart step, const struct kv_pair *pair);
void keys_finish(struct cache *c);

/* wait.c */
void cache_wake_waiters(struct cache *c, int64_t revision);
/* hub.c */
void hub_publish(struct cache *c, struct event_batch *b); /* takes the reference */
void hub_restart(struct cache *c, int64_t revision);
void hub_finish(struct cache *c);

#endif
