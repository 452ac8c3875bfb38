/* One watcher: catching up from history, then live, paused and back.
 *
 * A watcher that is not live holds nothing but the revision it has seen. It catches up in steps, each reading some
 * events from the resource's ring (or, further back, from the store on a thread of the pool), until it has seen what
 * its loop has delivered; from then on the loop's batches continue without a gap, since both happen on the loop's
 * thread.
 */
#include "storage/cache/hub.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { STEP_EVENTS = 256, STEP_CAP = 1024, STORED_EVENTS = 1024, STORED_BYTES = 8 << 20, KEPT_DELIVERIES = 8 };

static void kick(struct watch *w);

void watch_release(struct watch *w)
{
    assert(w->refs);
    if (--w->refs)
        return;
    vec_free(&w->out);
    free((char *)w->filter.namespace_.p);
    free((char *)w->filter.name.p);
    free((char *)w->filter.field_value.p);
    free(w);
}

/* ---- what a watcher sees ---- */

static bool matches(const struct watch_filter *f, const struct object *o)
{
    if (f->namespace_.len && !str_eq(f->namespace_, o->namespace_))
        return false;
    if (f->name.p && !str_eq(f->name, o->name))
        return false;
    if (f->field >= 0 && (f->field >= o->n_fields || !str_eq(f->field_value, o->fields[f->field])))
        return false;
    return !f->match || f->match(f->match_arg, o);
}

bool watch_classify(const struct watch *w, const struct watch_event *e, enum watch_type *ret)
{
    bool now = e->type != WATCH_DELETED && matches(&w->filter, e->object);
    bool before = e->type == WATCH_DELETED ? matches(&w->filter, e->object) : e->prev && matches(&w->filter, e->prev);

    *ret = now && before ? WATCH_MODIFIED : now ? WATCH_ADDED : WATCH_DELETED;
    return now || before;
}

void watch_queue(struct watch *w, struct watch_event *e, enum watch_type type)
{
    vec_push(&w->out, (struct watch_delivery){.type = type, .event = e, .revision = e->revision});
}

void watch_flush(struct watch *w)
{
    /* the callback may pause, resume or stop; it cannot be called again from within itself */
    size_t n = w->out.len;

    w->out.len = 0;
    if (n && !w->dead)
        w->fn(w->arg, w->out.items, n);
    if (w->out.cap > KEPT_DELIVERIES) /* a burst's room is not kept by each of thousands */
        vec_free(&w->out);
}

void watch_bookmark(struct watch *w)
{
    struct watch_delivery d = {.type = WATCH_BOOKMARK, .revision = w->hub->revision};

    if (w->dead || w->state != WATCH_LIVE)
        return;
    if (w->seen > d.revision)
        d.revision = w->seen;
    w->bookmark_now = false;
    w->fn(w->arg, &d, 1);
}

static void end(struct watch *w, const struct err *err)
{
    struct watch_delivery d = {.type = WATCH_ERROR, .err = err};

    if (w->dead)
        return;
    w->state = WATCH_ENDED;
    w->fn(w->arg, &d, 1);
}

/* ---- catching up ---- */

/* Hands over what of the events concerns w, and lets go of them. */
static void hand_over(struct watch *w, struct watch_event **events, size_t n)
{
    enum watch_type type;

    for (size_t i = 0; i < n; i++)
        if (!w->dead && watch_classify(w, events[i], &type))
            watch_queue(w, events[i], type);
    watch_flush(w);
    for (size_t i = 0; i < n; i++)
        ref_put(&events[i]->ref);
}

struct stored_read { /* a piece of the store's history */
    struct watch *watch;
    int64_t after, until, through;
    VEC(struct watch_event *) events;
    struct arena *scratch;
    size_t bytes;
    struct err err;
    int rc;
};

static bool take_stored(void *arg, const struct kv_event *from)
{
    struct stored_read *r = arg;
    struct watch_event *e;

    if (from->pair.mod_revision > r->until)
        return false;
    if ((r->events.len >= STORED_EVENTS || r->bytes >= STORED_BYTES) && from->pair.mod_revision != r->through) {
        r->until = r->through;
        return false;
    }
    r->through = from->pair.mod_revision;
    r->rc = history_event(r->watch->store, r->scratch, from, &e, &r->err);
    arena_reset(r->scratch);
    if (r->rc < 0)
        return false;
    if (e) {
        r->bytes += e->size + e->object->body.len;
        vec_push(&r->events, e);
    }
    return true;
}

static void read_stored(void *arg)
{
    struct stored_read *r = arg;
    struct store *s = r->watch->store;

    r->scratch = arena_create(0);
    struct arena *a = arena_create(0);
    struct str prefix = s->resource->storage_prefix;
    int rc = kv_history(s->cache->kv, prefix, kv_prefix_end(a, prefix), r->after, take_stored, r, &r->err);
    if (r->rc == 0)
        r->rc = rc;
    arena_destroy(a);
    arena_destroy(r->scratch);
}

static void stored_ready(void *arg)
{
    struct stored_read *r = arg;
    struct watch *w = r->watch;

    w->reading = false;
    bool wanted = !w->dead && w->state == WATCH_CATCHING_UP && r->rc == 0;
    if (wanted) {
        w->seen = r->until;
        hand_over(w, r->events.items, r->events.len);
        kick(w);
    } else {
        for (size_t i = 0; i < r->events.len; i++)
            ref_put(&r->events.items[i]->ref);
        if (!w->dead && w->state == WATCH_CATCHING_UP)
            end(w, &r->err);
        else if (w->state == WATCH_PAUSED)
            kick(w);
    }
    vec_free(&r->events);
    free(r);
    watch_release(w);
}

static void start_stored(struct watch *w)
{
    struct stored_read *r = MEM_NEW(struct stored_read);

    r->watch = w;
    r->after = w->seen;
    r->until = w->hub->revision;
    w->reading = true;
    w->refs++;
    loop_work(w->hub->loop, read_stored, stored_ready, r);
}

static void step(struct watch *w)
{
    struct watch_event *events[STEP_CAP];
    int64_t until = w->hub->revision, through = until;
    size_t n;

    if (w->seen < until) {
        if (history_read(w->store, w->seen, until, STEP_EVENTS, events, STEP_CAP, &n, &through) > 0) {
            start_stored(w);
            return;
        }
        w->seen = through;
        hand_over(w, events, n);
    }
    if (w->dead || w->state != WATCH_CATCHING_UP)
        return;
    if (through < w->hub->revision) {
        kick(w);
        return;
    }
    w->state = WATCH_LIVE;
    if (w->bookmark_now)
        watch_bookmark(w);
}

static void kicked(void *arg)
{
    struct watch *w = arg;

    w->kicked = false;
    if (!w->dead && !w->reading) {
        if (w->state == WATCH_CATCHING_UP)
            step(w);
        else if (w->state == WATCH_LIVE && w->bookmark_now)
            watch_bookmark(w);
    }
    watch_release(w);
}

static void kick(struct watch *w)
{
    if (w->kicked || w->dead)
        return;
    w->kicked = true;
    w->refs++;
    loop_post(w->hub->loop, kicked, w);
}

/* ---- calls ---- */

static struct str own(struct str s)
{
    return s.p ? (struct str){mem_dup(s.p, s.len), s.len} : STR_NULL;
}

static void enter(void *arg)
{
    struct watch *w = arg;

    if (!w->dead) {
        hub_enter(w);
        kick(w);
    }
    watch_release(w);
}

int watch_start(struct cache *c, const struct watch_filter *filter, int64_t revision, struct loop *loop, watch_fn *fn,
                void *arg, struct watch **ret, struct err *err)
{
    if (revision < kv_compacted_revision(c->kv))
        return err_set(err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)revision,
                       (long long)kv_compacted_revision(c->kv));
    struct watch *w = MEM_NEW(struct watch);

    w->cache = c;
    w->store = cache_store(c, filter->resource);
    w->hub = hub_loop_for(c, loop);
    w->filter = *filter;
    w->filter.namespace_ = own(filter->namespace_);
    w->filter.name = own(filter->name);
    w->filter.field_value = own(filter->field_value);
    w->fn = fn;
    w->arg = arg;
    w->seen = revision;
    w->refs = 2;
    *ret = w;
    if (loop_current() == loop)
        enter(w);
    else
        loop_post(loop, enter, w);
    return 0;
}

void watch_pause(struct watch *w)
{
    if (w->state == WATCH_LIVE && w->seen < w->hub->revision)
        w->seen = w->hub->revision; /* what this batch had for it has been handed over with the call that pauses */
    if (w->state != WATCH_ENDED)
        w->state = WATCH_PAUSED;
}

void watch_resume(struct watch *w)
{
    if (w->state != WATCH_PAUSED)
        return;
    w->state = WATCH_CATCHING_UP;
    kick(w);
}

void watch_bookmarks(struct watch *w, bool now)
{
    if (!w->bookmarks) {
        w->bookmarks = true;
        hub_bookmarks(w->hub);
    }
    if (now) {
        w->bookmark_now = true;
        kick(w);
    }
}

void watch_stop(struct watch *w)
{
    w->dead = true;
    if (w->link)
        hub_leave(w);
    watch_release(w);
}
