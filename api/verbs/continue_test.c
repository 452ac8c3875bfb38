#include "api/verbs/list.h"

#include "openapi/object/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        bool namespaced;
        const char *ns, *name;
        int64_t revision;
    } rows[] = {{true, "default", "a", 7}, {false, "", "node-1", 99999999999}, {true, "a", "b.c", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct object o = {.namespace_ = str_from(rows[i].ns), .name = str_from(rows[i].name)};
        struct str token = continue_encode(a, rows[i].revision, &o, rows[i].namespaced), ns, name;
        int64_t revision;
        assert_int_equal(continue_decode(a, token, rows[i].namespaced, &revision, &ns, &name, &err), 0);
        assert_int_equal(revision, rows[i].revision);
        assert_true(str_eqz(ns, rows[i].ns) && str_eqz(name, rows[i].name));
        arena_destroy(a);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *token, *message;
    } rows[] = {
        {"***", "continue key is not valid: illegal base64 data at input byte 0"},
        {"eyJ2IjoidjIifQ", "continue key is not valid: server does not recognize this encoded version \"v2\""},
        {"eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
         "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"},
        {"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0",
         "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct str ns, name;
        int64_t revision;
        assert_int_equal(continue_decode(a, str_from(rows[i].token), true, &revision, &ns, &name, &err),
                         ERR_BAD_REQUEST);
        assert_string_equal(err.message, rows[i].message);
        arena_destroy(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
