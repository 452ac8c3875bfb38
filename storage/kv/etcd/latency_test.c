/* What the store adds to etcd's own time: one put after the other, by a transaction through kv_txn from another loop
 * (as a request makes it: there and back), and by the bare call over the same client code, in turns. The budget is 0.3
 * ms; machines under test are noisy, so what is asserted is ten times that, and the figures are printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/net/grpc.h"
#include "base/vec.h"
#include "storage/kv/etcd/rpc.pb-c.h"
#include "storage/kv/etcd/server_for_test.h"
#include "storage/kv/kv.h"

#include <pthread.h>

enum { ROUNDS = 400, VALUE = 1000 };

static struct etcd_server server;
static struct loop *loop;
static struct kv *kv;
static struct grpc_channel *channel;
static char value[VALUE];

static struct {
    int round;
    int64_t began_us;
    int64_t bare_us[ROUNDS], ours_us[ROUNDS];
    char key[32];
    struct kv_op op;
    struct kv_compare compare;
    struct kv_txn txn;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool over;
} run = {.lock = PTHREAD_MUTEX_INITIALIZER, .ready = PTHREAD_COND_INITIALIZER};

static void next_bare(void *arg);

static void back_here(void *arg)
{
    (void)arg;
    run.ours_us[run.round++] = clock_mono_us() - run.began_us;
    next_bare(NULL);
}

static void ours_done(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    (void)arg;
    assert_true(!err && result->succeeded);
    loop_post(loop, back_here, NULL);
}

static void next_ours(void)
{
    snprintf(run.key, sizeof run.key, "/ours/%06d", run.round);
    run.compare = (struct kv_compare){.key = str_from(run.key), .target = KV_TARGET_MOD};
    run.op = (struct kv_op){.kind = KV_PUT, .key = run.compare.key, .value = {value, VALUE}, .cookie = &run};
    run.txn = (struct kv_txn){&run.compare, 1, &run.op, 1, NULL, 0};
    run.began_us = clock_mono_us();
    kv_txn(kv, &run.txn, ours_done, NULL);
}

static void bare_done(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    (void)arg;
    (void)response;
    assert_null(err);
    run.bare_us[run.round] = clock_mono_us() - run.began_us;
    next_ours();
}

static void next_bare(void *arg)
{
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

    (void)arg;
    if (run.round == ROUNDS) {
        pthread_mutex_lock(&run.lock);
        run.over = true;
        pthread_cond_signal(&run.ready);
        pthread_mutex_unlock(&run.lock);
        return;
    }
    snprintf(run.key, sizeof run.key, "/bare/%06d", run.round);
    put.key = (ProtobufCBinaryData){strlen(run.key), (uint8_t *)run.key};
    put.value = (ProtobufCBinaryData){VALUE, (uint8_t *)value};
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.key = put.key;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    txn.n_compare = txn.n_success = 1;
    txn.compare = compares;
    txn.success = ops;
    run.began_us = clock_mono_us();
    grpc_unary(channel, "/etcdserverpb.KV/Txn", &txn.base, &etcdserverpb__txn_response__descriptor, 5000, bare_done,
               NULL);
}

static void open_channel(void *arg)
{
    static const char *urls[2];
    struct err err;

    (void)arg;
    urls[0] = server.url;
    struct grpc_channel_options opt = {.endpoints = urls};
    assert_int_equal(grpc_channel_create(loop, &opt, &channel, &err), 0);
    next_bare(NULL);
}

static void close_channel(void *arg)
{
    (void)arg;
    grpc_channel_destroy(channel);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void adds_little(void **state)
{
    (void)state;
    struct err err;

    run.round = 0;
    run.over = false;
    memset(value, 'x', sizeof value);
    etcd_server_start(&server);
    loop = loop_create("test");
    loop_start(loop);
    if (kv_open_etcd_text(server.url, &kv, &err) < 0)
        fail_msg("%s", err.message);
    loop_post(loop, open_channel, NULL);
    pthread_mutex_lock(&run.lock);
    while (!run.over)
        pthread_cond_wait(&run.ready, &run.lock);
    pthread_mutex_unlock(&run.lock);
    qsort(run.bare_us, ROUNDS, sizeof *run.bare_us, by_value);
    qsort(run.ours_us, ROUNDS, sizeof *run.ours_us, by_value);
    int64_t bare = run.bare_us[ROUNDS / 2], ours = run.ours_us[ROUNDS / 2];
    print_message("a put in etcd %s: %.3f ms by itself, %.3f ms through the store (median of %d; best %.3f and %.3f)\n",
                  etcd_version, (double)bare / 1000, (double)ours / 1000, ROUNDS, (double)run.bare_us[0] / 1000,
                  (double)run.ours_us[0] / 1000);
    assert_true(ours - bare < 3000);
    kv_close(kv);
    loop_post(loop, close_channel, NULL);
    loop_stop(loop);
    loop_join(loop);
    loop_destroy(loop);
    etcd_server_remove(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(adds_little)};
    int failed = 0, n = 0;

    for (; etcd_next(); n++)
        failed += cmocka_run_group_tests_name("etcd", tests, NULL, NULL);
    if (!n)
        print_message("etcd is not installed: nothing to measure\n");
    return failed;
}
