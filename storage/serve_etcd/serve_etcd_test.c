/* etcd's API over a store in memory, through our own gRPC client: what etcdctl does not do by itself. The workflow with
 * a stock etcdctl is conformance/workflows/42-serve-etcd.bats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/serve_etcd/serve_internal.h"

#include <stdio.h>
#include <stdlib.h>

static struct loop *loop;
static struct kv *kv;
static struct serve_etcd *server;
static struct grpc_channel *channel;
static struct err err;

static int set_up(void **state)
{
    (void)state;
    char url[64];
    const char *urls[] = {url, NULL};

    assert_int_equal(kv_open_memory(&kv, &err), 0);
    struct serve_etcd_options opt = {.kv = kv, .listen = "127.0.0.1:0", .guard_registry = true};
    assert_int_equal(serve_etcd_start(&opt, &server, &err), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", serve_etcd_port(server));
    loop = loop_create("test");
    return grpc_channel_create(loop, &(struct grpc_channel_options){.endpoints = urls}, &channel, &err);
}

static void end(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static int tear_down(void **state)
{
    (void)state;
    grpc_channel_destroy(channel);
    loop_post(loop, end, NULL);
    loop_run(loop);
    serve_etcd_stop(server);
    kv_close(kv);
    loop_destroy(loop);
    return 0;
}

static void put_direct(const char *key, struct str value)
{
    struct kv_op op = {.kind = KV_PUT, .key = str_from(key), .value = value};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    struct arena *a = arena_create(0);

    assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    arena_destroy(a);
}

/* ---- unary ---- */

static struct {
    enum err_code code;
    char message[512];
    int64_t count;
} answer;

static void on_unary(void *arg, const ProtobufCMessage *m, const struct err *e)
{
    (void)arg;
    answer.code = e ? e->code : ERR_OK;
    snprintf(answer.message, sizeof answer.message, "%s", e ? e->message : "");
    if (m && m->descriptor == &etcdserverpb__range_response__descriptor)
        answer.count = ((const Etcdserverpb__RangeResponse *)m)->count;
    loop_stop(loop);
}

static void call(const char *path, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response)
{
    grpc_unary(channel, path, request, response, 10000, on_unary, NULL);
    loop_run(loop);
}

static ProtobufCBinaryData bytes(const char *z, size_t n)
{
    return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)z};
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct row {
        const char *key, *end;
        size_t n_end;
        enum err_code code;
        const char *starts;
    } rows[] = {
        {"/a", NULL, 0, ERR_OK, ""},
        {"", NULL, 0, ERR_BAD_REQUEST, "etcdserver: key is not provided"},
        {"/registry", NULL, 0, ERR_FORBIDDEN, "etcdserver: keys under /registry"},
        {"/registry/x", NULL, 0, ERR_FORBIDDEN, "etcdserver: keys under /registry"},
        {"/registryx", NULL, 0, ERR_OK, ""},
        {"/registry0", NULL, 0, ERR_OK, ""},
        {"/registr", "/registry", 9, ERR_OK, ""},
        {"/registr", "/registry\0", 10, ERR_FORBIDDEN, "etcdserver: keys under /registry"},
        {"/a", "\0", 1, ERR_FORBIDDEN, "etcdserver: keys under /registry"},
        {"/registry0", "\0", 1, ERR_OK, ""},
        {"/registry/zz", "/z", 2, ERR_FORBIDDEN, "etcdserver: keys under /registry"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Etcdserverpb__DeleteRangeRequest q = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

        q.key = bytes(rows[i].key, strlen(rows[i].key));
        q.range_end = bytes(rows[i].end, rows[i].n_end);
        call("/etcdserverpb.KV/DeleteRange", &q.base, &etcdserverpb__delete_range_response__descriptor);
        assert_int_equal(answer.code, rows[i].code);
        assert_true(str_starts(str_from(answer.message), str_from(rows[i].starts)));
    }
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    call("/etcdserverpb.KV/Nothing", &q.base, &etcdserverpb__range_response__descriptor);
    assert_int_equal(answer.code, ERR_METHOD_NOT_ALLOWED);
    assert_string_equal(answer.message, "unknown method /etcdserverpb.KV/Nothing");
}

static void test_timeout_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"5S", 5000}, {"100m", 100},      {"1u", 1},  {"99999999H", 359999996400000},
                {"0n", 0},    {"S", -1},          {"", -1},   {"5", -1},
                {"5s", -1},   {"123456789S", -1}, {"-1S", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(grpc_timeout_ms(str_from(rows[i].text)), rows[i].ms);
}

/* ---- watches ---- */

struct seen {
    struct grpc_call *call;
    int64_t last, n_events, stop_at, progress, watch_id;
    size_t n_fragments, most;
    bool created, canceled, broken, hold;
};

static void on_watch(void *arg, const ProtobufCMessage *m)
{
    const Etcdserverpb__WatchResponse *r = (const void *)m;
    struct seen *s = arg;

    s->created |= r->created;
    s->canceled |= r->canceled;
    s->n_fragments += r->fragment;
    s->watch_id = r->watch_id;
    if (!r->n_events && !r->created && !r->canceled)
        s->progress = r->header->revision;
    for (size_t i = 0; i < r->n_events; i++) {
        s->broken |= r->events[i]->kv->mod_revision != s->last + 1 && r->events[i]->kv->mod_revision != s->last;
        s->last = r->events[i]->kv->mod_revision;
        s->n_events++;
    }
    if (protobuf_c_message_get_packed_size(m) > s->most)
        s->most = protobuf_c_message_get_packed_size(m);
    if ((s->stop_at && s->n_events >= s->stop_at) || s->progress || s->canceled || s->hold)
        loop_stop(loop);
}

static void on_watch_done(void *arg, const struct err *e)
{
    (void)arg, (void)e;
    fail_msg("the watch ended: %s", e ? e->message : "");
}

static void watch(struct seen *s, int64_t from, bool fragment)
{
    Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    struct grpc_stream_handler handler = {.on_message = on_watch, .on_done = on_watch_done, .arg = s};

    create.key = bytes("/w/", 3);
    create.range_end = bytes("/w0", 3);
    create.start_revision = from;
    create.fragment = fragment;
    q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    q.create_request = &create;
    s->call = grpc_stream(channel, "/etcdserverpb.Watch/Watch", &etcdserverpb__watch_response__descriptor, 0, &handler);
    grpc_send(s->call, &q.base);
}

/* A client that reads nothing for a while is owed 100 MB: it gets them in pieces, each event once. */
static void test_slow_watch(void **state)
{
    (void)state;
    enum { N = 200, SIZE = 500000 };
    char *value = calloc(1, SIZE);
    int64_t from = kv_revision(kv) + 1;
    struct seen s = {.last = from - 1, .hold = true};

    struct seen other = s;

    watch(&s, from, false);
    loop_run(loop); /* created */
    watch(&other, from, false);
    loop_run(loop);
    assert_true(s.created && other.created);
    s.hold = other.hold = false;
    s.stop_at = other.stop_at = N;
    grpc_read(s.call, false);
    grpc_read(other.call, false);
    for (int i = 0; i < N; i++)
        put_direct("/w/a", (struct str){value, SIZE});
    grpc_read(s.call, true);
    loop_run(loop);
    grpc_read(other.call, true);
    loop_run(loop);
    assert_int_equal(s.n_events, N);
    assert_int_equal(other.n_events, N);
    assert_false(s.broken || other.broken);
    grpc_cancel(other.call);
    assert_true(s.most < 4 << 20);

    Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    q.progress_request = &progress;
    s.stop_at = 0;
    grpc_send(s.call, &q.base);
    loop_run(loop);
    assert_int_equal(s.progress, kv_revision(kv));
    assert_int_equal(s.watch_id, -1);
    grpc_cancel(s.call);
    free(value);
}

static void test_fragments(void **state)
{
    (void)state;
    enum { N = 6, SIZE = 900000 };
    char *value = calloc(1, SIZE), keys[N][8];
    int64_t from = kv_revision(kv) + 1;
    struct kv_op ops[N];
    struct kv_txn_result result;
    struct arena *a = arena_create(0);

    for (int i = 0; i < N; i++) {
        snprintf(keys[i], sizeof keys[i], "/w/%d", i);
        ops[i] = (struct kv_op){.kind = KV_PUT, .key = str_from(keys[i]), .value = {value, SIZE}};
    }
    assert_int_equal(kv_txn_wait(kv, a, &(struct kv_txn){.success = ops, .n_success = N}, &result, &err), 0);
    for (int cut = 0; cut < 2; cut++) {
        struct seen s = {.last = from - 1, .stop_at = N};

        watch(&s, from, cut);
        loop_run(loop);
        assert_int_equal(s.n_events, N);
        assert_int_equal(s.n_fragments, cut ? N - 1 : 0);
        assert_false(s.broken);
        grpc_cancel(s.call);
    }
    arena_destroy(a);
    free(value);
}

static void test_compacted_watch(void **state)
{
    (void)state;
    int64_t from = kv_revision(kv);
    struct seen s = {.last = from};

    put_direct("/w/a", STR("1"));
    put_direct("/w/a", STR("2"));
    assert_int_equal(kv_compact(kv, kv_revision(kv), &err), 0);
    kv_compact_wait(kv);
    watch(&s, from, false);
    loop_run(loop);
    assert_true(s.created && s.canceled);
    assert_int_equal(s.n_events, 0);
    grpc_cancel(s.call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals), cmocka_unit_test(test_timeout_values),
                                       cmocka_unit_test(test_slow_watch), cmocka_unit_test(test_fragments),
                                       cmocka_unit_test(test_compacted_watch)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
