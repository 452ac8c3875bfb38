/* Range and Compact. */
#include "base/mem.h"
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

/* ---- pages ----
 *
 * Every answer tells how many keys the whole range has. Who reads it page by page asks again and again from behind the
 * last key at one revision; then the number follows from the page before, and nothing needs to be counted. */

static void remember_page(struct serve_etcd *s, const Etcdserverpb__RangeRequest *q, int64_t revision,
                          const Etcdserverpb__RangeResponse *out)
{
    struct serve_page *page = &s->pages[s->next_page++ % SERVE_PAGES];

    free((char *)(uintptr_t)page->key.p);
    free((char *)(uintptr_t)page->end.p);
    struct str last = serve_str(out->kvs[out->n_kvs - 1]->key), end = serve_str(q->range_end);
    *page = (struct serve_page){.revision = revision, .left = out->count - (int64_t)out->n_kvs};
    char *key = mem_alloc(last.len + 1);
    memcpy(key, last.p, last.len);
    key[last.len] = 0;
    page->key = (struct str){key, last.len + 1};
    page->end = (struct str){mem_dup(end.p, end.len), end.len};
}

static int64_t known_count(const struct serve_etcd *s, const Etcdserverpb__RangeRequest *q) /* -1: it is not */
{
    for (size_t i = 0; i < SERVE_PAGES && q->revision > 0; i++)
        if (s->pages[i].revision == q->revision && str_eq(s->pages[i].key, serve_str(q->key)) &&
            str_eq(s->pages[i].end, serve_str(q->range_end)))
            return s->pages[i].left;
    return -1;
}

void serve_pages_finish(struct serve_etcd *s)
{
    for (size_t i = 0; i < SERVE_PAGES; i++) {
        free((char *)(uintptr_t)s->pages[i].key.p);
        free((char *)(uintptr_t)s->pages[i].end.p);
    }
}

/* ---- Range: of one key at once, of many on a worker's thread ---- */

struct reading {
    struct grpc_incoming *call;
    const Etcdserverpb__RangeRequest *request;
    bool in_order; /* nothing is left out, nothing sorted: a page may follow */
    int64_t count, revision;
    Etcdserverpb__RangeResponse *response;
    int rc;
    struct err err;
};

static void read_work(void *arg)
{
    struct reading *r = arg;
    const Etcdserverpb__RangeRequest *q = r->request;
    struct serve_etcd *s = serve_of(r->call);
    struct serve_range range;

    serve_range_begin(&range, s, r->call->arena, q);
    r->rc = kv_range(s->kv, serve_str(q->key), serve_end(q->range_end), q->revision > 0 ? q->revision : 0,
                     r->count >= 0 ? range.most : 0, serve_range_take, &range, &r->revision, &r->err);
    if (r->rc < 0)
        return;
    if (r->count >= 0)
        range.count = r->count;
    r->response = serve_range_end(&range);
}

static void read_answer(struct reading *r)
{
    struct grpc_incoming *c = r->call;
    struct serve_etcd *s = serve_of(c);

    if (r->rc < 0) {
        serve_fail(c, &r->err);
        return;
    }
    r->response->header = serve_header(s, c->arena, r->request->revision > 0 ? kv_revision(s->kv) : r->revision);
    if (r->response->more && r->in_order)
        remember_page(s, r->request, r->revision, r->response);
    grpc_answer(c, &r->response->base);
}

static void read_done(void *arg)
{
    struct reading *r = arg;

    read_answer(r);
    serve_finished(r->call);
}

void serve_range(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct reading *r = ARENA_NEW(c->arena, struct reading);
    const Etcdserverpb__RangeRequest *q = (const void *)request;
    const char *why = serve_check_range(q);
    struct serve_range probe;

    if (why) {
        grpc_end(c, GRPC_INVALID_ARGUMENT, why);
        return;
    }
    *r = (struct reading){.call = c, .request = q, .count = -1};
    serve_range_begin(&probe, serve_of(c), c->arena, q);
    r->in_order = probe.most > 1 && !q->sort_target && q->range_end.len;
    if (r->in_order)
        r->count = known_count(serve_of(c), q);
    if (!q->range_end.len) {
        read_work(r);
        read_answer(r);
        return;
    }
    serve_begin(c);
    loop_work(c->loop, read_work, read_done, r);
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
