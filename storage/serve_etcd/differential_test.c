/* The same random requests to a stock etcd and to ours, through the same client: every answer and every refusal must be
 * the same in every field but the ids in headers. Left out where there is no etcd. SEED and ROUNDS in the environment
 * replay a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/kv/etcd/server_for_test.h"
#include "storage/serve_etcd/serve_internal.h"

#include <time.h>

enum { THEIRS, OURS, N_KEYS = 12, N_LEASES = 3 };

static struct loop *loop;
static struct kv *kv;
static struct serve_etcd *server;
static struct etcd_server etcd;
static struct grpc_channel *channels[2];
static struct err err;
static struct arena *arena; /* of the request under way */
static uint64_t seed, first_seed;
static int64_t compacted;
static bool plain_puts; /* plain_puts: no transaction writes two keys, so hashes are the same for ever */

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % n;
}

static bool one_in(uint32_t n)
{
    return below(n) == 0;
}

/* ---- one call to both ---- */

static struct {
    struct err err;
    struct buf packed;
    int64_t revision;
    bool done;
} answers[2];

/* Ids and terms are each server's own; what is left of a lease depends on the clock. */
static void level(ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    if (d == &etcdserverpb__response_header__descriptor) {
        Etcdserverpb__ResponseHeader *h = (void *)m;
        h->cluster_id = h->member_id = h->raft_term = 0;
        return;
    }
    if (d == &etcdserverpb__lease_time_to_live_response__descriptor) {
        Etcdserverpb__LeaseTimeToLiveResponse *l = (void *)m;
        l->ttl = l->ttl > 0;
    }
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        char *at = (char *)m + f->offset;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(size_t *)((char *)m + f->quantifier_offset);
            for (size_t k = 0; k < n; k++)
                level((*(ProtobufCMessage ***)at)[k]);
        } else if ((!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                    *(uint32_t *)((char *)m + f->quantifier_offset) == f->id) &&
                   *(ProtobufCMessage **)at) {
            level(*(ProtobufCMessage **)at);
        }
    }
}

static int by_lease(const void *x, const void *y)
{
    int64_t a = (*(Etcdserverpb__LeaseStatus *const *)x)->id, b = (*(Etcdserverpb__LeaseStatus *const *)y)->id;
    return (a > b) - (a < b);
}

static void on_answer(void *arg, const ProtobufCMessage *m, const struct err *e)
{
    int who = (int)(intptr_t)arg;
    answers[who].err = e ? *e : ERR_INIT;
    answers[who].packed.len = 0;
    answers[who].done = true;
    if (m) {
        level((ProtobufCMessage *)(uintptr_t)m);
        if (m->descriptor ==
            &etcdserverpb__lease_leases_response__descriptor) { /* sorted by an end of the same second */
            const Etcdserverpb__LeaseLeasesResponse *r = (const void *)m;
            if (r->n_leases)
                qsort(r->leases, r->n_leases, sizeof *r->leases, by_lease);
        }
        size_t len = protobuf_c_message_get_packed_size(m);
        buf_reserve(&answers[who].packed, len + 1);
        answers[who].packed.len = protobuf_c_message_pack(m, (uint8_t *)answers[who].packed.p);
        answers[who].revision = (*(const Etcdserverpb__ResponseHeader *const *)((const char *)m + sizeof *m))->revision;
    }
    loop_stop(loop);
}

static void dump(const char *what, struct str s)
{
    print_error("%s: ", what);
    for (size_t i = 0; i < s.len; i++)
        print_error(s.p[i] >= 32 && s.p[i] < 127 ? "%c" : "\\%02x", (unsigned char)s.p[i]);
    print_error("\n");
}

static void call(const char *path, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response)
{
    for (int who = 0; who < 2; who++) {
        answers[who].done = false;
        grpc_unary(channels[who], path, request, response, 20000, on_answer, (void *)(intptr_t)who);
        while (!answers[who].done)
            loop_run(loop);
    }
    bool same = answers[0].err.code == answers[1].err.code &&
                strcmp(answers[0].err.message, answers[1].err.message) == 0 &&
                str_eq(buf_str(&answers[0].packed), buf_str(&answers[1].packed));
    /* what is wrong in two ways may be told either way: there it depends on where it stands */
    bool twice_wrong = answers[0].err.code && answers[1].err.code &&
                       (request->descriptor == &etcdserverpb__txn_request__descriptor ||
                        (strstr(answers[0].err.message, "not found") && strstr(answers[1].err.message, "not found")));
    if (same || twice_wrong)
        return;
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(request) + 1);
    print_error("etcd %s, seed %llu: %s\n", etcd_version, (unsigned long long)first_seed, path);
    dump("asked", (struct str){(char *)bytes, protobuf_c_message_pack(request, bytes)});
    print_error("etcd: %s\nours: %s\n", answers[0].err.message, answers[1].err.message);
    dump("etcd", buf_str(&answers[0].packed));
    dump("ours", buf_str(&answers[1].packed));
    fail();
}

/* ---- requests ---- */

static ProtobufCBinaryData bytes(struct str s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.p};
}

static ProtobufCBinaryData key(void)
{
    if (one_in(60))
        return bytes(STR(""));
    return bytes(arena_printf(arena, "/k/%c", 'a' + (int)below(N_KEYS)));
}

static ProtobufCBinaryData end(void)
{
    switch (below(5)) {
    case 0:
        return bytes(STR("/k0"));
    case 1:
        return bytes(STR("\0"));
    case 2:
        return bytes(arena_printf(arena, "/k/%c", 'a' + (int)below(N_KEYS)));
    default:
        return bytes(STR(""));
    }
}

static int64_t revision(void)
{
    int64_t newest = answers[THEIRS].revision;
    switch (below(8)) {
    case 0:
        return newest - below(20);
    case 1:
        return newest;
    case 2:
        return one_in(4) ? newest + 5 : 0;
    default:
        return 0;
    }
}

static Etcdserverpb__RangeRequest *range(void)
{
    Etcdserverpb__RangeRequest *q = ARENA_NEW(arena, Etcdserverpb__RangeRequest);
    etcdserverpb__range_request__init(q);
    q->key = key();
    q->range_end = end();
    q->revision = revision();
    q->limit = one_in(3) ? below(5) : 0;
    q->serializable = one_in(4);
    q->keys_only = one_in(5);
    q->count_only = one_in(8);
    if (one_in(3)) { /* by what no two keys share */
        q->sort_target =
            below(2) ? ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY : ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
        q->sort_order = below(3);
    }
    if (one_in(6))
        q->min_mod_revision = answers[THEIRS].revision - below(30);
    if (one_in(6))
        q->max_mod_revision = answers[THEIRS].revision - below(30);
    if (one_in(6))
        q->min_create_revision = answers[THEIRS].revision - below(30);
    if (one_in(6))
        q->max_create_revision = answers[THEIRS].revision - below(30);
    return q;
}

static Etcdserverpb__PutRequest *put(void)
{
    static int n;
    Etcdserverpb__PutRequest *q = ARENA_NEW(arena, Etcdserverpb__PutRequest);
    etcdserverpb__put_request__init(q);
    q->key = key();
    q->value = bytes(arena_printf(arena, "value-%d", n++)); /* no two the same: what ties is in no order there */
    q->prev_kv = one_in(3);
    q->lease = one_in(4) ? 1000 + below(N_LEASES + 1) : 0;
    if (one_in(6)) {
        q->ignore_value = true;
        if (!one_in(6))
            q->value = bytes(STR(""));
    }
    if (one_in(6)) {
        q->ignore_lease = true;
        if (!one_in(6))
            q->lease = 0;
    }
    return q;
}

/* Inside transactions etcd does not see that a deletion of "all from this key on", or in a nested one behind it, meets
 * a put; ours refuses these. So none are made. depth -1: not inside. */
static Etcdserverpb__DeleteRangeRequest *delete_range(int depth)
{
    Etcdserverpb__DeleteRangeRequest *q = ARENA_NEW(arena, Etcdserverpb__DeleteRangeRequest);
    etcdserverpb__delete_range_request__init(q);
    q->key = key();
    if (depth < 1)
        q->range_end = !one_in(3) ? bytes(STR("")) : depth == 0 ? bytes(STR("/k0")) : end();
    else
        q->key = bytes(arena_printf(arena, "/k/%c", 'a' + N_KEYS + (int)below(3)));
    q->prev_kv = one_in(3);
    return q;
}

static Etcdserverpb__Compare *compare(void)
{
    Etcdserverpb__Compare *q = ARENA_NEW(arena, Etcdserverpb__Compare);
    etcdserverpb__compare__init(q);
    q->key = key();
    q->range_end = one_in(3) ? end() : bytes(STR(""));
    q->target = below(5);
    q->result = below(4);
    q->target_union_case = 4 + (int)q->target;
    int64_t n = one_in(2) ? 0 : answers[THEIRS].revision - below(10);
    switch (q->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
        q->value = bytes(one_in(2) ? STR("value-1") : STR(""));
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        q->lease = one_in(2) ? 0 : 1001;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        q->version = below(3);
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        q->create_revision = n;
        break;
    default:
        q->mod_revision = n;
    }
    return q;
}

static Etcdserverpb__TxnRequest *txn(int depth);

static Etcdserverpb__RequestOp **branch(size_t *ret_n, int depth)
{
    size_t n = below(4);
    Etcdserverpb__RequestOp **ops = ARENA_ARRAY(arena, Etcdserverpb__RequestOp *, n + 1);
    for (size_t i = 0; i < n; i++) {
        ops[i] = ARENA_NEW(arena, Etcdserverpb__RequestOp);
        etcdserverpb__request_op__init(ops[i]);
        uint32_t what = below(depth < 3 ? 9 : 7);
        if (what < 3) {
            ops[i]->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
            ops[i]->request_put = put();
        } else if (what < 5) {
            ops[i]->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
            ops[i]->request_range = range();
        } else if (what < 7) {
            ops[i]->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
            ops[i]->request_delete_range = delete_range(depth);
        } else {
            ops[i]->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
            ops[i]->request_txn = txn(depth + 1);
        }
    }
    *ret_n = n;
    return ops;
}

static Etcdserverpb__TxnRequest *txn(int depth)
{
    Etcdserverpb__TxnRequest *q = ARENA_NEW(arena, Etcdserverpb__TxnRequest);
    etcdserverpb__txn_request__init(q);
    q->n_compare = below(3);
    q->compare = ARENA_ARRAY(arena, Etcdserverpb__Compare *, 3);
    for (size_t i = 0; i < q->n_compare; i++)
        q->compare[i] = compare();
    q->success = branch(&q->n_success, depth);
    q->failure = branch(&q->n_failure, depth);
    return q;
}

static void step_lease(void)
{
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    Etcdserverpb__LeaseTimeToLiveRequest look = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    Etcdserverpb__LeaseLeasesRequest list = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    grant.id = revoke.id = look.id = 1000 + below(N_LEASES + 1);
    grant.ttl = one_in(10) ? 10000000000 : 600 + below(100);
    look.keys = true;
    switch (below(5)) {
    case 0:
    case 1:
        call("/etcdserverpb.Lease/LeaseGrant", &grant.base, &etcdserverpb__lease_grant_response__descriptor);
        break;
    case 2:
        if (!plain_puts || one_in(3)) /* ends keys in one transaction, in any order */
            call("/etcdserverpb.Lease/LeaseRevoke", &revoke.base, &etcdserverpb__lease_revoke_response__descriptor);
        break;
    case 3:
        call("/etcdserverpb.Lease/LeaseLeases", &list.base, &etcdserverpb__lease_leases_response__descriptor);
        break;
    default:
        look.keys = false; /* in no order there */
        call("/etcdserverpb.Lease/LeaseTimeToLive", &look.base, &etcdserverpb__lease_time_to_live_response__descriptor);
    }
}

static void step_compact(void)
{
    Etcdserverpb__CompactionRequest q = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    q.revision = answers[THEIRS].revision - 10 + below(12);
    q.physical = true;
    if (q.revision < 2)
        return;
    call("/etcdserverpb.KV/Compact", &q.base, &etcdserverpb__compaction_response__descriptor);
    compacted = answers[THEIRS].err.code ? compacted : q.revision;
}

static void step_hash(void)
{
    Etcdserverpb__HashKVRequest q = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    q.revision = one_in(2) ? 0 : answers[THEIRS].revision - below(8);
    if ((plain_puts || !compacted) && (!q.revision || q.revision > compacted)) /* older ones 3.5 may remember */
        call("/etcdserverpb.Maintenance/HashKV", &q.base, &etcdserverpb__hash_kvresponse__descriptor);
}

/* Page after page of one revision, as API servers read lists; writes go on between them. */
static void step_pages(void)
{
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest *between = put();
    q.key = bytes(STR("/k/"));
    q.range_end = bytes(STR("/k0"));
    q.limit = 1 + below(4);
    q.keys_only = one_in(2);
    for (int i = 0; i < 2 * N_KEYS; i++) {
        call("/etcdserverpb.KV/Range", &q.base, &etcdserverpb__range_response__descriptor);
        struct str packed = buf_str(&answers[THEIRS].packed);
        if (answers[THEIRS].err.code)
            break;
        Etcdserverpb__RangeResponse *r =
            etcdserverpb__range_response__unpack(NULL, packed.len, (const uint8_t *)packed.p);
        bool more = r->more;
        if (more)
            q.key = bytes(arena_printf(arena, "%.*s%c", (int)r->kvs[r->n_kvs - 1]->key.len,
                                       (char *)r->kvs[r->n_kvs - 1]->key.data, 0));
        q.revision = q.revision ? q.revision : r->header->revision;
        etcdserverpb__range_response__free_unpacked(r, NULL);
        if (!more)
            break;
        if (i == 1)
            call("/etcdserverpb.KV/Put", &between->base, &etcdserverpb__put_response__descriptor);
    }
}

static void step(void)
{
    uint32_t what = below(100);
    arena_reset(arena);
    if (what < 5)
        step_pages();
    else if (what < 30)
        call("/etcdserverpb.KV/Range", &range()->base, &etcdserverpb__range_response__descriptor);
    else if (what < 50)
        call("/etcdserverpb.KV/Put", &put()->base, &etcdserverpb__put_response__descriptor);
    else if (what < 58)
        call("/etcdserverpb.KV/DeleteRange", &delete_range(-1)->base, &etcdserverpb__delete_range_response__descriptor);
    else if (what < 85 && !plain_puts)
        call("/etcdserverpb.KV/Txn", &txn(0)->base, &etcdserverpb__txn_response__descriptor);
    else if (what < 92)
        step_lease();
    else if (what < 95)
        step_compact();
    else
        step_hash();
}

/* ---- watches ---- */

struct seen {
    struct buf events; /* packed, one after the other */
    int64_t last, watch_id, compact_revision;
    bool created, canceled;
    char reason[200];
    struct grpc_call *call;
    int64_t until;
};

static void on_watch(void *arg, const ProtobufCMessage *m)
{
    const Etcdserverpb__WatchResponse *r = (const void *)m;
    struct seen *s = arg;
    s->created |= r->created;
    s->canceled |= r->canceled;
    s->watch_id = r->watch_id == -1 && !r->canceled ? s->watch_id : r->watch_id;
    if (r->compact_revision)
        s->compact_revision = r->compact_revision;
    if (r->cancel_reason && r->cancel_reason[0])
        snprintf(s->reason, sizeof s->reason, "%s", r->cancel_reason);
    for (size_t i = 0; i < r->n_events; i++) {
        size_t len = protobuf_c_message_get_packed_size(&r->events[i]->base);
        buf_reserve(&s->events, len);
        s->events.len += protobuf_c_message_pack(&r->events[i]->base, (uint8_t *)s->events.p + s->events.len);
        s->last = r->events[i]->kv->mod_revision;
    }
    if (s->canceled || s->last >= s->until)
        loop_stop(loop);
}

static void on_watch_done(void *arg, const struct err *e)
{
    (void)arg, (void)e;
    fail_msg("the watch ended: %s", e ? e->message : "");
}

/* Every watch ends with the same last put, whose revision is known. */
static void compare_watch(const Etcdserverpb__WatchCreateRequest *create, int64_t until)
{
    struct seen seen[2] = {0};
    for (int who = 0; who < 2; who++) {
        Etcdserverpb__WatchRequest q = ETCDSERVERPB__WATCH_REQUEST__INIT;
        struct grpc_stream_handler handler = {.on_message = on_watch, .on_done = on_watch_done, .arg = &seen[who]};
        q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
        q.create_request = (Etcdserverpb__WatchCreateRequest *)(uintptr_t)create;
        seen[who].until = until;
        seen[who].call = grpc_stream(channels[who], "/etcdserverpb.Watch/Watch",
                                     &etcdserverpb__watch_response__descriptor, 0, &handler);
        grpc_send(seen[who].call, &q.base);
        while (!seen[who].canceled && seen[who].last < until)
            loop_run(loop);
        grpc_cancel(seen[who].call);
    }
    if (!str_eq(buf_str(&seen[0].events), buf_str(&seen[1].events))) {
        print_error("watch of %.*s..%.*s from %lld\n", (int)create->key.len, (char *)create->key.data,
                    (int)create->range_end.len, (char *)create->range_end.data, (long long)create->start_revision);
        dump("etcd", buf_str(&seen[0].events));
        dump("ours", buf_str(&seen[1].events));
        fail();
    }
    assert_int_equal(seen[0].created, seen[1].created);
    assert_int_equal(seen[0].canceled, seen[1].canceled);
    assert_int_equal(seen[0].watch_id, seen[1].watch_id);
    assert_int_equal(seen[0].compact_revision, seen[1].compact_revision);
    assert_string_equal(seen[0].reason, seen[1].reason);
    buf_free(&seen[0].events);
    buf_free(&seen[1].events);
}

static void compare_watches(void)
{
    Etcdserverpb__PutRequest last = ETCDSERVERPB__PUT_REQUEST__INIT;
    last.key = bytes(STR("/k/z"));
    last.value = bytes(STR("last"));
    call("/etcdserverpb.KV/Put", &last.base, &etcdserverpb__put_response__descriptor);
    int64_t until = answers[THEIRS].revision;
    for (int i = 0; i < 12; i++) {
        Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
        Etcdserverpb__WatchCreateRequest__FilterType filter = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
        arena_reset(arena);
        create.key = bytes(i == 0 ? STR("/k0") : i % 3 ? STR("/k/") : STR("/k/e"));
        create.range_end = bytes(i == 5 ? STR("\0") : STR("/k0"));
        create.start_revision = i == 1 ? 1 : until - below(40);
        if (create.start_revision == compacted && (!plain_puts || strncmp(etcd_version, "3.4", 3) != 0))
            create.start_revision++; /* 3.5 still has deletions made then; several keys come in another order */
        create.prev_kv = one_in(2);
        create.watch_id = i == 7 ? 77 : 0;
        create.filters = &filter;
        create.n_filters = one_in(3);
        if (create.start_revision > 0)
            compare_watch(&create, until);
    }
}

/* ---- runs ---- */

static void run(uint64_t of, int rounds)
{
    char url[64];
    const char *urls[2][2] = {{etcd.url, NULL}, {url, NULL}};
    seed = of * 0x9e3779b97f4a7c15u + 1;
    first_seed = of;
    plain_puts = of % 2;
    compacted = 0;
    answers[THEIRS].revision = 1;
    etcd_server_start(&etcd);
    assert_int_equal(kv_open_memory(&kv, &err), 0);
    struct serve_etcd_options opt = {.kv = kv, .listen = "127.0.0.1:0"};
    assert_int_equal(serve_etcd_start(&opt, &server, &err), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", serve_etcd_port(server));
    arena = arena_create(0);
    for (int who = 0; who < 2; who++)
        assert_int_equal(
            grpc_channel_create(loop, &(struct grpc_channel_options){.endpoints = urls[who]}, &channels[who], &err), 0);
    Etcdserverpb__StatusRequest ready = ETCDSERVERPB__STATUS_REQUEST__INIT;
    for (int i = 0; i < 100; i++) {
        answers[THEIRS].done = false;
        grpc_unary(channels[THEIRS], "/etcdserverpb.Maintenance/Status", &ready.base,
                   &etcdserverpb__status_response__descriptor, 1000, on_answer, (void *)(intptr_t)THEIRS);
        while (!answers[THEIRS].done)
            loop_run(loop);
        if (!answers[THEIRS].err.code)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    for (int i = 0; i < rounds; i++) {
        step();
        if (i % 250 == 249)
            compare_watches();
    }
    for (int who = 0; who < 2; who++)
        grpc_channel_destroy(channels[who]);
    serve_etcd_stop(server);
    kv_close(kv);
    arena_destroy(arena);
    etcd_server_remove(&etcd);
}

static void test_same_answers(void **state)
{
    (void)state;
    const char *of = getenv("SEED"), *rounds = getenv("ROUNDS");
    int n = rounds ? atoi(rounds) : 300;
    bool any = false;
    while (etcd_next()) {
        any = true;
        for (uint64_t i = 0; i < 4 && !of; i++)
            run(i, n);
        if (of)
            run(strtoull(of, NULL, 10), n);
    }
    if (!any)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_answers)};
    loop = loop_create("test");
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    loop_destroy(loop);
    return rc;
}
