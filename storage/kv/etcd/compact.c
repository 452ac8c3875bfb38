/* Compaction, as a stock API server does it, so that several servers of either kind agree: every history period each
 * tries to move the compact key on from the version it knows; the one that succeeds compacts to what was newest a
 * period ago, the others learn that somebody has. */
#include "storage/kv/etcd/etcd.h"

#include "base/log.h"

void etcd_compacted_raise(struct etcd *e, int64_t revision)
{
    int64_t known = atomic_load(&e->compacted);

    while (revision > known && !atomic_compare_exchange_weak(&e->compacted, &known, revision))
        ;
}

int etcd_compact(struct kv *kv, int64_t revision, struct err *err)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    struct etcd *e = etcd_of(kv);

    request.revision = revision;
    int rc = etcd_call_wait(e, "/etcdserverpb.KV/Compact", &request.base,
                            &etcdserverpb__compaction_response__descriptor, false, NULL, NULL, err);
    if (rc == 0)
        etcd_compacted_raise(e, revision);
    return rc;
}

/* etcd sweeps its disk on its own time. */
void etcd_compact_wait(struct kv *kv)
{
    (void)kv;
}

/* ---- by age ---- */

static void compactor_due(void *arg);

static void compactor_rest(struct etcd *e)
{
    arena_reset(e->compactor.arena);
    timer_start(&e->compactor.timer, e->loop, e->history_ms, compactor_due, e);
}

static void compacted(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd *e = arg;

    (void)response;
    if (err && err->code != ERR_EXPIRED)
        log_warn("storage", "etcd: compaction: %s", err->message);
    if (!e->closing)
        compactor_rest(e);
}

static void moved_on(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd *e = arg;
    const Etcdserverpb__TxnResponse *r = (const Etcdserverpb__TxnResponse *)response;

    if (err || !r->header) {
        if (!e->closing)
            compactor_rest(e);
        return;
    }
    int64_t until = e->compactor.revision;

    e->compactor.revision = r->header->revision;
    if (!r->succeeded) {
        const Etcdserverpb__ResponseOp *op = r->n_responses ? r->responses[0] : NULL;

        if (op && op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE && op->response_range->n_kvs)
            e->compactor.version = op->response_range->kvs[0]->version;
        compactor_rest(e);
        return;
    }
    e->compactor.version++;
    if (!until) {
        compactor_rest(e);
        return;
    }
    Etcdserverpb__CompactionRequest *request = ARENA_NEW(e->compactor.arena, Etcdserverpb__CompactionRequest);
    etcdserverpb__compaction_request__init(request);
    request->revision = until;
    etcd_compacted_raise(e, until);
    etcd_call(e, "/etcdserverpb.KV/Compact", &request->base, &etcdserverpb__compaction_response__descriptor, true,
              compacted, e);
}

static void compactor_due(void *arg)
{
    struct etcd *e = arg;
    struct arena *a = e->compactor.arena;
    ProtobufCBinaryData key = {sizeof ETCD_COMPACT_KEY - 1, (uint8_t *)(uintptr_t)ETCD_COMPACT_KEY};
    struct str number = arena_printf(a, "%lld", (long long)e->compactor.revision);
    struct {
        Etcdserverpb__TxnRequest txn;
        Etcdserverpb__Compare compare, *compares[1];
        Etcdserverpb__RequestOp put, get, *success[1], *failure[1];
        Etcdserverpb__PutRequest put_request;
        Etcdserverpb__RangeRequest range_request;
    } *m = arena_zalloc(a, sizeof *m);

    etcdserverpb__compare__init(&m->compare);
    m->compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    m->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    m->compare.version = e->compactor.version;
    m->compare.key = key;
    etcdserverpb__put_request__init(&m->put_request);
    m->put_request.key = key;
    m->put_request.value = (ProtobufCBinaryData){number.len, (uint8_t *)(uintptr_t)number.p};
    etcdserverpb__range_request__init(&m->range_request);
    m->range_request.key = key;
    etcdserverpb__request_op__init(&m->put);
    m->put.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    m->put.request_put = &m->put_request;
    etcdserverpb__request_op__init(&m->get);
    m->get.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    m->get.request_range = &m->range_request;
    etcdserverpb__txn_request__init(&m->txn);
    m->compares[0] = &m->compare;
    m->success[0] = &m->put;
    m->failure[0] = &m->get;
    m->txn.compare = m->compares;
    m->txn.success = m->success;
    m->txn.failure = m->failure;
    m->txn.n_compare = m->txn.n_success = m->txn.n_failure = 1;
    etcd_call(e, "/etcdserverpb.KV/Txn", &m->txn.base, &etcdserverpb__txn_response__descriptor, false, moved_on, e);
}

void etcd_compactor_start(struct etcd *e)
{
    e->compactor.arena = arena_create(0);
    timer_start(&e->compactor.timer, e->loop, e->history_ms, compactor_due, e);
}
