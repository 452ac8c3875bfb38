/* Reading: ranges page after page at one revision, and the newest revision there is. */
#include "storage/kv/etcd/etcd.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { PAGE_KEYS = 500, PAGE_KEYS_MAX = 10000, PAGE_BYTES = 4 << 20 };

struct page {
    struct etcd *store;
    struct arena *arena;
    Etcdserverpb__RangeRequest request;
    struct kv_pair *pairs;
    size_t n, bytes;
    bool more;
    int64_t revision;
    struct etcd_wait wait;
    struct kv_waiter waiter;
};

static void page_published(struct etcd_wait *w, const struct err *err)
{
    struct page *p = (struct page *)((char *)w - offsetof(struct page, wait));

    kv_waiter_done(&p->waiter, NULL, err);
}

static void page_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct page *p = arg;
    const Etcdserverpb__RangeResponse *r = (const Etcdserverpb__RangeResponse *)response;

    if (err) {
        kv_waiter_done(&p->waiter, NULL, err);
        return;
    }
    p->revision = r->header ? r->header->revision : 0;
    p->more = r->more;
    p->pairs = ARENA_ARRAY(p->arena, struct kv_pair, r->n_kvs + 1);
    for (size_t i = 0; i < r->n_kvs; i++) {
        p->pairs[p->n++] = etcd_pair(p->store, p->arena, r->kvs[i]);
        p->bytes += r->kvs[i]->key.len + r->kvs[i]->value.len;
    }
    /* what was read here has been published here when the reader goes on */
    p->wait = (struct etcd_wait){.revision = p->request.revision ? 0 : p->revision, .fn = page_published};
    etcd_wait(p->store, &p->wait);
}

static void page_start(void *arg)
{
    struct page *p = arg;

    etcd_call(p->store, "/etcdserverpb.KV/Range", &p->request.base, &etcdserverpb__range_response__descriptor, true,
              page_answered, p);
}

static int page_read(struct page *p, struct err *err)
{
    assert(loop_current() != p->store->loop);
    p->n = p->bytes = 0;
    p->more = false;
    kv_waiter_init(&p->waiter, NULL, NULL, err);
    loop_post(p->store->loop, page_start, p);
    return kv_waiter_wait(&p->waiter);
}

static int refused(struct etcd *e, int64_t revision, struct err *err)
{
    if (err->code == ERR_EXPIRED)
        return err_set(err, ERR_EXPIRED, "The provided resource version %lld is too old: history begins at %lld",
                       (long long)revision, (long long)atomic_load(&e->compacted));
    if (strstr(err->message, "future revision"))
        return err_set(err, ERR_TIMEOUT, "Too large resource version: %lld, current: %lld", (long long)revision,
                       (long long)atomic_load(&e->revision));
    return err->code;
}

int etcd_range(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
               void *arg, int64_t *ret_revision, struct err *err)
{
    struct etcd *e = etcd_of(kv);
    struct page p = {.store = e, .arena = arena_create(0)};
    struct arena *fixed = arena_create(0), *opened = arena_create(0);
    size_t page_keys = PAGE_KEYS;
    struct buf from = {0};
    int rc = 0;

    if (revision && revision < atomic_load(&e->compacted)) {
        err->code = ERR_EXPIRED;
        rc = refused(e, revision, err);
        goto out;
    }
    etcdserverpb__range_request__init(&p.request);
    p.request.key = etcd_key(e, fixed, key);
    p.request.range_end = etcd_end(e, fixed, end);
    p.request.revision = revision;
    do {
        arena_reset(p.arena);
        p.request.limit = (int64_t)(limit && limit < page_keys ? limit : page_keys);
        rc = page_read(&p, err);
        if (rc == ERR_TOO_LARGE && page_keys > 1) {
            page_keys = page_keys / 8 + 1;
            p.more = true;
            rc = 0;
            continue;
        }
        if (rc < 0) {
            rc = refused(e, p.request.revision, err);
            break;
        }
        if (!p.request.revision)
            p.request.revision = p.revision;
        bool go_on = true;
        for (size_t i = 0; i < p.n && go_on && rc == 0; i++) {
            struct kv_pair pair = p.pairs[i];

            rc = etcd_open(e, opened, pair.key, pair.value, &pair.value, err);
            go_on = rc == 0 && fn(arg, &pair);
            arena_reset(opened);
        }
        if (rc < 0 || !go_on || !p.more || !p.n || (limit && (limit -= p.n) == 0))
            break;
        from.len = 0;
        buf_add_str(&from, p.pairs[p.n - 1].key);
        buf_add_char(&from, 0);
        p.request.key = etcd_key(e, fixed, arena_str(fixed, buf_str(&from)));
        size_t per_key = p.bytes / p.n + 1;
        page_keys = PAGE_BYTES / per_key;
        page_keys = page_keys < 1 ? 1 : page_keys > PAGE_KEYS_MAX ? PAGE_KEYS_MAX : page_keys;
    } while (p.more);
    if (ret_revision)
        *ret_revision = p.request.revision;
out:
    buf_free(&from);
    arena_destroy(p.arena);
    arena_destroy(fixed);
    arena_destroy(opened);
    return rc;
}

/* ---- the newest revision: one question for all who wait ---- */

static void probe_start(struct etcd *e);

static void probe_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd *e = arg;
    const Etcdserverpb__RangeResponse *r = (const Etcdserverpb__RangeResponse *)response;
    struct etcd_probe *list = e->probing;
    struct err own;

    if (!err && etcd_went_back(e, e->probe_floor, r->header ? r->header->revision : 0, &own) < 0)
        err = &own;
    e->probing = NULL;
    for (struct etcd_probe *next; list; list = next) {
        next = list->next;
        list->done(list->arg, err ? 0 : r->header->revision, err);
        free(list);
    }
    if (e->probes && !e->closing)
        probe_start(e);
}

static void probe_start(struct etcd *e)
{
    e->probing = e->probes;
    e->probes = NULL;
    etcdserverpb__range_request__init(&e->probe_request);
    e->probe_request.key =
        (ProtobufCBinaryData){.len = sizeof ETCD_COMPACT_KEY - 1, .data = (uint8_t *)(uintptr_t)ETCD_COMPACT_KEY};
    e->probe_request.count_only = true;
    e->probe_floor = atomic_load(&e->revision);
    etcd_call(e, "/etcdserverpb.KV/Range", &e->probe_request.base, &etcdserverpb__range_response__descriptor, true,
              probe_answered, e);
}

static void probe_add(void *arg)
{
    struct etcd_probe *p = arg;
    struct etcd *e = p->store;

    p->next = e->probes;
    e->probes = p;
    if (!e->probing)
        probe_start(e);
}

void etcd_newest(struct kv *kv, kv_newest_done *done, void *arg)
{
    struct etcd_probe *p = MEM_NEW(struct etcd_probe);

    *p = (struct etcd_probe){.store = etcd_of(kv), .done = done, .arg = arg};
    loop_post(p->store->loop, probe_add, p);
}

void etcd_probes_end(struct etcd *e, const struct err *err)
{
    for (struct etcd_probe *p; (p = e->probes);) {
        e->probes = p->next;
        p->done(p->arg, 0, err);
        free(p);
    }
}
