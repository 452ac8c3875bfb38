#include "openapi/meta/selector.h"

#include "openapi/object/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_label_text(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want, *want_error;
    } rows[] = {
        {"", "", NULL},
        {"app=web", "app=web", NULL},
        {"b==1, a!=2", "a!=2,b==1", NULL},
        {"tier in (b, a,a)", "tier in (a,b)", NULL},
        {"x notin ()", "x notin ()", NULL},
        {"!old,new", "new,!old", NULL},
        {"in in (notin)", "in in (notin)", NULL},
        {"n>3,m<4", "m<4,n>3", NULL},
        {"a=", "a=", NULL},
        {"a in (,b)", "a in (,b)", NULL},
        {"a b", NULL, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"a,", NULL, "found '', expected: identifier after ','"},
        {",a", NULL, "found ',', expected: !, identifier, or 'end of string'"},
        {"a in b", NULL, "unable to parse requirement: found 'b' expected: '('"},
        {"a=b c", NULL, "found 'c', expected: ',' or 'end of string'"},
        {"n>x", NULL,
         "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an "
         "integer"},
        {"!", NULL, "unable to parse requirement: found '', expected: identifier"},
    };
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct label_selector s;
        struct err err = ERR_INIT;
        int rc = label_selector_parse(a, str_from(rows[i].given), &s, &err);
        if ((rc == 0) != (rows[i].want != NULL))
            fail_msg("%s: %s", rows[i].given, err.message);
        if (rc == 0)
            assert_string_equal(label_selector_text(a, &s).p, rows[i].want);
        else
            assert_string_equal(err.message, rows[i].want_error);
    }
    arena_destroy(a);
}

static void test_label_match(void **state)
{
    (void)state;
    static const struct object_label labels[] = {
        {STR("app"), STR("web")}, {STR("n"), STR("5")}, {STR("tier"), STR("a")}};
    static const struct {
        const char *given;
        bool want;
    } rows[] = {{"", true},
                {"app=web", true},
                {"app=db", false},
                {"app!=db", true},
                {"zone!=b", true},
                {"tier in (a,b),app", true},
                {"tier notin (a)", false},
                {"!zone", true},
                {"!app", false},
                {"n>4", true},
                {"n<5", false},
                {"app>1", false},
                {"app=web,n=5,tier=a", true},
                {"app=web,app!=web", false}};
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct label_selector s;
        struct err err = ERR_INIT;
        assert_int_equal(label_selector_parse(a, str_from(rows[i].given), &s, &err), 0);
        if (label_selector_matches_labels(&s, labels, 3) != rows[i].want)
            fail_msg("%s", rows[i].given);
    }
    arena_destroy(a);
}

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want, *want_error;
    } rows[] = {
        {"metadata.name=a", "metadata.name=a", NULL},
        {"b!=2,a==1", "a=1,b!=2", NULL},
        {"a=x\\,y\\=z\\\\", "a=x\\,y\\=z\\\\", NULL},
        {"a=,", "a=", NULL},
        {"a", NULL, "invalid selector: 'a'; can't understand 'a'"},
        {"a=\\x", NULL, "invalid field selector: invalid escape sequence: \\x"},
        {"a=b=c", NULL, "invalid field selector: unescaped character in value: 61"},
    };
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct field_selector s;
        struct err err = ERR_INIT;
        int rc = field_selector_parse(a, str_from(rows[i].given), &s, &err);
        assert_int_equal(rc == 0, rows[i].want != NULL);
        if (rc == 0)
            assert_string_equal(field_selector_text(a, &s).p, rows[i].want);
        else
            assert_string_equal(err.message, rows[i].want_error);
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_label_text), cmocka_unit_test(test_label_match),
                                       cmocka_unit_test(test_fields)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
