#include "api/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *method, *path, *query;
    bool is_resource;
    const char *action, *group, *version, *ns, *resource, *name, *sub, *rest;
};

static const struct row rows[] = {
    {"GET", "/", "", false, "get", "", "", "", "", "", "", ""},
    {"GET", "/version", "", false, "get", "", "", "", "", "", "", ""},
    {"GET", "/api", "", false, "get", "", "", "", "", "", "", ""},
    {"GET", "/api/v1/", "", false, "get", "", "", "", "", "", "", ""},
    {"GET", "/apis/apps/v1", "", false, "get", "", "", "", "", "", "", ""},
    {"GET", "/api/v1/pods", "", true, "list", "", "v1", "", "pods", "", "", ""},
    {"GET", "/api/v1/pods/", "watch=1", true, "watch", "", "v1", "", "pods", "", "", ""},
    {"GET", "/api/v1/pods", "watch=false", true, "list", "", "v1", "", "pods", "", "", ""},
    {"GET", "/api/v1/watch/pods", "", true, "watch", "", "v1", "", "pods", "", "", ""},
    {"GET", "/api/v1/namespaces", "", true, "list", "", "v1", "", "namespaces", "", "", ""},
    {"GET", "/api/v1/namespaces/a", "", true, "get", "", "v1", "a", "namespaces", "a", "", ""},
    {"PUT", "/api/v1/namespaces/a/finalize", "", true, "update", "", "v1", "a", "namespaces", "a", "finalize", ""},
    {"GET", "/api/v1/namespaces/a/pods", "", true, "list", "", "v1", "a", "pods", "", "", ""},
    {"DELETE", "/api/v1/namespaces/a/pods", "", true, "deletecollection", "", "v1", "a", "pods", "", "", ""},
    {"DELETE", "/api/v1/namespaces/a/pods/b", "", true, "delete", "", "v1", "a", "pods", "b", "", ""},
    {"POST", "/apis/apps/v1/namespaces/a/deployments", "", true, "create", "apps", "v1", "a", "deployments", "", "",
     ""},
    {"PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "", true, "patch", "apps", "v1", "a", "deployments",
     "b", "scale", ""},
    {"GET", "/api/v1/nodes/n/proxy/stats/summary", "", true, "get", "", "v1", "", "nodes", "n", "proxy",
     "/stats/summary"},
    {"OPTIONS", "/api/v1/pods", "", true, "options", "", "v1", "", "pods", "", "", ""},
    {"GET", "/api/v1/secrets", "fieldSelector=metadata.name%3Dx&watch=true", true, "watch", "", "v1", "", "secrets",
     "x", "", ""},
    {"GET", "/api/v1/namespaces/a/pods/b%2Dc", "", true, "get", "", "v1", "a", "pods", "b-c", "", ""},
};

#define CHECK(row, field, want)    \
    if (!str_eqz((field), (want))) \
    fail_msg("%s %s: " #field " is '" STR_FMT "', want '%s'", (row)->method, (row)->path, STR_ARG(field), want)

static void test_rows(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *w = &rows[i];
        struct route r;
        assert_true(route_parse(a, str_from(w->method), str_from(w->path), str_from(w->query), &r));
        assert_int_equal(r.is_resource, w->is_resource);
        CHECK(w, r.action, w->action);
        CHECK(w, r.group, w->group);
        CHECK(w, r.version, w->version);
        CHECK(w, r.namespace_, w->ns);
        CHECK(w, r.resource, w->resource);
        CHECK(w, r.name, w->name);
        CHECK(w, r.subresource, w->sub);
        CHECK(w, r.rest, w->rest);
    }
    arena_destroy(a);
}

static void test_malformed(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct route r;
    assert_false(route_parse(a, STR("GET"), STR("/api/v1/%zz"), STR_NULL, &r));
    assert_true(route_parse(a, STR("GET"), STR(""), STR_NULL, &r));
    assert_true(route_parse(a, STR("GET"), STR("//////"), STR_NULL, &r));
    assert_true(route_parse(a, STR("GET"), STR("/api//pods"), STR_NULL, &r));
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_malformed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
