/* bench watchers: many watches that wait on few connections, each of one object as agents and controllers ask: what
 * each of them costs the server. Prints `ready` once all have been answered, then holds them until its input ends. */
#include "base/mem.h"
#include "conformance/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STREAMS 240 /* of a connection: servers allow 250 */

struct watchers {
    struct loop *loop;
    int64_t count, n_open, events;
};

static void on_open(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct watchers *w = arg;
    (void)headers;
    (void)n;
    if (status != 200)
        die("watch: %d", status);
    if (++w->n_open == w->count)
        loop_stop(w->loop);
}

static void on_events(void *arg, struct str data)
{
    ((struct watchers *)arg)->events += data.len > 0;
}

static void on_end(void *arg, const struct err *err)
{
    (void)arg;
    die("a watch ended: %s", err ? err->message : "by the server");
}

static int run(int argc, char **argv)
{
    struct watchers w = {.count = 10000};
    struct target target = {0};
    struct http_client *client = NULL;
    char path[256], *answer;
    int n, exit_code;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&target),
        {"count", OPTION_INT, &w.count, "N", "watches (10000)", .min = 1, .max = 1000000},
        {0},
    };
    if (options_parse(&bench_watchers, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    w.loop = loop_create("watchers");
    client = target_connect(&target, w.loop);
    ask_well(w.loop, client, "GET", "/api/v1/pods?limit=1", NULL, STR_NULL, 0, &answer);
    char *revision = json_member(answer, "resourceVersion");
    for (int64_t i = 0; i < w.count; i++) {
        if (i % STREAMS == 0) {
            client = target_connect(&target, w.loop);
            ask_well(w.loop, client, "GET", "/readyz", NULL, STR_NULL, 0, NULL);
        }
        snprintf(path, sizeof path,
                 "/api/v1/pods?allowWatchBookmarks=true&fieldSelector=spec.nodeName%%3Dnode-%lld&resourceVersion=%s"
                 "&timeoutSeconds=3000&watch=true",
                 (long long)i, revision);
        struct http_call_options call = {.method = STR("GET"),
                                         .path = str_from(path),
                                         .handler = {on_open, on_events, NULL, NULL, on_end, NULL, &w}};
        http_call_start(client, &call);
    }
    loop_run(w.loop);
    printf("ready %lld\n", (long long)w.n_open);
    for (char c; read(STDIN_FILENO, &c, 1) > 0;)
        ;
    free(answer);
    free(revision);
    return 0;
}

const struct command bench_watchers = {"watchers", "--url URL --token T [--count N]", "many watches that wait", run};
