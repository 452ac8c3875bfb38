/* Range and Compact. */
#include "storage/serve_etcd/serve_internal.h"

#include <stdlib.h>

/* ---- Range ---- */

void serve_range_begin(struct serve_range *r, struct serve_etcd *s, struct arena *a,
                       const Etcdserverpb__RangeRequest *q)
{
    *r = (struct serve_range){.serve = s, .arena = a, .request = q};
    if (q->count_only)
        r->most = 1;
    else if (q->limit > 0 && q->limit < INT32_MAX && !q->sort_order && !q->min_mod_revision && !q->max_mod_revision &&
             !q->min_create_revision && !q->max_create_revision)
        r->most = (size_t)q->limit + 1; /* one more tells that there is more */
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
    if (q->count_only || (r->most && r->n == r->most) ||
        !within(p->mod_revision, q->min_mod_revision, q->max_mod_revision) ||
        !within(p->create_revision, q->min_create_revision, q->max_create_revision))
        return true;
    /* Values are taken also when only keys are asked for, if they decide the order. */
    bool by_value = q->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    ARENA_PUSH(r->arena, r->kvs, r->n, r->cap, serve_pair(r->serve, r->arena, p, q->keys_only && !by_value));
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
    /* etcd sorts by anything but the key also when no order is asked for: what the limit left of the range */
    if (r->n && (q->sort_order || q->sort_target))
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

    const char *why = serve_check_range(q);
    if (why) {
        grpc_end(c, GRPC_INVALID_ARGUMENT, why);
        return;
    }
    serve_range_begin(&r, s, c->arena, q);
    if (kv_range(s->kv, serve_str(q->key), serve_end(q->range_end), q->revision > 0 ? q->revision : 0, 0,
                 serve_range_take, &r, &revision, &err) < 0) {
        serve_fail(c, &err);
        return;
    }
    Etcdserverpb__RangeResponse *out = serve_range_end(&r);
    out->header = serve_header(s, c->arena, q->revision > 0 ? kv_revision(s->kv) : revision);
    grpc_answer(c, &out->base);
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
