#include "api/chain/rbac_rules.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const given[RBAC_KINDS] = {
    [RBAC_ROLES] =
        "[{\"metadata\":{\"name\":\"r\",\"namespace\":\"a\"},\"rules\":["
        "{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\",\"pods/log\"]},"
        "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"resourceNames\":[\"s\"]}]}]",
    [RBAC_CLUSTER_ROLES] = "[{\"metadata\":{\"name\":\"all\"},\"rules\":["
                           "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
                           "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]},"
                           "{\"metadata\":{\"name\":\"look\"},\"rules\":["
                           "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/openapi/*\"]}]},"
                           "{\"metadata\":{\"name\":\"scale\"},\"rules\":["
                           "{\"verbs\":[\"update\"],\"apiGroups\":[\"apps\"],\"resources\":[\"*/scale\"]}]},"
                           "{\"metadata\":{\"name\":\"system:node\"},\"rules\":["
                           "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"nodes\"]}]}]",
    [RBAC_ROLE_BINDINGS] =
        "[{\"metadata\":{\"name\":\"b\",\"namespace\":\"a\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"},"
        "\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"},{\"kind\":\"ServiceAccount\",\"name\":\"x\"}]},"
        "{\"metadata\":{\"name\":\"c\",\"namespace\":\"a\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"gone\"},"
        "\"subjects\":[{\"kind\":\"User\",\"name\":\"lost\"}]}]",
    [RBAC_CLUSTER_ROLE_BINDINGS] =
        "[{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"all\"},"
        "\"subjects\":[{\"kind\":\"Group\",\"name\":\"admins\"}]},"
        "{\"metadata\":{\"name\":\"c\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"look\"},"
        "\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"}]},"
        "{\"metadata\":{\"name\":\"d\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"scale\"},"
        "\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"}]}]",
};

static struct arena *arena;
static struct rbac_rules *rules;

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(0);
    const struct value *lists[RBAC_KINDS];
    for (int i = 0; i < RBAC_KINDS; i++) {
        struct json_options plain = {0};
        struct err err = ERR_INIT;
        struct value *v;
        if (json_decode(arena, str_from(given[i]), &plain, &v, &err) < 0)
            return -1;
        lists[i] = v;
    }
    rules = rbac_rules_from_values(lists);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rbac_rules_destroy(rules);
    arena_destroy(arena);
    return 0;
}

static const struct {
    const char *user, *group, *verb, *api_group, *resource, *sub, *ns, *name;
    bool want;
} rows[] = {
    {"u", "", "get", "", "pods", "", "a", "p", true},
    {"u", "", "get", "", "pods", "log", "a", "p", true},
    {"u", "", "get", "", "pods", "exec", "a", "p", false},
    {"u", "", "get", "", "pods", "", "b", "p", false},
    {"u", "", "list", "", "pods", "", "", "", false},
    {"u", "", "delete", "", "pods", "", "a", "p", false},
    {"u", "", "get", "apps", "pods", "", "a", "p", false},
    {"u", "", "get", "", "secrets", "", "a", "s", true},
    {"u", "", "get", "", "secrets", "", "a", "t", false},
    {"u", "", "update", "apps", "deployments", "scale", "z", "d", true},
    {"u", "", "update", "apps", "deployments", "", "z", "d", false},
    {"system:serviceaccount:a:x", "", "list", "", "pods", "", "a", "", true},
    {"system:serviceaccount:b:x", "", "list", "", "pods", "", "a", "", false},
    {"any", "admins", "deletecollection", "apps", "deployments", "", "q", "", true},
    {"any", "other", "get", "", "nodes", "", "", "n", false},
    {"n", "system:nodes", "get", "", "nodes", "", "", "n", true},
};

static void test_resources(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str group = str_from(rows[i].group);
        struct api_user user = {.name = str_from(rows[i].user), .groups = &group, .n_groups = 1};
        struct api_attributes at = {.verb = str_from(rows[i].verb),
                                    .group = str_from(rows[i].api_group),
                                    .resource = str_from(rows[i].resource),
                                    .subresource = str_from(rows[i].sub),
                                    .namespace_ = str_from(rows[i].ns),
                                    .name = str_from(rows[i].name)};
        if (rbac_rules_allow(rules, &user, &at, &(bool){false}) != rows[i].want)
            fail_msg("row %zu: %s %s %s/%s", i, rows[i].user, rows[i].verb, rows[i].resource, rows[i].sub);
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool want;
    } paths[] = {
        {"/healthz", true}, {"/healthz/", false}, {"/openapi/v3/api", true}, {"/openapi", false}, {"/metrics", false}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct api_user user = {.name = STR("u")};
        struct api_attributes at = {.verb = STR("get"), .non_resource = true, .path = str_from(paths[i].path)};
        assert_int_equal(rbac_rules_allow(rules, &user, &at, &(bool){false}), paths[i].want);
    }
}

static void test_words(void **state)
{
    (void)state;
    struct api_user user = {.name = STR("x")};
    struct err err = ERR_INIT;
    struct api_attributes at = {.verb = STR("list"), .resource = STR("pods"), .namespace_ = STR("default")};
    rbac_forbid(&user, &at, &err);
    assert_string_equal(
        err.message,
        "pods is forbidden: User \"x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"");
    at = (struct api_attributes){.verb = STR("update"),
                                 .group = STR("apps"),
                                 .resource = STR("deployments"),
                                 .subresource = STR("scale"),
                                 .name = STR("d")};
    rbac_forbid(&user, &at, &err);
    assert_string_equal(err.message, "deployments.apps \"d\" is forbidden: User \"x\" cannot update resource "
                                     "\"deployments/scale\" in API group \"apps\" at the cluster scope");
    at = (struct api_attributes){.verb = STR("get"), .non_resource = true, .path = STR("/metrics")};
    rbac_forbid(&user, &at, &err);
    assert_string_equal(err.message, "forbidden: User \"x\" cannot get path \"/metrics\"");
    user.name = STR("lost");
    struct str why = rbac_rules_missing(rules, arena, &user, STR("a"));
    assert_true(str_eqz(why, "RBAC: role.rbac.authorization.k8s.io \"gone\" not found"));
}

static void test_cover(void **state)
{
    (void)state;
    struct json_options plain = {0};
    struct err err = ERR_INIT;
    struct value *v;
    struct str missing;
    struct api_user user = {.name = STR("u")};
    assert_int_equal(json_decode(arena, STR("[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]"),
                                 &plain, &v, &err),
                     0);
    assert_int_equal(rbac_rules_cover(rules, arena, &user, STR("a"), v, &missing), 0);
    assert_int_equal(rbac_rules_cover(rules, arena, &user, STR("b"), v, &missing), 1);
    assert_true(str_eqz(missing, "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}"));
    assert_int_equal(json_decode(arena, STR("[{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]"),
                                 &plain, &v, &err),
                     0);
    assert_int_equal(rbac_rules_cover(rules, arena, &user, STR("a"), v, &missing), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_resources), cmocka_unit_test(test_paths),
                                       cmocka_unit_test(test_words), cmocka_unit_test(test_cover)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
