/* History: a watch of its own from the asked revision on, over the whole key space (so that its end is seen, whatever
 * the asked keys did), read on the caller's thread. What the reader has not taken yet is bounded: the stream stops. */
#include "storage/kv/etcd/etcd.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { HELD_EVENTS = 1000, HELD_BYTES = 4 << 20 };

struct history {
    struct etcd *store;
    struct str key, end;
    int64_t newest;
    bool only_first; /* any answer will do: is there history at all, from where */

    struct grpc_call *stream; /* the loop's */
    struct timer retry;
    int64_t seen, deadline_ms;
    struct etcd_chunk *partial;
    bool paused;

    pthread_mutex_t lock; /* what follows */
    pthread_cond_t ready;
    struct etcd_chunk *first, *last;
    size_t held_bytes;
    bool over, gone; /* no more comes; the loop has let go */
    int64_t compacted;
    struct err err;
};

static void finish(struct history *h, const struct err *err)
{
    grpc_cancel(h->stream);
    h->stream = NULL;
    timer_stop(&h->retry);
    pthread_mutex_lock(&h->lock);
    if (err && !h->over)
        h->err = *err;
    h->over = true;
    pthread_cond_signal(&h->ready);
    pthread_mutex_unlock(&h->lock);
}

static bool asked_for(const struct history *h, struct str key)
{
    return h->end.p ? str_cmp(key, h->key) >= 0 && str_cmp(key, h->end) < 0 : str_eq(key, h->key);
}

static void hand_over(struct history *h)
{
    struct etcd_chunk *c = h->partial;

    h->partial = NULL;
    if (!c)
        return;
    pthread_mutex_lock(&h->lock);
    if (h->last)
        h->last->next = c;
    else
        h->first = c;
    h->last = c;
    h->held_bytes += arena_used(c->arena);
    bool full = h->held_bytes > HELD_BYTES;
    pthread_cond_signal(&h->ready);
    pthread_mutex_unlock(&h->lock);
    if (full && h->stream) {
        h->paused = true;
        grpc_read(h->stream, false);
    }
}

static void take_event(struct history *h, const Etcdserverpb__Event *from)
{
    struct str key;
    struct kv_event event;

    if (!etcd_our_key(h->store, from->kv->key, &key) || !asked_for(h, key))
        return;
    if (!h->partial) {
        struct arena *a = arena_create(0);
        h->partial = ARENA_NEW(a, struct etcd_chunk);
        h->partial->arena = a;
    }
    struct etcd_chunk *c = h->partial;
    if (etcd_event(h->store, c->arena, from, &event))
        ARENA_PUSH(c->arena, c->events, c->n, c->cap, event);
}

static void on_message(void *arg, const ProtobufCMessage *message)
{
    struct history *h = arg;
    const Etcdserverpb__WatchResponse *r = (const Etcdserverpb__WatchResponse *)message;
    int64_t last = 0;
    struct err err;

    if (r->canceled) {
        h->compacted = r->compact_revision;
        if (r->compact_revision)
            err_set(&err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)h->seen,
                    (long long)r->compact_revision);
        else
            err_set(&err, ERR_UNAVAILABLE, "etcd ended the watch: %s", r->cancel_reason);
        finish(h, &err);
        return;
    }
    if (r->n_events && h->only_first) {
        finish(h, NULL);
        return;
    }
    for (size_t i = 0; i < r->n_events; i++) {
        last = r->events[i]->kv ? r->events[i]->kv->mod_revision : 0;
        if (last > h->seen && last <= h->newest)
            take_event(h, r->events[i]);
    }
    if (r->fragment || !r->n_events)
        return;
    h->seen = last;
    hand_over(h);
    if (h->seen >= h->newest)
        finish(h, NULL);
}

static void history_open(void *arg);

static void on_done(void *arg, const struct err *err)
{
    struct history *h = arg;
    struct err own;

    h->stream = NULL;
    h->paused = false;
    if (h->partial)
        arena_destroy(h->partial->arena);
    h->partial = NULL;
    if (h->store->closing || clock_mono_ms() > h->deadline_ms) {
        err_set(&own, ERR_UNAVAILABLE, "etcd: %s", err ? err->message : "the watch ended");
        finish(h, &own);
        return;
    }
    timer_start(&h->retry, h->store->loop, ETCD_RETRY_MS, history_open, h);
}

static void history_open(void *arg)
{
    struct history *h = arg;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    struct grpc_stream_handler handler = {.on_message = on_message, .on_done = on_done, .arg = h};

    create.key = create.range_end = etcd_end_of_all();
    create.start_revision = h->seen + 1;
    create.prev_kv = !h->only_first;
    create.fragment = true;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    h->stream = grpc_stream(h->store->channel, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor,
                            0, &handler);
    grpc_send(h->stream, &request.base);
}

static void history_stop(void *arg)
{
    struct history *h = arg;

    finish(h, NULL);
    if (h->partial)
        arena_destroy(h->partial->arena);
    h->partial = NULL;
    pthread_mutex_lock(&h->lock);
    h->gone = true;
    pthread_cond_signal(&h->ready);
    pthread_mutex_unlock(&h->lock);
}

static void history_go_on(void *arg)
{
    struct history *h = arg;

    if (h->paused && h->stream)
        grpc_read(h->stream, true);
    h->paused = false;
}

/* Hands what comes to fn, until all has come, fn has enough or something failed. */
static void read_events(struct history *h, kv_event_fn *fn, void *arg)
{
    bool enough = false;

    pthread_mutex_lock(&h->lock);
    while (!enough && (h->first || !h->over)) {
        struct etcd_chunk *c = h->first;

        if (!c) {
            pthread_cond_wait(&h->ready, &h->lock);
            continue;
        }
        h->first = c->next;
        if (!c->next)
            h->last = NULL;
        h->held_bytes -= arena_used(c->arena);
        bool over = h->over;
        pthread_mutex_unlock(&h->lock);
        for (size_t i = 0; i < c->n && !enough; i++)
            enough = !fn(arg, &c->events[i]);
        arena_destroy(c->arena);
        if (!over && !enough)
            loop_post(h->store->loop, history_go_on, h);
        pthread_mutex_lock(&h->lock);
    }
    pthread_mutex_unlock(&h->lock);
}

static int run(struct history *h, kv_event_fn *fn, void *arg, struct err *err)
{
    assert(loop_current() != h->store->loop);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->ready, NULL);
    h->deadline_ms = clock_mono_ms() + ETCD_CALL_MS;
    loop_post(h->store->loop, history_open, h);
    read_events(h, fn, arg);
    loop_post(h->store->loop, history_stop, h);
    pthread_mutex_lock(&h->lock);
    while (!h->gone)
        pthread_cond_wait(&h->ready, &h->lock);
    pthread_mutex_unlock(&h->lock);
    for (struct etcd_chunk *c; (c = h->first);) {
        h->first = c->next;
        arena_destroy(c->arena);
    }
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->ready);
    if (!h->err.code)
        return 0;
    *err = h->err;
    return err->code;
}

int etcd_history(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                 struct err *err)
{
    struct etcd *e = etcd_of(kv);
    int64_t compacted = atomic_load(&e->compacted);
    struct history h = {.store = e, .key = key, .end = end, .newest = atomic_load(&e->revision), .seen = after};

    if (after < compacted)
        return err_set(err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)after,
                       (long long)compacted);
    return after >= h.newest ? 0 : run(&h, fn, arg, err);
}

/* etcd tells how far it has forgotten only to a watch that asks for more. */
int etcd_find_compacted(struct etcd *e, struct err *err)
{
    struct history h = {.store = e, .newest = 1, .only_first = true};

    if (atomic_load(&e->revision) < 2)
        return 0;
    int rc = run(&h, NULL, NULL, err);
    if (rc == ERR_EXPIRED) {
        etcd_compacted_raise(e, h.compacted);
        rc = 0;
    }
    return rc;
}
