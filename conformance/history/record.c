#include "conformance/history/record.h"
#include "api/client/kubeconfig.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cmd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_EVERY_MS 100

static const struct command command_record;

void recorder_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("recorder: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

uint64_t recorder_random(struct recorder *r, uint64_t below)
{
    r->random ^= r->random << 13;
    r->random ^= r->random >> 7;
    r->random ^= r->random << 17;
    return r->random % below;
}

void recorder_log(struct recorder *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(r->log, fmt, args);
    va_end(args);
    fputc('\n', r->log);
}

void recorder_connect(struct recorder *r, struct connections *ret, const char *user_agent, int64_t ping_interval_ms)
{
    *ret = (struct connections){.clients = MEM_ARRAY(struct http_client *, r->n_servers), .n = r->n_servers};
    for (size_t i = 0; i < r->n_servers; i++) {
        const char *endpoints[] = {r->servers[i].url, NULL};
        struct err err = ERR_INIT;
        const struct http_client_options options = {.endpoints = endpoints,
                                                    .tls = r->servers[i].tls,
                                                    .mode = HTTP_CLIENT_HTTP2,
                                                    .token = r->servers[i].token,
                                                    .server_name = r->servers[i].server_name,
                                                    .user_agent = user_agent,
                                                    .connect_timeout_ms = r->timeout_ms,
                                                    .ping_interval_ms = ping_interval_ms};
        if (http_client_create(r->loop, &options, &ret->clients[i], &err) < 0)
            recorder_fail("%s", err.message);
    }
}

static void read_whole(const char *file, struct buf *out)
{
    char block[8192];
    ssize_t n;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        recorder_fail("%s: no such file, or not readable", file);
    while ((n = read(fd, block, sizeof block)) > 0)
        buf_add(out, block, (size_t)n);
    close(fd);
}

static void add_server(struct recorder *r, const char *file, const char *url)
{
    struct kubeconfig config = {0};
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct server *s = &r->servers[r->n_servers++];
    struct buf text = {0};
    read_whole(file, &text);
    if (kubeconfig_parse(a, buf_str(&text), file, &config, &err) < 0)
        recorder_fail("%s", err.message);
    const struct tls_options options = {.cert_pem = config.cert_pem,
                                        .key_pem = config.key_pem,
                                        .ca_pem = config.ca_pem,
                                        .insecure = config.insecure,
                                        .alpn_h2 = true};
    if (tls_context_create(&options, &s->tls, &err) < 0)
        recorder_fail("%s", err.message);
    s->url = mem_strdup(url ? url : config.server);
    s->server_name = config.server_name ? mem_strdup(config.server_name) : NULL;
    s->token = config.token ? mem_strdup(config.token) : NULL;
    buf_free(&text);
    arena_destroy(a);
}

/* Each kubeconfig's server, or each of the URLs with the first kubeconfig's credentials. */
static void add_servers(struct recorder *r, const char *kubeconfigs, const char *urls)
{
    char *save, *list = mem_strdup(urls ? urls : kubeconfigs);
    char *file = mem_strdup(kubeconfigs);
    r->servers = MEM_ARRAY(struct server, strlen(list) / 2 + 1);
    file[strcspn(file, ",")] = '\0';
    for (char *one = strtok_r(list, ",", &save); one; one = strtok_r(NULL, ",", &save))
        add_server(r, urls ? file : one, urls ? one : NULL);
    free(list);
    free(file);
}

/* Three of four keys are ConfigMaps. */
static void make_keys(struct recorder *r)
{
    r->keys = MEM_ARRAY(struct key, (size_t)r->n_keys);
    for (int i = 0; i < r->n_keys; i++) {
        struct key *key = &r->keys[i];
        key->object_kind = i % 4 == 1 ? OBJECT_LEASE : OBJECT_CONFIGMAP;
        snprintf(key->name, sizeof key->name, "k%d", i);
        snprintf(key->text, sizeof key->text, "%s/%s", resource_name(key->object_kind), key->name);
    }
}

const struct key *recorder_key(const struct recorder *r, enum object_kind object_kind, struct str name)
{
    for (int64_t i = 0; i < r->n_keys; i++) {
        if (r->keys[i].object_kind == object_kind && str_eqz(name, r->keys[i].name))
            return &r->keys[i];
    }
    return NULL;
}

/* The namespace must be new: nothing in it was there before the log. */
struct beginning {
    struct recorder *r;
    struct connections servers;
    struct timer again;
    int64_t deadline_us;
    const char *leases_of;
    bool inventory;
    int status, tries;
};

static void make_namespace(void *arg);

static void on_namespace_status(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    ((struct beginning *)arg)->status = status;
}

static void duration_over(void *arg)
{
    struct recorder *r = arg;
    r->stopping = true;
}

static void on_namespace(void *arg, const struct err *err)
{
    struct beginning *b = arg;
    struct recorder *r = b->r;
    if (b->status == 201 || (b->status == 409 && b->tries > 1)) {
        writers_start(r);
        watchers_start(r, b->leases_of, b->inventory);
        return;
    }
    if (b->status == 409)
        recorder_fail("namespace %s is there already", r->namespace_);
    if (clock_mono_us() > b->deadline_us)
        recorder_fail("namespace %s was not made: %d %s", r->namespace_, b->status, err ? err->message : "");
    b->servers.current = (b->servers.current + 1) % b->servers.n;
    timer_start(&b->again, r->loop, 100, make_namespace, b);
}

static void make_namespace(void *arg)
{
    struct beginning *b = arg;
    static const struct http_header type = {STR("content-type"), STR("application/json")};
    struct buf body = {0};
    buf_printf(&body, "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
               b->r->namespace_);
    const struct http_call_options call = {.method = STR("POST"),
                                           .path = STR("/api/v1/namespaces"),
                                           .headers = &type,
                                           .n_headers = 1,
                                           .body = buf_str(&body),
                                           .timeout_ms = b->r->timeout_ms,
                                           .handler = {on_namespace_status, NULL, NULL, NULL, on_namespace, NULL, b}};
    b->status = 0;
    b->tries++;
    http_call_start(b->servers.clients[b->servers.current], &call);
    buf_free(&body);
}

void recorder_idle(struct recorder *r)
{
    if (!r->n_busy && !r->finishing)
        writers_finish(r);
}

static void end(struct recorder *r)
{
    recorder_log(r, "final %" PRId64, clock_mono_us());
    loop_stop(r->loop);
}

static void settle(void *arg)
{
    struct recorder *r = arg;
    r->settle_ms -= SETTLE_EVERY_MS;
    if (watchers_have_seen(r) || r->settle_ms <= 0)
        end(r);
    else
        timer_start(&r->settle, r->loop, SETTLE_EVERY_MS, settle, r);
}

void recorder_written(struct recorder *r)
{
    settle(r);
}

static void summary(const struct recorder *r)
{
    int64_t sums[2][OUTCOMES] = {0};
    for (int kind = 0; kind < OP_KINDS; kind++) {
        for (int outcome = 0; outcome < OUTCOMES; outcome++)
            sums[!op_writes((enum op_kind)kind)][outcome] += r->counts[kind][outcome];
    }
    printf("writes: %" PRId64 " acknowledged, %" PRId64 " refused, %" PRId64 " unknown; reads: %" PRId64
           " answered, %" PRId64 " failed; %" PRId64 " events in %" PRId64 " sessions after %" PRId64
           " lists; longest pause between acknowledged writes %" PRId64 " ms\n",
           sums[0][OUTCOME_OK], sums[0][OUTCOME_FAIL], sums[0][OUTCOME_UNKNOWN], sums[1][OUTCOME_OK],
           sums[1][OUTCOME_FAIL] + sums[1][OUTCOME_UNKNOWN], r->events, r->sessions, r->relists,
           r->longest_pause_us / 1000);
}

static void on_signal(uv_signal_t *s, int number)
{
    (void)number;
    duration_over(s->data);
}

/* Nothing succeeds any more: the log stays without its end. */
static void give_up(void *arg)
{
    struct recorder *r = arg;
    fflush(r->log);
    recorder_fail("no server answers: stopped without an end");
}

static void on_duration(void *arg)
{
    struct recorder *r = arg;
    duration_over(r);
    timer_start(&r->duration, r->loop, 90000, give_up, r);
}

static int run(struct recorder *r, int64_t seconds, struct beginning *begin)
{
    begin->r = r;
    begin->deadline_us = clock_mono_us() + 30000000;
    uv_signal_t term, interrupt;
    uv_signal_init(loop_uv(r->loop), &term);
    uv_signal_init(loop_uv(r->loop), &interrupt);
    term.data = interrupt.data = r;
    uv_signal_start(&term, on_signal, SIGTERM);
    uv_signal_start(&interrupt, on_signal, SIGINT);
    recorder_connect(r, &begin->servers, "recorder", 0);
    timer_start(&r->duration, r->loop, seconds * 1000, on_duration, r);
    make_namespace(begin);
    loop_run(r->loop);
    if (fclose(r->log) != 0)
        recorder_fail("the log was not written: %s", strerror(errno));
    summary(r);
    return 0;
}

static int record(int argc, char **argv)
{
    struct recorder r = {.namespace_ = "history",
                         .n_keys = 6,
                         .n_writers = 8,
                         .n_watchers = 8,
                         .think_ms = 10,
                         .timeout_ms = 3000,
                         .settle_ms = 30000};
    struct beginning begin = {0};
    const char *kubeconfigs = NULL, *urls = NULL, *log = NULL;
    int64_t seconds = 10, seed = 1;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"kubeconfig", OPTION_STRING, &kubeconfigs, "FILE,…", "servers and credentials", .required = true},
        {"server", OPTION_STRING, &urls, "URL,…", "these servers, with the first kubeconfig's credentials"},
        {"log", OPTION_STRING, &log, "FILE", "what is asked and answered", .required = true},
        {"seconds", OPTION_INT, &seconds, "N", "for how long, or until SIGTERM (10)", .min = 1, .max = 86400},
        {"namespace", OPTION_STRING, &r.namespace_, "NAME", "made for this (history)"},
        {"keys", OPTION_INT, &r.n_keys, "N", "objects (6)", .min = 2, .max = 1000},
        {"writers", OPTION_INT, &r.n_writers, "N", "one request at a time each (8)", .min = 1, .max = 100},
        {"watchers", OPTION_INT, &r.n_watchers, "N", "one watch at a time each (8)", .min = 1, .max = 1000},
        {"think", OPTION_DURATION_MS, &r.think_ms, "DURATION", "between a writer's requests, about (10ms)"},
        {"timeout", OPTION_DURATION_MS, &r.timeout_ms, "DURATION", "of a request; then its outcome is unknown (3s)"},
        {"settle", OPTION_DURATION_MS, &r.settle_ms, "DURATION", "for watchers to see the last writes (30s)"},
        {"leases-of", OPTION_STRING, &begin.leases_of, "NAMESPACE", "watch its leases, too: who leads"},
        {"inventory", OPTION_BOOL, &begin.inventory, NULL,
         "watch Services, pods, nodes and ReplicaSets, too: who has what"},
        {"simulated-pods", OPTION_BOOL, &r.simulated_pods, NULL, "pods' addresses are made up: leave them out of that"},
        {"seed", OPTION_INT, &seed, "N", "of what is asked (1)", .min = 1, .max = INT64_MAX},
        {0},
    };
    if (options_parse(&command_record, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    r.random = (uint64_t)seed * 0x9e3779b97f4a7c15u | 1;
    r.loop = loop_create("recorder");
    r.log = fopen(log, "we");
    if (!r.log)
        recorder_fail("open %s: %s", log, strerror(errno));
    add_servers(&r, kubeconfigs, urls);
    make_keys(&r);
    return run(&r, seconds, &begin);
}

static const struct command command_record = {"record", "--kubeconfig FILE --log FILE [flags]",
                                              "ask a cluster, and write down what it answers", record};

int record_main(int argc, char **argv)
{
    return record(argc, argv);
}
