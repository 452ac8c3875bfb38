/* Each resource's recent events, shared by all its watchers, and the trees of the past that can be had from them: the
 * newest tree with the newer events undone. Further back the store's own history is read. */
#include "storage/cache/cache_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

static struct watch_event *at(const struct store *s, size_t i)
{
    return s->ring[(s->first + i) % HISTORY_EVENTS];
}

/* Whole revisions leave together, so that `floor` stays a revision. */
static void drop_oldest(struct store *s)
{
    int64_t revision = at(s, 0)->revision;

    while (s->len && at(s, 0)->revision == revision) {
        struct watch_event *e = at(s, 0);

        s->first = (s->first + 1) % HISTORY_EVENTS;
        s->len--;
        atomic_fetch_sub(&s->cache->history_bytes, e->size);
        ref_put(&e->ref);
    }
    s->floor = revision;
}

void history_add(struct store *s, struct watch_event *e)
{
    if (!s->ring)
        s->ring = MEM_ARRAY(struct watch_event *, HISTORY_EVENTS);
    size_t bytes = atomic_fetch_add(&s->cache->history_bytes, e->size) + e->size;

    while (s->len && (s->len == HISTORY_EVENTS || bytes > HISTORY_BYTES)) {
        /* one transaction that fills the ring by itself must not take its own beginning for complete */
        drop_oldest(s);
        bytes = atomic_load(&s->cache->history_bytes);
    }
    s->ring[(s->first + s->len) % HISTORY_EVENTS] = e;
    s->len++;
}

static struct object_tree *take_kept(struct store *s, size_t i);

void history_finish(struct store *s)
{
    while (s->len)
        drop_oldest(s);
    free(s->ring);
    while (s->n_kept)
        object_tree_put(take_kept(s, 0));
    free(s->kept);
}

void history_restart(struct store *s, int64_t revision)
{
    while (s->len)
        drop_oldest(s);
    s->floor = revision;
}

/* The first event after `revision`. */
static size_t behind(const struct store *s, int64_t revision)
{
    size_t low = 0, high = s->len;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (at(s, mid)->revision <= revision)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int history_read(struct store *s, int64_t after, int64_t until, size_t limit, struct watch_event **ret, size_t cap,
                 size_t *ret_n, int64_t *ret_through)
{
    size_t n = 0, i;

    *ret_n = 0;
    pthread_mutex_lock(&s->lock);
    if (after < s->floor) {
        pthread_mutex_unlock(&s->lock);
        return 1;
    }
    *ret_through = until;
    for (i = behind(s, after); i < s->len && at(s, i)->revision <= until; i++) {
        if (n >= limit && at(s, i)->revision != at(s, i - 1)->revision) {
            *ret_through = at(s, i - 1)->revision;
            break;
        }
        if (n == cap) { /* a revision larger than the caller's room: it reads that one from the store */
            while (n && ret[n - 1]->revision == at(s, i)->revision)
                ref_put(&ret[--n]->ref);
            if (n)
                *ret_through = ret[n - 1]->revision;
            break;
        }
        ret[n] = at(s, i);
        ref_get(&ret[n++]->ref);
    }
    bool too_large = n == 0 && i < s->len && at(s, i)->revision <= until;
    pthread_mutex_unlock(&s->lock);
    *ret_n = n;
    return too_large ? 1 : 0;
}

int history_event(struct store *s, struct arena *scratch, const struct kv_event *from, struct watch_event **ret,
                  struct err *err)
{
    struct object *now = NULL, *prev = NULL;
    enum watch_type type = from->kind == KV_EVENT_DELETE ? WATCH_DELETED : from->prev ? WATCH_MODIFIED : WATCH_ADDED;
    int64_t revision = from->pair.mod_revision;
    int rc;

    *ret = NULL;
    if (from->prev && (rc = store_decode(s, scratch, from->prev, &prev, err)) < 0)
        return rc;
    if (type == WATCH_DELETED) {
        if (!prev)
            return 0;
        now = object_at_revision(prev, revision);
    } else if ((rc = store_decode(s, scratch, &from->pair, &now, err)) != 0) {
        object_put(prev);
        return rc < 0 ? rc : 0;
    }
    *ret = watch_event_create(s, type, revision, now, prev);
    return 0;
}

/* ---- trees of the past ---- */

/* Lock held: a kept tree of exactly this revision. */
static struct object_tree *find_kept(struct store *s, int64_t revision, int64_t now_ms)
{
    for (size_t i = 0; i < s->n_kept; i++) {
        struct kept_root *k = &s->kept[i];

        if (object_tree_revision(k->tree) == revision) {
            k->used_ms = now_ms;
            k->use = ++s->kept_uses;
            return object_tree_get(k->tree);
        }
    }
    return NULL;
}

/* Lock held: the tree leaves its place, for the caller to put. */
static struct object_tree *take_kept(struct store *s, size_t i)
{
    struct object_tree *t = s->kept[i].tree;

    s->kept[i] = s->kept[--s->n_kept];
    atomic_fetch_sub(&s->cache->n_kept, 1);
    return t;
}

static void keep(struct store *s, struct object_tree *t)
{
    struct object_tree *old = NULL, *same;
    int64_t now_ms = clock_mono_ms();
    size_t oldest = 0;

    pthread_mutex_lock(&s->lock);
    if ((same = find_kept(s, object_tree_revision(t), now_ms))) {
        pthread_mutex_unlock(&s->lock);
        object_tree_put(same);
        return;
    }
    if (!s->kept)
        s->kept = MEM_ARRAY(struct kept_root, KEPT_ROOTS);
    if (s->n_kept == KEPT_ROOTS) {
        for (size_t i = 1; i < s->n_kept; i++)
            if (s->kept[i].use < s->kept[oldest].use)
                oldest = i;
        old = take_kept(s, oldest);
    }
    s->kept[s->n_kept++] = (struct kept_root){object_tree_get(t), now_ms, ++s->kept_uses};
    atomic_fetch_add(&s->cache->n_kept, 1);
    pthread_mutex_unlock(&s->lock);
    object_tree_put(old);
}

void cache_keep(struct cache *c, const struct resource *r, struct object_tree *t)
{
    keep(cache_store(c, r), t);
}

bool history_sweep(struct cache *c, int64_t now_ms)
{
    for (size_t i = 0; i < c->all.len; i++) {
        struct store *s = c->all.items[i];
        struct object_tree *old = NULL;

        pthread_mutex_lock(&s->lock);
        for (size_t j = 0; !old && j < s->n_kept; j++)
            if (now_ms - s->kept[j].used_ms > KEPT_ROOT_MS)
                old = take_kept(s, j);
        pthread_mutex_unlock(&s->lock);
        object_tree_put(old);
        if (old)
            return true;
    }
    return false;
}

/* The newest tree and what happened since `revision`, newest last. */
static bool take_undo(struct store *s, int64_t revision, struct object_tree **ret_tree, struct watch_event ***ret,
                      size_t *ret_n)
{
    if (revision < s->floor)
        return false;
    size_t from = behind(s, revision);

    *ret_n = s->len - from;
    *ret = MEM_ARRAY(struct watch_event *, *ret_n + 1);
    for (size_t i = 0; i < *ret_n; i++) {
        (*ret)[i] = at(s, from + i);
        ref_get(&(*ret)[i]->ref);
    }
    *ret_tree = object_tree_get(s->root);
    return true;
}

static struct object_tree *undo(struct object_tree *t, struct watch_event **events, size_t n, int64_t revision)
{
    for (size_t i = n; i-- > 0;) {
        struct watch_event *e = events[i];

        if (e->prev)
            t = object_tree_set(t, e->prev);
        else
            t = object_tree_remove(t, e->object->namespace_, e->object->name);
        ref_put(&e->ref);
    }
    free(events);
    return object_tree_set_revision(t, revision);
}

/* 1: it is not in memory. */
static int snapshot_near(struct store *s, int64_t revision, struct object_tree **ret, struct err *err)
{
    int64_t newest = cache_revision(s->cache);
    struct watch_event **events;
    size_t n;

    if (revision > newest)
        return err_set(err, ERR_TIMEOUT, "Too large resource version: %lld, current: %lld", (long long)revision,
                       (long long)newest);
    if (revision < kv_compacted_revision(s->cache->kv))
        return err_set(err, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
    pthread_mutex_lock(&s->lock);
    *ret = find_kept(s, revision, clock_mono_ms());
    /* A batch is in the ring before its root stands: what is newer than the root undoes to the same thing. */
    bool near = !*ret && take_undo(s, revision, ret, &events, &n);
    pthread_mutex_unlock(&s->lock);
    if (near) {
        *ret = undo(*ret, events, n, revision);
        if (n)
            keep(s, *ret);
    }
    return *ret ? 0 : 1;
}

static int snapshot_far(struct store *s, int64_t revision, struct object_tree **ret, struct err *err)
{
    int64_t read_at;
    struct object_tree *now = store_root(s);
    int rc = store_load(s, revision, now, ret, &read_at, err);

    object_tree_put(now);
    if (rc == ERR_EXPIRED)
        return err_set(err, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
    if (rc == 0)
        keep(s, *ret);
    return rc;
}

int cache_snapshot_at(struct cache *c, const struct resource *r, int64_t revision, struct object_tree **ret,
                      struct err *err)
{
    struct store *s = cache_store(c, r);
    int rc = snapshot_near(s, revision, ret, err);

    return rc > 0 ? snapshot_far(s, revision, ret, err) : rc;
}

struct far_read {
    struct store *store;
    int64_t revision;
    cache_snapshot_done *done;
    void *arg;
    struct object_tree *tree;
    struct err err;
    int rc;
};

static void read_far(void *arg)
{
    struct far_read *f = arg;

    f->rc = snapshot_far(f->store, f->revision, &f->tree, &f->err);
}

static void far_ready(void *arg)
{
    struct far_read *f = arg;

    f->done(f->arg, f->rc < 0 ? NULL : f->tree, f->rc < 0 ? &f->err : NULL);
    free(f);
}

void cache_snapshot_read(struct cache *c, const struct resource *r, int64_t revision, struct loop *loop,
                         cache_snapshot_done *done, void *arg)
{
    struct store *s = cache_store(c, r);
    struct object_tree *tree = NULL;
    struct err err;
    int rc = snapshot_near(s, revision, &tree, &err);

    if (rc <= 0) {
        done(arg, tree, rc < 0 ? &err : NULL);
        return;
    }
    struct far_read *f = MEM_NEW(struct far_read);
    *f = (struct far_read){.store = s, .revision = revision, .done = done, .arg = arg};
    loop_work(loop, read_far, far_ready, f);
}
