/* WATCH: events as JSON lines, from a revision on, for as long as the client stays (or the time-out says).
 *
 * Initial events (resourceVersion absent or 0, or sendInitialEvents) walk a snapshot like a list; then the live watch
 * goes on from the snapshot's revision. The line of an event in the storage version is made once per event and type and
 * shared by every watcher of it. A client that reads slowly pauses its watch: events wait in the shared history. */
#include "api/answer_protobuf.h"
#include "api/verbs/list.h"

#include "base/clock.h"
#include "openapi/json.h"
#include "openapi/object/object.h"

#include <stdlib.h>

#define TIMEOUT_MIN_S 1800
#define CHUNK_BYTES (64u * 1024u)

struct watching {
    struct api_request *req;
    struct selection selection;
    struct watch *watch;
    struct object_tree *tree; /* while initial events are sent */
    struct object_tree_iter iter;
    struct timer timeout;
    bool native, initial, mark_end, blocked, paused, posted, ended;
};

static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};

static void send_initial(struct watching *w);

static void end(struct watching *w)
{
    struct api_request *req = w->req;
    struct http_exchange *ex = req->exchange;
    if (w->watch)
        watch_stop(w->watch);
    w->watch = NULL;
    if (w->tree)
        object_tree_put(w->tree);
    w->tree = NULL;
    timer_stop(&w->timeout);
    w->ended = true;
    if (w->posted)
        return; /* the posted step ends it */
    req->exchange = NULL;
    if (ex)
        http_finish(ex);
    answer_end(req, 200);
}

static void on_timeout(void *arg)
{
    end(arg);
}

static void on_gone(struct api_request *req)
{
    end(req->state);
}

static bool full(const struct watching *w)
{
    return http_unsent(w->req->exchange) > HTTP_HIGH_WATER;
}

static void send_text(struct watching *w, struct buf *text)
{
    struct slice s = slice_take(text->p, text->len);
    w->req->answer_bytes += text->len;
    *text = (struct buf){0};
    http_send(w->req->exchange, &s, 1);
}

/* ---- frames ---- */

/* What a watcher sees of an event under `type`: of an object that stopped matching its last matching state. */
static const struct object *shown(const struct watch_event *e, enum watch_type type)
{
    return type == WATCH_DELETED && e->type != WATCH_DELETED && e->prev ? e->prev : e->object;
}

static int frame_text(struct api_request *req, struct buf *out, enum watch_type type, const struct object *o,
                      int64_t revision)
{
    struct err err = ERR_INIT;
    if (req->format == API_PROTOBUF)
        return answer_protobuf_event(req, out, names[type], o, revision, &err);
    buf_printf(out, "{\"type\":\"%s\",\"object\":", names[type]);
    int rc = req->format == API_TABLE ? answer_table(req, out, o, revision, &err)
                                      : answer_item(req, out, o, true, revision, &err);
    buf_addz(out, "}\n");
    return rc;
}

/* The shared line of an event, made by whoever needs it first. One reference is the caller's. */
static struct slice shared_frame(struct api_request *req, struct watch_event *e, enum watch_type type)
{
    struct slice *s = atomic_load_explicit(&e->frames[type], memory_order_acquire);
    if (!s) {
        struct buf text = {0};
        const struct object *o = shown(e, type);
        buf_reserve(&text, o->body.len + 160);
        frame_text(req, &text, type, o, e->revision);
        struct slice *made = malloc(sizeof *made);
        if (!made)
            abort();
        *made = slice_take(text.p, text.len);
        if (atomic_compare_exchange_strong_explicit(&e->frames[type], &s, made, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            s = made;
        } else {
            ref_put(made->owner);
            free(made);
        }
    }
    ref_get(s->owner);
    return *s;
}

static void send_event(struct watching *w, enum watch_type type, struct watch_event *e)
{
    struct api_request *req = w->req;
    if (w->native) {
        struct slice s = shared_frame(req, e, type);
        req->answer_bytes += s.len;
        http_send(req->exchange, &s, 1);
        return;
    }
    struct buf text = {0};
    struct arena *whole = req->arena;
    req->arena = arena_create(0);
    int rc = frame_text(req, &text, type, shown(e, type), e->revision);
    arena_destroy(req->arena);
    req->arena = whole;
    if (rc == 0)
        send_text(w, &text);
    else
        buf_free(&text);
}

static void send_bookmark(struct watching *w, int64_t revision, bool initial_end)
{
    struct api_request *req = w->req;
    struct buf text = {0};
    if (req->format == API_PROTOBUF) {
        answer_protobuf_bookmark(req, &text, revision, initial_end);
        send_text(w, &text);
        return;
    }
    buf_addz(&text, "{\"type\":\"BOOKMARK\",\"object\":");
    const char *annotations = initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "";
    if (req->format == API_TABLE || req->format == API_METADATA) {
        bool table = req->format == API_TABLE;
        buf_printf(&text,
                   "{\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/" STR_FMT
                   "\",\"metadata\":{\"resourceVersion\":\"%lld\"%s}%s}",
                   table ? "Table" : "PartialObjectMetadata", STR_ARG(req->table_version), (long long)revision,
                   table ? "" : annotations, table ? ",\"columnDefinitions\":[],\"rows\":[]" : "");
    } else {
        struct str version = api_request_version(req);
        buf_printf(&text,
                   "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT
                   "\",\"metadata\":{\"resourceVersion\":\"%lld\",\"creationTimestamp\":null%s}}",
                   STR_ARG(req->resource->kind), STR_ARG(version), (long long)revision, annotations);
    }
    buf_addz(&text, "}\n");
    send_text(w, &text);
}

static void send_error(struct watching *w, const struct err *err)
{
    int code;
    struct buf text = {0};
    struct value *status = api_status_value(w->req->arena, w->req, err, &code);
    if (w->req->format == API_PROTOBUF) {
        answer_protobuf_error(w->req, &text, status);
        send_text(w, &text);
        return;
    }
    buf_addz(&text, "{\"type\":\"ERROR\",\"object\":");
    json_encode(&text, status);
    buf_addz(&text, "}\n");
    send_text(w, &text);
}

/* ---- live ---- */

static void on_deliveries(void *arg, const struct watch_delivery *deliveries, size_t n)
{
    struct watching *w = arg;
    for (size_t i = 0; i < n; i++) {
        const struct watch_delivery *d = &deliveries[i];
        if (d->type == WATCH_ERROR) {
            send_error(w, d->err);
            end(w);
            return;
        }
        if (d->type == WATCH_BOOKMARK)
            send_bookmark(w, d->revision, false);
        else
            send_event(w, d->type, d->event);
    }
    if (full(w) && !w->paused) {
        w->paused = true;
        watch_pause(w->watch);
    }
}

static void on_drain(struct api_request *req)
{
    struct watching *w = req->state;
    if (w->blocked) {
        w->blocked = false;
        send_initial(w);
    } else if (w->paused && w->watch) {
        w->paused = false;
        watch_resume(w->watch);
    }
}

static bool match(void *arg, const struct object *o)
{
    return selection_matches(arg, o);
}

static int indexed_field(const struct watching *w, struct str *ret_value)
{
    const struct field_selector *s = &w->selection.fields;
    for (size_t i = 0; i < s->len; i++)
        if (s->items[i].at >= 0 && !s->items[i].negative && str_eqz(s->items[i].field, "spec.nodeName")) {
            *ret_value = s->items[i].value;
            return s->items[i].at;
        }
    return -1;
}

static void go_live(struct watching *w, int64_t revision)
{
    struct api_request *req = w->req;
    struct err err = ERR_INIT;
    struct watch_filter f = {.resource = api_store(req),
                             .namespace_ = w->selection.namespace_.p ? w->selection.namespace_ : STR(""),
                             .name = w->selection.name};
    f.field = indexed_field(w, &f.field_value);
    if (!w->selection.all) {
        f.match = match;
        f.match_arg = &w->selection;
    }
    if (watch_start(req->server->cache, &f, revision, req->loop, on_deliveries, w, &w->watch, &err) < 0) {
        if (err.code == ERR_EXPIRED && !strstr(err.message, "too old"))
            err_set(&err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)revision,
                    (long long)cache_revision(req->server->cache));
        send_error(w, &err);
        end(w);
        return;
    }
    if (req->options.allow_bookmarks)
        watch_bookmarks(w->watch, false);
}

/* ---- the first events ---- */

static void step(void *arg)
{
    struct watching *w = arg;
    w->posted = false;
    if (w->ended)
        end(w);
    else
        send_initial(w);
}

static void send_initial(struct watching *w)
{
    struct api_request *req = w->req;
    struct buf text = {0};
    const struct object *o;
    struct arena *whole = req->arena;
    req->arena = arena_create(0);
    while (text.len < CHUNK_BYTES && (o = object_tree_next(&w->iter)))
        if (selection_matches(&w->selection, o))
            frame_text(req, &text, WATCH_ADDED, o, 0);
    bool more = text.len >= CHUNK_BYTES;
    arena_destroy(req->arena);
    req->arena = whole;
    if (text.len)
        send_text(w, &text);
    if (more && full(w)) {
        w->blocked = true;
        return;
    }
    if (more) {
        w->posted = true;
        loop_post(req->loop, step, w);
        return;
    }
    int64_t revision = object_tree_revision(w->tree);
    object_tree_put(w->tree);
    w->tree = NULL;
    if (w->mark_end)
        send_bookmark(w, revision, true);
    go_live(w, revision);
}

static void begin(struct api_request *req)
{
    struct watching *w = req->state;
    int64_t revision = 0;
    struct err err = ERR_INIT;
    if (!req->exchange) { /* the client left while we waited for a revision */
        answer_end(req, 200);
        return;
    }
    revision_parse(req->options.resource_version, &revision, &err);
    int64_t timeout_s = req->options.timeout_s;
    if (timeout_s <= 0)
        timeout_s = TIMEOUT_MIN_S + clock_mono_us() % TIMEOUT_MIN_S;
    answer_start(req, 200, answer_content_type(req));
    req->on_gone = on_gone;
    req->on_drain = on_drain;
    timer_start(&w->timeout, req->loop, timeout_s * 1000, on_timeout, w);
    if (!w->initial) {
        go_live(w, revision ? revision : cache_revision(req->server->cache));
        return;
    }
    w->tree = cache_snapshot(req->server->cache, api_store(req));
    object_tree_iter_init(&w->iter, w->tree, w->selection.namespace_);
    send_initial(w);
}

void verb_watch(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct watching *w = ARENA_NEW(req->arena, struct watching);
    const struct api_options *o = &req->options;
    int64_t revision;
    w->req = req;
    req->state = w;
    int rc = selection_parse(req, &w->selection, &err);
    if (rc == 0 && revision_parse(o->resource_version, &revision, &err) < 0)
        rc = api_err_bare(req, &err,
                          "resourceVersion: Invalid value: \"" STR_FMT "\": strconv.ParseUint: parsing \"" STR_FMT
                          "\": invalid syntax",
                          STR_ARG(o->resource_version), STR_ARG(o->resource_version));
    if (rc < 0) {
        api_answer_err(req, &err);
        return;
    }
    w->native = answer_is_native(req);
    w->initial = o->has_send_initial_events ? o->send_initial_events : revision == 0;
    w->mark_end = o->has_send_initial_events && o->send_initial_events && o->allow_bookmarks;
    if (w->initial)
        verb_after_revision(req, revision, begin);
    else
        begin(req);
}
