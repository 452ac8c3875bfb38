/* Transactions: etcd's become the store's; a put or deletion that is to tell what was there gets a range in front. */
#include "storage/kv/kv_ops.h"
#include "storage/serve_etcd/serve_internal.h"

struct running {
    struct grpc_incoming *call;
    serve_txn_done *done;
    struct kv_txn_result result;
    struct err err;
};

static void on_loop(void *arg)
{
    struct running *r = arg;
    struct grpc_incoming *c = r->call;

    if (r->err.code)
        serve_fail(c, &r->err);
    else
        r->done(c, &r->result);
    serve_finished(c);
}

static void on_done(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct running *r = arg;

    if (err)
        r->err = *err;
    else
        kv_txn_result_copy(r->call->arena, result, &r->result);
    loop_post(r->call->loop, on_loop, r);
}

void serve_txn_run(struct grpc_incoming *c, const struct kv_txn *txn, serve_txn_done *done)
{
    struct running *r = ARENA_NEW(c->arena, struct running);

    r->call = c;
    r->done = done;
    serve_begin(c);
    kv_txn(serve_of(c)->kv, txn, on_done, r);
}

/* ---- Txn ---- */

struct branch {
    struct kv_op *ops;
    size_t n;
    Etcdserverpb__RequestOp **requests;
    size_t n_requests;
};

struct plan {
    struct kv_txn txn;
    struct branch success, failure;
};

static const enum kv_target targets[] = {KV_TARGET_VERSION, KV_TARGET_CREATE, KV_TARGET_MOD, KV_TARGET_VALUE,
                                         KV_TARGET_LEASE};
static const enum kv_relation relations[] = {KV_EQUAL, KV_GREATER, KV_LESS, KV_NOT_EQUAL};

/* NULL, or what is wrong. */
static const char *plan_compare(const Etcdserverpb__Compare *q, struct kv_compare *ret)
{
    if (!q->key.len)
        return "etcdserver: key is not provided";
    if (q->range_end.len)
        return "etcdserver: compares of a range are not served here";
    if ((unsigned)q->target > 4 || (unsigned)q->result > 3)
        return "etcdserver: unknown compare";
    *ret =
        (struct kv_compare){.key = serve_str(q->key), .target = targets[q->target], .relation = relations[q->result]};
    switch (q->target_union_case) {
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE:
        ret->value = serve_str(q->value);
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION:
        ret->number = q->version;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION:
        ret->number = q->create_revision;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION:
        ret->number = q->mod_revision;
        break;
    case ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE:
        ret->number = q->lease;
        break;
    default:
        break;
    }
    return NULL;
}

static const char *plan_range(const Etcdserverpb__RangeRequest *q, struct branch *b)
{
    if (!q->key.len)
        return "etcdserver: key is not provided";
    if (q->revision > 0)
        return "etcdserver: ranges at an older revision are not served inside a transaction";
    b->ops[b->n++] = (struct kv_op){.kind = KV_RANGE, .key = serve_str(q->key), .end = serve_end(q->range_end)};
    return NULL;
}

static const char *plan_put(const Etcdserverpb__PutRequest *q, struct branch *b)
{
    if (!q->key.len)
        return "etcdserver: key is not provided";
    if (q->ignore_value || q->ignore_lease)
        return "etcdserver: ignore_value and ignore_lease are not served inside a transaction";
    if (q->prev_kv)
        b->ops[b->n++] = (struct kv_op){.kind = KV_RANGE, .key = serve_str(q->key)};
    b->ops[b->n++] = (struct kv_op){.kind = KV_PUT,
                                    .key = serve_str(q->key),
                                    .lease = q->lease,
                                    .value = q->value.data ? serve_str(q->value) : STR("")};
    return NULL;
}

static const char *plan_delete(const Etcdserverpb__DeleteRangeRequest *q, struct branch *b)
{
    struct str key = serve_str(q->key), end = serve_end(q->range_end);

    if (!key.len)
        return "etcdserver: key is not provided";
    if (q->prev_kv)
        b->ops[b->n++] = (struct kv_op){.kind = KV_RANGE, .key = key, .end = end};
    b->ops[b->n++] = (struct kv_op){.kind = KV_DELETE, .key = key, .end = end};
    return NULL;
}

static const char *plan_branch(struct grpc_incoming *c, Etcdserverpb__RequestOp **requests, size_t n, struct branch *b)
{
    const char *why = NULL, *denied = NULL;

    *b = (struct branch){.ops = ARENA_ARRAY(c->arena, struct kv_op, n * 2 + 1), .requests = requests, .n_requests = n};
    for (size_t i = 0; i < n && !why && !denied; i++) {
        const Etcdserverpb__RequestOp *q = requests[i];

        switch (q->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            why = plan_range(q->request_range, b);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            why = plan_put(q->request_put, b);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            why = plan_delete(q->request_delete_range, b);
            break;
        default:
            why = "etcdserver: transactions inside a transaction are not served here";
        }
        if (!why && b->ops[b->n - 1].kind != KV_RANGE)
            denied = serve_guard(serve_of(c), b->ops[b->n - 1].key, b->ops[b->n - 1].end);
    }
    if (denied)
        grpc_end(c, GRPC_PERMISSION_DENIED, denied);
    return why;
}

static Etcdserverpb__ResponseOp *answer_op(struct grpc_incoming *c, const Etcdserverpb__RequestOp *q,
                                           const struct kv_op_result **at, Etcdserverpb__ResponseHeader *header)
{
    Etcdserverpb__ResponseOp *out = arena_alloc(c->arena, sizeof *out);

    etcdserverpb__response_op__init(out);
    if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        struct serve_range r;

        serve_range_begin(&r, c->arena, q->request_range);
        for (size_t i = 0; i < (*at)->n_pairs; i++)
            serve_range_take(&r, &(*at)->pairs[i]);
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        out->response_range = serve_range_end(&r);
        out->response_range->header = header;
    } else if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
        out->response_put = arena_alloc(c->arena, sizeof *out->response_put);
        etcdserverpb__put_response__init(out->response_put);
        out->response_put->header = header;
        if (q->request_put->prev_kv && (*at)++->n_pairs)
            out->response_put->prev_kv = serve_pair(c->arena, &(*at)[-1].pairs[0], false);
    } else {
        Etcdserverpb__DeleteRangeResponse *d = arena_alloc(c->arena, sizeof *d);

        etcdserverpb__delete_range_response__init(d);
        out->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
        out->response_delete_range = d;
        d->header = header;
        if (q->request_delete_range->prev_kv) {
            d->prev_kvs = ARENA_ARRAY(c->arena, Etcdserverpb__KeyValue *, (*at)->n_pairs + 1);
            for (; d->n_prev_kvs < (*at)->n_pairs; d->n_prev_kvs++)
                d->prev_kvs[d->n_prev_kvs] = serve_pair(c->arena, &(*at)->pairs[d->n_prev_kvs], false);
            ++*at;
        }
        d->deleted = (*at)->count;
    }
    ++*at;
    return out;
}

static void txn_done(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    const struct plan *p = c->user;
    const struct branch *b = result->succeeded ? &p->success : &p->failure;
    const struct kv_op_result *at = result->ops;
    Etcdserverpb__TxnResponse out = ETCDSERVERPB__TXN_RESPONSE__INIT;

    out.header = serve_header(serve_of(c), c->arena, result->revision);
    out.succeeded = result->succeeded;
    out.responses = ARENA_ARRAY(c->arena, Etcdserverpb__ResponseOp *, b->n_requests + 1);
    for (; out.n_responses < b->n_requests; out.n_responses++)
        out.responses[out.n_responses] = answer_op(c, b->requests[out.n_responses], &at, out.header);
    grpc_answer(c, &out.base);
}

void serve_txn(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__TxnRequest *q = (const void *)request;
    struct plan *p = ARENA_NEW(c->arena, struct plan);
    struct kv_compare *compares = ARENA_ARRAY(c->arena, struct kv_compare, q->n_compare + 1);
    const char *why = NULL;

    if (q->n_compare > SERVE_MAX_OPS || q->n_success > SERVE_MAX_OPS || q->n_failure > SERVE_MAX_OPS)
        why = "etcdserver: too many operations in txn request";
    for (size_t i = 0; i < q->n_compare && !why; i++)
        why = plan_compare(q->compare[i], &compares[i]);
    if (!why)
        why = plan_branch(c, q->success, q->n_success, &p->success);
    if (!why && !c->over)
        why = plan_branch(c, q->failure, q->n_failure, &p->failure);
    if (why)
        grpc_end(c, GRPC_INVALID_ARGUMENT, why);
    if (c->over)
        return;
    p->txn = (struct kv_txn){compares, q->n_compare, p->success.ops, p->success.n, p->failure.ops, p->failure.n};
    c->user = p;
    serve_txn_run(c, &p->txn, txn_done);
}
