#include "api/cluster_identity.h"
#include "api/masterleases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct kv *kv;

struct server { /* what a server brings along */
    char dir[64];
    struct pki pki;
    struct crypt *crypt;
};

static void make(struct server *s, const char *copy_from)
{
    static const char *const dns[] = {"localhost", NULL}, *const ips[] = {"127.0.0.1", NULL};
    struct err err = ERR_INIT;
    char command[256];
    *s = (struct server){.dir = "/tmp/skiff-identity-XXXXXX"};
    assert_non_null(mkdtemp(s->dir));
    if (copy_from) {
        snprintf(command, sizeof command, "cp -r %s/pki %s/", copy_from, s->dir);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(pki_load(s->dir, dns, ips, &s->pki, &err), 0);
    assert_int_equal(crypt_open(s->dir, NULL, true, &s->crypt, &err), 0);
}

static void finish(struct server *s)
{
    char command[128];
    pki_finish(&s->pki);
    crypt_destroy(s->crypt);
    snprintf(command, sizeof command, "rm -r %s", s->dir);
    assert_int_equal(system(command), 0);
}

static int claim(struct server *s, struct err *err)
{
    *err = ERR_INIT;
    return cluster_identity_claim(kv, &s->pki, s->crypt, s->dir, err);
}

static void drop(const char *dir, const char *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/pki/%s", dir, file);
    assert_int_equal(unlink(path), 0);
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    return kv_open_memory(&kv, &err);
}

static int teardown(void **state)
{
    (void)state;
    kv_close(kv);
    return 0;
}

static void test_claim(void **state)
{
    struct server first, stranger, second, half, other;
    struct err err;
    (void)state;
    make(&first, NULL);
    make(&stranger, NULL);
    make(&second, first.dir);
    assert_int_equal(claim(&first, &err), 0);
    assert_int_equal(claim(&first, &err), 0);
    assert_int_equal(claim(&second, &err), 0);
    assert_int_equal(claim(&stranger, &err), ERR_FORBIDDEN);
    assert_non_null(strstr(err.message, "another certificate authority"));
    assert_non_null(strstr(err.message, stranger.dir));

    make(&half, first.dir); /* all but one file were copied */
    drop(half.dir, "sa.key");
    make(&other, half.dir);
    assert_int_equal(claim(&other, &err), ERR_FORBIDDEN);
    assert_non_null(strstr(err.message, "another service-account key"));
    finish(&other);
    finish(&half);
    make(&half, first.dir);
    drop(half.dir, "encryption.yaml");
    make(&other, half.dir);
    assert_int_equal(claim(&other, &err), ERR_FORBIDDEN);
    assert_non_null(strstr(err.message, "another encryption key"));
    finish(&other);
    finish(&half);
    assert_int_equal(claim(&first, &err), 0); /* nobody has changed anything */
    finish(&first);
    finish(&second);
    finish(&stranger);
}

static void test_masterleases(void **state)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct str *list;
    size_t n;
    (void)state;
    assert_int_equal(masterleases_list(kv, a, &list, &n, &err), 0);
    assert_int_equal(n, 0);
    for (const char *const *ip = (const char *const[]){"10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2", NULL}; *ip; ip++)
        assert_int_equal(masterleases_renew(kv, str_from(*ip), &err), 0);
    assert_int_equal(masterleases_drop(kv, STR("10.0.0.9"), &err), 0);
    assert_int_equal(masterleases_list(kv, a, &list, &n, &err), 0);
    assert_int_equal(n, 3);
    assert_true(str_eqz(list[0], "10.0.0.1") && str_eqz(list[1], "10.0.0.2") && str_eqz(list[2], "fd00::1"));
    assert_int_equal(masterleases_drop(kv, STR("10.0.0.1"), &err), 0);
    assert_int_equal(masterleases_list(kv, a, &list, &n, &err), 0);
    assert_int_equal(n, 2);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_masterleases, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
