/* bench fanout: one object, many watchers, and updates to it: how many events arrive per second, all watchers together.
 * Updates go on while the slowest watcher is at most AHEAD of them behind, so that nobody is cut off for being slow. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD 64
#define WRITERS 4
#define PATH "/api/v1/namespaces/default/configmaps"

struct fanout {
    struct loop *loop;
    struct http_client *writer;
    struct watcher *watchers;
    int64_t n_watchers, n_updates, bytes, connections;
    int64_t sent, acknowledged, events, event_bytes;
    int64_t n_open;  /* watches that have answered */
    int64_t *behind; /* how many watchers have seen exactly this many updates */
    int64_t slowest;
    bool begun;
};

struct watcher {
    struct fanout *f;
    int64_t seen;
};

static void write_more(struct fanout *f);

static void on_events(void *arg, struct str data)
{
    struct watcher *w = arg;
    struct fanout *f = w->f;
    f->event_bytes += (int64_t)data.len;
    for (const char *p = data.p, *end = p + data.len; (p = memchr(p, '\n', (size_t)(end - p))); p++) {
        f->events++;
        if (w->seen < f->n_updates) {
            f->behind[w->seen]--;
            f->behind[++w->seen]++;
        }
    }
    while (f->slowest < f->n_updates && f->behind[f->slowest] == 0)
        f->slowest++;
    if (f->slowest == f->n_updates)
        loop_stop(f->loop);
    else
        write_more(f);
}

static void on_open(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    struct fanout *f = ((struct watcher *)arg)->f;
    if (status != 200)
        die("watch: %d", status);
    if (++f->n_open == f->n_watchers)
        loop_stop(f->loop);
}

static void on_end(void *arg, const struct err *err)
{
    (void)arg;
    die("a watch ended: %s", err ? err->message : "by the server");
}

static void on_written_status(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)arg;
    (void)headers;
    (void)n;
    if (status != 200)
        die("PUT " PATH "/fan: %d", status);
}

static void on_written(void *arg, const struct err *err)
{
    struct fanout *f = arg;
    if (err)
        die("%s", err->message);
    f->acknowledged++;
    write_more(f);
}

static void object_body(int64_t bytes, int64_t n, struct buf *out)
{
    buf_printf(out, "{\"metadata\":{\"name\":\"fan\"},\"data\":{\"n\":\"%08lld\",\"text\":\"", (long long)n);
    for (int64_t i = 270; i < bytes; i++) /* what the head and metadata of the answer take */
        buf_add_char(out, 'x');
    buf_addz(out, "\"}}");
}

static void write_more(struct fanout *f)
{
    static const struct http_header type = {STR("content-type"), STR("application/json")};
    while (f->begun && f->sent < f->n_updates && f->sent - f->acknowledged < WRITERS && f->sent - f->slowest < AHEAD) {
        struct buf body = {0};
        object_body(f->bytes, ++f->sent, &body);
        struct http_call_options call = {.method = STR("PUT"),
                                         .path = STR(PATH "/fan"),
                                         .headers = &type,
                                         .n_headers = 1,
                                         .body = buf_str(&body),
                                         .handler = {on_written_status, NULL, NULL, NULL, on_written, NULL, f}};
        http_call_start(f->writer, &call);
        buf_free(&body);
    }
}

static void watch_all(struct fanout *f, const struct target *target, const char *revision)
{
    char path[256];
    struct http_client **clients = MEM_ARRAY(struct http_client *, (size_t)f->connections);
    snprintf(path, sizeof path, PATH "?watch=1&fieldSelector=metadata.name%%3Dfan&resourceVersion=%s", revision);
    for (int64_t i = 0; i < f->connections; i++)
        clients[i] = target_connect(target, f->loop);
    f->watchers = MEM_ARRAY(struct watcher, (size_t)f->n_watchers);
    f->behind = MEM_ARRAY(int64_t, (size_t)f->n_updates + 1);
    f->behind[0] = f->n_watchers;
    for (int64_t i = 0; i < f->n_watchers; i++) {
        struct watcher *w = &f->watchers[i];
        w->f = f;
        struct http_call_options call = {
            .method = STR("GET"), .path = str_from(path), .handler = {on_open, on_events, NULL, NULL, on_end, NULL, w}};
        http_call_start(clients[i % f->connections], &call);
    }
    loop_run(f->loop);
}

static int run(int argc, char **argv)
{
    struct fanout f = {.n_watchers = 1000, .n_updates = 500, .bytes = 1300, .connections = 10};
    struct target target = {0};
    struct buf body = {0};
    char *answer;
    int n, exit_code;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&target),
        {"watchers", OPTION_INT, &f.n_watchers, "N", "how many (1000)", .min = 1, .max = 1000000},
        {"updates", OPTION_INT, &f.n_updates, "N", "of the object (500)", .min = 1, .max = 1000000},
        {"bytes", OPTION_INT, &f.bytes, "N", "of JSON of the object, about (1300)", .min = 300, .max = 1000000},
        {"connections", OPTION_INT, &f.connections, "N", "over so many connections (10)", .min = 1, .max = 10000},
        {0},
    };
    if (options_parse(&bench_fanout, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    f.loop = loop_create("fanout");
    f.writer = target_connect(&target, f.loop);
    object_body(f.bytes, 0, &body);
    ask(f.loop, f.writer, "DELETE", PATH "/fan", NULL, STR_NULL, NULL);
    ask_well(f.loop, f.writer, "POST", PATH, NULL, buf_str(&body), 0, &answer);
    watch_all(&f, &target, json_member(answer, "resourceVersion"));
    f.begun = true;
    int64_t began = clock_mono_us();
    write_more(&f);
    loop_run(f.loop);
    double seconds = (double)(clock_mono_us() - began) / 1e6;
    printf("events_per_s %.0f\nevent_bytes %lld\n", (double)f.events / seconds, (long long)(f.event_bytes / f.events));
    return 0;
}

const struct command bench_fanout = {"fanout", "--url URL --token T [flags]", "events to many watchers of one object",
                                     run};
