/* Watches: fed from the store's history. Those that have come as far as the last wake-up share one pass over what is
 * new; the others (created in the past, or on a stream whose client reads slowly) catch up one by one. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "storage/serve_etcd/serve_internal.h"

#include <stdlib.h>

enum {
    PASS_BYTES = 1 << 20, /* events gathered before they are sent */
    PROGRESS_EVERY_MS = 600000,
};

typedef VEC(Etcdserverpb__Event *) event_vec;

struct watch {
    TAILQ_ENTRY(watch) link;
    struct watch_stream *stream;
    int64_t id;
    struct str key, end;                                               /* in the heap */
    int64_t next;                                                      /* the first revision not looked at */
    bool prev_kv, progress_notify, fragment, no_put, no_delete, quiet; /* quiet: nothing sent since the last progress */
    event_vec events;                                                  /* of the pass under way */
};

struct watch_stream {
    TAILQ_ENTRY(watch_stream) link;
    TAILQ_HEAD(, watch) watches;
    struct grpc_incoming *call;
    int64_t next_id;
    bool progress_due;
};

/* ---- sending ---- */

static void send_response(struct watch *w, Etcdserverpb__WatchResponse *out, int64_t revision)
{
    struct serve_etcd *s = serve_of(w->stream->call);
    struct arena *a = arena_create(0);

    out->header = serve_header(s, a, revision);
    out->watch_id = w->id;
    grpc_stream_send(w->stream->call, &out->base);
    arena_destroy(a);
}

static void send_events(struct watch *w, int64_t revision)
{
    for (size_t at = 0, n; at < w->events.len; at += n) {
        Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
        size_t bytes = 0;

        for (n = 0; at + n < w->events.len; n++) {
            bytes += protobuf_c_message_get_packed_size(&w->events.items[at + n]->base);
            if (w->fragment && n && bytes > SERVE_FRAGMENT)
                break;
        }
        out.events = w->events.items + at;
        out.n_events = n;
        out.fragment = at + n < w->events.len;
        send_response(w, &out, revision);
    }
    if (w->events.len)
        w->quiet = false;
    w->events.len = 0;
}

static void watch_destroy(struct watch *w)
{
    TAILQ_REMOVE(&w->stream->watches, w, link);
    free((char *)(uintptr_t)w->key.p);
    free((char *)(uintptr_t)w->end.p);
    vec_free(&w->events);
    free(w);
}

/* ---- a pass over the history ---- */

struct pass {
    struct serve_etcd *serve;
    struct arena *arena;
    struct watch **watches;
    size_t n;
    int64_t revision; /* of the event last taken */
    bool stopped;     /* before the end: a client reads slowly */
};

static void pass_send(struct pass *p)
{
    for (size_t i = 0; i < p->n; i++)
        send_events(p->watches[i], p->revision);
    arena_reset(p->arena);
}

static bool congested(const struct watch_stream *t)
{
    return grpc_stream_unsent(t->call) > HTTP_HIGH_WATER;
}

static Etcdserverpb__Event *event_of(struct serve_etcd *s, struct arena *a, const struct kv_event *e)
{
    Etcdserverpb__Event *out = arena_alloc(a, sizeof *out);

    etcdserverpb__event__init(out);
    if (e->kind == KV_EVENT_DELETE)
        out->type = ETCDSERVERPB__EVENT__EVENT_TYPE__DELETE;
    out->kv = serve_pair(s, a, &e->pair, false);
    return out;
}

static bool pass_event(void *arg, const struct kv_event *e)
{
    struct pass *p = arg;
    Etcdserverpb__Event *plain = NULL, *full = NULL;

    /* Only between revisions: the events of one transaction come in one response. */
    if (p->revision && e->pair.mod_revision != p->revision && arena_used(p->arena) > PASS_BYTES) {
        pass_send(p);
        for (size_t i = 0; i < p->n && !p->stopped; i++)
            p->stopped = congested(p->watches[i]->stream);
        if (p->stopped)
            return false;
    }
    p->revision = e->pair.mod_revision;
    for (size_t i = 0; i < p->n; i++) {
        struct watch *w = p->watches[i];
        struct str key = e->pair.key;

        if (w->end.p ? str_cmp(key, w->key) < 0 || str_cmp(key, w->end) >= 0 : !str_eq(key, w->key))
            continue;
        if (p->revision < w->next || (e->kind == KV_EVENT_PUT ? w->no_put : w->no_delete))
            continue;
        if (w->prev_kv && e->prev) {
            if (!full) {
                full = event_of(p->serve, p->arena, e);
                full->prev_kv = serve_pair(p->serve, p->arena, e->prev, false);
            }
            vec_push(&w->events, full);
        } else {
            if (!plain)
                plain = event_of(p->serve, p->arena, e);
            vec_push(&w->events, plain);
        }
    }
    return true;
}

/* From the compacted revision itself there is what is left of it: the puts that nothing superseded. */
struct rest {
    struct pass *pass;
    int64_t revision;
};

static bool take_rest(void *arg, const struct kv_pair *p)
{
    struct rest *r = arg;

    return p->mod_revision != r->revision || pass_event(r->pass, &(struct kv_event){.kind = KV_EVENT_PUT, .pair = *p});
}

static int pass_compacted(struct serve_etcd *s, struct pass *p, int64_t revision, struct err *err)
{
    const struct watch *w = p->watches[0];
    struct rest r = {.pass = p, .revision = revision};
    int rc = kv_range(s->kv, w->key, w->end, revision, 0, take_rest, &r, NULL, err);

    return rc < 0 ? rc : kv_history(s->kv, w->key, w->end, revision, pass_event, p, err);
}

static void cancel_failed(struct watch *w, const struct err *err)
{
    Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct kv *kv = serve_of(w->stream->call)->kv;

    out.canceled = true;
    if (err->code == ERR_EXPIRED)
        out.compact_revision = kv_compacted_revision(kv);
    else
        out.cancel_reason = (char *)(uintptr_t)err->message;
    send_response(w, &out, kv_revision(kv));
    watch_destroy(w);
}

static void on_wake(void *arg);

/* Any thread. */
static void wake(struct serve_etcd *s)
{
    if (!atomic_exchange(&s->poked, true))
        loop_post(s->loop, on_wake, s);
}

/* All watches of a pass stand at the same revision, or there is but one. */
static void run_pass(struct serve_etcd *s, struct watch **watches, size_t n)
{
    struct pass p = {.serve = s, .arena = arena_create(0), .watches = watches, .n = n};
    int64_t newest = kv_revision(s->kv), after = watches[0]->next - 1;
    struct err err = ERR_INIT;
    int rc = 0;

    if (n == 1 && after >= 0 && after + 1 == kv_compacted_revision(s->kv))
        rc = pass_compacted(s, &p, after + 1, &err);
    else if (after < newest)
        rc = n == 1 ? kv_history(s->kv, watches[0]->key, watches[0]->end, after, pass_event, &p, &err)
                    : kv_history(s->kv, STR(""), serve_end(serve_bytes(STR("\0"))), after, pass_event, &p, &err);
    if (!p.stopped)
        pass_send(&p);
    if (p.stopped || p.revision > newest)
        newest = p.revision;
    if (p.stopped && n > 1) /* those that read well go on at once, the others when they have drained */
        wake(s);
    arena_destroy(p.arena);
    for (size_t i = 0; i < n; i++)
        if (rc < 0)
            cancel_failed(watches[i], &err);
        else if (newest >= watches[i]->next)
            watches[i]->next = newest + 1;
}

static bool behind(struct serve_etcd *s, struct watch_stream *t)
{
    int64_t newest = kv_revision(s->kv);
    struct watch *w;

    TAILQ_FOREACH(w, &t->watches, link)
    if (w->next <= newest)
        return true;
    return false;
}

/* An answer to a request for progress stands for all watches of the stream, so it waits for the slowest. */
static void answer_progress(struct serve_etcd *s, struct watch_stream *t)
{
    Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    int64_t revision = kv_revision(s->kv);
    struct watch any = {.stream = t, .id = -1}, *w;

    if (!t->progress_due || behind(s, t))
        return;
    TAILQ_FOREACH(w, &t->watches, link)
    if (w->next - 1 < revision)
        revision = w->next - 1;
    t->progress_due = false;
    send_response(&any, &out, revision);
}

static void feed_all(struct serve_etcd *s)
{
    int64_t newest = kv_revision(s->kv), at = 0;
    VEC(struct watch *) behind_ones = {0}, together = {0};
    struct watch_stream *t;
    struct watch *w;

    TAILQ_FOREACH(t, &s->streams, link)
    if (!congested(t))
        TAILQ_FOREACH(w, &t->watches, link)
        {
            if (w->next > newest)
                continue;
            vec_push(&behind_ones, w);
            if (w->next > at)
                at = w->next;
        }
    for (size_t i = 0; i < behind_ones.len; i++) {
        w = behind_ones.items[i];
        if (w->next == at)
            vec_push(&together, w);
        else
            run_pass(s, &w, 1);
    }
    if (together.len)
        run_pass(s, together.items, together.len);
    vec_free(&behind_ones);
    vec_free(&together);
    TAILQ_FOREACH(t, &s->streams, link)
    answer_progress(s, t);
}

static void on_wake(void *arg)
{
    struct serve_etcd *s = arg;

    atomic_store(&s->poked, false);
    feed_all(s);
}

/* On the committer's thread. */
static void on_publish(void *arg, const struct kv_event *events, size_t n, int64_t revision)
{
    (void)events, (void)n, (void)revision;
    wake(arg);
}

static void on_progress_time(void *arg)
{
    struct serve_etcd *s = arg;
    struct watch_stream *t;
    struct watch *w;

    feed_all(s);
    TAILQ_FOREACH(t, &s->streams, link)
    TAILQ_FOREACH(w, &t->watches, link)
    {
        Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;

        if (w->progress_notify && w->quiet)
            send_response(w, &out, w->next - 1);
        w->quiet = true;
    }
    timer_start(&s->progress, s->loop, PROGRESS_EVERY_MS, on_progress_time, s);
}

/* ---- the stream ---- */

static struct watch *find(struct watch_stream *t, int64_t id)
{
    struct watch *w;

    TAILQ_FOREACH(w, &t->watches, link)
    if (w->id == id)
        return w;
    return NULL;
}

static struct str heap_str(struct str s)
{
    return s.p ? (struct str){mem_dup(s.p, s.len), s.len} : STR_NULL;
}

static void create(struct watch_stream *t, const Etcdserverpb__WatchCreateRequest *q)
{
    Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct serve_etcd *s = serve_of(t->call);
    int64_t newest = kv_revision(s->kv);

    const char *why = NULL;
    struct str key = q->key.len ? serve_str(q->key) : (struct str){"\0", 1}, end = serve_end(q->range_end);

    out.created = true;
    if (end.p && str_cmp(key, end) >= 0)
        why = "mvcc: watcher range is empty";
    else if (q->watch_id && find(t, q->watch_id))
        why = "mvcc: duplicate watch ID provided on the WatchStream";
    if (why) {
        struct watch none = {.stream = t, .id = -1};

        out.canceled = true;
        out.cancel_reason = (char *)(uintptr_t)why;
        send_response(&none, &out, newest);
        return;
    }
    struct watch *w = MEM_NEW(struct watch);
    *w = (struct watch){.stream = t,
                        .id = q->watch_id,
                        .key = heap_str(key),
                        .end = heap_str(end),
                        .prev_kv = q->prev_kv,
                        .fragment = q->fragment,
                        .progress_notify = q->progress_notify,
                        .next = q->start_revision > 0 ? q->start_revision : newest + 1};
    while (!q->watch_id && (w->id = t->next_id++, find(t, w->id)))
        ;
    for (size_t i = 0; i < q->n_filters; i++)
        if (q->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT)
            w->no_put = true;
        else
            w->no_delete = true;
    TAILQ_INSERT_TAIL(&t->watches, w, link);
    send_response(w, &out, newest);
    if (w->next <= newest && !congested(t))
        run_pass(s, &w, 1);
}

static void on_message(struct grpc_incoming *c, const ProtobufCMessage *m)
{
    const Etcdserverpb__WatchRequest *q = (const void *)m;
    Etcdserverpb__WatchResponse out = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    struct watch_stream *t = c->user;

    switch (q->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        create(t, q->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST: {
        struct watch *w = find(t, q->cancel_request->watch_id);

        if (!w)
            break;
        out.canceled = true;
        send_response(w, &out, kv_revision(serve_of(c)->kv));
        watch_destroy(w);
        break;
    }
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        t->progress_due = true;
        feed_all(serve_of(c));
        break;
    default:
        break;
    }
}

static void on_over(struct grpc_incoming *c)
{
    struct watch_stream *t = c->user;

    while (!TAILQ_EMPTY(&t->watches))
        watch_destroy(TAILQ_FIRST(&t->watches));
    TAILQ_REMOVE(&serve_of(c)->streams, t, link);
    free(t);
}

static void on_drain(struct grpc_incoming *c)
{
    feed_all(serve_of(c));
}

void serve_watch(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct watch_stream *t = MEM_NEW(struct watch_stream);

    (void)request;
    TAILQ_INIT(&t->watches);
    t->call = c;
    TAILQ_INSERT_TAIL(&serve_of(c)->streams, t, link);
    c->user = t;
    c->on_message = on_message;
    c->on_over = on_over;
    c->on_drain = on_drain;
}

static void start_progress(void *arg)
{
    struct serve_etcd *s = arg;

    timer_start(&s->progress, s->loop, PROGRESS_EVERY_MS, on_progress_time, s);
}

void serve_watch_start(struct serve_etcd *s)
{
    s->listener = (struct kv_listener){.fn = on_publish, .arg = s};
    kv_add_listener(s->kv, &s->listener);
    loop_post(s->loop, start_progress, s);
}

void serve_watch_stop(struct serve_etcd *s)
{
    kv_remove_listener(s->kv, &s->listener);
    timer_stop(&s->progress);
}
