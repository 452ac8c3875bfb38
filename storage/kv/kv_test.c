/* The contract of kv, run against every engine: rows for single rules, then random operations against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/vec.h"
#include "storage/kv/etcd/server_for_test.h"
#include "storage/kv/kv_engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
/* RocksDB itself is not built for the sanitizer, which cannot see how its writers hand over to each other. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rocksdb::\n";
}
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif

static char dir[] = "/tmp/skiff-kv-test-XXXXXX";
static bool on_rocksdb, on_etcd, lasting; /* lasting: what is closed can be opened again */
static struct etcd_server etcd;
static struct err err;

static void remove_dir(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static struct kv *reopen(void)
{
    struct kv *kv;
    struct kv_rocksdb_options opt = {.dir = dir};
    int rc = on_etcd      ? kv_open_etcd_text(etcd.url, &kv, &err)
             : on_rocksdb ? kv_open_rocksdb(&opt, &kv, &err)
                          : kv_open_memory(&kv, &err);
    if (rc < 0)
        fail_msg("%s", err.message);
    return kv;
}

static struct kv *open_new(void)
{
    if (on_rocksdb)
        remove_dir(dir);
    if (on_etcd) {
        etcd_server_remove(&etcd);
        etcd_server_start(&etcd);
    }
    return reopen();
}

static int run(struct kv *kv, struct arena *a, struct kv_txn txn, struct kv_txn_result *ret)
{
    static struct kv_txn_result dummy;
    return kv_txn_wait(kv, a, &txn, ret ? ret : &dummy, &err);
}

static int64_t put(struct kv *kv, struct str key, struct str value)
{
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_PUT, .key = key, .value = value};
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    arena_destroy(a);
    return result.revision;
}

static int64_t delete (struct kv *kv, struct str key, struct str end)
{
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_DELETE, .key = key, .end = end};
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    int64_t count = result.ops[0].count;
    arena_destroy(a);
    return count;
}

struct list {
    char text[4096];
    size_t len;
};

static bool list_pair(void *arg, const struct kv_pair *p)
{
    struct list *l = arg;
    l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, STR_FMT "=" STR_FMT "@%lld/%lld/%lld ",
                               STR_ARG(p->key), STR_ARG(p->value), (long long)p->create_revision,
                               (long long)p->mod_revision, (long long)p->version);
    return true;
}

static const char *range(struct kv *kv, const char *key, const char *end, int64_t revision)
{
    static struct list l;
    l.len = 0;
    l.text[0] = 0;
    int rc = kv_range(kv, str_from(key), str_from(end), revision, 0, list_pair, &l, NULL, &err);
    if (rc < 0)
        snprintf(l.text, sizeof l.text, "%s", err_code_name(rc));
    return l.text;
}

static bool list_event(void *arg, const struct kv_event *e)
{
    struct list *l = arg;
    l->len +=
        (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "%s " STR_FMT "=" STR_FMT "@%lld<" STR_FMT " ",
                         e->kind == KV_EVENT_PUT ? "put" : "del", STR_ARG(e->pair.key), STR_ARG(e->pair.value),
                         (long long)e->pair.mod_revision, STR_ARG(e->prev ? e->prev->value : STR("-")));
    return true;
}

static const char *history(struct kv *kv, const char *key, const char *end, int64_t after)
{
    static struct list l;
    l.len = 0;
    l.text[0] = 0;
    int rc = kv_history(kv, str_from(key), str_from(end), after, list_event, &l, &err);
    if (rc < 0)
        snprintf(l.text, sizeof l.text, "%s", err_code_name(rc));
    return l.text;
}

static void revisions_and_history(void **state)
{
    (void)state;
    struct kv *kv = open_new();
    assert_int_equal(kv_revision(kv), 1);
    assert_int_equal(put(kv, STR("a"), STR("1")), 2);
    assert_int_equal(put(kv, STR("a-b"), STR("2")), 3);
    assert_int_equal(put(kv, STR("a"), STR("3")), 4);
    assert_int_equal(delete (kv, STR("nothing"), STR_NULL), 0);
    assert_int_equal(kv_revision(kv), 4);
    assert_int_equal(delete (kv, STR("a"), STR("a-")), 1);
    assert_int_equal(put(kv, STR("a"), STR("5")), 6);
    assert_string_equal(range(kv, "a", "b", 0), "a=5@6/6/1 a-b=2@3/3/1 ");
    assert_string_equal(range(kv, "a", "b", 5), "a-b=2@3/3/1 ");
    assert_string_equal(range(kv, "a", "b", 4), "a=3@2/4/2 a-b=2@3/3/1 ");
    assert_string_equal(range(kv, "a", NULL, 2), "a=1@2/2/1 ");
    assert_string_equal(range(kv, "a", NULL, 7), "timeout");
    assert_string_equal(history(kv, "a", NULL, 1), "put a=1@2<- put a=3@4<1 del a=@5<3 put a=5@6<- ");
    assert_string_equal(history(kv, "a", "b", 4), "del a=@5<3 put a=5@6<- ");
    if (lasting) {
        kv_close(kv);
        kv = reopen();
    }
    assert_int_equal(kv_compact(kv, 4, &err), 0);
    assert_int_equal(kv_compact(kv, 4, &err), ERR_EXPIRED);
    assert_int_equal(kv_compact(kv, 40, &err), ERR_BAD_REQUEST);
    assert_string_equal(range(kv, "a", "b", 3), "expired");
    kv_compact_wait(kv);
    assert_string_equal(history(kv, "a", "b", 3), "expired");
    assert_string_equal(range(kv, "a", "b", 4), "a=3@2/4/2 a-b=2@3/3/1 ");
    assert_string_equal(history(kv, "a", "b", 4), "del a=@5<3 put a=5@6<- ");
    if (lasting) {
        kv_close(kv);
        kv = reopen();
    }
    assert_int_equal(kv_compacted_revision(kv), 4);
    assert_string_equal(range(kv, "a", "b", 0), "a=5@6/6/1 a-b=2@3/3/1 ");
    assert_int_equal(kv_revision(kv), 6);
    kv_close(kv);
}

static void compares(void **state)
{
    (void)state;
    static const struct {
        struct kv_compare given;
        bool want;
    } rows[] = {
        {{.key = {"a", 1}, .target = KV_TARGET_MOD, .relation = KV_EQUAL, .number = 3}, true},
        {{.key = {"a", 1}, .target = KV_TARGET_MOD, .relation = KV_NOT_EQUAL, .number = 3}, false},
        {{.key = {"a", 1}, .target = KV_TARGET_CREATE, .relation = KV_LESS, .number = 3}, true},
        {{.key = {"a", 1}, .target = KV_TARGET_VERSION, .relation = KV_GREATER, .number = 1}, true},
        {{.key = {"a", 1}, .target = KV_TARGET_VERSION, .relation = KV_GREATER, .number = 2}, false},
        {{.key = {"a", 1}, .target = KV_TARGET_VALUE, .relation = KV_EQUAL, .value = {"two", 3}}, true},
        {{.key = {"a", 1}, .target = KV_TARGET_LEASE, .relation = KV_EQUAL, .number = 0}, true},
        {{.key = {"b", 1}, .target = KV_TARGET_MOD, .relation = KV_EQUAL, .number = 0}, true},
        {{.key = {"b", 1}, .target = KV_TARGET_VALUE, .relation = KV_EQUAL, .value = {"", 0}}, true},
        {{.key = {"b", 1}, .target = KV_TARGET_CREATE, .relation = KV_GREATER, .number = 0}, false},
    };
    struct kv *kv = open_new();
    struct arena *a = arena_create(0);

    put(kv, STR("a"), STR("one"));
    put(kv, STR("a"), STR("two"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kv_txn_result result;
        struct kv_op get = {.kind = KV_RANGE, .key = STR("a"), .end = STR("z")};
        assert_int_equal(run(kv, a, (struct kv_txn){&rows[i].given, 1, &get, 1, NULL, 0}, &result), 0);
        assert_int_equal(result.succeeded, rows[i].want);
        assert_int_equal(result.n_ops, rows[i].want);
        if (rows[i].want) {
            assert_int_equal(result.ops[0].count, 1);
            assert_true(str_eqz(result.ops[0].pairs[0].value, "two"));
        }
        assert_int_equal(result.revision, 3);
    }
    /* several writes, one revision; the same key twice is refused and leaves nothing */
    struct kv_op ops[] = {{.kind = KV_PUT, .key = STR("x"), .value = STR("1")},
                          {.kind = KV_PUT, .key = STR("y"), .value = STR("2")},
                          {.kind = KV_RANGE, .key = STR("x"), .end = STR("z")},
                          {.kind = KV_PUT, .key = STR("x"), .value = STR("3")}};
    struct kv_txn_result result;
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, ops, 4, NULL, 0}, &result), ERR_BAD_REQUEST);
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, ops, 3, NULL, 0}, &result), 0);
    assert_int_equal(result.revision, 4);
    assert_int_equal(result.ops[2].count, 2);
    assert_string_equal(range(kv, "x", "z", 0), "x=1@4/4/1 y=2@4/4/1 ");
    char *big = calloc(1, KV_VALUE_MAX + 1);
    struct kv_op too_big = {.kind = KV_PUT, .key = STR("big"), .value = {big, KV_VALUE_MAX + 1}};
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, &too_big, 1, NULL, 0}, &result), ERR_TOO_LARGE);
    too_big.value.len--;
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, &too_big, 1, NULL, 0}, &result), 0);
    free(big);
    arena_destroy(a);
    kv_close(kv);
}

static void wait_for(struct kv *kv, const char *key, const char *want)
{
    for (int i = 0; i < 400 && strcmp(range(kv, key, NULL, 0), want); i++)
        usleep(10000);
    assert_string_equal(range(kv, key, NULL, 0), want);
}

static void leases(void **state)
{
    (void)state;
    struct kv *kv = open_new();
    struct arena *a = arena_create(0);
    int64_t id = 0;

    assert_int_equal(kv_lease_grant(kv, 77, 1000, &id, &err), 0);
    assert_int_equal(kv_lease_grant(kv, 77, 1000, &id, &err), ERR_ALREADY_EXISTS);
    struct kv_op ops[] = {{.kind = KV_PUT, .key = STR("l/a"), .value = STR("1"), .lease = 77},
                          {.kind = KV_PUT, .key = STR("l/b"), .value = STR("1"), .lease = 77},
                          {.kind = KV_PUT, .key = STR("l/c"), .value = STR("1"), .lease = 77}};
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, ops, 3, NULL, 0}, NULL), 0);
    put(kv, STR("l/b"), STR("2")); /* leaves its lease */
    if (lasting) {
        kv_close(kv);
        kv = reopen();
    }
    assert_int_equal(kv_lease_keep_alive(kv, 77, &err), 0);
    assert_int_equal(kv_lease_keep_alive(kv, 78, &err), 1);
    assert_int_equal(kv_lease_revoke(kv, 77, &err), 0);
    assert_int_equal(kv_lease_revoke(kv, 77, &err), 1);
    assert_string_equal(range(kv, "l/", "l0", 0), "l/b=2@2/3/2 ");
    assert_string_equal(history(kv, "l/", "l0", 3), "del l/a=@4<1 del l/c=@4<1 ");
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, ops, 1, NULL, 0}, NULL), ERR_NOT_FOUND);

    struct kv_op timed = {.kind = KV_PUT, .key = STR("t"), .value = STR("1"), .ttl_s = 1};
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, &timed, 1, NULL, 0}, NULL), 0);
    assert_string_equal(range(kv, "t", NULL, 0), "t=1@5/5/1 ");
    wait_for(kv, "t", "");
    assert_int_equal(kv_lease_grant(kv, 0, 1, &id, &err), 0);
    arena_destroy(a);
    kv_close(kv);
}

/* A transform that turns bytes about and binds the key. */
static int flip(struct str key, struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++)
        buf_add_char(out, (char)(in.p[i] ^ 0x55 ^ (char)key.len));
    return 0;
}
static int seal(void *arg, struct str key, struct str plain, struct buf *out, struct err *e)
{
    (void)arg, (void)e;
    buf_add_char(out, 7);
    return flip(key, plain, out);
}
static int unseal(void *arg, struct str key, struct str sealed, struct buf *out, struct err *e)
{
    (void)arg, (void)e;
    return flip(key, sealed, out);
}
static const struct kv_transform flipping = {.id = 7, .seal = seal, .open = unseal};
static const struct kv_transform *choose(void *arg, struct str key)
{
    (void)arg;
    return str_starts(key, STR("secret/")) ? &flipping : NULL;
}

static void transforms(void **state)
{
    (void)state;
    const struct kv_transform *known[] = {&flipping};
    struct kv *kv = open_new();

    kv_set_transforms(kv, known, 1, choose, NULL);
    put(kv, STR("secret/a"), STR("hush"));
    put(kv, STR("secret/a"), STR("hush2"));
    assert_string_equal(range(kv, "secret/a", NULL, 0), "secret/a=hush2@2/3/2 ");
    assert_string_equal(history(kv, "secret/a", NULL, 1), "put secret/a=hush@2<- put secret/a=hush2@3<hush ");
    if (lasting) {
        kv_close(kv);
        kv = reopen();
        assert_string_equal(range(kv, "secret/a", NULL, 0), "corrupt");
        kv_set_transforms(kv, known, 1, choose, NULL);
        assert_string_equal(range(kv, "secret/a", NULL, 0), "secret/a=hush2@2/3/2 ");
    }
    kv_close(kv);
}

/* ---- the model ---- */

enum { KEYS = 24, STEPS = 1500 };

static uint64_t seed;
static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

struct version {
    int64_t revision, create, version;
    unsigned value; /* 0 = deleted */
};
static struct model {
    VEC(struct version) keys[KEYS];
    int64_t revision, compacted;
} model;

static struct str key_of(unsigned i) /* in order, with prefixes of each other and zero bytes */
{
    static const char *const stems[] = {"a", "a\0", "a\0b", "a-", "a-b", "a/", "b", "ba"};
    static const uint8_t lens[] = {1, 2, 3, 2, 3, 2, 1, 2};
    static char text[KEYS][8];
    unsigned stem = i / 3;
    char *p = text[i];
    memcpy(p, stems[stem], lens[stem]);
    size_t len = lens[stem];
    /* "a" < "a\0" needs the numbered ones to follow directly */
    if (i % 3) {
        memcpy(p + len, "\0\0\0\0", 4);
        len += i % 3;
    }
    return (struct str){p, len};
}

static int order[KEYS]; /* keys sorted, duplicates dropped */
static int n_order;
static void sort_keys(void)
{
    n_order = 0;
    for (int i = 0; i < KEYS; i++) {
        int at = 0;
        while (at < n_order && str_cmp(key_of((unsigned)order[at]), key_of((unsigned)i)) < 0)
            at++;
        if (at < n_order && str_eq(key_of((unsigned)order[at]), key_of((unsigned)i)))
            continue;
        memmove(order + at + 1, order + at, (size_t)(n_order - at) * sizeof *order);
        order[at] = i;
        n_order++;
    }
}

static const struct version *version_at(int key, int64_t revision)
{
    const struct version *found = NULL;
    for (size_t i = 0; i < model.keys[key].len; i++)
        if (model.keys[key].items[i].revision <= revision)
            found = &model.keys[key].items[i];
    return found && found->value ? found : NULL;
}

static unsigned number(struct str value)
{
    unsigned n;
    memcpy(&n, value.p, sizeof n);
    return n;
}

struct expect {
    int at, end;
    int64_t revision;
};
static bool expect_pair(void *arg, const struct kv_pair *p)
{
    struct expect *e = arg;
    const struct version *v = NULL;
    while (e->at < e->end && !(v = version_at(order[e->at], e->revision)))
        e->at++;
    assert_non_null(v);
    assert_true(str_eq(p->key, key_of((unsigned)order[e->at])));
    assert_int_equal(p->mod_revision, v->revision);
    assert_int_equal(p->create_revision, v->create);
    assert_int_equal(p->version, v->version);
    assert_int_equal(number(p->value), v->value);
    e->at++;
    return true;
}
static void check_range(struct kv *kv, int64_t revision)
{
    int from = (int)rnd((uint32_t)n_order), to = from + 1 + (int)rnd((uint32_t)(n_order - from));
    struct expect e = {from, to, revision ? revision : model.revision};
    struct str end = to < n_order ? key_of((unsigned)order[to]) : STR("z");
    int rc = kv_range(kv, key_of((unsigned)order[from]), end, revision, 0, expect_pair, &e, NULL, &err);
    if (e.revision < model.compacted) {
        assert_int_equal(rc, ERR_EXPIRED);
        return;
    }
    assert_int_equal(rc, 0);
    for (; e.at < e.end; e.at++)
        assert_null(version_at(order[e.at], e.revision));
}
struct follow {
    int64_t after, n;
};
static bool follow_event(void *arg, const struct kv_event *ev)
{
    struct follow *f = arg;
    assert_true(ev->pair.mod_revision >= f->after);
    f->after = ev->pair.mod_revision;
    int key = 0;
    while (!str_eq(key_of((unsigned)order[key]), ev->pair.key))
        key++;
    const struct version *now = version_at(order[key], f->after), *prev = version_at(order[key], f->after - 1);
    assert_int_equal(ev->kind == KV_EVENT_PUT, now != NULL);
    assert_int_equal(ev->prev != NULL, prev != NULL);
    if (now)
        assert_int_equal(number(ev->pair.value), now->value);
    if (prev)
        assert_int_equal(number(ev->prev->value), prev->value);
    f->n++;
    return true;
}
static void check_history(struct kv *kv, int64_t after)
{
    struct follow f = {.after = after + 1};
    int64_t want = 0;
    int rc = kv_history(kv, STR(""), STR("z"), after, follow_event, &f, &err);
    if (after < model.compacted) {
        assert_int_equal(rc, ERR_EXPIRED);
        return;
    }
    assert_int_equal(rc, 0);
    for (int k = 0; k < n_order; k++)
        for (size_t i = 0; i < model.keys[order[k]].len; i++)
            want += model.keys[order[k]].items[i].revision > after;
    assert_int_equal(f.n, want);
}

static void model_change(int key, unsigned value, int64_t revision)
{
    const struct version *old = version_at(key, INT64_MAX);
    struct version v = {.revision = revision, .value = value};
    if (value) {
        v.create = old ? old->create : revision;
        v.version = old ? old->version + 1 : 1;
    }
    vec_push(&model.keys[key], v);
}

static void random_step(struct kv *kv, struct arena *a)
{
    int at = (int)rnd((uint32_t)n_order), key = order[at];
    static unsigned value;
    struct kv_txn_result result;
    char big[3000] = {0}; /* some values large enough for a blob file */

    value++;
    memcpy(big, &value, sizeof value);
    struct str bytes = {big, rnd(8) ? sizeof value : sizeof big};
    switch (rnd(8)) {
    case 0:
    case 1:
    case 2: {
        const struct version *now = version_at(key, INT64_MAX);
        bool right = rnd(4) != 0;
        struct kv_compare c = {
            .key = key_of((unsigned)key), .target = KV_TARGET_MOD, .number = (now ? now->revision : 0) + !right};
        int other = order[(at + 1) % n_order];
        struct kv_op ops[2] = {{.kind = KV_PUT, .key = key_of((unsigned)key), .value = bytes},
                               {.kind = KV_PUT, .key = key_of((unsigned)other), .value = bytes}};
        size_t n = rnd(3) ? 1 : 2;
        assert_int_equal(run(kv, a, (struct kv_txn){&c, 1, ops, n, NULL, 0}, &result), 0);
        assert_int_equal(result.succeeded, right);
        if (right) {
            model.revision++;
            model_change(key, value, model.revision);
            if (n == 2)
                model_change(other, value, model.revision);
        }
        assert_int_equal(result.revision, model.revision);
        break;
    }
    case 3: {
        bool was = version_at(key, INT64_MAX) != NULL;
        assert_int_equal(delete (kv, key_of((unsigned)key), STR_NULL), was);
        if (was)
            model_change(key, 0, ++model.revision);
        break;
    }
    case 4: {
        if (rnd(4))
            break;
        int to = at + (int)rnd(5);
        to = to > n_order - 1 ? n_order - 1 : to;
        int64_t gone = delete (kv, key_of((unsigned)key), key_of((unsigned)order[to])), want = 0;
        for (int k = at; k < to; k++)
            if (version_at(order[k], INT64_MAX)) {
                model_change(order[k], 0, model.revision + 1);
                want++;
            }
        model.revision += want > 0;
        assert_int_equal(gone, want);
        break;
    }
    case 5:
        check_range(kv, rnd(3) ? 0 : 1 + (int64_t)rnd((uint32_t)model.revision));
        break;
    case 6:
        check_history(kv, (int64_t)rnd((uint32_t)model.revision + 1));
        break;
    case 7:
        if (rnd(20) == 0 && model.revision > model.compacted + 1) {
            model.compacted += 1 + (int64_t)rnd((uint32_t)(model.revision - model.compacted));
            assert_int_equal(kv_compact(kv, model.compacted, &err), 0);
            if (rnd(2))
                kv_compact_wait(kv);
        }
        break;
    }
    arena_reset(a);
}

static void against_the_model(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    const char *given = getenv("SKIFF_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;

    sort_keys();
    /* etcd looks after watches of the past every 100 ms only */
    int steps = on_etcd ? 400 : STEPS;
    for (uint64_t s = first; s < first + (given || on_etcd ? 1 : 3); s++) {
        struct kv *kv = open_new();
        print_message("seed %llu\n", (unsigned long long)s);
        seed = s;
        for (int k = 0; k < KEYS; k++)
            model.keys[k].len = 0;
        model.revision = 1;
        model.compacted = 0;
        for (int step = 0; step < steps; step++) {
            random_step(kv, a);
            if (lasting && rnd(on_etcd ? 100 : 400) == 0) {
                kv_close(kv);
                kv = reopen();
                assert_int_equal(kv_revision(kv), model.revision);
            }
        }
        kv_close(kv);
    }
    for (int k = 0; k < KEYS; k++)
        vec_free(&model.keys[k]);
    arena_destroy(a);
}

/* ---- many writers ---- */

struct load {
    struct kv *kv;
    pthread_mutex_t lock;
    pthread_cond_t over;
    unsigned next, total, in_flight, done;
    int64_t last;
    bool descending;
    char value[4096];
};
struct shot {
    struct load *load;
    char key[64];
    struct kv_compare compare;
    struct kv_op op;
    struct kv_txn txn;
};
static void shoot(struct shot *s);
static void shot_done(void *arg, const struct kv_txn_result *result, const struct err *e)
{
    struct shot *s = arg;
    struct load *l = s->load;
    assert_null(e);
    assert_true(result->succeeded);
    pthread_mutex_lock(&l->lock);
    l->done++;
    l->descending |= result->revision <= l->last;
    l->last = result->revision;
    pthread_cond_signal(&l->over);
    pthread_mutex_unlock(&l->lock);
    shoot(s);
}
static void shoot(struct shot *s)
{
    struct load *l = s->load;
    pthread_mutex_lock(&l->lock);
    unsigned n = l->next < l->total ? ++l->next : 0;
    pthread_mutex_unlock(&l->lock);
    if (!n)
        return;
    int len = snprintf(s->key, sizeof s->key, "/registry/pods/default/pod-%07u", n * 2654435761u % 10000000);
    s->compare = (struct kv_compare){.key = {s->key, (size_t)len}, .target = KV_TARGET_MOD};
    s->op = (struct kv_op){.kind = KV_PUT, .key = s->compare.key, .value = {l->value, sizeof l->value}, .cookie = s};
    s->txn = (struct kv_txn){&s->compare, 1, &s->op, 1, NULL, 0};
    kv_txn(l->kv, &s->txn, shot_done, s);
}
static void many_in_flight(void **state)
{
    (void)state;
    const char *size = getenv("SKIFF_LOAD");
    static struct load l;
    memset(&l, 0, sizeof l);
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.over, NULL);
    l.kv = open_new();
    l.total = size ? (unsigned)atoi(size) : 5000;
    for (size_t i = 0; i < sizeof l.value; i++)
        l.value[i] = (char)('a' + i % 23);
    static struct shot shots[64];
    int64_t start_us = clock_mono_us();
    for (int i = 0; i < 64; i++) {
        shots[i].load = &l;
        shoot(&shots[i]);
    }
    pthread_mutex_lock(&l.lock);
    while (l.done < l.total)
        pthread_cond_wait(&l.over, &l.lock);
    pthread_mutex_unlock(&l.lock);
    print_message("%u creates of 4 KB, 64 in flight: %.0f/s\n", l.total,
                  (double)l.total * 1e6 / (double)(clock_mono_us() - start_us));
    assert_false(l.descending);
    assert_int_equal(kv_revision(l.kv), 1 + l.total);
    kv_close(l.kv);
}

/* ---- trouble ---- */

static struct faulty {
    struct kv_engine engine;
    struct kv_engine *inner;
    struct kv_engine_ops ops;
    atomic_bool full;
} faulty;

static int faulty_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *er)
{
    (void)e;
    return faulty.inner->ops->get(faulty.inner, space, key, out, er);
}
static struct kv_cursor *faulty_cursor(struct kv_engine *e, enum kv_space space)
{
    (void)e;
    return faulty.inner->ops->cursor_open(faulty.inner, space);
}
static int faulty_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *er)
{
    (void)e;
    if (atomic_load(&faulty.full))
        return err_set(er, ERR_NO_SPACE, "write: No space left on device");
    return faulty.inner->ops->write(faulty.inner, writes, n, sync, er);
}
static int faulty_recover(struct kv_engine *e, struct err *er)
{
    (void)e;
    return atomic_load(&faulty.full) ? err_set(er, ERR_NO_SPACE, "still full") : 0;
}
static void faulty_close(struct kv_engine *e)
{
    (void)e;
    faulty.inner->ops->close(faulty.inner);
}

static void trouble_passes(void **state)
{
    (void)state;
    struct kv *kv;
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_PUT, .key = STR("b"), .value = STR("2"), .ttl_s = 100};

    faulty.inner = kv_engine_memory();
    faulty.ops = *faulty.inner->ops;
    faulty.ops.get = faulty_get;
    faulty.ops.cursor_open = faulty_cursor;
    faulty.ops.write = faulty_write;
    faulty.ops.recover = faulty_recover;
    faulty.ops.close = faulty_close;
    faulty.engine.ops = &faulty.ops;
    assert_int_equal(kv_create(&faulty.engine, 0, &kv, &err), 0);
    put(kv, STR("a"), STR("1"));
    assert_null(kv_trouble(kv));
    atomic_store(&faulty.full, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), ERR_NO_SPACE);
        assert_non_null(strstr(kv_trouble(kv), "no space left"));
        assert_string_equal(range(kv, "a", "c", 0), "a=1@2/2/1 ");
        assert_int_equal(kv_revision(kv), 2);
    }
    op.kind = KV_RANGE; /* reading goes on */
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    op.kind = KV_PUT;
    atomic_store(&faulty.full, false);
    for (int i = 0; i < 500 && kv_trouble(kv); i++)
        usleep(10000);
    assert_null(kv_trouble(kv));
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    assert_string_equal(range(kv, "a", "c", 0), "a=1@2/2/1 b=2@3/3/1 ");
    arena_destroy(a);
    kv_close(kv);
}

static void old_history_goes_by_itself(void **state)
{
    (void)state;
    struct kv *kv;
    assert_int_equal(kv_create(kv_engine_memory(), 200, &kv, &err), 0);
    put(kv, STR("a"), STR("1"));
    put(kv, STR("a"), STR("2"));
    for (int i = 0; i < 1000 && kv_compacted_revision(kv) < 3; i++)
        usleep(10000);
    assert_int_equal(kv_compacted_revision(kv), 3);
    assert_string_equal(range(kv, "a", NULL, 0), "a=2@2/3/2 ");
    assert_string_equal(range(kv, "a", NULL, 2), "expired");
    kv_close(kv);
}

/* ---- RocksDB alone ---- */

static void directory(void **state)
{
    (void)state;
    if (!on_rocksdb)
        return;
    struct kv *kv = open_new(), *second;
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    struct kv_rocksdb_options opt = {.dir = dir};
    assert_int_equal(kv_open_rocksdb(&opt, &second, &err), ERR_BUSY);
    assert_non_null(strstr(err.message, dir));
    kv_close(kv);
    opt.dir = "/proc/nowhere/at/all";
    assert_true(kv_open_rocksdb(&opt, &second, &err) < 0);
}

/* A child writes pairs of keys in one transaction, reports each answer through a pipe, and is killed: every reported
 * pair is there, and no half of one. */
static void crash(void **state)
{
    (void)state;
    if (!on_rocksdb || !CAN_FORK)
        return;
    remove_dir(dir);
    uint32_t reported = 0;
    for (int round = 0; round < 6; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            struct kv *kv = reopen();
            struct arena *a = arena_create(0);
            char value[2000] = {0};
            for (uint32_t n = reported + 1;; n++) {
                char left[32], right[32];
                struct kv_txn_result result;
                int len = snprintf(left, sizeof left, "left/%08u", n);
                snprintf(right, sizeof right, "rite/%08u", n);
                struct kv_op ops[] = {{.kind = KV_PUT, .key = {left, (size_t)len}, .value = {value, 10 + n % 1900}},
                                      {.kind = KV_PUT, .key = {right, (size_t)len}, .value = {value, 10 + n % 1900}}};
                if (run(kv, a, (struct kv_txn){NULL, 0, ops, 2, NULL, 0}, &result) < 0)
                    _exit(1);
                if (write(pipes[1], &n, sizeof n) != sizeof n)
                    _exit(0);
                arena_reset(a);
            }
        }
        close(pipes[1]);
        uint32_t n, until = reported + 50 + (uint32_t)round * 97;
        while (read(pipes[0], &n, sizeof n) == sizeof n) {
            reported = n;
            if (n == until)
                kill(child, SIGKILL);
        }
        close(pipes[0]);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct kv *kv = reopen();
        int64_t revision = kv_revision(kv);
        assert_true(revision - 1 >= reported);
        for (uint32_t i = 1; i <= (uint32_t)(revision - 1); i++) {
            char key[32], want[2][64];
            snprintf(key, sizeof key, "left/%08u", i);
            snprintf(want[0], sizeof want[0], "@%u/%u/1 ", i + 1, i + 1);
            assert_non_null(strstr(range(kv, key, NULL, 0), "="));
            snprintf(key, sizeof key, "rite/%08u", i);
            assert_non_null(strstr(range(kv, key, NULL, 0), "="));
        }
        assert_string_equal(range(kv, "left/99999999", NULL, 0), "");
        reported = (uint32_t)(revision - 1);
        kv_close(kv);
    }
}

static int on_memory(void **state)
{
    (void)state;
    on_rocksdb = false;
    return 0;
}
static int on_disk(void **state)
{
    (void)state;
    on_rocksdb = lasting = true;
    return 0;
}
static int in_etcd(void **state)
{
    (void)state;
    on_rocksdb = false;
    on_etcd = lasting = true;
    return 0;
}
static int etcd_over(void **state)
{
    (void)state;
    etcd_server_remove(&etcd);
    return 0;
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_and_history),
        cmocka_unit_test(compares),
        cmocka_unit_test(leases),
        cmocka_unit_test(transforms),
        cmocka_unit_test(crash),
        cmocka_unit_test(against_the_model),
        cmocka_unit_test(many_in_flight),
        cmocka_unit_test(directory),
        cmocka_unit_test(trouble_passes),
        cmocka_unit_test(old_history_goes_by_itself),
    };
    int failed = cmocka_run_group_tests_name("memory", tests, on_memory, NULL);
    failed += cmocka_run_group_tests_name("rocksdb", tests, on_disk, NULL);
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(revisions_and_history),
        cmocka_unit_test(compares),
        cmocka_unit_test(leases),
        cmocka_unit_test(transforms),
        cmocka_unit_test(against_the_model),
        cmocka_unit_test(many_in_flight),
    };
    int n_etcds = 0;
    for (char name[64]; etcd_next(); n_etcds++) {
        snprintf(name, sizeof name, "etcd %s", etcd_version);
        failed += cmocka_run_group_tests_name(name, shared, in_etcd, etcd_over);
    }
    if (!n_etcds)
        print_message("etcd is not installed: its part of the contract is left out\n");
    remove_dir(dir);
    return failed;
}
