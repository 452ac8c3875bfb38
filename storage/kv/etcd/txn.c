/* Transactions: kv's compares and operations become one etcd Txn. The answer waits until its revision has been
 * published; a put with a time to live first waits for the lease it joins. */
#include "storage/kv/etcd/etcd.h"

#include "base/mem.h"

#include <stdlib.h>

struct etcd_txn {
    struct etcd_txn *next; /* of slots' waiting, or of answered */
    struct etcd *store;
    struct arena *arena;
    const struct kv_txn *txn;
    kv_txn_done *done;
    void *arg;
    Etcdserverpb__TxnRequest request;
    size_t turned; /* 1 + the compare that an absent key fulfils in the nested form, 0: none */
    bool shared_lease, tried_again;
    bool awaited; /* by events of its keys */
    int64_t floor;
    struct kv_txn_result result;
    struct etcd_wait wait;
};

void etcd_txn_link(struct etcd_txn **list, struct etcd_txn *t)
{
    t->next = *list;
    *list = t;
}

static void txn_end(struct etcd_txn *t, const struct err *err)
{
    static const struct kv_txn_result nothing;

    t->done(t->arg, err ? &nothing : &t->result, err);
    arena_destroy(t->arena);
}

/* ---- whose events ---- */

static const struct kv_op *branch(const struct etcd_txn *t, bool succeeded, size_t *ret_n)
{
    *ret_n = succeeded ? t->txn->n_success : t->txn->n_failure;
    return succeeded ? t->txn->success : t->txn->failure;
}

static void expect(struct etcd_txn *t, bool on)
{
    struct map *expected = &t->store->expected;

    if (t->awaited == on)
        return;
    t->awaited = on;
    for (int b = 0; b < 2; b++) {
        size_t n;
        const struct kv_op *ops = branch(t, b, &n);

        for (size_t i = 0; i < n; i++) {
            if (!ops[i].cookie || ops[i].kind == KV_RANGE)
                continue;
            uintptr_t count = (uintptr_t)map_get(expected, ops[i].key);

            count = on ? count + 1 : count - 1;
            if (count)
                map_put(expected, ops[i].key, (void *)count);
            else
                map_remove(expected, ops[i].key);
        }
    }
}

static struct etcd_txn **find_answered(struct etcd *e, int64_t revision)
{
    struct etcd_txn **at = &e->answered;

    while (*at && (*at)->result.revision != revision)
        at = &(*at)->next;
    return at;
}

bool etcd_txn_may_claim(struct etcd *e, const struct kv_event *events, size_t n)
{
    if (!e->expected.len || *find_answered(e, events[0].pair.mod_revision))
        return false;
    for (size_t i = 0; i < n; i++)
        if (map_get(&e->expected, events[i].pair.key))
            return true;
    return false;
}

void etcd_txn_claim(struct etcd *e, struct kv_event *events, size_t n)
{
    struct etcd_txn **at = find_answered(e, events[0].pair.mod_revision), *t = *at;
    size_t n_ops;

    if (!t)
        return;
    *at = t->next;
    const struct kv_op *ops = branch(t, t->result.succeeded, &n_ops);
    for (size_t i = 0; i < n_ops; i++) {
        if (!ops[i].cookie || ops[i].end.p)
            continue;
        for (size_t j = 0; j < n; j++)
            if (str_eq(events[j].pair.key, ops[i].key) &&
                events[j].kind == (ops[i].kind == KV_PUT ? KV_EVENT_PUT : KV_EVENT_DELETE))
                events[j].cookie = ops[i].cookie;
    }
}

/* ---- the request ---- */

static bool relation_holds(enum kv_relation relation, int order)
{
    return relation == KV_EQUAL       ? order == 0
           : relation == KV_NOT_EQUAL ? order != 0
           : relation == KV_GREATER   ? order > 0
                                      : order < 0;
}

static int build_compare(struct etcd_txn *t, const struct kv_compare *c, Etcdserverpb__Compare *to, struct err *err)
{
    static const int results[] = {
        [KV_EQUAL] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL,
        [KV_NOT_EQUAL] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL,
        [KV_GREATER] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER,
        [KV_LESS] = ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS,
    };
    struct etcd *e = t->store;

    etcdserverpb__compare__init(to);
    to->result = results[c->relation];
    to->key = etcd_key(e, t->arena, c->key);
    switch (c->target) {
    case KV_TARGET_MOD:
        to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
        to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        to->mod_revision = c->number;
        return 0;
    case KV_TARGET_CREATE:
        to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
        to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        to->create_revision = c->number;
        return 0;
    case KV_TARGET_VERSION:
        to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
        to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        to->version = c->number;
        return 0;
    case KV_TARGET_LEASE:
        to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE;
        to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        to->lease = c->number;
        return 0;
    case KV_TARGET_VALUE:
        break;
    }
    if (e->kv.choose && e->kv.choose(e->kv.choose_arg, c->key))
        return err_set(err, ERR_BAD_REQUEST, "the value of \"" STR_FMT "\" is sealed and cannot be compared in etcd",
                       STR_ARG(c->key));
    to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    return etcd_seal(e, t->arena, c->key, c->value, &to->value, err);
}

static int build_put(struct etcd_txn *t, const struct kv_op *op, Etcdserverpb__RequestOp *to, struct err *err)
{
    Etcdserverpb__PutRequest *put = ARENA_NEW(t->arena, Etcdserverpb__PutRequest);

    if (!op->key.len)
        return err_set(err, ERR_BAD_REQUEST, "key is not provided");
    if (op->value.len > KV_VALUE_MAX)
        return err_set(err, ERR_TOO_LARGE, "request is too large: %zu bytes, at most %u", op->value.len, KV_VALUE_MAX);
    etcdserverpb__put_request__init(put);
    put->key = etcd_key(t->store, t->arena, op->key);
    put->lease = op->lease;
    if (!op->lease && op->ttl_s > 0) {
        put->lease = etcd_shared_lease(t->store, op->ttl_s, t);
        t->shared_lease = true;
        if (!put->lease)
            return 1;
    }
    to->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    to->request_put = put;
    return etcd_seal(t->store, t->arena, op->key, op->value, &put->value, err);
}

/* 1: waits for a lease. */
static int build_op(struct etcd_txn *t, const struct kv_op *op, Etcdserverpb__RequestOp *to, struct err *err)
{
    Etcdserverpb__RangeRequest *range;
    Etcdserverpb__DeleteRangeRequest *delete;

    etcdserverpb__request_op__init(to);
    switch (op->kind) {
    case KV_PUT:
        return build_put(t, op, to, err);
    case KV_DELETE:
        delete = ARENA_NEW(t->arena, Etcdserverpb__DeleteRangeRequest);
        etcdserverpb__delete_range_request__init(delete);
        delete->key = etcd_key(t->store, t->arena, op->key);
        delete->range_end = etcd_end(t->store, t->arena, op->end);
        to->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        to->request_delete_range = delete;
        return 0;
    case KV_RANGE:
        range = ARENA_NEW(t->arena, Etcdserverpb__RangeRequest);
        etcdserverpb__range_request__init(range);
        range->key = etcd_key(t->store, t->arena, op->key);
        range->range_end = etcd_end(t->store, t->arena, op->end);
        range->limit = op->limit;
        to->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        to->request_range = range;
        return 0;
    case KV_NESTED: /* local stores only */
        break;
    }
    return err_set(err, ERR_METHOD_NOT_ALLOWED,
                   "transactions inside a transaction are not passed on to an etcd cluster");
}

static int build_branch(struct etcd_txn *t, const struct kv_op *ops, size_t n, Etcdserverpb__RequestOp ***ret,
                        struct err *err)
{
    Etcdserverpb__RequestOp *all = ARENA_ARRAY(t->arena, Etcdserverpb__RequestOp, n + 1);
    int rc;

    *ret = ARENA_ARRAY(t->arena, Etcdserverpb__RequestOp *, n + 1);
    for (size_t i = 0; i < n; i++) {
        (*ret)[i] = &all[i];
        rc = build_op(t, &ops[i], &all[i], err);
        if (rc)
            return rc;
    }
    return 0;
}

/* In etcd a compare with the value of an absent key never holds; here an absent key has an empty value. Where that
 * makes a difference the whole transaction stands once more in the failure branch, with that compare saying "absent".
 */
static int nest(struct etcd_txn *t, size_t at, struct err *err)
{
    Etcdserverpb__TxnRequest *inner = ARENA_NEW(t->arena, Etcdserverpb__TxnRequest);
    Etcdserverpb__RequestOp *op = ARENA_NEW(t->arena, Etcdserverpb__RequestOp), **list;
    struct kv_compare absent = {.key = t->txn->compares[at].key, .target = KV_TARGET_CREATE, .relation = KV_EQUAL};

    *inner = t->request;
    inner->compare = arena_memdup(t->arena, t->request.compare, t->request.n_compare * sizeof(Etcdserverpb__Compare *));
    inner->compare[at] = ARENA_NEW(t->arena, Etcdserverpb__Compare);
    int rc = build_compare(t, &absent, inner->compare[at], err);
    etcdserverpb__request_op__init(op);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = inner;
    list = ARENA_ARRAY(t->arena, Etcdserverpb__RequestOp *, 1);
    list[0] = op;
    t->request.failure = list;
    t->request.n_failure = 1;
    t->turned = at + 1;
    return rc;
}

static int build(struct etcd_txn *t, struct err *err)
{
    const struct kv_txn *txn = t->txn;
    Etcdserverpb__Compare *all = ARENA_ARRAY(t->arena, Etcdserverpb__Compare, txn->n_compares + 1);
    size_t turn = 0;
    int rc;

    etcdserverpb__txn_request__init(&t->request);
    t->request.compare = ARENA_ARRAY(t->arena, Etcdserverpb__Compare *, txn->n_compares + 1);
    t->request.n_compare = txn->n_compares;
    for (size_t i = 0; i < txn->n_compares; i++) {
        const struct kv_compare *c = &txn->compares[i];

        t->request.compare[i] = &all[i];
        if ((rc = build_compare(t, c, &all[i], err)) < 0)
            return rc;
        if (c->target != KV_TARGET_VALUE || !relation_holds(c->relation, str_cmp(STR(""), c->value)))
            continue;
        if (turn)
            return err_set(err, ERR_BAD_REQUEST, "more than one comparison with a value that may be absent");
        turn = i + 1;
    }
    t->request.n_success = txn->n_success;
    t->request.n_failure = txn->n_failure;
    if ((rc = build_branch(t, txn->success, txn->n_success, &t->request.success, err)) ||
        (rc = build_branch(t, txn->failure, txn->n_failure, &t->request.failure, err)))
        return rc;
    return turn ? nest(t, turn - 1, err) : 0;
}

/* ---- the answer ---- */

static int take_ops(struct etcd_txn *t, Etcdserverpb__ResponseOp **from, size_t n, struct err *err)
{
    struct etcd *e = t->store;
    struct kv_op_result *ops = ARENA_ARRAY(t->arena, struct kv_op_result, n + 1);
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (from[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE)
            ops[i].count = from[i]->response_delete_range->deleted;
        if (from[i]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            continue;
        const Etcdserverpb__RangeResponse *range = from[i]->response_range;
        struct kv_pair *pairs = ARENA_ARRAY(t->arena, struct kv_pair, range->n_kvs + 1);

        for (size_t j = 0; j < range->n_kvs && rc == 0; j++) {
            pairs[j] = etcd_pair(e, t->arena, range->kvs[j]);
            rc = etcd_open(e, t->arena, pairs[j].key, pairs[j].value, &pairs[j].value, err);
        }
        ops[i] = (struct kv_op_result){pairs, range->n_kvs, range->count};
    }
    t->result.ops = ops;
    t->result.n_ops = n;
    return rc;
}

/* Has it made an event that carries a cookie? Then its revision is its own. */
static bool wrote_with_cookie(const struct etcd_txn *t)
{
    size_t n;
    const struct kv_op *ops = branch(t, t->result.succeeded, &n);

    for (size_t i = 0; i < n && i < t->result.n_ops; i++)
        if (ops[i].cookie && (ops[i].kind == KV_PUT || (ops[i].kind == KV_DELETE && t->result.ops[i].count)))
            return true;
    return false;
}

static void published(struct etcd_wait *w, const struct err *err)
{
    struct etcd_txn *t = (struct etcd_txn *)((char *)w - offsetof(struct etcd_txn, wait));

    /* When the store closes, or has started over, its events were not claimed. */
    struct etcd_txn **at = &t->store->answered;
    while (*at && *at != t)
        at = &(*at)->next;
    if (*at)
        *at = t->next;
    txn_end(t, err);
}

static void start(void *arg);

static void answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd_txn *t = arg;
    struct etcd *e = t->store;
    const Etcdserverpb__TxnResponse *r = (const Etcdserverpb__TxnResponse *)response;
    bool awaited = t->awaited;
    struct err own;

    expect(t, false);
    if (err && err->code == ERR_NOT_FOUND && t->shared_lease && !t->tried_again) {
        t->tried_again = true;
        etcd_shared_leases_forget(e);
        start(t);
        return;
    }
    if (!err) {
        t->result.revision = r->header ? r->header->revision : 0;
        if (!r->succeeded && t->turned && r->n_responses == 1 &&
            r->responses[0]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN)
            r = r->responses[0]->response_txn;
        t->result.succeeded = r->succeeded;
        if (etcd_went_back(e, t->floor, t->result.revision, &own) < 0 ||
            take_ops(t, r->responses, r->n_responses, &own) < 0)
            err = &own;
    }
    if (err && err->code == ERR_NO_SPACE)
        etcd_full(e);
    if (err) {
        txn_end(t, err);
    } else {
        if (wrote_with_cookie(t) && t->result.revision > atomic_load(&e->revision))
            etcd_txn_link(&e->answered, t);
        t->wait = (struct etcd_wait){.revision = t->result.revision, .fn = published};
        etcd_wait(e, &t->wait);
    }
    if (awaited)
        etcd_watch_pump(e);
}

static bool only_reads(const struct kv_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ops[i].kind != KV_RANGE)
            return false;
    return true;
}

static void start(void *arg)
{
    struct etcd_txn *t = arg;
    struct etcd *e = t->store;
    struct err err;

    if (e->closing) {
        err_set(&err, ERR_UNAVAILABLE, "the store is closed");
        txn_end(t, &err);
        return;
    }
    int rc = build(t, &err);
    if (rc < 0)
        txn_end(t, &err);
    if (rc)
        return;
    bool safe = only_reads(t->txn->success, t->txn->n_success) && only_reads(t->txn->failure, t->txn->n_failure);
    expect(t, true);
    t->floor = atomic_load(&e->revision);
    etcd_call(e, "/etcdserverpb.KV/Txn", &t->request.base, &etcdserverpb__txn_response__descriptor, safe, answered, t);
}

void etcd_txn_lease_ready(struct etcd *e, struct etcd_txn *list, const struct err *err)
{
    (void)e;
    for (struct etcd_txn *next; list; list = next) {
        next = list->next;
        if (err)
            txn_end(list, err);
        else
            start(list);
    }
}

void etcd_txn(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg)
{
    struct arena *a = arena_create(0);
    struct etcd_txn *t = ARENA_NEW(a, struct etcd_txn);

    *t = (struct etcd_txn){.store = etcd_of(kv), .arena = a, .txn = txn, .done = done, .arg = arg};
    loop_post(t->store->loop, start, t);
}
