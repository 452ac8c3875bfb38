/* A watcher lists once, then watches from what it has seen last, on one server after the other; 410 makes it list anew.
 * Sessions are short, so that there are many of them. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/history/record.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <inttypes.h>
#include <stdlib.h>

#define SESSION_MIN_S 2
#define SESSION_RANGE_S 7
#define PING_MS 1000
#define RETRY_MS 25
#define REST_ONE_IN 20 /* sessions: then the watcher is away for a while and has much to catch up with */
#define REST_MS 5000

struct watcher {
    struct recorder *r;
    int number;
    enum object_kind object_kind;
    const char *name;  /* NULL = all */
    const char *other; /* not our keys: the path of other objects, logged as what they are */
    const char *kind;  /* theirs: leases, services, … */
    char scope[64];
    struct connections servers;
    bool listed, listing;
    int64_t last, begin_us;
    int status;
    struct timer again;
    struct arena *arena;
    struct buf path, line;
};

static void start(void *arg);

static void again(struct watcher *w, bool elsewhere)
{
    if (elsewhere)
        w->servers.current = recorder_random(w->r, w->servers.n);
    int64_t wait_ms = elsewhere ? RETRY_MS : 0;
    if (elsewhere && !w->r->finishing && recorder_random(w->r, REST_ONE_IN) == 0)
        wait_ms += (int64_t)recorder_random(w->r, REST_MS);
    timer_start(&w->again, w->r->loop, wait_ms, start, w);
}

static void log_lease(struct watcher *w, const char *type, const struct value *o)
{
    struct str holder = value_path_str(o, "spec.holderIdentity");
    recorder_log(w->r, "lease %zu %" PRId64 " %s " STR_FMT " " STR_FMT " " STR_FMT " %" PRId64 " %" PRId64,
                 w->servers.current, clock_mono_us(), type, STR_ARG(value_path_str(o, "metadata.name")),
                 STR_ARG(value_path_str(o, "metadata.resourceVersion")), STR_ARG(holder.len ? holder : STR("-")),
                 time_from(value_path_str(o, "spec.renewTime")), value_path_int(o, "spec.leaseDurationSeconds", 0));
}

static bool is_leases(const struct watcher *w)
{
    return strcmp(w->kind, "leases") == 0;
}

static void log_other(struct watcher *w, const char *type, const struct value *object, int64_t revision)
{
    if (is_leases(w))
        log_lease(w, type, object);
    else
        object_log_held(w->r, type, w->kind, object, revision);
}

static void take_list(struct watcher *w, const struct value *list)
{
    struct value *items = value_getz(list, "items");
    int64_t revision = 0;
    str_to_i64(value_path_str(list, "metadata.resourceVersion"), &revision);
    if (!w->other) {
        recorder_log(w->r, "relist %d %zu %" PRId64 " %" PRId64 " %s %" PRId64, w->number, w->servers.current,
                     w->begin_us, clock_mono_us(), w->scope, revision);
        object_log_items(w->r, w->object_kind, w->name, list);
    } else {
        if (!is_leases(w))
            recorder_log(w->r, "relisted %" PRId64 " %s %" PRId64, clock_mono_us(), w->kind, revision);
        for (size_t i = 0; i < value_len(items); i++)
            log_other(w, "ADDED", value_at(items, i), revision);
    }
    w->r->relists++;
    w->last = revision;
    w->listed = true;
}

static void take_object(struct watcher *w, struct str type, const struct value *object)
{
    struct object_read o;
    char type_text[16];
    object_read(object, &o);
    w->r->events++;
    snprintf(type_text, sizeof type_text, STR_FMT, STR_ARG(type));
    if (w->other)
        log_other(w, type_text, object, o.revision);
    else if (recorder_key(w->r, w->object_kind, o.name))
        recorder_log(w->r, "seen %d %zu %" PRId64 " %s %s/" STR_FMT " %" PRId64 " %s " STR_FMT, w->number,
                     w->servers.current, clock_mono_us(), type_text, resource_name(w->object_kind), STR_ARG(o.name),
                     o.revision, o.value_text, STR_ARG(o.uid));
    if (o.revision > w->last)
        w->last = o.revision;
}

static void take_event(struct watcher *w, struct str line)
{
    struct json_options plain = {0};
    struct value *event;
    struct err err = ERR_INIT;
    int64_t revision = 0;
    arena_reset(w->arena);
    if (json_decode(w->arena, line, &plain, &event, &err) < 0)
        recorder_fail("a watch event is no JSON: %s: " STR_FMT, err.message, STR_ARG(line));
    struct str type = value_path_str(event, "type");
    struct value *object = value_getz(event, "object");
    if (str_eqz(type, "ERROR")) {
        if (value_path_int(object, "code", 0) == 410)
            w->listed = false;
    } else if (str_eqz(type, "BOOKMARK")) {
        str_to_i64(value_path_str(object, "metadata.resourceVersion"), &revision);
        if (!w->other)
            recorder_log(w->r, "mark %d %zu %" PRId64 " %" PRId64, w->number, w->servers.current, clock_mono_us(),
                         revision);
        if (revision > w->last)
            w->last = revision;
    } else {
        take_object(w, type, object);
    }
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    struct watcher *w = arg;
    w->status = status;
    if (status != 200 || w->listing || w->other)
        return;
    w->r->sessions++;
    recorder_log(w->r, "watch %d %zu %" PRId64 " %s %" PRId64, w->number, w->servers.current, clock_mono_us(), w->scope,
                 w->last);
}

static void on_data(void *arg, struct str data)
{
    struct watcher *w = arg;
    const char *newline;
    while (w->status == 200 && !w->listing && (newline = memchr(data.p, '\n', data.len))) {
        size_t n = (size_t)(newline - data.p);
        buf_add(&w->line, data.p, n);
        take_event(w, buf_str(&w->line));
        w->line.len = 0;
        data = str_sub(data, n + 1, data.len);
    }
    buf_add_str(&w->line, data);
}

static void on_listed(struct watcher *w, const struct err *err)
{
    struct json_options plain = {0};
    struct value *list;
    struct err bad = ERR_INIT;
    bool well = !err && w->status == 200;
    arena_reset(w->arena);
    if (well && json_decode(w->arena, buf_str(&w->line), &plain, &list, &bad) < 0)
        recorder_fail("a list is no JSON: %s", bad.message);
    if (well)
        take_list(w, list);
    again(w, !well);
}

static void on_done(void *arg, const struct err *err)
{
    struct watcher *w = arg;
    if (w->listing) {
        on_listed(w, err);
        return;
    }
    if (w->status == 410)
        w->listed = false;
    if (w->status == 200 && !w->other)
        recorder_log(w->r, "lost %d %zu %" PRId64 " %s", w->number, w->servers.current, clock_mono_us(),
                     err         ? "broken"
                     : w->listed ? "end"
                                 : "expired");
    again(w, true);
}

static void start(void *arg)
{
    struct watcher *w = arg;
    int64_t seconds = SESSION_MIN_S + (int64_t)recorder_random(w->r, SESSION_RANGE_S);
    w->path.len = w->line.len = 0;
    w->status = 0;
    if (w->other)
        buf_addz(&w->path, w->other);
    else
        resource_path(w->r, w->object_kind, NULL, &w->path);
    buf_add_char(&w->path, '?');
    if (w->name)
        buf_printf(&w->path, "fieldSelector=metadata.name%%3D%s&", w->name);
    w->listing = !w->listed;
    if (w->listed)
        buf_printf(&w->path, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%" PRId64 "&resourceVersion=%" PRId64,
                   seconds, w->last);
    struct http_call_options call = {.method = STR("GET"),
                                     .path = buf_str(&w->path),
                                     .timeout_ms = w->listing ? w->r->timeout_ms : (seconds + 3) * 1000,
                                     .handler = {on_response, on_data, NULL, NULL, on_done, NULL, w}};
    w->begin_us = clock_mono_us();
    http_call_start(w->servers.clients[w->servers.current], &call);
}

static struct watcher *watcher_new(struct recorder *r)
{
    int number = r->n_watching++;
    struct watcher *w = &r->watchers[number];
    *w = (struct watcher){.r = r, .number = number + 1, .arena = arena_create(0)};
    recorder_connect(r, &w->servers, "recorder-watcher", PING_MS);
    w->servers.current = (size_t)number % r->n_servers;
    return w;
}

static void watch_keys(struct recorder *r, int number)
{
    struct watcher *w = watcher_new(r);
    const struct key *key = &r->keys[number % r->n_keys];
    w->object_kind = key->object_kind;
    w->name = number % 4 == 3 ? key->name : NULL;
    snprintf(w->scope, sizeof w->scope, "%s%s%s", resource_name(w->object_kind), w->name ? "/" : "",
             w->name ? w->name : "");
    start(w);
}

static void watch_other(struct recorder *r, const char *path, const char *kind)
{
    struct watcher *w = watcher_new(r);
    w->other = path;
    w->kind = kind;
    start(w);
}

void watchers_start(struct recorder *r, const char *leases_of, bool inventory)
{
    struct buf path = {0};
    r->watchers = MEM_ARRAY(struct watcher, (size_t)r->n_watchers + 5);
    for (int i = 0; i < r->n_watchers; i++)
        watch_keys(r, i);
    if (leases_of) {
        buf_printf(&path, "/apis/coordination.k8s.io/v1/namespaces/%s/leases", leases_of);
        watch_other(r, path.p, "leases");
    }
    if (inventory) {
        watch_other(r, "/api/v1/services", "services");
        watch_other(r, "/api/v1/pods", "pods");
        watch_other(r, "/api/v1/nodes", "nodes");
        watch_other(r, "/apis/apps/v1/replicasets", "replicasets");
    }
}

static bool has_seen(const struct recorder *r, const struct watcher *w)
{
    for (int64_t i = 0; i < r->n_keys; i++) {
        const struct key *key = &r->keys[i];
        bool mine = key->object_kind == w->object_kind && (!w->name || strcmp(w->name, key->name) == 0);
        if (mine && w->last < key->final_revision)
            return false;
    }
    return w->listed;
}

bool watchers_have_seen(const struct recorder *r)
{
    for (int i = 0; i < r->n_watchers; i++) {
        if (!has_seen(r, &r->watchers[i]))
            return false;
    }
    return true;
}
