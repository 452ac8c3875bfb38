#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void the_vectors_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        struct str plain;
        const char *standard, *url;
    } rows[] = {
        {{"", 0}, "", ""},
        {{"f", 1}, "Zg==", "Zg"},
        {{"fo", 2}, "Zm8=", "Zm8"},
        {{"foo", 3}, "Zm9v", "Zm9v"},
        {{"foobar", 6}, "Zm9vYmFy", "Zm9vYmFy"},
        {{"\xfb\xff\xfe", 3}, "+//+", "-__-"},
        {{"\0\0", 2}, "AAA=", "AAA"},
    };
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str back;
        assert_string_equal(base64_encode(a, rows[i].plain).p, rows[i].standard);
        assert_string_equal(base64url_encode(a, rows[i].plain).p, rows[i].url);
        assert_true(base64_decode(a, str_from(rows[i].standard), &back) && str_eq(back, rows[i].plain));
        assert_true(base64_decode(a, str_from(rows[i].url), &back) && str_eq(back, rows[i].plain));
    }
    arena_destroy(a);
}

static void what_is_not_base64_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"Z", "Zm9v!", "Zm=v", "====", "Zg===", "Zm 9v", "Zm9vY"};
    struct arena *a = arena_create(0);
    struct str ignored;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (base64_decode(a, str_from(rows[i]), &ignored))
            fail_msg("taken: %s", rows[i]);
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc),
        cmocka_unit_test(what_is_not_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
