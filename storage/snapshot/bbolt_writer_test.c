/* What is written reads back the same, whatever the sizes: buckets empty, of one page, of several levels; values larger
 * than pages. That etcd's own programs read it too is conformance/workflows/42-serve-etcd.bats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/snapshot/bbolt.h"
#include "storage/snapshot/bbolt_writer.h"

#include <stdio.h>
#include <stdlib.h>

struct shape {
    size_t n, value_len, large_every, large_len;
};

static void pair(const struct shape *s, size_t i, char key[32], struct str *ret_key, struct str *ret_value)
{
    static char bytes[1 << 21];
    size_t len = s->large_every && i % s->large_every == 0 ? s->large_len : s->value_len * (i % 3) / 2;
    ret_key->p = key;
    ret_key->len = (size_t)snprintf(key, 32, "%08zu-%.*s", i, (int)(i % 7), "longer!");
    memset(bytes, (int)('a' + i % 26), len);
    *ret_value = (struct str){bytes, len};
}

static void tell(struct bbolt_writer *w, const struct shape *s, struct buf *out)
{
    char key[32];
    struct str k, v;
    bbolt_writer_bucket(w, STR("empty"), out);
    bbolt_writer_bucket(w, STR("key"), out);
    for (size_t i = 0; i < s->n; i++) {
        pair(s, i, key, &k, &v);
        bbolt_writer_add(w, k, v, out);
    }
    bbolt_writer_bucket(w, STR("meta"), out);
    bbolt_writer_add(w, STR("one"), STR("1"), out);
}

struct check {
    const struct shape *shape;
    size_t n;
};

static int check_pair(void *arg, struct str key, struct str value, struct err *err)
{
    struct check *c = arg;
    char text[32];
    struct str k, v;
    (void)err;
    pair(c->shape, c->n++, text, &k, &v);
    assert_true(str_eq(key, k));
    assert_true(str_eq(value, v));
    return 0;
}

static int no_pair(void *arg, struct str key, struct str value, struct err *err)
{
    (void)arg, (void)key, (void)value, (void)err;
    fail();
    return 0;
}

static void test_reads_back(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {0},
        {.n = 1},
        {.n = 1, .large_every = 1, .large_len = 1 << 20},
        {.n = 100, .value_len = 10},
        {.n = 1000, .value_len = 400},
        {.n = 60000, .value_len = 60},                                        /* three levels */
        {.n = 500, .value_len = 3000, .large_every = 7, .large_len = 70000},  /* overflow among them */
        {.n = 40, .value_len = 100, .large_every = 1, .large_len = 4096 - 47} /* just about a page */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct bbolt_writer *w = bbolt_writer_create();
        struct check c = {&shapes[i], 0};
        struct err err = ERR_INIT;
        struct buf out = {0};
        tell(w, &shapes[i], NULL);
        uint64_t len = bbolt_writer_start(w, &out);
        tell(w, &shapes[i], &out);
        assert_int_equal(bbolt_writer_finish(w, &out, &err), 0);
        assert_int_equal(out.len, len);
        assert_int_equal(bbolt_walk(buf_str(&out), STR("key"), check_pair, &c, &err), 0);
        assert_int_equal(c.n, shapes[i].n);
        assert_int_equal(bbolt_walk(buf_str(&out), STR("empty"), no_pair, NULL, &err), 0);
        assert_int_equal(bbolt_walk(buf_str(&out), STR("none"), no_pair, NULL, &err), ERR_NOT_FOUND);
        bbolt_writer_destroy(w);
        buf_free(&out);
    }
}

static void test_change_is_noticed(void **state)
{
    (void)state;
    struct bbolt_writer *w = bbolt_writer_create();
    struct err err = ERR_INIT;
    struct buf out = {0};
    tell(w, &(struct shape){.n = 1000, .value_len = 100}, NULL);
    bbolt_writer_start(w, &out);
    tell(w, &(struct shape){.n = 2000, .value_len = 100}, &out);
    assert_int_equal(bbolt_writer_finish(w, &out, &err), ERR_INTERNAL);
    bbolt_writer_destroy(w);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reads_back), cmocka_unit_test(test_change_is_noticed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
