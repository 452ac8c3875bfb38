#include "openapi/meta/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want; /* NULL = refused */
    } rows[] = {
        {"0", "0"},         {"0.5", "500m"},      {"1000m", "1"},
        {"100m", "100m"},   {"1.5Gi", "1536Mi"},  {"1024Ki", "1Mi"},
        {"512Ki", "512Ki"}, {"1e3", "1e3"},       {"1E3", "1e3"},
        {"12e6", "12e6"},   {"1500", "1500"},     {"1k", "1k"},
        {"1000k", "1M"},    {"0.1Ki", "102400m"}, {"100Ei", "9223372036854775807"},
        {"1n", "1n"},       {"0.1n", "1n"},       {"1.5u", "1500n"},
        {"-1", "-1"},       {"+5", "5"},          {".5", "500m"},
        {"5.", "5"},        {"1Ei", "1Ei"},       {"8Ei", "9223372036854775807"},
        {"9E", "9E"},       {"1000000", "1M"},    {"1024", "1024"},
        {"500Mi", "500Mi"}, {"1023Mi", "1023Mi"}, {"0.000001", "1u"},
        {"00012", "12"},    {"1e-3", "1e-3"},     {"1Pi", "1Pi"},
        {"0Ki", "0"},       {"10e-1", "1"},       {"", NULL},
        {"a", NULL},        {"1.2.3", NULL},      {"1Kii", NULL},
        {"1e", NULL},       {"--1", NULL},        {"1 ", NULL},
        {"1ki", NULL},      {"1e5.5", NULL},      {".", NULL},
    };
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got;
        int rc = quantity_canonical(a, str_from(rows[i].given), &got);
        if ((rc == 0) != (rows[i].want != NULL))
            fail_msg("%s: %d", rows[i].given, rc);
        if (rc == 0 && !str_eqz(got, rows[i].want))
            fail_msg("%s: got " STR_FMT ", want %s", rows[i].given, STR_ARG(got), rows[i].want);
    }
    arena_destroy(a);
}

static void test_arithmetic(void **state)
{
    (void)state;
    struct quantity a = quantity_from(STR("100m")), b = quantity_from(STR("1.5Gi")), sum = {0};
    assert_int_equal(quantity_milli_value(&a), 100);
    assert_int_equal(quantity_value(&a), 1);
    assert_int_equal(quantity_value(&b), 1610612736);
    assert_int_equal(quantity_cmp(&a, &b), -1);
    quantity_add(&sum, &b);
    quantity_add(&sum, &b);
    char text[QUANTITY_TEXT_MAX];
    quantity_write(&sum, text);
    assert_string_equal(text, "3Gi");
    quantity_sub(&sum, &b);
    quantity_sub(&sum, &b);
    assert_int_equal(quantity_sign(&sum), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_canonical), cmocka_unit_test(test_arithmetic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
