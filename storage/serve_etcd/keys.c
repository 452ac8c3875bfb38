/* Range, Put, DeleteRange, Compact. */
#include "storage/serve_etcd/serve_internal.h"

#include <stdlib.h>

/* ---- Range ---- */

void serve_range_begin(struct serve_range *r, struct arena *a, const Etcdserverpb__RangeRequest *q)
{
    *r = (struct serve_range){.arena = a, .request = q};
    r->all = q->sort_order != ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE ||
             q->sort_target != ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
}

static bool within(int64_t n, int64_t min, int64_t max)
{
    return (!min || n >= min) && (!max || n <= max);
}

bool serve_range_take(void *range, const struct kv_pair *p)
{
    struct serve_range *r = range;
    const Etcdserverpb__RangeRequest *q = r->request;

    r->count++;
    if (q->count_only || (!r->all && q->limit > 0 && r->n > (size_t)q->limit) ||
        !within(p->mod_revision, q->min_mod_revision, q->max_mod_revision) ||
        !within(p->create_revision, q->min_create_revision, q->max_create_revision))
        return true;
    /* Values are taken also when only keys are asked for, if they decide the order. */
    bool by_value = q->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    ARENA_PUSH(r->arena, r->kvs, r->n, r->cap, serve_pair(r->arena, p, q->keys_only && !by_value));
    return true;
}

static int by_number(int64_t x, int64_t y)
{
    return (x > y) - (x < y);
}

static int by_target(const void *x, const void *y, void *request)
{
    const Etcdserverpb__RangeRequest *q = request;
    const Etcdserverpb__KeyValue *a = *(Etcdserverpb__KeyValue *const *)x, *b = *(Etcdserverpb__KeyValue *const *)y;
    int order = 0;

    switch (q->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        order = by_number(a->version, b->version);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        order = by_number(a->create_revision, b->create_revision);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        order = by_number(a->mod_revision, b->mod_revision);
        break;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        order = str_cmp(serve_str(a->value), serve_str(b->value));
        break;
    default:
        break;
    }
    if (!order)
        order = str_cmp(serve_str(a->key), serve_str(b->key));
    return q->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND ? -order : order;
}

Etcdserverpb__RangeResponse *serve_range_end(struct serve_range *r)
{
    const Etcdserverpb__RangeRequest *q = r->request;
    Etcdserverpb__RangeResponse *out = arena_alloc(r->arena, sizeof *out);

    etcdserverpb__range_response__init(out);
    if (r->all && r->n)
        qsort_r(r->kvs, r->n, sizeof *r->kvs, by_target, (void *)(uintptr_t)q);
    out->more = q->limit > 0 && r->n > (size_t)q->limit;
    out->n_kvs = out->more ? (size_t)q->limit : r->n;
    out->kvs = r->kvs;
    out->count = r->count;
    if (q->keys_only)
        for (size_t i = 0; i < out->n_kvs; i++)
            out->kvs[i]->value = (ProtobufCBinaryData){0};
    return out;
}

void serve_range(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__RangeRequest *q = (const void *)request;
    struct serve_etcd *s = serve_of(c);
    struct err err = ERR_INIT;
    struct serve_range r;
    int64_t revision = 0;

    if (!q->key.len) {
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided");
        return;
    }
    serve_range_begin(&r, c->arena, q);
    if (kv_range(s->kv, serve_str(q->key), serve_end(q->range_end), q->revision > 0 ? q->revision : 0, 0,
                 serve_range_take, &r, &revision, &err) < 0) {
        serve_fail(c, &err);
        return;
    }
    Etcdserverpb__RangeResponse *out = serve_range_end(&r);
    out->header = serve_header(s, c->arena, q->revision > 0 ? kv_revision(s->kv) : revision);
    grpc_answer(c, &out->base);
}

/* ---- Put ---- */

static void put_done(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    const Etcdserverpb__PutRequest *q = c->user;
    Etcdserverpb__PutResponse out = ETCDSERVERPB__PUT_RESPONSE__INIT;

    if (!result->succeeded) { /* somebody changed what was to be kept */
        serve_put(c, &q->base);
        return;
    }
    out.header = serve_header(serve_of(c), c->arena, result->revision);
    if (q->prev_kv && result->ops[0].n_pairs)
        out.prev_kv = serve_pair(c->arena, &result->ops[0].pairs[0], false);
    grpc_answer(c, &out.base);
}

static bool take_current(void *arg, const struct kv_pair *p)
{
    struct grpc_incoming *c = arg;
    struct kv_pair *copy = arena_memdup(c->arena, p, sizeof *p);

    copy->value = arena_str(c->arena, p->value);
    c->user = copy;
    return true;
}

/* ignore_value, ignore_lease: what is there stays; the transaction compares that it is still the same. */
static int keep_current(struct grpc_incoming *c, const Etcdserverpb__PutRequest *q, struct kv_op *op,
                        struct kv_compare *compare)
{
    struct err err = ERR_INIT;
    int64_t revision;

    c->user = NULL;
    if (kv_range(serve_of(c)->kv, op->key, STR_NULL, 0, 1, take_current, c, &revision, &err) < 0) {
        serve_fail(c, &err);
        return -1;
    }
    const struct kv_pair *current = c->user;
    if (!current) {
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: key not found");
        return -1;
    }
    if (q->ignore_value)
        op->value = current->value;
    if (q->ignore_lease)
        op->lease = current->lease;
    *compare = (struct kv_compare){.key = op->key, .target = KV_TARGET_MOD, .number = current->mod_revision};
    return 0;
}

void serve_put(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__PutRequest *q = (const void *)request;
    const char *why = serve_guard(serve_of(c), serve_str(q->key), STR_NULL);
    struct kv_op *ops = ARENA_ARRAY(c->arena, struct kv_op, 2);
    struct kv_compare *compare = ARENA_NEW(c->arena, struct kv_compare);
    struct kv_txn *txn = ARENA_NEW(c->arena, struct kv_txn);

    if (!q->key.len)
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided");
    else if (q->ignore_value && q->value.len)
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: value is provided");
    else if (q->ignore_lease && q->lease)
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: lease is provided");
    else if (why)
        grpc_end(c, GRPC_PERMISSION_DENIED, why);
    if (c->over)
        return;
    txn->success = ops;
    if (q->prev_kv)
        ops[txn->n_success++] = (struct kv_op){.kind = KV_RANGE, .key = serve_str(q->key)};
    struct kv_op *put = &ops[txn->n_success++];
    *put = (struct kv_op){.kind = KV_PUT, .key = serve_str(q->key), .value = serve_str(q->value), .lease = q->lease};
    if (!put->value.p)
        put->value = STR("");
    if (q->ignore_value || q->ignore_lease) {
        if (keep_current(c, q, put, compare) < 0)
            return;
        txn->compares = compare;
        txn->n_compares = 1;
    }
    c->user = (void *)(uintptr_t)q;
    serve_txn_run(c, txn, put_done);
}

/* ---- DeleteRange, Compact ---- */

static void delete_done(struct grpc_incoming *c, const struct kv_txn_result *result)
{
    Etcdserverpb__DeleteRangeResponse out = ETCDSERVERPB__DELETE_RANGE_RESPONSE__INIT;
    const struct kv_op_result *last = &result->ops[result->n_ops - 1];

    out.header = serve_header(serve_of(c), c->arena, result->revision);
    out.deleted = last->count;
    if (result->n_ops == 2) {
        out.prev_kvs = ARENA_ARRAY(c->arena, Etcdserverpb__KeyValue *, result->ops[0].n_pairs + 1);
        for (; out.n_prev_kvs < result->ops[0].n_pairs; out.n_prev_kvs++)
            out.prev_kvs[out.n_prev_kvs] = serve_pair(c->arena, &result->ops[0].pairs[out.n_prev_kvs], false);
    }
    grpc_answer(c, &out.base);
}

void serve_delete_range(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__DeleteRangeRequest *q = (const void *)request;
    struct str key = serve_str(q->key), end = serve_end(q->range_end);
    const char *why = serve_guard(serve_of(c), key, end);
    struct kv_op *ops = ARENA_ARRAY(c->arena, struct kv_op, 2);
    struct kv_txn *txn = ARENA_NEW(c->arena, struct kv_txn);

    if (!key.len)
        grpc_end(c, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided");
    else if (why)
        grpc_end(c, GRPC_PERMISSION_DENIED, why);
    if (c->over)
        return;
    txn->success = ops;
    if (q->prev_kv)
        ops[txn->n_success++] = (struct kv_op){.kind = KV_RANGE, .key = key, .end = end};
    ops[txn->n_success++] = (struct kv_op){.kind = KV_DELETE, .key = key, .end = end};
    serve_txn_run(c, txn, delete_done);
}

void serve_compact(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    const Etcdserverpb__CompactionRequest *q = (const void *)request;
    Etcdserverpb__CompactionResponse out = ETCDSERVERPB__COMPACTION_RESPONSE__INIT;
    struct serve_etcd *s = serve_of(c);
    struct err err = ERR_INIT;

    if (kv_compact(s->kv, q->revision, &err) < 0) {
        serve_fail(c, &err);
        return;
    }
    out.header = serve_header(s, c->arena, kv_revision(s->kv));
    grpc_answer(c, &out.base);
}
