#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/net/http.h"

#include <stdio.h>
#include <stdlib.h>

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {
        {"", ""},
        {"watch=true&limit=500", "watch=true;limit=500;"},
        {"labelSelector=app%3Dweb%2Ctier+in+%28a%29", "labelSelector=app=web,tier in (a);"},
        {"a&b=&=c&&d==", "a=;b=;=c;d==;"},
        {"bad=%zz&good=1", "good=1;"},
        {"bad=%4&x=%41", "x=A;"},
        {"a;b=1&c=2", "c=2;"},
        {"e=%", ""},
        {"command=ls&command=-l", "command=ls;command=-l;"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct str query = str_from(rows[i].given), name, value;
        struct buf got = {0};
        while (http_query_next(a, &query, &name, &value))
            buf_printf(&got, STR_FMT "=" STR_FMT ";", STR_ARG(name), STR_ARG(value));
        buf_add_char(&got, 0);
        assert_string_equal(got.p, rows[i].want);
        buf_free(&got);
        arena_destroy(a);
    }
}

static void test_percent(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    assert_true(str_eqz(http_percent_decode(a, STR("a+b%20c%2fd")), "a+b c/d"));
    assert_true(str_eqz(http_percent_decode(a, STR("plain")), "plain"));
    assert_null(http_percent_decode(a, STR("%g0")).p);
    assert_null(http_percent_decode(a, STR("x%4")).p);
    assert_non_null(http_percent_decode(a, STR_NULL).p);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_query), cmocka_unit_test(test_percent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
