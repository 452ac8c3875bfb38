#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct arena *a;

static struct value *tree(const char *text)
{
    struct err err = ERR_INIT;
    struct value *v = NULL;
    assert_int_equal(json_decode(a, str_from(text), NULL, &v, &err), 0);
    return v;
}

static void assert_tree(const struct value *v, const char *want)
{
    struct buf b = {0};
    json_encode(&b, v);
    buf_add_char(&b, 0);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

static void paths(void **state)
{
    (void)state;
    struct value *v = tree("{\"a\":{\"b\":{\"c\":\"x\",\"n\":3,\"t\":true}},\"l\":[1,2]}");
    assert_true(str_eqz(value_path_str(v, "a.b.c"), "x"));
    assert_int_equal(value_path_int(v, "a.b.n", 9), 3);
    assert_int_equal(value_path_int(v, "a.b.c", 9), 9);
    assert_true(value_path_bool(v, "a.b.t", false));
    assert_null(value_path(v, "a.x.c"));
    assert_null(value_path(NULL, "a"));
    assert_int_equal(value_len(value_getz(v, "l")), 2);
    value_set_path(a, v, "a.b.c", value_int(a, 1));
    value_set_path(a, v, "p.q", value_null(a));
    value_remove_path(v, "a.b.n");
    value_remove_path(v, "no.such");
    value_append(a, value_ensure_list(a, v, "a.list"), value_int(a, 7));
    value_insert(a, value_path(v, "l"), 1, value_int(a, 5));
    value_remove_at(value_path(v, "l"), 0);
    assert_int_equal(value_len(value_ensure_map(a, v, "p.q")), 0);
    assert_tree(v, "{\"a\":{\"b\":{\"c\":1,\"t\":true},\"list\":[7]},\"l\":[5,2],\"p\":{\"q\":{}}}");
    assert_true(value_removez(v, "a") && !value_removez(v, "a"));
}

static void equality(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        bool equal, semantic;
    } rows[] = {
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true, true},
        {"{\"a\":1}", "{\"a\":1.0}", false, false},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false, true},
        {"{\"a\":1,\"b\":{}}", "{\"a\":1,\"b\":[]}", false, true},
        {"{\"a\":1}", "{\"a\":1,\"b\":{\"c\":{}}}", false, true},
        {"[1,2]", "[2,1]", false, false},
        {"{\"a\":\"\"}", "{}", false, false},
        {"[1,[2,{\"x\":null}]]", "[1,[2,{}]]", false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct value *one = tree(rows[i].one), *other = tree(rows[i].other);
        assert_int_equal(value_equal(one, other), rows[i].equal);
        assert_int_equal(value_semantic_equal(one, other), rows[i].semantic);
        assert_int_equal(value_semantic_equal(other, one), rows[i].semantic);
        assert_true(value_equal(one, value_copy(a, one)));
    }
    assert_true(value_semantic_equal(NULL, tree("{}")));
    assert_false(value_equal(NULL, tree("{}")));
}

static int setup(void **state)
{
    (void)state;
    a = arena_create(0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    arena_destroy(a);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths), cmocka_unit_test(equality)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
