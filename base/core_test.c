/* The containers: arena, str, buf, vec, map, ref, err, metric. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "base/metric.h"
#include "base/ref.h"
#include "base/vec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int deferred[4], n_deferred;
static void note(void *arg)
{
    deferred[n_deferred++] = *(int *)arg;
}

static void test_arena(void **state)
{
    (void)state;
    struct arena *a = arena_create(100000);
    int one = 1, two = 2;
    arena_defer(a, note, &one);
    arena_defer(a, note, &two);
    char *p = arena_alloc(a, 10);
    assert_int_equal((uintptr_t)p % 16, 0);
    assert_ptr_equal(arena_grow(a, p, 10, 100), p);
    memset(p, 'x', 100);
    arena_alloc(a, 1);
    char *q = arena_grow(a, p, 100, 50000);
    assert_ptr_not_equal(p, q);
    assert_memory_equal(p, q, 100);
    assert_false(arena_over_limit(a));
    memset(arena_alloc(a, 200000), 1, 200000);
    assert_true(arena_over_limit(a));
    arena_reset(a);
    assert_int_equal(n_deferred, 2);
    assert_int_equal(deferred[0], 2);
    assert_int_equal(arena_used(a), 0);
    struct str s = arena_printf(a, "%0300d", 7);
    assert_int_equal(s.len, 300);
    assert_int_equal(s.p[299], '7');
    struct {
        int *items;
        size_t len, cap;
    } v = {0};
    for (int i = 0; i < 1000; i++)
        ARENA_PUSH(a, v.items, v.len, v.cap, i);
    assert_int_equal(v.items[999], 999);
    arena_destroy(a);
    arena_destroy(NULL);
    a = arena_create_small(512); /* also when it starts over, and for more than fits */
    for (int i = 0; i < 2; i++) {
        memset(arena_alloc(a, 300), 1, 300);
        memset(arena_alloc(a, 300), 2, 300);
        memset(arena_alloc(a, 5000), 3, 5000);
        arena_reset(a);
    }
    arena_destroy(a);
}

static void test_str_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        bool want_ok;
        int64_t want;
    } rows[] = {
        {"0", true, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"1 ", false, 0},
        {"18446744073709551616", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t got = 0;
        assert_int_equal(str_to_i64(str_from(rows[i].given), &got), rows[i].want_ok);
        assert_true(got == rows[i].want);
    }
}

static void test_str(void **state)
{
    (void)state;
    struct str s = STR("a,,b"), head;
    const char *want[] = {"a", "", "b"};
    for (int i = 0; i < 3; i++) {
        assert_true(str_split(&s, ',', &head));
        assert_true(str_eqz(head, want[i]));
    }
    assert_false(str_split(&s, ',', &head));
    assert_true(str_cmp(STR("ab"), STR("abc")) < 0);
    assert_true(str_cmp(STR("b"), STR("abc")) > 0);
    assert_true(str_eq_nocase(STR("Host"), STR("hOST")));
    assert_true(str_eqz(str_trim(STR(" \t x y\n")), "x y"));
    assert_true(str_eqz(str_sub(STR("hello"), 3, 99), "lo"));
    assert_true(str_contains(STR("hello"), STR("ll")));
    assert_true(str_ends(STR("hello"), STR("llo")));
    assert_true(str_hash(STR("abcdefghi")) != str_hash(STR("abcdefghj")));

    struct buf b = {0};
    buf_add_i64(&b, INT64_MIN);
    buf_printf(&b, "|%0100d|", 5);
    buf_add_char(&b, '.');
    assert_int_equal(b.len, 20 + 102 + 1);
    buf_drop_front(&b, 121);
    assert_true(str_eqz(buf_str(&b), "|."));
    buf_free(&b);
}

static void test_map(void **state)
{
    (void)state;
    struct map m = {0};
    char key[32];
    for (uintptr_t i = 1; i <= 1000; i++) {
        snprintf(key, sizeof key, "key-%d", (int)i);
        assert_null(map_put(&m, str_from(key), (void *)i));
    }
    assert_ptr_equal(map_put(&m, STR("key-7"), (void *)70), (void *)7);
    assert_ptr_equal(map_get(&m, STR("key-7")), (void *)70);
    assert_null(map_get(&m, STR("key-1001")));
    struct map_iter it;
    struct str k;
    void *v;
    size_t n = 0;
    map_iter_init(&it, &m);
    while (map_iter_next(&it, &k, &v)) {
        n++;
        char copy[32];
        snprintf(copy, sizeof copy, STR_FMT, STR_ARG(k));
        assert_ptr_equal(map_remove(&m, str_from(copy)), v);
    }
    assert_int_equal(n, 1000);
    assert_int_equal(m.len, 0);
    map_finish(&m);
}

static void test_ref(void **state)
{
    (void)state;
    struct slice a = slice_copy("abc", 3), b = slice_take(strdup("defg"), 4);
    ref_get(a.owner);
    ref_put(a.owner);
    assert_memory_equal(a.p, "abc", 3);
    assert_memory_equal(b.p, "defg", 4);
    ref_put(a.owner);
    ref_put(b.owner);
    ref_put(NULL);
    VEC(int) xs = {0};
    for (int i = 0; i < 100; i++)
        vec_push(&xs, i);
    vec_remove_swap(&xs, 0);
    assert_int_equal(xs.items[0], 99);
    vec_free(&xs);
}

static void test_err(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(err_set_errno(&e, ERR_IO, ENOENT, "open %s", "x"), ERR_IO);
    assert_int_equal(err_context(&e, "store at %s", "/y"), ERR_IO);
    assert_string_equal(e.message, "store at /y: open x: No such file or directory");
    assert_int_equal(err_set_errno(&e, ERR_IO, EADDRINUSE, "bind"), ERR_BUSY);
    char longer[3000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    err_set(&e, ERR_LIMIT, "%s", longer);
    err_context(&e, "front");
    assert_int_equal(strlen(e.message), ERR_MESSAGE_MAX - 1);
    assert_memory_equal(e.message, "front: aaa", 10);
    for (int code = 0; code >= ERR_CODE_MIN; code--)
        assert_non_null(err_code_name((enum err_code)code));
}

static void test_metric(void **state)
{
    (void)state;
    static const double bounds[] = {0.1, 1, -1};
    struct metric *c = metric_register(METRIC_COUNTER, "requests_total", "Requests.", "verb,code", NULL);
    struct metric *h = metric_register(METRIC_HISTOGRAM, "took_seconds", "Time.", NULL, bounds);
    metric_add(c, "GET,200", 1);
    metric_add(c, "GET,200", 2);
    metric_observe(h, NULL, 0.05);
    metric_observe(h, NULL, 0.5);
    metric_observe(h, NULL, 5);
    char label[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(label, sizeof label, "V%d,1", i);
        metric_add(c, label, 1);
    }
    struct buf out = {0};
    metric_render(&out);
    struct str text = buf_str(&out);
    assert_true(str_contains(text, STR("# TYPE requests_total counter\n")));
    assert_true(str_contains(text, STR("requests_total{verb=\"GET\",code=\"200\"} 3\n")));
    assert_true(str_contains(text, STR("requests_total{verb=\"other\",code=\"other\"} 1977\n")));
    assert_true(str_contains(text, STR("took_seconds_bucket{le=\"0.1\"} 1\ntook_seconds_bucket{le=\"1\"} 2\n"
                                       "took_seconds_bucket{le=\"+Inf\"} 3\ntook_seconds_sum 5.55\n"
                                       "took_seconds_count 3\n")));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),  cmocka_unit_test(test_str_numbers), cmocka_unit_test(test_str),
        cmocka_unit_test(test_map),    cmocka_unit_test(test_ref),         cmocka_unit_test(test_err),
        cmocka_unit_test(test_metric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
