/* Bytes as the body of a call to each method of etcd's API, over a real connection to a store in memory: frames,
 * messages and what is done with them. The first byte chooses the method, the second whether the rest is framed as it
 * stands or gets a frame around it, so that inputs get through to the messages. */
#include "base/net/http_client.h"
#include "storage/serve_etcd/serve_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { ENOUGH = 3000, WAIT_MS = 3000 }; /* calls before the store begins anew; no answer by then is a failure */

static const char *const paths[] = {
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Auth/UserAdd",
};

static struct loop *loop;
static struct kv *kv;
static struct serve_etcd *server;
static struct http_client *client;
static int n_calls;

static void begin(void)
{
    struct err err = ERR_INIT;
    char url[64];
    const char *urls[] = {url, NULL};

    loop = loop_create("fuzz");
    struct serve_etcd_options opt = {.listen = "127.0.0.1:0"};
    if (kv_open_memory(&kv, &err) < 0)
        abort();
    opt.kv = kv;
    if (serve_etcd_start(&opt, &server, &err) < 0)
        abort();
    snprintf(url, sizeof url, "http://127.0.0.1:%d", serve_etcd_port(server));
    if (http_client_create(loop, &(struct http_client_options){.endpoints = urls, .mode = HTTP_CLIENT_HTTP2}, &client,
                           &err) < 0)
        abort();
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void end(void)
{
    http_client_destroy(client);
    loop_post(loop, stop, NULL);
    loop_run(loop);
    serve_etcd_stop(server);
    kv_close(kv);
    loop_destroy(loop);
    loop = NULL;
    n_calls = 0;
}

static void on_done(void *arg, const struct err *err)
{
    *(enum err_code *)arg = err ? err->code : ERR_OK;
    loop_stop(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_header headers[] = {{{"content-type", 12}, {"application/grpc", 16}},
                                                 {{"te", 2}, {"trailers", 8}}};
    struct buf body = {0};
    enum err_code code = ERR_OK;

    if (size < 2)
        return 0;
    if (!loop)
        begin();
    if (data[1] & 1) {
        size_t n = size - 2;
        const char head[5] = {0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
        buf_add(&body, head, 5);
    }
    buf_add(&body, data + 2, size - 2);
    http_call_start(client, &(struct http_call_options){
                                .method = STR("POST"),
                                .path = str_from(paths[data[0] % (sizeof paths / sizeof *paths)]),
                                .headers = headers,
                                .n_headers = 2,
                                .body = buf_str(&body),
                                .timeout_ms = WAIT_MS,
                                .handler = {.on_done = on_done, .arg = &code},
                            });
    loop_run(loop);
    if (code == ERR_TIMEOUT)
        abort();
    buf_free(&body);
    if (++n_calls == ENOUGH)
        end();
    return 0;
}
