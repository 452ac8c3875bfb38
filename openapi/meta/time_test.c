#include "openapi/meta/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_rfc3339(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want, *want_micro;
    } rows[] = {
        {"2026-01-02T15:04:05Z", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05.000000Z"},
        {"2026-01-02T15:04:05.123456789Z", "2026-01-02T15:04:05Z", "2026-01-02T15:04:05.123456Z"},
        {"2024-02-29T00:30:00+02:00", "2024-02-28T22:30:00Z", "2024-02-28T22:30:00.000000Z"},
        {"1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.500000Z"},
        {"2023-02-29T00:00:00Z", NULL, NULL},
        {"2023-02-20 00:00:00Z", NULL, NULL},
        {"2023-02-20T00:00:00", NULL, NULL},
        {"", NULL, NULL},
    };
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t us = 0;
        int rc = time_parse_rfc3339(str_from(rows[i].given), &us);
        assert_int_equal(rc == 0, rows[i].want != NULL);
        if (rc == 0) {
            assert_string_equal(time_format(a, us).p, rows[i].want);
            assert_string_equal(time_format_micro(a, us).p, rows[i].want_micro);
        }
    }
    arena_destroy(a);
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {{"1h", "1h0m0s"}, {"1h30m", "1h30m0s"}, {"90s", "1m30s"}, {"1.5s", "1.5s"}, {"250ms", "250ms"},
                {"0", "0s"},      {"-2m", "-2m0s"},     {"1us", "1µs"},   {"1µs", "1µs"},   {"", NULL},
                {"1", NULL},      {"1x", NULL},         {"h", NULL},      {".s", NULL},     {"1h 2m", NULL}};
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t ns = 0;
        int rc = duration_parse(str_from(rows[i].given), &ns);
        assert_int_equal(rc == 0, rows[i].want != NULL);
        if (rc == 0)
            assert_string_equal(duration_format(a, ns).p, rows[i].want);
    }
    static const struct {
        int64_t given_s;
        const char *want;
    } ages[] = {{-5, "<invalid>"},     {-1, "0s"},          {0, "0s"},         {119, "119s"},
                {120, "2m"},           {150, "2m30s"},      {600, "10m"},      {10799, "179m"},
                {10800, "3h"},         {11000, "3h3m"},     {8 * 3600, "8h"},  {47 * 3600, "47h"},
                {48 * 3600, "2d"},     {50 * 3600, "2d2h"}, {8 * 86400, "8d"}, {730 * 86400, "2y"},
                {741 * 86400, "2y11d"}};
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++)
        assert_string_equal(duration_human(a, ages[i].given_s * 1000000).p, ages[i].want);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rfc3339), cmocka_unit_test(test_durations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
