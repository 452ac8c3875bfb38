/* What the parts of serve_etcd share: serve.c starts, stops and answers what is small; keys.c, txn.c, watch.c,
 * lease.c; maintenance.c, save.c. */
#ifndef SKIFF_STORAGE_SERVE_ETCD_SERVE_INTERNAL_H
#define SKIFF_STORAGE_SERVE_ETCD_SERVE_INTERNAL_H

#include "base/net/grpc_server.h"
#include "storage/kv/etcd/rpc.pb-c.h"
#include "storage/kv/kv.h"
#include "storage/serve_etcd/serve.h"

#include <pthread.h>
#include <sys/queue.h>

#define SERVE_CLUSTER_ID 0xcdf818194e3a8c32u
#define SERVE_MEMBER_ID 0x8e9e05c52164694du
#define SERVE_VERSION "3.5.21" /* whose API this is */
#define SERVE_MAX_REQUEST (2u << 20)
#define SERVE_MAX_OPS 128
#define SERVE_MAX_ALL_OPS 4096       /* those of nested transactions among them */
#define SERVE_PAGES 64               /* readers of pages whose place is known */
#define SERVE_FRAGMENT (1536u << 10) /* bytes of a watch's response that is to be cut */

TAILQ_HEAD(watch_stream_list, watch_stream);

struct serve_page { /* what is behind a page of a range that was asked for */
    struct str key, end;
    int64_t revision, left;
};

struct serve_etcd {
    struct serve_etcd_options opt;
    struct kv *kv;
    struct loop *loop;
    struct http_server *http;
    struct grpc_server_options grpc;
    struct kv_listener listener;
    atomic_bool poked;
    struct watch_stream_list streams;
    struct timer progress;
    struct serve_page pages[SERVE_PAGES];
    size_t next_page;
    size_t n_pending; /* calls that the committer or a worker thread has; the loop's */
    bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over;
};

static inline struct serve_etcd *serve_of(const struct grpc_incoming *c)
{
    return c->server_arg;
}
static inline struct str serve_str(ProtobufCBinaryData b)
{
    return (struct str){(const char *)b.data, b.len};
}
static inline ProtobufCBinaryData serve_bytes(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.p};
}
/* etcd's range_end: empty = the one key, "\0" = all from key on. */
struct str serve_end(ProtobufCBinaryData range_end);

Etcdserverpb__ResponseHeader *serve_header(struct serve_etcd *s, struct arena *a, int64_t revision);
void serve_fail(struct grpc_incoming *c, const struct err *err);
/* Around what other threads do for a call, on the loop. */
void serve_begin(struct grpc_incoming *c);
void serve_finished(struct grpc_incoming *c);
/* NULL, or why a write of [key, end) is refused. */
const char *serve_guard(const struct serve_etcd *s, struct str key, struct str end);
/* Copies; what is encrypted at rest as it is sealed, where the options say so. */
Etcdserverpb__KeyValue *serve_pair(struct serve_etcd *s, struct arena *a, const struct kv_pair *p, bool keys_only);

/* keys.c */
struct serve_range {
    struct serve_etcd *serve;
    struct arena *arena;
    const Etcdserverpb__RangeRequest *request;
    Etcdserverpb__KeyValue **kvs;
    size_t n, cap, most; /* most: pairs worth keeping, 0 = all (sorting or filters need them) */
    int64_t count;
};
void serve_range_begin(struct serve_range *r, struct serve_etcd *s, struct arena *a,
                       const Etcdserverpb__RangeRequest *request);
bool serve_range_take(void *range, const struct kv_pair *pair);
Etcdserverpb__RangeResponse *serve_range_end(struct serve_range *r);
void serve_range(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_pages_finish(struct serve_etcd *s);
void serve_compact(struct grpc_incoming *c, const ProtobufCMessage *request);

/* txn.c: Put, DeleteRange and Txn */
void serve_put(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_delete_range(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_txn(struct grpc_incoming *c, const ProtobufCMessage *request);

/* check.c: what etcd says of a request before it looks at any key. NULL: nothing is wrong. */
const char *serve_check_range(const Etcdserverpb__RangeRequest *q);
const char *serve_check_put(const Etcdserverpb__PutRequest *q);
const char *serve_check_txn(const Etcdserverpb__TxnRequest *q);
bool serve_txn_fits(struct str message); /* how deep transactions stand in each other */

/* watch.c */
void serve_watch(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_watch_start(struct serve_etcd *s);
void serve_watch_stop(struct serve_etcd *s); /* no more is fed; on the loop */

/* lease.c */
void serve_lease_grant(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_lease_revoke(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_lease_keep_alive(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_lease_time_to_live(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_lease_leases(struct grpc_incoming *c, const ProtobufCMessage *request);

/* maintenance.c */
void serve_status(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_alarm(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_defragment(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_hash(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_hash_kv(struct grpc_incoming *c, const ProtobufCMessage *request);
void serve_move_leader(struct grpc_incoming *c, const ProtobufCMessage *request);

/* save.c */
void serve_snapshot(struct grpc_incoming *c, const ProtobufCMessage *request);

#endif
