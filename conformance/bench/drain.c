/* bench drain: how fast a scheduler that just started binds the pods that were waiting for it. What it sees is the
 * watch of pods without a node, from the revision at which the last of them was made: every binding takes one away. */
#include "base/clock.h"
#include "conformance/bench/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct drain {
    struct loop *loop;
    int64_t pods, bound;
    int64_t first_us, last_us, tenth_us;
};

static void on_event(void *arg, const char *line, size_t len)
{
    (void)len;
    struct drain *d = arg;
    if (strncmp(line, "{\"type\":\"ERROR\"", 15) == 0)
        die("%s", line);
    if (strncmp(line, "{\"type\":\"DELETED\"", 17) != 0)
        return;
    d->last_us = clock_mono_us();
    if (++d->bound == d->pods / 10)
        d->tenth_us = d->last_us;
    if (d->bound == d->pods)
        loop_stop(d->loop);
}

static int run(int argc, char **argv)
{
    struct drain d = {.pods = 5000};
    struct target target = {0};
    const char *revision = NULL;
    char path[256];
    int n, exit_code;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&target),
        {"pods", OPTION_INT, &d.pods, "N", "how many wait (5000)", .min = 10, .max = 10000000},
        {"revision", OPTION_STRING, &revision, "R", "resourceVersion before the scheduler started", .required = true},
        {0},
    };
    if (options_parse(&bench_drain, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    d.loop = loop_create("drain");
    struct http_client *client = target_connect(&target, d.loop);
    struct events events = {.on_event = on_event, .arg = &d};
    d.first_us = clock_mono_us();
    snprintf(path, sizeof path, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%%3D&resourceVersion=%s", revision);
    events_watch(&events, client, path);
    loop_run(d.loop);
    printf("bound %lld\nbinds_per_s %.0f\n", (long long)d.bound,
           (double)d.bound * 1e6 / (double)(d.last_us - d.first_us));
    /* what was bound before this program watched arrives at once: the rest is the steady part */
    printf("steady_binds_per_s %.0f\n", (double)(d.bound - d.pods / 10) * 1e6 / (double)(d.last_us - d.tenth_us));
    return 0;
}

const struct command bench_drain = {"drain", "--url URL --token T --revision R [--pods N]", "pods bound per second",
                                    run};
