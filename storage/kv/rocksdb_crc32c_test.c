/* The fast checksum is the slow one: known values, every length and offset, sums continued in the middle. */
#include "storage/kv/rocksdb_crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_THREAD__ /* nothing is put in between there */
int main(void)
{
    return 0;
}
#else
#define FAST __wrap__ZN7rocksdb6crc32c6ExtendEjPKcm
#define SLOW __real__ZN7rocksdb6crc32c6ExtendEjPKcm

static void known(void **state)
{
    (void)state;
    assert_int_equal(FAST(0, "123456789", 9), 0xe3069283u); /* RFC 3720's check value */
    assert_int_equal(FAST(0, "", 0), 0);
}

static void same(void **state)
{
    (void)state;
    char text[600];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7919 >> 3);
    for (size_t from = 0; from < 9; from++)
        for (size_t len = 0; from + len <= sizeof text; len++) {
            assert_int_equal(FAST(0, text + from, len), SLOW(0, text + from, len));
            assert_int_equal(FAST(FAST(0, text, from), text + from, len), SLOW(0, text, from + len));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known), cmocka_unit_test(same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
