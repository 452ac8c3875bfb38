/* Opening and closing: reach the cluster, say who we are, learn where it stands, and follow it from there. */
#include "storage/kv/etcd/etcd.h"

#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HISTORY_MS = 5 * 60 * 1000,
    FILE_MAX = 1 << 20,
    PING_MS = 6000 /* etcd drops who asks more often than every 5 s */
};

static int64_t etcd_revision(struct kv *kv)
{
    return atomic_load_explicit(&etcd_of(kv)->revision, memory_order_acquire);
}

static int64_t etcd_compacted_revision(struct kv *kv)
{
    return atomic_load(&etcd_of(kv)->compacted);
}

/* ---- the end ---- */

static void let_go(void *arg)
{
    struct etcd *e = arg;
    struct err err;

    err_set(&err, ERR_UNAVAILABLE, "the store is closed");
    e->closing = true;
    timer_stop(&e->compactor.timer);
    timer_stop(&e->listening);
    timer_stop(&e->asking);
    etcd_calls_end(e, &err);
    etcd_waits_end(e, &err);
    etcd_probes_end(e, &err);
    etcd_calls_end(e, &err); /* an end may have begun something */
    etcd_waits_end(e, &err);
    etcd_watch_stop(e);
    etcd_resync_end(e);
    grpc_channel_destroy(e->channel);
    loop_stop(e->loop);
}

static void etcd_close(struct kv *kv)
{
    struct etcd *e = etcd_of(kv);

    if (e->channel) {
        loop_post(e->loop, let_go, e);
        loop_join(e->loop);
    } else {
        loop_stop(e->loop);
        loop_join(e->loop);
    }
    loop_destroy(e->loop);
    tls_context_destroy(e->tls);
    arena_destroy(e->compactor.arena);
    map_finish(&e->expected);
    pthread_mutex_destroy(&e->trouble_lock);
    kv_finish(kv);
    free(e->prefix);
    free(e->user);
    if (e->password)
        explicit_bzero(e->password, strlen(e->password));
    free(e->password);
    free(e);
}

static const struct kv_ops etcd_ops = {
    .txn_max = 128, /* etcd's --max-txn-ops */
    .shared = true,
    .txn = etcd_txn,
    .range = etcd_range,
    .history = etcd_history,
    .revision = etcd_revision,
    .compacted_revision = etcd_compacted_revision,
    .newest = etcd_newest,
    .compact = etcd_compact,
    .compact_wait = etcd_compact_wait,
    .lease_grant = etcd_lease_grant,
    .lease_keep_alive = etcd_lease_keep_alive,
    .lease_revoke = etcd_lease_revoke,
    .leases = etcd_leases,
    .trouble = etcd_trouble,
    .close = etcd_close,
};

/* ---- the beginning ---- */

static int read_file(const char *path, struct buf *out, struct err *err)
{
    if (!path)
        return 0;
    FILE *f = fopen(path, "re");

    if (!f)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    buf_reserve(out, FILE_MAX);
    out->len = fread(out->p, 1, FILE_MAX, f);
    fclose(f);
    buf_add_char(out, 0);
    return 0;
}

static int open_tls(struct etcd *e, const struct kv_etcd_options *opt, struct err *err)
{
    struct buf ca = {0}, cert = {0}, key = {0};
    bool tls = false;
    int rc = 0;

    for (const char *const *url = opt->endpoints; *url; url++)
        tls |= str_starts(str_from(*url), STR("https://"));
    if (tls && (rc = read_file(opt->ca_file, &ca, err)) == 0 && (rc = read_file(opt->cert_file, &cert, err)) == 0 &&
        (rc = read_file(opt->key_file, &key, err)) == 0) {
        struct tls_options t = {.ca_pem = ca.p, .cert_pem = cert.p, .key_pem = key.p, .alpn_h2 = true};
        rc = tls_context_create(&t, &e->tls, err);
    }
    buf_free(&ca);
    buf_free(&cert);
    if (key.p)
        explicit_bzero(key.p, key.len);
    buf_free(&key);
    return rc;
}

struct opening {
    struct etcd *store;
    const struct kv_etcd_options *opt;
    struct kv_waiter waiter;
};

static void open_channel(void *arg)
{
    struct opening *o = arg;
    struct etcd *e = o->store;
    struct grpc_channel_options opt = {.endpoints = o->opt->endpoints,
                                       .tls = e->tls,
                                       .user_agent = "skiff/" SKIFF_VERSION,
                                       .connect_timeout_ms = 2000,
                                       .ping_interval_ms = PING_MS};
    struct err err;
    int rc = grpc_channel_create(e->loop, &opt, &e->channel, &err);

    if (rc == 0)
        grpc_channel_set_metadata(e->channel, "hasleader", "true");
    kv_waiter_done(&o->waiter, NULL, rc < 0 ? &err : NULL);
}

static void take_status(void *arg, const ProtobufCMessage *response)
{
    const Etcdserverpb__StatusResponse *r = (const Etcdserverpb__StatusResponse *)response;

    snprintf(arg, 32, "%s", r->version);
}

static void take_revision(void *arg, const ProtobufCMessage *response)
{
    const Etcdserverpb__RangeResponse *r = (const Etcdserverpb__RangeResponse *)response;
    struct etcd *e = arg;

    atomic_store(&e->revision, r->header ? r->header->revision : 0);
}

static void follow(void *arg)
{
    etcd_watch_start(arg);
    etcd_compactor_start(arg);
}

static int find_bearings(struct etcd *e, struct err *err)
{
    Etcdserverpb__StatusRequest status = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    int major = 0, minor = 0, rc;
    char version[32] = "";

    if (e->user && (rc = etcd_authenticate_wait(e, err)) < 0)
        return err_context(err, "sign in as %s", e->user);
    if ((rc = etcd_call_wait(e, "/etcdserverpb.Maintenance/Status", &status.base,
                             &etcdserverpb__status_response__descriptor, true, take_status, version, err)) < 0)
        return rc;
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || major < 3 || (major == 3 && minor < 4))
        return err_set(err, ERR_BAD_REQUEST, "etcd %s is too old: 3.4 or later is needed", version);
    range.key = (ProtobufCBinaryData){sizeof ETCD_COMPACT_KEY - 1, (uint8_t *)(uintptr_t)ETCD_COMPACT_KEY};
    range.count_only = true;
    if ((rc = etcd_call_wait(e, "/etcdserverpb.KV/Range", &range.base, &etcdserverpb__range_response__descriptor, true,
                             take_revision, e, err)) < 0)
        return rc;
    return etcd_find_compacted(e, err);
}

int kv_open_etcd(const struct kv_etcd_options *opt, struct kv **ret, struct err *err)
{
    struct etcd *e = MEM_NEW(struct etcd);
    struct opening o = {.store = e, .opt = opt};

    kv_init(&e->kv, &etcd_ops);
    pthread_mutex_init(&e->trouble_lock, NULL);
    e->prefix = mem_strdup(opt->prefix ? opt->prefix : "");
    e->user = opt->user ? mem_strdup(opt->user) : NULL;
    e->password = mem_strdup(opt->password ? opt->password : "");
    e->history_ms = opt->history_ms > 0 ? opt->history_ms : HISTORY_MS;
    for (const char *const *url = opt->endpoints; *url; url++)
        e->n_endpoints++;
    e->loop = loop_create("etcd");
    loop_start(e->loop);

    int rc = open_tls(e, opt, err);
    if (rc == 0) {
        kv_waiter_init(&o.waiter, NULL, NULL, err);
        loop_post(e->loop, open_channel, &o);
        rc = kv_waiter_wait(&o.waiter);
    }
    if (rc == 0)
        rc = find_bearings(e, err);
    if (rc < 0) {
        etcd_close(&e->kv);
        return rc;
    }
    loop_post(e->loop, follow, e);
    *ret = &e->kv;
    return 0;
}
