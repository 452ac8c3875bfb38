/* bench: what the load program's commands share: a server to talk to, connections to it, and requests over them.
 *
 * A command runs on one loop and one thread: the machine's other processors are the server's. It prints its figures as
 * `name value` lines, which conformance/bench/run turns into a table. Anything unexpected ends the program with a
 * message and exit code 1: a figure beside errors is worth nothing.
 */
#ifndef SKIFF_CONFORMANCE_BENCH_BENCH_H
#define SKIFF_CONFORMANCE_BENCH_BENCH_H

#include "base/loop.h"
#include "base/net/http_client.h"
#include "cmd/options.h"

extern const struct command bench_ready, bench_create, bench_seed, bench_fanout, bench_drain, bench_running,
    bench_runtime, bench_fill, bench_watchers, bench_store, bench_load, bench_compact, bench_snapshot;

/* Where the server is and who asks: --url with --token, or --kubeconfig. */
struct target {
    const char *url, *token, *kubeconfig;
};
#define TARGET_OPTIONS(t)                                                                                            \
    {"url", OPTION_STRING, &(t)->url, "URL", "the server; its certificate is not verified"},                         \
        {"token", OPTION_STRING, &(t)->token, "TOKEN", "bearer token"},                                              \
    {                                                                                                                \
        "kubeconfig", OPTION_STRING, &(t)->kubeconfig, "FILE", "server and credentials instead of --url and --token" \
    }

/* An HTTP/2 connection of its own; made at the first request. */
struct http_client *target_connect(const struct target *t, struct loop *loop);

/* One request and its whole answer, waited for on a loop that nothing else needs meanwhile. Answers the HTTP status;
 * *ret_body (may be NULL) is malloc'd and ends in NUL. */
int ask(struct loop *loop, struct http_client *client, const char *method, const char *path, const char *content_type,
        struct str body, char **ret_body);
/* The same, which must succeed (2xx, or `also`). */
void ask_well(struct loop *loop, struct http_client *client, const char *method, const char *path,
              const char *content_type, struct str body, int also, char **ret_body);

/* The first `"name":"value"` or `"name":value` of a JSON text, as a copy in the heap; NULL when there is none. */
char *json_member(const char *json, const char *name);

/* A pod as users write them, named `name`, whose stored form has about `bytes` of JSON (learnt from the server by
 * pod_shape_learn; before that, and when 0, as it is). */
struct pod_shape {
    const char *namespace_, *image;
    size_t bytes, padding;
    bool held; /* runs forever: a sleeping shell */
};
void pod_body(const struct pod_shape *shape, const char *name, struct buf *out);
/* Makes the namespace's service account when no controller did, and finds the padding. */
void pod_shape_learn(struct pod_shape *shape, struct loop *loop, struct http_client *client);

/* Times, in microseconds; sorted in place. */
int64_t median(int64_t *values, size_t n);
int64_t percentile(int64_t *values, size_t n, int percent);

void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
