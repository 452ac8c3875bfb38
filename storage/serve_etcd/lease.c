/* Leases. The store's calls wait for its disk, so they are made on worker threads. */
#include "base/mem.h"
#include "storage/serve_etcd/serve_internal.h"

#include <stdlib.h>

#define MIN_TTL_S 2 /* etcd's: as long as it may be without a leader */

struct job {
    struct grpc_incoming *call;
    int64_t id, ttl_s;
    int rc;
    struct err err;
};

static void start(struct grpc_incoming *c, int64_t id, int64_t ttl_s, void (*work)(void *arg), void (*done)(void *arg))
{
    struct job *j = MEM_NEW(struct job);

    *j = (struct job){.call = c, .id = id, .ttl_s = ttl_s};
    serve_begin(c);
    loop_work(c->loop, work, done, j);
}

static void end(struct job *j)
{
    serve_finished(j->call);
    free(j);
}

static const struct kv_lease_state *find(struct grpc_incoming *c, struct arena *a, int64_t id)
{
    const struct kv_lease_state *all = NULL;
    struct err err = ERR_INIT;
    size_t n = 0;

    kv_leases(serve_of(c)->kv, a, &all, &n, &err);
    for (size_t i = 0; i < n; i++)
        if (all[i].id == id)
            return &all[i];
    return NULL;
}

/* ---- grant and revoke ---- */

static void grant_work(void *arg)
{
    struct job *j = arg;

    j->rc = kv_lease_grant(serve_of(j->call)->kv, j->id, j->ttl_s, &j->id, &j->err);
}

static void grant_done(void *arg)
{
    struct job *j = arg;
    struct serve_etcd *s = serve_of(j->call);
    Etcdserverpb__LeaseGrantResponse out = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;

    if (j->rc < 0) {
        serve_fail(j->call, &j->err);
    } else {
        out.header = serve_header(s, j->call->arena, kv_revision(s->kv));
        out.id = j->id;
        out.ttl = j->ttl_s;
        grpc_answer(j->call, &out.base);
    }
    end(j);
}

void serve_lease_grant(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__LeaseGrantRequest *q = (const void *)request;

    start(c, q->id, q->ttl < MIN_TTL_S ? MIN_TTL_S : q->ttl, grant_work, grant_done);
}

struct holds {
    int64_t lease;
    bool found;
};

static bool holds_key(void *arg, const struct kv_pair *p)
{
    struct holds *h = arg;

    h->found = p->lease == h->lease;
    return !h->found;
}

/* The leases of the API server's own keys are not the clients' to end: its Events hang on them. */
static void revoke_work(void *arg)
{
    struct job *j = arg;
    struct serve_etcd *s = serve_of(j->call);
    struct holds h = {.lease = j->id};
    int64_t revision;

    if (s->opt.guard_registry &&
        kv_range(s->kv, STR("/registry/"), STR("/registry0"), 0, 0, holds_key, &h, &revision, &j->err) < 0)
        j->rc = j->err.code;
    else if (h.found)
        j->rc = err_set(&j->err, ERR_FORBIDDEN, "the lease holds keys under /registry, which only Skiff's API writes");
    else
        j->rc = kv_lease_revoke(s->kv, j->id, &j->err);
}

static void revoke_done(void *arg)
{
    struct job *j = arg;
    struct serve_etcd *s = serve_of(j->call);
    Etcdserverpb__LeaseRevokeResponse out = ETCDSERVERPB__LEASE_REVOKE_RESPONSE__INIT;

    if (j->rc < 0) {
        serve_fail(j->call, &j->err);
    } else if (j->rc) {
        grpc_end(j->call, GRPC_NOT_FOUND, "etcdserver: requested lease not found");
    } else {
        out.header = serve_header(s, j->call->arena, kv_revision(s->kv));
        grpc_answer(j->call, &out.base);
    }
    end(j);
}

void serve_lease_revoke(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__LeaseRevokeRequest *q = (const void *)request;

    start(c, q->id, 0, revoke_work, revoke_done);
}

/* ---- keep alive: a stream ---- */

static void keep_work(void *arg)
{
    struct job *j = arg;

    j->rc = kv_lease_keep_alive(serve_of(j->call)->kv, j->id, &j->err);
}

static void keep_done(void *arg)
{
    struct job *j = arg;
    struct grpc_incoming *c = j->call;
    struct serve_etcd *s = serve_of(c);

    if (j->rc < 0) {
        serve_fail(c, &j->err);
    } else if (!c->over) {
        struct arena *a = arena_create(0);
        Etcdserverpb__LeaseKeepAliveResponse out = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
        const struct kv_lease_state *lease = j->rc ? NULL : find(c, a, j->id);

        out.header = serve_header(s, a, kv_revision(s->kv));
        out.id = j->id;
        out.ttl = lease ? lease->ttl_s : 0;
        grpc_stream_send(c, &out.base);
        arena_destroy(a);
    }
    j->call = c;
    uintptr_t left = (uintptr_t)c->user - 2; /* bit 0: the client's side has ended; above it: jobs under way */
    c->user = (void *)left;
    if (left == 1)
        grpc_end(c, GRPC_OK, NULL);
    end(j);
}

static void keep_message(struct grpc_incoming *c, const ProtobufCMessage *m)
{
    c->user = (void *)((uintptr_t)c->user + 2);
    start(c, ((const Etcdserverpb__LeaseKeepAliveRequest *)m)->id, 0, keep_work, keep_done);
}

static void keep_end(struct grpc_incoming *c)
{
    c->user = (void *)((uintptr_t)c->user | 1);
    if ((uintptr_t)c->user == 1)
        grpc_end(c, GRPC_OK, NULL);
}

void serve_lease_keep_alive(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    (void)request;
    c->on_message = keep_message;
    c->on_end = keep_end;
}

/* ---- looking ---- */

struct keys {
    struct arena *arena;
    int64_t lease;
    ProtobufCBinaryData *items;
    size_t n, cap;
};

static bool take_key(void *arg, const struct kv_pair *p)
{
    struct keys *k = arg;

    if (p->lease == k->lease)
        ARENA_PUSH(k->arena, k->items, k->n, k->cap, serve_bytes(arena_str(k->arena, p->key)));
    return true;
}

void serve_lease_time_to_live(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__LeaseTimeToLiveRequest *q = (const void *)request;
    Etcdserverpb__LeaseTimeToLiveResponse out = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    const struct kv_lease_state *lease = find(c, c->arena, q->id);
    struct keys keys = {.arena = c->arena, .lease = q->id};
    struct serve_etcd *s = serve_of(c);
    struct err err = ERR_INIT;
    int64_t revision;

    if (lease && q->keys &&
        kv_range(s->kv, STR("\0"), serve_end(serve_bytes(STR("\0"))), 0, 0, take_key, &keys, &revision, &err) < 0) {
        serve_fail(c, &err);
        return;
    }
    out.header = serve_header(s, c->arena, kv_revision(s->kv));
    out.id = q->id;
    out.ttl = lease ? lease->left_s : -1;
    out.grantedttl = lease ? lease->ttl_s : 0;
    out.keys = keys.items;
    out.n_keys = keys.n;
    grpc_answer(c, &out.base);
}

static int by_end(const void *x, const void *y)
{
    const struct kv_lease_state *a = x, *b = y;

    return (a->left_s > b->left_s) - (a->left_s < b->left_s);
}

void serve_lease_leases(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    Etcdserverpb__LeaseLeasesResponse out = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
    const struct kv_lease_state *all;
    struct serve_etcd *s = serve_of(c);
    struct err err = ERR_INIT;
    size_t n;

    (void)request;
    if (kv_leases(s->kv, c->arena, &all, &n, &err) < 0) {
        serve_fail(c, &err);
        return;
    }
    struct kv_lease_state *sorted = arena_memdup(c->arena, all, n * sizeof *all);
    if (n)
        qsort(sorted, n, sizeof *sorted, by_end);
    all = sorted;
    out.header = serve_header(s, c->arena, kv_revision(s->kv));
    out.leases = ARENA_ARRAY(c->arena, Etcdserverpb__LeaseStatus *, n + 1);
    for (; out.n_leases < n; out.n_leases++) {
        out.leases[out.n_leases] = arena_alloc(c->arena, sizeof **out.leases);
        etcdserverpb__lease_status__init(out.leases[out.n_leases]);
        out.leases[out.n_leases]->id = all[out.n_leases].id;
    }
    grpc_answer(c, &out.base);
}
