#include "storage/crypt/cipher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <stdio.h>

#include <cmocka.h>

static struct buf unhex(const char *hex)
{
    struct buf out = {0};
    unsigned byte;
    for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        buf_add_char(&out, (char)byte);
    return out;
}

/* The example that NaCl's own tests use (crypto_secretbox). */
static void secretbox_vector(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct buf key = unhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
    struct buf nonce = unhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
    struct buf plain =
        unhex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
              "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
              "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705");
    struct buf want =
        unhex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a"
              "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
              "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74"
              "e355a5");
    struct buf got = {0}, back = {0};
    const uint8_t *k = (const uint8_t *)key.p, *n = (const uint8_t *)nonce.p;
    assert_int_equal(secretbox_seal(k, n, buf_str(&plain), &got, &err), 0);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.p, want.p, want.len);
    assert_int_equal(secretbox_open(k, n, buf_str(&got), &back, &err), 0);
    assert_true(str_eq(buf_str(&back), buf_str(&plain)));
    got.p[40] ^= 1;
    assert_int_equal(secretbox_open(k, n, buf_str(&got), &back, &err), ERR_CORRUPT);
    buf_free(&key), buf_free(&nonce), buf_free(&plain), buf_free(&want), buf_free(&got), buf_free(&back);
}

static void round_trips(void **state)
{
    static const struct {
        enum cipher_kind kind;
        size_t secret_len, text_len;
    } rows[] = {
        {CIPHER_AESGCM, 16, 0},       {CIPHER_AESGCM, 24, 1},     {CIPHER_AESGCM, 32, 100000},
        {CIPHER_AESCBC, 16, 0},       {CIPHER_AESCBC, 24, 15},    {CIPHER_AESCBC, 32, 16},
        {CIPHER_AESCBC, 32, 100001},  {CIPHER_SECRETBOX, 32, 0},  {CIPHER_SECRETBOX, 32, 31},
        {CIPHER_SECRETBOX, 32, 32},   {CIPHER_SECRETBOX, 32, 33}, {CIPHER_SECRETBOX, 32, 96},
        {CIPHER_SECRETBOX, 32, 4097},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cipher_key k = {.kind = rows[i].kind, .secret_len = rows[i].secret_len};
        struct buf plain = {0}, sealed = {0}, opened = {0};
        struct err err = ERR_INIT;
        memset(k.secret, 7 + (int)i, sizeof k.secret);
        for (size_t j = 0; j < rows[i].text_len; j++)
            buf_add_char(&plain, (char)(j * 31));
        assert_int_equal(cipher_seal(&k, STR("/registry/secrets/a/b"), buf_str(&plain), &sealed, &err), 0);
        assert_int_equal(cipher_open(&k, STR("/registry/secrets/a/b"), buf_str(&sealed), &opened, &err), 0);
        assert_true(str_eq(buf_str(&plain), buf_str(&opened)));
        for (size_t cut = 0; cut < sealed.len && cut < 80;
             cut++) { /* shortened: never opens to the same, never crashes */
            opened.len = 0;
            if (cipher_open(&k, STR("/registry/secrets/a/b"), (struct str){sealed.p, cut}, &opened, &err) == 0)
                assert_int_equal(k.kind, CIPHER_AESCBC);
        }
        if (cipher_authenticates(k.kind)) {
            sealed.p[sealed.len / 2] ^= 1;
            assert_int_equal(cipher_open(&k, STR("/registry/secrets/a/b"), buf_str(&sealed), &opened, &err),
                             ERR_CORRUPT);
            sealed.p[sealed.len / 2] ^= 1;
        }
        int other = cipher_open(&k, STR("/registry/secrets/a/c"), buf_str(&sealed), &opened, &err);
        assert_int_equal(other, k.kind == CIPHER_AESGCM ? ERR_CORRUPT : 0); /* only GCM binds the key, as upstream */
        buf_free(&plain), buf_free(&sealed), buf_free(&opened);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(secretbox_vector), cmocka_unit_test(round_trips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
