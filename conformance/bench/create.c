/* bench create and bench seed: objects made with so many requests in flight, for so long or so many. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "conformance/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct creates {
    struct loop *loop;
    struct target target;
    struct pod_shape shape;
    const char *prefix;
    int64_t count, seconds, in_flight, connections;
    bool nodes; /* nodes instead of pods */
    char path[256];
    int64_t started, done, deadline_us;
    int64_t *times;
    size_t n_times, cap_times;
    struct slot *slots;
};

struct slot { /* one request in flight at a time */
    struct creates *c;
    struct http_client *client;
    int64_t began_us;
    int status;
    struct buf body, answer;
};

static void next(struct slot *s);

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    struct slot *s = arg;
    s->status = status;
    s->answer.len = 0;
}

static void on_data(void *arg, struct str data)
{
    struct slot *s = arg;
    if (s->status != 201)
        buf_add_str(&s->answer, data);
}

static void on_done(void *arg, const struct err *err)
{
    struct slot *s = arg;
    struct creates *c = s->c;
    if (err)
        die("%s", err->message);
    if (s->status != 201)
        die("POST %s: %d " STR_FMT, c->path, s->status, STR_ARG(buf_str(&s->answer)));
    if (c->n_times == c->cap_times) {
        c->cap_times = c->cap_times ? 2 * c->cap_times : 4096;
        c->times = mem_realloc(c->times, c->cap_times * sizeof *c->times);
    }
    c->times[c->n_times++] = clock_mono_us() - s->began_us;
    c->done++;
    next(s);
}

static void node_body(const char *name, struct buf *out)
{
    buf_printf(out,
               "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
               "\"kubernetes.io/hostname\":\"%s\",\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"amd64\"}},"
               "\"spec\":{},\"status\":{\"capacity\":{\"cpu\":\"32\",\"memory\":\"64Gi\",\"pods\":\"110\"},"
               "\"allocatable\":{\"cpu\":\"32\",\"memory\":\"64Gi\",\"pods\":\"110\"},\"conditions\":[{"
               "\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"KubeletReady\",\"message\":\"ready\","
               "\"lastHeartbeatTime\":\"2026-01-01T00:00:00Z\",\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}",
               name, name);
}

static void next(struct slot *s)
{
    static const struct http_header headers[] = {{STR("accept"), STR("application/json")},
                                                 {STR("content-type"), STR("application/json")}};
    struct creates *c = s->c;
    char name[64];
    s->began_us = clock_mono_us();
    if (c->started >= c->count || (c->deadline_us && s->began_us > c->deadline_us)) {
        if (c->done == c->started)
            loop_stop(c->loop);
        return;
    }
    snprintf(name, sizeof name, "%s-%lld", c->prefix, (long long)c->started++);
    s->body.len = 0;
    if (c->nodes)
        node_body(name, &s->body);
    else
        pod_body(&c->shape, name, &s->body);
    struct http_call_options call = {.method = STR("POST"),
                                     .path = str_from(c->path),
                                     .headers = headers,
                                     .n_headers = 2,
                                     .body = buf_str(&s->body),
                                     .handler = {on_response, on_data, NULL, NULL, on_done, NULL, s}};
    http_call_start(s->client, &call);
}

static void create_all(struct creates *c)
{
    struct http_client **clients = MEM_ARRAY(struct http_client *, (size_t)c->connections);
    c->loop = loop_create("bench");
    for (int64_t i = 0; i < c->connections; i++) {
        clients[i] = target_connect(&c->target, c->loop);
        ask_well(c->loop, clients[i], "GET", "/readyz", NULL, STR_NULL, 0,
                 NULL); /* connected before the clock starts */
    }
    if (c->nodes)
        snprintf(c->path, sizeof c->path, "/api/v1/nodes");
    else
        snprintf(c->path, sizeof c->path, "/api/v1/namespaces/%s/pods", c->shape.namespace_);
    if (!c->nodes)
        pod_shape_learn(&c->shape, c->loop, clients[0]);
    c->slots = MEM_ARRAY(struct slot, (size_t)c->in_flight);
    int64_t began = clock_mono_us();
    c->deadline_us = c->seconds ? began + c->seconds * 1000000 : 0;
    for (int64_t i = 0; i < c->in_flight; i++) {
        c->slots[i].c = c;
        c->slots[i].client = clients[i % c->connections];
        next(&c->slots[i]);
    }
    loop_run(c->loop);
    double seconds = (double)(clock_mono_us() - began) / 1e6;
    printf("created %lld\ncreates_per_s %.0f\n", (long long)c->done, (double)c->done / seconds);
    printf("create_p50_ms %.2f\n", (double)percentile(c->times, c->n_times, 50) / 1000);
    printf("create_p99_ms %.2f\n", (double)percentile(c->times, c->n_times, 99) / 1000);
}

/* A new node is tainted until a controller finds it ready: there is none here. */
static void untaint(struct creates *c)
{
    struct http_client *client = target_connect(&c->target, c->loop);
    for (int64_t i = 0; i < c->count; i++) {
        char path[128];
        snprintf(path, sizeof path, "/api/v1/nodes/%s-%lld", c->prefix, (long long)i);
        ask_well(c->loop, client, "PATCH", path, "application/merge-patch+json", STR("{\"spec\":{\"taints\":null}}"), 0,
                 NULL);
    }
    http_client_destroy(client);
}

static int run_create(int argc, char **argv)
{
    struct creates c = {.shape = {.namespace_ = "default", .image = "busybox:1.36"},
                        .prefix = "pod",
                        .count = 1000000000,
                        .in_flight = 64,
                        .connections = 4};
    int n, exit_code;
    int64_t bytes = 4096;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&c.target),
        {"namespace", OPTION_STRING, &c.shape.namespace_, "NAME", "where (default)"},
        {"prefix", OPTION_STRING, &c.prefix, "NAME", "of the names (pod)"},
        {"count", OPTION_INT, &c.count, "N", "how many", .min = 1, .max = 1000000000},
        {"seconds", OPTION_INT, &c.seconds, "N", "or for how long", .min = 1, .max = 86400},
        {"in-flight", OPTION_INT, &c.in_flight, "N", "requests at a time (64)", .min = 1, .max = 10000},
        {"connections", OPTION_INT, &c.connections, "N", "over so many connections (4)", .min = 1, .max = 1000},
        {"bytes", OPTION_INT, &bytes, "N", "of JSON of a stored pod; 0 = as it is (4096)", .min = 0, .max = 1000000},
        {0},
    };
    if (options_parse(&bench_create, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    c.shape.bytes = (size_t)bytes;
    create_all(&c);
    return 0;
}

static int run_seed(int argc, char **argv)
{
    struct creates c = {.nodes = true, .prefix = "node", .count = 1000, .in_flight = 64, .connections = 2};
    int n, exit_code;
    const struct option_spec specs[] = {
        TARGET_OPTIONS(&c.target),
        {"count", OPTION_INT, &c.count, "N", "how many (1000)", .min = 1, .max = 100000},
        {0},
    };
    if (options_parse(&bench_seed, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    create_all(&c);
    untaint(&c);
    return 0;
}

const struct command bench_create = {"create", "--url URL --token T [flags]", "make pods, many in flight", run_create};
const struct command bench_seed = {"seed", "--url URL --token T [--count N]", "make nodes that are objects alone",
                                   run_seed};
