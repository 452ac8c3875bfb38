#include "api/chain/identity.h"
#include "api/chain/static_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void finish(struct map *m)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, m);
    while (map_iter_next(&it, &key, &value))
        identity_put(value);
    map_finish(m);
}

static void test_good(void **state)
{
    (void)state;
    struct map m = {0};
    struct err err = ERR_INIT;
    assert_int_equal(static_tokens_parse(STR("t1,ann,1,\"dev,ops\"\n\n t2 , bob, 2\n"), "f", &m, &err), 0);
    struct identity *ann = map_get(&m, STR("t1")), *bob = map_get(&m, STR("t2"));
    assert_true(str_eqz(ann->user.name, "ann") && ann->user.n_groups == 3);
    assert_true(str_eqz(ann->user.groups[1], "ops") && str_eqz(ann->user.groups[2], "system:authenticated"));
    assert_true(str_eqz(bob->user.uid, "2") && bob->user.n_groups == 1);
    finish(&m);
}

static void test_bad(void **state)
{
    (void)state;
    struct map m = {0};
    struct err err = ERR_INIT;
    assert_int_equal(static_tokens_parse(STR("only-a-token\n"), "f", &m, &err), ERR_BAD_REQUEST);
    finish(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
