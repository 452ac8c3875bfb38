/* When a schedule comes round. */
#include "controllers/cronjob/schedule.h"
#include "openapi/meta/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_next(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *after, *want; /* want NULL: refused; "" never */
    } rows[] = {
        {"* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"},
        {"*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"},
        {"0 12 * * MON-FRI", "2026-01-02T13:00:00Z", "2026-01-05T12:00:00Z"},
        {"30 4 1,15 * *", "2026-01-02T00:00:00Z", "2026-01-15T04:30:00Z"},
        {"0 0 13 * 5", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"}, /* either the 13th or a Friday */
        {"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 31 2 *", "2026-01-01T00:00:00Z", ""},
        {"@hourly", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z"},
        {"@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
        {"@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"},
        {"5/20 * * jan *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"},
        {"60 * * * *", "", NULL},
        {"* * *", "", NULL},
        {"a * * * *", "", NULL},
        {"5-1 * * * *", "", NULL},
        {"*/0 * * * *", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct schedule s;
        if (schedule_parse(str_from(rows[i].schedule), &s) != (rows[i].want != NULL))
            fail_msg("%s: parsed or not", rows[i].schedule);
        if (!rows[i].want)
            continue;
        int64_t next = schedule_next(&s, time_from(str_from(rows[i].after)) / 1000000);
        if (next != time_from(str_from(rows[i].want)) / 1000000)
            fail_msg("%s after %s: %lld, want %s", rows[i].schedule, rows[i].after, (long long)next, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_next)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
