/* Starting over: the cluster has compacted past what this server had seen (it could not be reached for longer than its
 * history lasts). Everything is read anew at one revision, page after page, and handed to the restart hook; then the
 * watch goes on from there. Whatever fails begins again. */
#include "storage/kv/etcd/etcd.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_KEYS = 500, PAGE_KEYS_MAX = 10000, PAGE_BYTES = 4 << 20 };

struct etcd_resync {
    struct etcd *store;
    struct arena *arena, *keys; /* of one page; of the request */
    Etcdserverpb__RangeRequest request;
    size_t page_keys;
    struct timer retry;
};

static void begin(void *arg);

static void again(struct etcd_resync *r)
{
    if (!r->store->closing)
        timer_start(&r->retry, r->store->loop, ETCD_RETRY_MS * 5, begin, r);
}

static void page_next(struct etcd_resync *r);

static void finish(struct etcd_resync *r)
{
    struct etcd *e = r->store;
    int64_t revision = r->request.revision;

    log_info("storage", "etcd's state at revision %lld was read anew", (long long)revision);
    etcd_resync_end(e);
    atomic_store_explicit(&e->revision, revision, memory_order_release);
    kv_restart(&e->kv, KV_RESTART_END, NULL, 0, revision);
    etcd_watch_from(e, revision);
    etcd_watch_pump(e);
}

static void page_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd_resync *r = arg;
    struct etcd *e = r->store;
    const Etcdserverpb__RangeResponse *page = (const Etcdserverpb__RangeResponse *)response;
    size_t bytes = 0, n = 0;

    if (err && err->code == ERR_TOO_LARGE && r->page_keys > 1) {
        r->page_keys = r->page_keys / 8 + 1;
        page_next(r);
        return;
    }
    if (err || !page->header) {
        again(r);
        return;
    }
    if (!r->request.revision) {
        r->request.revision = page->header->revision;
        kv_restart(&e->kv, KV_RESTART_BEGIN, NULL, 0, r->request.revision);
    }
    struct kv_pair *pairs = ARENA_ARRAY(r->arena, struct kv_pair, page->n_kvs + 1);
    for (size_t i = 0; i < page->n_kvs; i++) {
        struct kv_pair *p = &pairs[n];
        struct err why;

        bytes += page->kvs[i]->key.len + page->kvs[i]->value.len;
        *p = etcd_pair(e, r->arena, page->kvs[i]);
        if (etcd_open(e, r->arena, p->key, p->value, &p->value, &why) < 0)
            log_error("storage", "%s", why.message);
        else
            n++;
    }
    kv_restart(&e->kv, KV_RESTART_PAIRS, pairs, n, r->request.revision);
    if (!page->more || !page->n_kvs) {
        finish(r);
        return;
    }
    ProtobufCBinaryData last = page->kvs[page->n_kvs - 1]->key;
    arena_reset(r->keys);
    char *from = arena_zalloc(r->keys, last.len + 1);
    memcpy(from, last.data, last.len);
    r->request.key = (ProtobufCBinaryData){last.len + 1, (uint8_t *)from};
    r->page_keys = PAGE_BYTES / (bytes / page->n_kvs + 1);
    r->page_keys = r->page_keys < 1 ? 1 : r->page_keys > PAGE_KEYS_MAX ? PAGE_KEYS_MAX : r->page_keys;
    page_next(r);
}

static void page_next(struct etcd_resync *r)
{
    arena_reset(r->arena);
    r->request.limit = (int64_t)r->page_keys;
    etcd_call(r->store, "/etcdserverpb.KV/Range", &r->request.base, &etcdserverpb__range_response__descriptor, true,
              page_answered, r);
}

static void begin(void *arg)
{
    struct etcd_resync *r = arg;

    arena_reset(r->keys);
    etcdserverpb__range_request__init(&r->request);
    r->request.key = etcd_key(r->store, r->keys, STR(""));
    r->request.range_end =
        r->store->prefix[0] ? etcd_end(r->store, r->keys, STR("\xff\xff\xff\xff\xff\xff\xff\xff")) : etcd_end_of_all();
    r->page_keys = PAGE_KEYS;
    page_next(r);
}

void etcd_resync_start(struct etcd *e)
{
    struct etcd_resync *r = MEM_NEW(struct etcd_resync);
    char text[300];

    snprintf(text, sizeof text,
             "etcd's history after revision %lld was compacted while it could not be reached: everything is read anew",
             (long long)e->watch.received);
    etcd_trouble_set(e, text);
    r->store = e;
    r->arena = arena_create(0);
    r->keys = arena_create(0);
    e->resync = r;
    begin(r);
}

void etcd_resync_end(struct etcd *e)
{
    struct etcd_resync *r = e->resync;

    if (!r)
        return;
    e->resync = NULL;
    timer_stop(&r->retry);
    arena_destroy(r->arena);
    arena_destroy(r->keys);
    free(r);
}
