/* contract_for_test: what every store must do, as tests: rows for single rules, random operations beside the model,
 * many writers at once. A test program says how its store is opened (`struct contract`) and runs it (`contract_run`).
 */
#ifndef SKIFF_STORAGE_KV_CONTRACT_FOR_TEST_H
#define SKIFF_STORAGE_KV_CONTRACT_FOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "storage/kv/model/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct contract {
    const char *name;
    struct kv *(*open_new)(void); /* empty */
    struct kv *(*reopen)(void);   /* what was closed last; NULL: nothing outlasts closing */
    bool remote;                  /* with clocks of its own, one transaction at a time, slower */
    int (*over)(void **state);    /* NULL: nothing is left behind */
};

static struct contract contract;
static struct err err;

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
    struct kv *kv = contract.open_new();
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
    if (contract.reopen) {
        kv_close(kv);
        kv = contract.reopen();
    }
    assert_int_equal(kv_compact(kv, 4, &err), 0);
    assert_int_equal(kv_compact(kv, 4, &err), ERR_EXPIRED);
    assert_int_equal(kv_compact(kv, 40, &err), ERR_BAD_REQUEST);
    assert_string_equal(range(kv, "a", "b", 3), "expired");
    kv_compact_wait(kv);
    assert_string_equal(history(kv, "a", "b", 3), "expired");
    assert_string_equal(range(kv, "a", "b", 4), "a=3@2/4/2 a-b=2@3/3/1 ");
    assert_string_equal(history(kv, "a", "b", 4), "del a=@5<3 put a=5@6<- ");
    if (contract.reopen) {
        kv_close(kv);
        kv = contract.reopen();
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
    struct kv *kv = contract.open_new();
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
    struct kv *kv = contract.open_new();
    struct arena *a = arena_create(0);
    int64_t id = 0;

    assert_int_equal(kv_lease_grant(kv, 77, 1000, &id, &err), 0);
    assert_int_equal(kv_lease_grant(kv, 77, 1000, &id, &err), ERR_ALREADY_EXISTS);
    struct kv_op ops[] = {{.kind = KV_PUT, .key = STR("l/a"), .value = STR("1"), .lease = 77},
                          {.kind = KV_PUT, .key = STR("l/b"), .value = STR("1"), .lease = 77},
                          {.kind = KV_PUT, .key = STR("l/c"), .value = STR("1"), .lease = 77}};
    assert_int_equal(run(kv, a, (struct kv_txn){NULL, 0, ops, 3, NULL, 0}, NULL), 0);
    put(kv, STR("l/b"), STR("2")); /* leaves its lease */
    if (contract.reopen) {
        kv_close(kv);
        kv = contract.reopen();
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
    struct kv *kv = contract.open_new();

    kv_set_transforms(kv, known, 1, choose, NULL);
    put(kv, STR("secret/a"), STR("hush"));
    put(kv, STR("secret/a"), STR("hush2"));
    assert_string_equal(range(kv, "secret/a", NULL, 0), "secret/a=hush2@2/3/2 ");
    assert_string_equal(history(kv, "secret/a", NULL, 1), "put secret/a=hush@2<- put secret/a=hush2@3<hush ");
    if (contract.reopen) {
        kv_close(kv);
        kv = contract.reopen();
        assert_string_equal(range(kv, "secret/a", NULL, 0), "corrupt");
        kv_set_transforms(kv, known, 1, choose, NULL);
        assert_string_equal(range(kv, "secret/a", NULL, 0), "secret/a=hush2@2/3/2 ");
    }
    kv_close(kv);
}
/* ---- random operations ---- */

static void random_operations(void **state)
{
    (void)state;
    const char *given = getenv("SKIFF_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1, n = given || contract.remote ? 1 : 4;

    for (uint64_t seed = first; seed < first + n; seed++) {
        struct driver d;

        if (!contract.remote)
            clock_fake(1700000000000, 1000000); /* no lease ends */
        driver_init(&d, seed);
        d.remote = contract.remote;
        driver_begin(&d, contract.open_new());
        for (int step = 0; step < (contract.remote ? 150 : 400); step++) {
            uint32_t what = driver_draw(&d, 20);

            if (what < 12)
                driver_window(&d);
            else if (what < 14)
                driver_lease_call(&d);
            else if (what < 16)
                driver_check_range(&d);
            else if (what < 18)
                driver_check_history(&d);
            else if (what == 18)
                driver_compact(&d);
            else if (contract.reopen && driver_draw(&d, 5) == 0) {
                kv_close(d.kv);
                driver_reopened(&d, contract.reopen());
            }
        }
        driver_check_all(&d);
        kv_close(d.kv);
        driver_finish(&d);
        clock_real();
    }
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
static _Thread_local bool shooting, answered; /* a store may answer before kv_txn returns: that must not nest */
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
    answered = true;
    if (!shooting)
        shoot(s);
}
static bool shoot_one(struct shot *s)
{
    struct load *l = s->load;
    pthread_mutex_lock(&l->lock);
    unsigned n = l->next < l->total ? ++l->next : 0;
    pthread_mutex_unlock(&l->lock);
    if (!n)
        return false;
    int len = snprintf(s->key, sizeof s->key, "/registry/pods/default/pod-%07u", n * 2654435761u % 10000000);
    s->compare = (struct kv_compare){.key = {s->key, (size_t)len}, .target = KV_TARGET_MOD};
    s->op = (struct kv_op){.kind = KV_PUT, .key = s->compare.key, .value = {l->value, sizeof l->value}, .cookie = s};
    s->txn = (struct kv_txn){&s->compare, 1, &s->op, 1, NULL, 0};
    answered = false;
    kv_txn(l->kv, &s->txn, shot_done, s);
    return answered;
}
static void shoot(struct shot *s)
{
    shooting = true;
    while (shoot_one(s))
        ;
    shooting = false;
}
static void many_in_flight(void **state)
{
    (void)state;
    const char *size = getenv("SKIFF_LOAD");
    static struct load l;
    memset(&l, 0, sizeof l);
    pthread_mutex_init(&l.lock, NULL);
    pthread_cond_init(&l.over, NULL);
    l.kv = contract.open_new();
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

static int contract_run(const struct contract *c)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_and_history),
        cmocka_unit_test(compares),
        cmocka_unit_test(leases),
        cmocka_unit_test(transforms),
        cmocka_unit_test(random_operations),
        cmocka_unit_test(many_in_flight),
    };

    contract = *c;
    return cmocka_run_group_tests_name(c->name, tests, NULL, c->over);
}

#endif
