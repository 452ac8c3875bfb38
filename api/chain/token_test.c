#include "api/chain/token.h"
#include "base/clock.h"
#include "base/net/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct token_signer *signer_new(void)
{
    char *key;
    struct err err = ERR_INIT;
    struct token_signer *s;
    assert_int_equal(tls_key_create(&key, &err), 0);
    assert_int_equal(token_signer_create(key, &s, &err), 0);
    free(key);
    return s;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct token_signer *s = signer_new();
    struct err err = ERR_INIT;
    struct str token;
    struct token_claims got, want = {.namespace_ = STR("ns"),
                                     .service_account = {STR("sa"), STR("uid-1")},
                                     .pod = {STR("p"), STR("uid-2")},
                                     .expires_s = clock_wall_ms() / 1000 + 600};
    assert_int_equal(token_issue(s, a, &want, &token, &err), 0);
    assert_int_equal(token_verify(s, a, token, &got, &err), 0);
    assert_true(str_eqz(got.subject, "system:serviceaccount:ns:sa"));
    assert_true(str_eqz(got.service_account.uid, "uid-1"));
    assert_true(str_eqz(got.pod.name, "p"));
    assert_true(!got.node.name.len);
    assert_int_equal(got.n_audiences, 1);
    assert_true(str_eqz(got.audiences[0], TOKEN_ISSUER));
    token_signer_destroy(s);
    arena_destroy(a);
}

static void test_bad(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct token_signer *s = signer_new(), *other = signer_new();
    struct err err = ERR_INIT;
    struct str token;
    struct token_claims got, c = {.namespace_ = STR("ns"),
                                  .service_account = {STR("sa"), STR("u")},
                                  .expires_s = clock_wall_ms() / 1000 + 600};
    assert_int_equal(token_issue(other, a, &c, &token, &err), 0);
    assert_int_equal(token_verify(s, a, token, &got, &err), ERR_UNAUTHORIZED);
    c.expires_s = clock_wall_ms() / 1000 - 600;
    assert_int_equal(token_issue(s, a, &c, &token, &err), 0);
    assert_int_equal(token_verify(s, a, token, &got, &err), ERR_UNAUTHORIZED);
    c.expires_s += 3600;
    assert_int_equal(token_issue(s, a, &c, &token, &err), 0);
    for (size_t i = 0; i < token.len; i++) { /* one changed character anywhere is no token of ours */
        char *p = arena_memdup(a, token.p, token.len);
        p[i] = p[i] == 'A' ? 'B' : 'A';
        int rc = token_verify(s, a, (struct str){p, token.len}, &got, &err);
        /* the last character of the signature carries two unused bits */
        if (rc == 0 && i + 1 < token.len)
            fail_msg("changed character %zu went through", i);
    }
    assert_int_equal(token_verify(s, a, STR("abc"), &got, &err), 1);
    assert_int_equal(token_verify(s, a, STR("a.b.c"), &got, &err), 1);
    assert_int_equal(token_verify(s, a, STR("e30.e30."), &got, &err), 1);
    /* alg none */
    assert_int_equal(
        token_verify(
            s, a, STR("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCJ9."),
            &got, &err),
        ERR_UNAUTHORIZED);
    token_signer_destroy(s);
    token_signer_destroy(other);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
