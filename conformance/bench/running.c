/* bench running: one pod after the other: from sending its creation until the watch says Running. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/bench/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct running {
    struct loop *loop;
    char name[64];
    int64_t seen_us;
    bool open, waiting;
};

static void on_open(void *arg)
{
    struct running *r = arg;
    r->open = true;
    loop_stop(r->loop);
}

static void on_event(void *arg, const char *line, size_t len)
{
    (void)len;
    struct running *r = arg;
    if (!r->name[0] || r->seen_us || !strstr(line, r->name) || !strstr(line, "\"phase\":\"Running\""))
        return;
    r->seen_us = clock_mono_us();
    if (r->waiting)
        loop_stop(r->loop);
}

static int64_t one_pod(struct running *r, struct http_client *client, const struct pod_shape *shape, int64_t i)
{
    struct buf body = {0};
    char path[256], pods[128], name[64];
    snprintf(pods, sizeof pods, "/api/v1/namespaces/%s/pods", shape->namespace_);
    snprintf(name, sizeof name, "bench-running-%d", (int)i);
    snprintf(r->name, sizeof r->name, "\"%s\"", name);
    pod_body(shape, name, &body);
    r->seen_us = 0;
    int64_t began = clock_mono_us();
    ask_well(r->loop, client, "POST", pods, NULL, buf_str(&body), 0, NULL);
    r->waiting = true;
    if (!r->seen_us)
        loop_run(r->loop);
    r->waiting = false;
    int64_t took = r->seen_us - began;
    snprintf(path, sizeof path, "%s/%s", pods, name);
    ask_well(r->loop, client, "DELETE", path, NULL, STR("{\"gracePeriodSeconds\":0}"), 0, NULL);
    buf_free(&body);
    return took;
}

static int run(int argc, char **argv)
{
    struct target target = {0};
    struct pod_shape shape = {.namespace_ = "default", .image = "busybox:1.36", .held = true};
    struct running r = {.open = false};
    int64_t pods = 20;
    char path[256];
    int n, exit_code;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&target),
        {"pods", OPTION_INT, &pods, "N", "how many (20)", .min = 1, .max = 10000},
        {"image", OPTION_STRING, &shape.image, "NAME", "present on every node, with a `sleep` (busybox:1.36)"},
        {0},
    };
    if (options_parse(&bench_running, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    r.loop = loop_create("running");
    struct http_client *client = target_connect(&target, r.loop);
    struct events events = {.on_open = on_open, .on_event = on_event, .arg = &r};
    snprintf(path, sizeof path, "/api/v1/namespaces/%s/pods?watch=1", shape.namespace_);
    events_watch(&events, client, path);
    loop_run(r.loop);
    int64_t *times = MEM_ARRAY(int64_t, (size_t)pods);
    one_pod(&r, client, &shape, pods); /* the first one warms caches of the page and of the runtime */
    for (int64_t i = 0; i < pods; i++)
        times[i] = one_pod(&r, client, &shape, i);
    printf("running_p50_ms %.1f\n", (double)median(times, (size_t)pods) / 1000);
    printf("running_p90_ms %.1f\n", (double)percentile(times, (size_t)pods, 90) / 1000);
    free(times);
    return 0;
}

const struct command bench_running = {"running", "--kubeconfig FILE [--pods N]", "pod created to watched Running", run};
