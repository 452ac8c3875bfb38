/* Put, DeleteRange and Txn. A request becomes the store's operations, those of transactions inside it nested as they
 * are; a put or deletion that is to tell what was there gets a range in front. The answers are taken from the results
 * in the same order. */
#include "storage/kv/kv_ops.h"
#include "storage/serve_etcd/serve_internal.h"

/* ---- running ---- */

typedef void txn_done(struct grpc_incoming *c, const struct kv_txn_result *result);

struct running {
    struct grpc_incoming *call;
    txn_done *done;
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

static void run(struct grpc_incoming *c, const struct kv_txn *txn, txn_done *done)
{
    struct running *r = ARENA_NEW(c->arena, struct running);

    r->call = c;
    r->done = done;
    serve_begin(c);
    kv_txn(serve_of(c)->kv, txn, on_done, r);
}

/* ---- requests become operations ---- */

struct plan {
    struct grpc_incoming *call;
    struct kv_op *ops;
    size_t n, cap;
    const char *denied;
};

static void push(struct plan *p, struct kv_op op)
{
    const char *why = op.kind == KV_PUT || op.kind == KV_DELETE ? serve_guard(serve_of(p->call), op.key, op.end) : NULL;

    if (why)
        p->denied = why;
    ARENA_PUSH(p->call->arena, p->ops, p->n, p->cap, op);
}

static void plan_range(struct plan *p, const Etcdserverpb__RangeRequest *q)
{
    struct serve_range r;

    serve_range_begin(&r, serve_of(p->call), p->call->arena, q);
    push(p, (struct kv_op){.kind = KV_RANGE,
                           .key = serve_str(q->key),
                           .end = serve_end(q->range_end),
                           .limit = (int64_t)r.most,
                           .revision = q->revision > 0 ? q->revision : 0});
}

static void plan_put(struct plan *p, const Etcdserverpb__PutRequest *q)
{
    struct str key = serve_str(q->key);

    if (q->prev_kv)
        push(p, (struct kv_op){.kind = KV_RANGE, .key = key});
    push(p, (struct kv_op){.kind = KV_PUT,
                           .key = key,
                           .value = q->value.data ? serve_str(q->value) : STR(""),
                           .lease = q->lease,
                           .keep_value = q->ignore_value,
                           .keep_lease = q->ignore_lease});
}

static void plan_delete(struct plan *p, const Etcdserverpb__DeleteRangeRequest *q)
{
    struct str key = serve_str(q->key), end = serve_end(q->range_end);

    if (q->prev_kv)
        push(p, (struct kv_op){.kind = KV_RANGE, .key = key, .end = end});
    push(p, (struct kv_op){.kind = KV_DELETE, .key = key, .end = end});
}

/* A compare with the value of a key that is absent never holds in etcd; in the store this is so of ranges. */
static struct kv_compare plan_compare(struct grpc_incoming *c, const Etcdserverpb__Compare *q)
{
    static const enum kv_target targets[] = {KV_TARGET_VERSION, KV_TARGET_CREATE, KV_TARGET_MOD, KV_TARGET_VALUE,
                                             KV_TARGET_LEASE};
    static const enum kv_relation relations[] = {KV_EQUAL, KV_GREATER, KV_LESS, KV_NOT_EQUAL};
    struct kv_compare out = {.key = serve_str(q->key),
                             .end = serve_end(q->range_end),
                             .target = targets[q->target],
                             .relation = relations[q->result],
                             .value = STR("")};
    bool given = (int)q->target_union_case == (int)ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION + (int)q->target;

    if (out.target == KV_TARGET_VALUE && !out.end.p)
        out.end = arena_printf(c->arena, STR_FMT "%c", STR_ARG(out.key), 0);
    if (!given)
        return out;
    switch (out.target) {
    case KV_TARGET_VERSION:
        out.number = q->version;
        break;
    case KV_TARGET_CREATE:
        out.number = q->create_revision;
        break;
    case KV_TARGET_MOD:
        out.number = q->mod_revision;
        break;
    case KV_TARGET_LEASE:
        out.number = q->lease;
        break;
    case KV_TARGET_VALUE:
        out.value = serve_str(q->value);
        break;
    }
    return out;
}

static void plan_branch(struct plan *p, Etcdserverpb__RequestOp **ops, size_t n);

static struct kv_txn *plan_txn(struct plan *p, const Etcdserverpb__TxnRequest *q)
{
    struct arena *a = p->call->arena;
    struct kv_txn *out = ARENA_NEW(a, struct kv_txn);
    struct kv_compare *compares = ARENA_ARRAY(a, struct kv_compare, q->n_compare + 1);
    struct plan success = {.call = p->call}, failure = {.call = p->call};

    for (size_t i = 0; i < q->n_compare; i++)
        compares[i] = plan_compare(p->call, q->compare[i]);
    plan_branch(&success, q->success, q->n_success);
    plan_branch(&failure, q->failure, q->n_failure);
    if (success.denied || failure.denied)
        p->denied = success.denied ? success.denied : failure.denied;
    *out = (struct kv_txn){compares, q->n_compare, success.ops, success.n, failure.ops, failure.n};
    return out;
}

static void plan_branch(struct plan *p, Etcdserverpb__RequestOp **ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Etcdserverpb__RequestOp *q = ops[i];

        if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            plan_range(p, q->request_range);
        else if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            plan_put(p, q->request_put);
        else if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
            plan_delete(p, q->request_delete_range);
        else
            push(p, (struct kv_op){.kind = KV_NESTED, .nested = plan_txn(p, q->request_txn)});
    }
}

/* ---- results become answers ---- */

struct answers {
    struct grpc_incoming *call;
    const struct kv_op_result *at;
    int64_t revision, next; /* as the operations so far left it; that of the changes */
};

static void answers_begin(struct answers *s, struct grpc_incoming *c, const struct kv_txn_result *result)
{
    *s = (struct answers){
        .call = c, .at = result->ops, .revision = result->revision - result->changed, .next = result->revision};
}

static Etcdserverpb__ResponseHeader *inner_header(struct answers *s)
{
    Etcdserverpb__ResponseHeader *h = arena_alloc(s->call->arena, sizeof *h);

    etcdserverpb__response_header__init(h);
    h->revision = s->revision;
    return h;
}

static Etcdserverpb__RangeResponse *answer_range(struct answers *s, const Etcdserverpb__RangeRequest *q)
{
    struct serve_range r;

    serve_range_begin(&r, serve_of(s->call), s->call->arena, q);
    for (size_t i = 0; i < s->at->n_pairs; i++)
        serve_range_take(&r, &s->at->pairs[i]);
    r.count = s->at++->count;
    Etcdserverpb__RangeResponse *out = serve_range_end(&r);
    out->header = inner_header(s);
    return out;
}

static Etcdserverpb__PutResponse *answer_put(struct answers *s, const Etcdserverpb__PutRequest *q)
{
    Etcdserverpb__PutResponse *out = arena_alloc(s->call->arena, sizeof *out);

    etcdserverpb__put_response__init(out);
    if (q->prev_kv && s->at++->n_pairs)
        out->prev_kv = serve_pair(serve_of(s->call), s->call->arena, &s->at[-1].pairs[0], false);
    s->at++;
    s->revision = s->next;
    out->header = inner_header(s);
    return out;
}

static Etcdserverpb__DeleteRangeResponse *answer_delete(struct answers *s, const Etcdserverpb__DeleteRangeRequest *q)
{
    Etcdserverpb__DeleteRangeResponse *out = arena_alloc(s->call->arena, sizeof *out);

    etcdserverpb__delete_range_response__init(out);
    if (q->prev_kv) {
        out->prev_kvs = ARENA_ARRAY(s->call->arena, Etcdserverpb__KeyValue *, s->at->n_pairs + 1);
        for (; out->n_prev_kvs < s->at->n_pairs; out->n_prev_kvs++)
            out->prev_kvs[out->n_prev_kvs] =
                serve_pair(serve_of(s->call), s->call->arena, &s->at->pairs[out->n_prev_kvs], false);
        s->at++;
    }
    out->deleted = s->at++->count;
    if (out->deleted)
        s->revision = s->next;
    out->header = inner_header(s);
    return out;
}

static void answer_branch(struct answers *s, Etcdserverpb__RequestOp **ops, size_t n, Etcdserverpb__TxnResponse *out);

static Etcdserverpb__ResponseOp *answer_op(struct answers *s, const Etcdserverpb__RequestOp *q)
{
    Etcdserverpb__ResponseOp *out = arena_alloc(s->call->arena, sizeof *out);

    etcdserverpb__response_op__init(out);
    out->response_case = (int)q->request_case; /* the four have the same numbers */
    if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        out->response_range = answer_range(s, q->request_range);
    } else if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
        out->response_put = answer_put(s, q->request_put);
    } else if (q->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
        out->response_delete_range = answer_delete(s, q->request_delete_range);
    } else {
        const Etcdserverpb__TxnRequest *t = q->request_txn;
        Etcdserverpb__TxnResponse *inner = out->response_txn = arena_alloc(s->call->arena, sizeof *inner);

        etcdserverpb__txn_response__init(inner);
        inner->succeeded = s->at++->count != 0;
        inner->header = inner_header(s);
        inner->header->revision = 0;
        answer_branch(s, inner->succeeded ? t->success : t->failure, inner->succeeded ? t->n_success : t->n_failure,
                      inner);
    }
    return out;
}

static void answer_branch(struct answers *s, Etcdserverpb__RequestOp **ops, size_t n, Etcdserverpb__TxnResponse *out)
{
    out->responses = ARENA_ARRAY(s->call->arena, Etcdserverpb__ResponseOp *, n + 1);
    for (; out->n_responses < n; out->n_responses++)
        out->responses[out->n_responses] = answer_op(s, ops[out->n_responses]);
}

/* ---- the methods ---- */

static bool may_go(struct grpc_incoming *c, const char *why, const char *denied)
{
    if (why)
        grpc_end(c, GRPC_INVALID_ARGUMENT, why);
    else if (denied)
        grpc_end(c, GRPC_PERMISSION_DENIED, denied);
    return !c->over;
}

static void run_plan(struct grpc_incoming *c, const struct plan *p, const ProtobufCMessage *request, txn_done *done)
{
    struct kv_txn *txn = ARENA_NEW(c->arena, struct kv_txn);

    if (!may_go(c, NULL, p->denied))
        return;
    *txn = (struct kv_txn){.success = p->ops, .n_success = p->n};
    c->user = (void *)(uintptr_t)request;
    run(c, txn, done);
}

static void put_done(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    struct answers s;

    answers_begin(&s, c, result);
    Etcdserverpb__PutResponse *out = answer_put(&s, c->user);
    out->header = serve_header(serve_of(c), c->arena, result->revision);
    grpc_answer(c, &out->base);
}

void serve_put(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__PutRequest *q = (const void *)request;
    struct plan p = {.call = c};

    if (!may_go(c, serve_check_put(q), NULL))
        return;
    plan_put(&p, q);
    run_plan(c, &p, request, put_done);
}

static void delete_done(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    struct answers s;

    answers_begin(&s, c, result);
    Etcdserverpb__DeleteRangeResponse *out = answer_delete(&s, c->user);
    out->header = serve_header(serve_of(c), c->arena, result->revision);
    grpc_answer(c, &out->base);
}

void serve_delete_range(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__DeleteRangeRequest *q = (const void *)request;
    struct plan p = {.call = c};

    if (!may_go(c, q->key.len ? NULL : "etcdserver: key is not provided", NULL))
        return;
    plan_delete(&p, q);
    run_plan(c, &p, request, delete_done);
}

static void txn_answer(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    const Etcdserverpb__TxnRequest *q = c->user;
    Etcdserverpb__TxnResponse out = ETCDSERVERPB__TXN_RESPONSE__INIT;
    struct answers s;

    answers_begin(&s, c, result);
    out.header = serve_header(serve_of(c), c->arena, result->revision);
    out.succeeded = result->succeeded;
    answer_branch(&s, out.succeeded ? q->success : q->failure, out.succeeded ? q->n_success : q->n_failure, &out);
    grpc_answer(c, &out.base);
}

void serve_txn(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__TxnRequest *q = (const void *)request;
    struct plan p = {.call = c};

    if (!may_go(c, serve_check_txn(q), NULL))
        return;
    struct kv_txn *txn = plan_txn(&p, q);
    if (!may_go(c, NULL, p.denied))
        return;
    c->user = (void *)(uintptr_t)q;
    run(c, txn, txn_answer);
}
