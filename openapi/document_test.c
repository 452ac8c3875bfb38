#include "openapi/document.h"

#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct value *parse(struct arena *a, struct buf *b)
{
    struct err err = ERR_INIT;
    struct json_options opt = {0};
    struct value *v = NULL;
    if (json_decode(a, buf_str(b), &opt, &v, &err) < 0)
        fail_msg("%s", err.message);
    return v;
}

static const char *const groups[][2] = {{"", "v1"},
                                        {"apps", "v1"},
                                        {"batch", "v1"},
                                        {"autoscaling", "v2"},
                                        {"networking.k8s.io", "v1"},
                                        {"events.k8s.io", "v1"}};

static void check_refs(const struct value *v, const struct value *schemas)
{
    struct str ref = value_str(value_getz(v, "$ref"));
    if (ref.p) {
        size_t prefix = strlen("#/components/schemas/");
        if (!value_get(schemas, str_sub(ref, prefix, ref.len)))
            fail_msg("no schema for " STR_FMT, STR_ARG(ref));
    }
    for (size_t i = 0; value_is(v, VALUE_MAP) && i < v->map.len; i++)
        check_refs(v->map.members[i].value, schemas);
    for (size_t i = 0; value_is(v, VALUE_LIST) && i < v->list.len; i++)
        check_refs(v->list.items[i], schemas);
}

static void test_v3(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        struct arena *a = arena_create(0);
        struct buf out = {0};
        struct document_writer w;
        assert_true(document_v3_init(&w, str_from(groups[i][0]), str_from(groups[i][1])));
        document_v3_write(&out, &w);
        struct value *v = parse(a, &out), *schemas = value_path(v, "components.schemas");
        assert_true(value_len(schemas) > 5);
        check_refs(v, schemas);
        buf_free(&out);
        arena_destroy(a);
    }
    struct document_writer w;
    assert_false(document_v3_init(&w, STR("no.such"), STR("v1")));
}

static void test_deployment(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct buf out = {0};
    struct document_writer w;
    document_v3_init(&w, STR("apps"), STR("v1"));
    document_v3_write(&out, &w);
    struct value *v = parse(a, &out);
    struct value *path =
        value_get(value_getz(v, "paths"), STR("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"));
    assert_string_equal(value_str(value_path(value_path(path, "patch.x-kubernetes-group-version-kind"), "kind")).p,
                        "Deployment");
    struct value *pod = value_get(value_path(v, "components.schemas"), STR("io.k8s.api.core.v1.PodSpec"));
    struct value *containers = value_path(pod, "properties.containers");
    assert_true(str_eqz(value_str(value_getz(containers, "x-kubernetes-patch-merge-key")), "name"));
    assert_true(str_eqz(value_str(value_getz(containers, "x-kubernetes-patch-strategy")), "merge"));
    assert_true(str_eqz(value_str(value_getz(containers, "x-kubernetes-list-type")), "map"));
    buf_free(&out);
    arena_destroy(a);
}

static void test_index(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct buf out = {0};
    char hash[DOCUMENT_HASH_LEN + 1];
    document_v3_index(&out);
    struct value *entry = value_get(value_getz(parse(a, &out), "paths"), STR("apis/apps/v1"));
    assert_true(document_v3_hash(STR("apps"), STR("v1"), hash));
    assert_true(
        str_eq(value_path_str(entry, "serverRelativeURL"), arena_printf(a, "/openapi/v3/apis/apps/v1?hash=%s", hash)));
    buf_free(&out);
    arena_destroy(a);
}

static void test_v2(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct buf out = {0};
    struct document_writer w;
    document_v2_init(&w);
    document_v3_write(&out, &w);
    assert_true(value_len(value_getz(parse(a, &out), "definitions")) > 100);
    buf_free(&out);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v3), cmocka_unit_test(test_deployment),
                                       cmocka_unit_test(test_index), cmocka_unit_test(test_v2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
