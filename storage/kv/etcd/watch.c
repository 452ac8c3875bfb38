/* The one watch, over the whole key space: since every revision has an event there, what has come in is complete up to
 * its newest revision, and a stream that breaks goes on from the one after it, on whatever endpoint: no gap, nothing
 * twice. (Progress notifications are not relied upon: some 3.4 and 3.5 versions send them too early.)
 *
 * What came in waits in a queue of chunks until it can be published in order (etcd.h). */
#include "storage/kv/etcd/etcd.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- publishing ---- */

static size_t one_revision(const struct etcd_chunk *c)
{
    size_t n = 1;

    while (c->at + n < c->n && c->events[c->at + n].pair.mod_revision == c->events[c->at].pair.mod_revision)
        n++;
    return n;
}

static void note_compaction(struct etcd *e, const struct kv_event *event)
{
    int64_t revision;

    if (!e->prefix[0] && str_eq(event->pair.key, STR(ETCD_COMPACT_KEY)) && str_to_i64(event->pair.value, &revision))
        etcd_compacted_raise(e, revision);
}

/* What lies outside the prefix has only moved the revision on. */
static size_t drop_foreign(struct kv_event *events, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (events[i].pair.key.p)
            events[kept++] = events[i];
    return kept;
}

void etcd_watch_pump(struct etcd *e)
{
    struct etcd_chunk *c;
    bool held = false;

    while (!held && (c = e->watch.first)) {
        size_t from = c->at;

        while (c->at < c->n) {
            size_t n = one_revision(c);

            held = etcd_txn_may_claim(e, &c->events[c->at], n);
            if (held)
                break;
            etcd_txn_claim(e, &c->events[c->at], n);
            for (size_t i = 0; i < n; i++)
                note_compaction(e, &c->events[c->at + i]);
            c->at += n;
        }
        if (c->at > from) {
            int64_t revision = c->events[c->at - 1].pair.mod_revision;

            atomic_store_explicit(&e->revision, revision, memory_order_release);
            kv_publish(&e->kv, &c->events[from], drop_foreign(&c->events[from], c->at - from), revision);
        }
        if (c->at == c->n) {
            e->watch.first = c->next;
            if (!c->next)
                e->watch.last = NULL;
            arena_destroy(c->arena);
        }
    }
    /* A range of answers: `fn` may add more, but none that is due. */
    int64_t revision = atomic_load(&e->revision);
    for (struct etcd_wait *w; (w = e->waits) && w->revision <= revision;) {
        e->waits = w->next;
        w->fn(w, NULL);
    }
}

void etcd_wait(struct etcd *e, struct etcd_wait *w)
{
    if (w->revision <= atomic_load(&e->revision)) {
        w->fn(w, NULL);
        return;
    }
    struct etcd_wait **at = &e->waits;
    while (*at && (*at)->revision <= w->revision)
        at = &(*at)->next;
    w->next = *at;
    *at = w;
}

void etcd_waits_end(struct etcd *e, const struct err *err)
{
    for (struct etcd_wait *w; (w = e->waits);) {
        e->waits = w->next;
        w->fn(w, err);
    }
}

/* ---- coming in ---- */

static void chunk_free(struct etcd_chunk *c)
{
    if (c)
        arena_destroy(c->arena);
}

static struct etcd_chunk *chunk_create(void)
{
    struct arena *a = arena_create(0);
    struct etcd_chunk *c = ARENA_NEW(a, struct etcd_chunk);

    c->arena = a;
    return c;
}

static void take_events(struct etcd *e, const Etcdserverpb__WatchResponse *r)
{
    if (!e->watch.partial)
        e->watch.partial = chunk_create();
    struct etcd_chunk *c = e->watch.partial;

    for (size_t i = 0; i < r->n_events; i++) {
        const Etcdserverpb__Event *from = r->events[i];
        struct kv_event event;

        if (!from->kv || from->kv->mod_revision <= e->watch.received)
            continue;
        if (!etcd_event(e, c->arena, from, &event)) /* outside the prefix: it still moves the revision on */
            event = (struct kv_event){.kind = KV_EVENT_DELETE, .pair.mod_revision = from->kv->mod_revision};
        ARENA_PUSH(c->arena, c->events, c->n, c->cap, event);
    }
    if (r->fragment)
        return;
    e->watch.partial = NULL;
    if (!c->n) {
        chunk_free(c);
        return;
    }
    e->watch.received = c->events[c->n - 1].pair.mod_revision;
    if (e->watch.last)
        e->watch.last->next = c;
    else
        e->watch.first = c;
    e->watch.last = c;
    etcd_watch_pump(e);
}

static void watch_open(void *arg);

static void watch_again(struct etcd *e)
{
    chunk_free(e->watch.partial);
    e->watch.partial = NULL;
    e->watch.stream = NULL;
    timer_start(&e->watch.retry, e->loop, ETCD_RETRY_MS, watch_open, e);
}

static void watch_canceled(struct etcd *e, const Etcdserverpb__WatchResponse *r)
{
    char text[400];

    grpc_cancel(e->watch.stream);
    if (r->compact_revision > e->watch.received) {
        /* What was deleted in between cannot be told any more. */
        e->watch.stream = NULL;
        etcd_compacted_raise(e, r->compact_revision);
        etcd_resync_start(e);
        return;
    }
    snprintf(text, sizeof text, "etcd at %s ended the watch: %s", grpc_channel_endpoint(e->channel), r->cancel_reason);
    etcd_trouble_set(e, text);
    if (etcd_token_refused(r->cancel_reason) || strstr(r->cancel_reason, "auth") ||
        strstr(r->cancel_reason, "permission"))
        etcd_authenticate(e);
    watch_again(e);
}

static void on_message(void *arg, const ProtobufCMessage *message)
{
    struct etcd *e = arg;
    const Etcdserverpb__WatchResponse *r = (const Etcdserverpb__WatchResponse *)message;

    if (r->canceled) {
        watch_canceled(e, r);
        return;
    }
    if (r->created && e->full)
        etcd_full(e); /* whatever else was is over */
    else if (r->created)
        etcd_trouble_set(e, NULL);
    if (r->n_events || e->watch.partial)
        take_events(e, r);
}

static void on_done(void *arg, const struct err *err)
{
    struct etcd *e = arg;
    char text[400];

    snprintf(text, sizeof text, "etcd at %s cannot be reached: %s", grpc_channel_endpoint(e->channel),
             err ? err->message : "it ended the watch");
    e->silent = false;
    etcd_trouble_set(e, text);
    if (err && etcd_token_refused(err->message))
        etcd_authenticate(e);
    if (err && (strstr(err->message, "no leader") || err->code == ERR_TIMEOUT))
        etcd_fail_over(e);
    watch_again(e);
}

static void watch_open(void *arg)
{
    struct etcd *e = arg;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    struct grpc_stream_handler handler = {.on_message = on_message, .on_done = on_done, .arg = e};

    if (e->closing)
        return;
    create.key = create.range_end = etcd_end_of_all();
    create.start_revision = e->watch.received + 1;
    create.prev_kv = true;
    create.fragment = true;
    create.progress_notify = true;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    e->watch.stream =
        grpc_stream(e->channel, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, 0, &handler);
    grpc_send(e->watch.stream, &request.base);
}

static void drop_queue(struct etcd *e)
{
    chunk_free(e->watch.partial);
    e->watch.partial = NULL;
    for (struct etcd_chunk *c; (c = e->watch.first);) {
        e->watch.first = c->next;
        chunk_free(c);
    }
    e->watch.last = NULL;
}

void etcd_watch_from(struct etcd *e, int64_t revision)
{
    drop_queue(e);
    e->watch.received = revision;
    watch_open(e);
}

void etcd_watch_start(struct etcd *e)
{
    etcd_watch_from(e, atomic_load(&e->revision));
}

void etcd_watch_stop(struct etcd *e)
{
    timer_stop(&e->watch.retry);
    grpc_cancel(e->watch.stream);
    e->watch.stream = NULL;
    drop_queue(e);
}
