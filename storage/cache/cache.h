/* cache: the objects above the bytes: per resource a copy-on-write tree, a bounded history, and the watch hub.
 *
 * All objects of all registered resources are in memory (immutable, shared). A snapshot costs a reference. Writes go
 * through cache_commit: compares and puts become one kv transaction; the committer publishes trees and watch events in
 * revision order before the writer's `done` is posted to its loop, so a reader always sees what was answered.
 *
 * Thread rules: every function may be called on any thread; callbacks run on the loop that was given.
 */
#ifndef SKIFF_STORAGE_CACHE_CACHE_H
#define SKIFF_STORAGE_CACHE_CACHE_H

#include "base/loop.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"
#include "storage/kv/kv.h"

struct cache;

/* Loads every resource in `resources` from kv (in parallel where it pays). kv stays the caller's. */
int cache_create(struct kv *kv, const struct resource *const *resources, size_t n, struct cache **ret, struct err *err);
void cache_destroy(struct cache *c);
/* Serve another resource from now on (CustomResourceDefinitions), loading what is stored of it. */
int cache_add_resource(struct cache *c, const struct resource *r, struct err *err);

int64_t cache_revision(struct cache *c); /* newest published */
/* The caller owns the reference. Its revision is the newest published one, also when nothing of this resource changed.
 */
struct object_tree *cache_snapshot(struct cache *c, const struct resource *r);
/* One object, the caller owns the reference; NULL when absent. */
const struct object *cache_find(struct cache *c, const struct resource *r, struct str namespace_, struct str name);
/* The tree as it was at `revision` (paged and exact lists). ERR_EXPIRED when history does not reach that far,
 * ERR_TIMEOUT ("Too large resource version: X, current: Y") when it lies ahead. Recent roots are kept; older ones are
 * rebuilt from kv. */
int cache_snapshot_at(struct cache *c, const struct resource *r, int64_t revision, struct object_tree **ret,
                      struct err *err);
/* The same for whoever must not wait for a disk or a network: what is not in memory is read on another thread. `done`
 * is called on `loop` (the current one), possibly before this returns; the tree is the receiver's. */
typedef void cache_snapshot_done(void *arg, struct object_tree *tree, const struct err *err);
void cache_snapshot_read(struct cache *c, const struct resource *r, int64_t revision, struct loop *loop,
                         cache_snapshot_done *done, void *arg);
/* Somebody will ask for this tree's revision again soon (a list in pages): it stays at hand for a minute after the last
 * time, also when the history moves on. */
void cache_keep(struct cache *c, const struct resource *r, struct object_tree *t);
/* Keys without objects (claims of node ports): which there are under `prefix`, kept in memory from now on. */
int cache_add_keys(struct cache *c, struct str prefix, struct err *err);
bool cache_has_key(struct cache *c, struct str key); /* under one of those prefixes */
/* Call back on `loop` once `revision` has been published (or the time-out has passed: ERR_TIMEOUT). */
void cache_wait_revision(struct cache *c, int64_t revision, int64_t timeout_ms, struct loop *loop,
                         void (*fn)(void *arg, int rc), void *arg);

/* Consistent reads: call back on `loop` once all that was acknowledged before this call, through whatever server, can
 * be seen here. `timeout_ms` bounds the wait for it to come in, once the store has said how far that is (it answers, or
 * fails, within ten seconds). rc < 0: err says why; ERR_UNAVAILABLE: the store cannot be asked. */
typedef void cache_newest_done(void *arg, int rc, const struct err *err);
void cache_wait_newest(struct cache *c, int64_t timeout_ms, struct loop *loop, cache_newest_done *done, void *arg);
/* True where that is always so (one server, a store of its own): nobody needs to wait. */
bool cache_always_newest(const struct cache *c);

enum cache_write_kind { CACHE_CREATE, CACHE_UPDATE, CACHE_DELETE };
struct cache_write {
    enum cache_write_kind kind;
    struct object *object;    /* CREATE, UPDATE: the new object, revision unset; the cache takes the reference */
    const struct object *old; /* UPDATE, DELETE: what it replaces; its revision is the compare. Borrowed until done */
    int64_t ttl_s;            /* CREATE, UPDATE: expire after so long (events); 0 = never */
};

/* rc: 0; ERR_ALREADY_EXISTS (CREATE of an existing key); ERR_CONFLICT (the old revision has moved on, or an extra
 * compare failed); or the kv's own error. `objects` (one per write, NULL for deletes) are borrowed for the call and
 * carry their final revision. After DELETE, `revision` is the deletion's. */
typedef void cache_commit_done(void *arg, int rc, int64_t revision, const struct object *const *objects,
                               const struct err *err);
/* Everything passed in except the objects is copied. Extra compares and raw ops (allocator bitmaps, fences) ride along.
 */
void cache_commit(struct cache *c, const struct cache_write *writes, size_t n, const struct kv_compare *compares,
                  size_t n_compares, const struct kv_op *ops, size_t n_ops, struct loop *loop, cache_commit_done *done,
                  void *arg);
/* What must hold for a leader to write: `key` still has the mod revision it got when the term began. */
struct cache_fence {
    struct str key;
    int64_t revision;
};
/* The same behind a fence (NULL = none). When it has fallen, rc is ERR_FENCED whatever else stands against the writes.
 */
void cache_commit_fenced(struct cache *c, const struct cache_fence *fence, const struct cache_write *writes, size_t n,
                         const struct kv_compare *compares, size_t n_compares, const struct kv_op *ops, size_t n_ops,
                         struct loop *loop, cache_commit_done *done, void *arg);

/* ---- watch ---- */

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

/* One change, made once and shared by every watcher of it. */
struct watch_event {
    struct ref ref;
    enum watch_type type; /* as the store saw it */
    int64_t revision;
    const struct object *object; /* the new state; of a delete the last state, with the deletion's revision */
    const struct object *prev;   /* NULL for a creation */
    size_t size;                 /* what it alone keeps in memory */
    struct store *store;         /* the cache's */
    _Atomic(struct slice *)
        frames[3]; /* malloc'd, freed with the event; encodings of the JSON wire form for ADDED, MODIFIED, DELETED, made
                      by the first watcher that needs one (api/), shared by the others */
};

struct watch_filter {
    const struct resource *resource;
    struct str namespace_; /* empty = all */
    struct str name;       /* STR_NULL = all: metadata.name=x */
    int field;             /* index of a selectable field the hub indexes by (spec.nodeName), -1 = none */
    struct str field_value;
    bool (*match)(void *arg, const struct object *o); /* further selectors; NULL = all. Called on the watcher's loop */
    void *match_arg;
};

/* What this watcher sees of an event: its own type (an object that starts to match is ADDED, one that stops is DELETED:
 * then event->type is not WATCH_DELETED, and what goes out is event->prev with the event's revision, as upstream does).
 */
struct watch_delivery {
    enum watch_type type;
    struct watch_event *event; /* NULL for BOOKMARK and ERROR; borrowed for the call */
    int64_t revision;
    const struct err *err; /* ERROR: ERR_EXPIRED … the watch has ended */
};

struct watch; /* one watcher */
typedef void watch_fn(void *arg, const struct watch_delivery *deliveries, size_t n);

/* Watch from after `revision` (history is replayed first; then live, gap-free, in order). Callbacks on `loop`.
 * ERR_EXPIRED when history does not reach back. A watcher that is not ready for more calls watch_pause; events wait in
 * the shared history (never in memory of its own) and watch_resume goes on from there, or ends with ERR_EXPIRED. */
int watch_start(struct cache *c, const struct watch_filter *filter, int64_t revision, struct loop *loop, watch_fn *fn,
                void *arg, struct watch **ret, struct err *err);
void watch_pause(struct watch *w);
void watch_resume(struct watch *w);
/* Ask for BOOKMARK deliveries: the revision up to which this watcher has seen everything, about once a minute, and one
 * at once when `now`. */
void watch_bookmarks(struct watch *w, bool now);
void watch_stop(struct watch *w); /* on its loop; no callback after this */

#endif
