/* Leases are etcd's own. Puts with a time to live share one per TTL and window, as the local store's do. */
#include "storage/kv/etcd/etcd.h"

#include "base/clock.h"

static void take_id(void *arg, const ProtobufCMessage *response)
{
    *(int64_t *)arg = ((const Etcdserverpb__LeaseGrantResponse *)response)->id;
}

static void take_ttl(void *arg, const ProtobufCMessage *response)
{
    *(int64_t *)arg = ((const Etcdserverpb__LeaseKeepAliveResponse *)response)->ttl;
}

int etcd_lease_grant(struct kv *kv, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;

    if (ttl_s <= 0 || ttl_s > 9000000000)
        return err_set(err, ERR_BAD_REQUEST, "too large lease TTL");
    request.id = id;
    request.ttl = ttl_s;
    return etcd_call_wait(etcd_of(kv), "/etcdserverpb.Lease/LeaseGrant", &request.base,
                          &etcdserverpb__lease_grant_response__descriptor, false, take_id, ret_id, err);
}

/* A stream of one request and one answer. */
int etcd_lease_keep_alive(struct kv *kv, int64_t id, struct err *err)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    int64_t ttl_s = 0;

    request.id = id;
    int rc = etcd_call_wait(etcd_of(kv), "/etcdserverpb.Lease/LeaseKeepAlive", &request.base,
                            &etcdserverpb__lease_keep_alive_response__descriptor, true, take_ttl, &ttl_s, err);
    return rc < 0 ? rc : ttl_s <= 0;
}

int etcd_lease_revoke(struct kv *kv, int64_t id, struct err *err)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    struct etcd *e = etcd_of(kv);

    request.id = id;
    int rc = etcd_call_wait(e, "/etcdserverpb.Lease/LeaseRevoke", &request.base,
                            &etcdserverpb__lease_revoke_response__descriptor, false, NULL, NULL, err);
    return rc == ERR_NOT_FOUND ? 1 : rc;
}

/* ---- all of them: their ids, then what each has left, some at a time ---- */

enum { ASKED_AT_ONCE = 64 };

struct leases {
    struct etcd *store;
    struct kv_lease_state *all;
    Etcdserverpb__LeaseTimeToLiveRequest *requests;
    struct arena *arena;
    size_t n, asked, answered;
    struct err err;
    struct kv_waiter waiter;
};

static void ask_more(struct leases *l);

static void left_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct leases *l = arg;
    const Etcdserverpb__LeaseTimeToLiveResponse *r = (const Etcdserverpb__LeaseTimeToLiveResponse *)response;

    if (err)
        l->err = *err;
    for (size_t i = 0; !err && i < l->asked; i++)
        if (l->all[i].id == r->id) {
            l->all[i].ttl_s = r->grantedttl;
            l->all[i].left_s = r->ttl; /* -1: it has ended meanwhile */
        }
    l->answered++;
    ask_more(l);
}

static void ask_more(struct leases *l)
{
    while (!l->err.code && l->asked < l->n && l->asked - l->answered < ASKED_AT_ONCE)
        etcd_call(l->store, "/etcdserverpb.Lease/LeaseTimeToLive", &l->requests[l->asked++].base,
                  &etcdserverpb__lease_time_to_live_response__descriptor, true, left_answered, l);
    if (l->asked == l->answered)
        kv_waiter_done(&l->waiter, NULL, l->err.code ? &l->err : NULL);
}

static void ids_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct leases *l = arg;
    const Etcdserverpb__LeaseLeasesResponse *r = (const Etcdserverpb__LeaseLeasesResponse *)response;

    if (err) {
        kv_waiter_done(&l->waiter, NULL, err);
        return;
    }
    l->n = r->n_leases;
    l->all = ARENA_ARRAY(l->arena, struct kv_lease_state, l->n + 1);
    l->requests = ARENA_ARRAY(l->arena, Etcdserverpb__LeaseTimeToLiveRequest, l->n + 1);
    for (size_t i = 0; i < l->n; i++) {
        l->all[i] = (struct kv_lease_state){.id = r->leases[i]->id, .left_s = -1};
        etcdserverpb__lease_time_to_live_request__init(&l->requests[i]);
        l->requests[i].id = r->leases[i]->id;
    }
    ask_more(l);
}

static void ask_ids(void *arg)
{
    static const Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    struct leases *l = arg;

    etcd_call(l->store, "/etcdserverpb.Lease/LeaseLeases", &request.base,
              &etcdserverpb__lease_leases_response__descriptor, true, ids_answered, l);
}

int etcd_leases(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n, struct err *err)
{
    struct leases l = {.store = etcd_of(kv), .arena = a};
    size_t n = 0;

    kv_waiter_init(&l.waiter, NULL, NULL, err);
    loop_post(l.store->loop, ask_ids, &l);
    int rc = kv_waiter_wait(&l.waiter);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < l.n; i++)
        if (l.all[i].left_s >= 0)
            l.all[n++] = l.all[i];
    *ret = l.all;
    *ret_n = n;
    return 0;
}

/* ---- shared ---- */

static void granted(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd_lease_slot *s = arg;
    struct etcd_txn *list = s->waiting;

    s->granting = false;
    s->waiting = NULL;
    if (err)
        s->ttl_s = 0;
    else
        s->id = ((const Etcdserverpb__LeaseGrantResponse *)response)->id;
    etcd_txn_lease_ready(s->store, list, err);
}

static struct etcd_lease_slot *find_slot(struct etcd *e, int64_t ttl_s)
{
    struct etcd_lease_slot *oldest = NULL;

    for (size_t i = 0; i < ETCD_SHARED_LEASES; i++) {
        struct etcd_lease_slot *s = &e->slots[i];

        if (s->ttl_s == ttl_s)
            return s;
        if (!s->granting && (!oldest || s->until_ms < oldest->until_ms))
            oldest = s;
    }
    return oldest ? oldest : &e->slots[0]; /* so many TTLs at once: whoever waits there asks again */
}

int64_t etcd_shared_lease(struct etcd *e, int64_t ttl_s, struct etcd_txn *t)
{
    struct etcd_lease_slot *s = find_slot(e, ttl_s);
    int64_t now_ms = clock_mono_ms();

    if (s->granting) {
        etcd_txn_link(&s->waiting, t);
        return 0;
    }
    if (s->ttl_s == ttl_s && s->id && s->until_ms > now_ms && s->n_keys < 1000) {
        s->n_keys++;
        return s->id;
    }
    int64_t window_ms = ttl_s * 50 < 60000 ? ttl_s * 50 : 60000;

    *s = (struct etcd_lease_slot){.store = e, .ttl_s = ttl_s, .until_ms = now_ms + window_ms, .granting = true};
    etcdserverpb__lease_grant_request__init(&s->request);
    s->request.ttl = ttl_s + window_ms / 1000;
    etcd_txn_link(&s->waiting, t);
    etcd_call(e, "/etcdserverpb.Lease/LeaseGrant", &s->request.base, &etcdserverpb__lease_grant_response__descriptor,
              true, granted, s);
    return 0;
}

void etcd_shared_leases_forget(struct etcd *e)
{
    for (size_t i = 0; i < ETCD_SHARED_LEASES; i++)
        if (!e->slots[i].granting)
            e->slots[i].id = 0;
}
