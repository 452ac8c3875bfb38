#include "api/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        enum verb verb;
        const char *query;
        int rc;
        const char *message;
    } rows[] = {
        {VERB_LIST, "limit=5&labelSelector=a%3Db", 0, ""},
        {VERB_LIST, "limit=x", ERR_BAD_REQUEST, "strconv.ParseInt: parsing \"x\": invalid syntax"},
        {VERB_LIST, "resourceVersionMatch=Exact", ERR_INVALID,
         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden "
         "unless "
         "resourceVersion is provided"},
        {VERB_LIST, "resourceVersionMatch=Exact&resourceVersion=0", ERR_INVALID,
         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is "
         "forbidden for "
         "resourceVersion \"0\""},
        {VERB_WATCH, "watch=1&resourceVersion=1&resourceVersionMatch=Exact", ERR_INVALID,
         "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden "
         "for watch "
         "unless sendInitialEvents is provided"},
        {VERB_LIST, "sendInitialEvents=true", ERR_INVALID,
         "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for "
         "list"},
        {VERB_CREATE, "fieldValidation=Strict&dryRun=All", 0, ""},
        {VERB_CREATE, "fieldValidation=strict", ERR_INVALID,
         "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"strict\": supported values: "
         "\"Ignore\", "
         "\"Warn\", \"Strict\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct api_options o;
        int rc = api_options_parse(a, str_from(rows[i].query), rows[i].verb, &o, &err);
        assert_int_equal(rc, rows[i].rc);
        if (rc < 0)
            assert_string_equal(err.message, rows[i].message);
        arena_destroy(a);
    }
}

static void test_values(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct api_options o;
    assert_int_equal(api_options_parse(a, STR("watch&timeoutSeconds=3&gracePeriodSeconds=0&fieldSelector=a%3D%C3%A9"),
                                       VERB_WATCH, &o, &err),
                     0);
    assert_true(o.watch);
    assert_int_equal(o.timeout_s, 3);
    assert_int_equal(o.grace_period_s, 0);
    assert_true(str_eqz(o.field_selector, "a=\xc3\xa9"));
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
