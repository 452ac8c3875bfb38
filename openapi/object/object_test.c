#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "openapi/json.h"
#include "openapi/object/object.h"

static const char *const selectable[] = {"spec.nodeName", "spec.hostNetwork", "status.count", NULL};
static const struct resource_version versions[] = {{.version = {"v1", 2}, .selectable = selectable}, {.version = {0}}};
static const struct resource things = {
    .group = {"apps", 4},
    .name = {"things", 6},
    .kind = {"Thing", 5},
    .namespaced = true,
    .storage_prefix = {"/registry/things/", 17},
    .storage_group = {"apps", 4},
    .storage_version = {"v1", 2},
    .versions = versions,
    .stored_as = &things,
};

static const char full[] =
    "{\"kind\":\"Thing\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\",\"uid\":\"u-1\","
    "\"generation\":3,\"creationTimestamp\":\"2024-02-29T12:00:01Z\",\"deletionTimestamp\":\"1970-01-02T00:00:00Z\","
    "\"labels\":{\"z\":\"26\",\"app\":\"web\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"Set\","
    "\"name\":\"o\",\"uid\":\"u-0\",\"controller\":true,\"blockOwnerDeletion\":true}],\"finalizers\":[\"x\"]},"
    "\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true},\"status\":{\"count\":7}}";

static void check_full(const struct object *o)
{
    assert_true(str_eqz(o->namespace_, "ns"));
    assert_true(str_eqz(o->name, "a"));
    assert_true(str_eqz(o->uid, "u-1"));
    assert_int_equal(o->generation, 3);
    assert_int_equal(o->creation_s, 1709208001);
    assert_int_equal(o->deletion_s, 86400);
    assert_true(o->has_finalizers);
    assert_int_equal(o->n_labels, 2);
    assert_true(str_eqz(o->labels[0].key, "app"));
    assert_true(str_eqz(object_label(o, STR("z")), "26"));
    assert_true(str_eqz(object_label(o, STR("app")), "web"));
    assert_null(object_label(o, STR("b")).p);
    assert_int_equal(o->n_fields, 3);
    assert_true(str_eqz(o->fields[0], "n1"));
    assert_true(str_eqz(o->fields[1], "true"));
    assert_true(str_eqz(o->fields[2], "7"));
    const struct object_owner *owner = object_controller(o);
    assert_non_null(owner);
    assert_true(str_eqz(owner->uid, "u-0"));
    assert_true(str_eqz(owner->api_version, "apps/v1"));
    assert_true(owner->block_owner_deletion);
    assert_true(str_starts(o->body, OBJECT_BODY_PREFIX));
}

static void wire_is_head_and_tail(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err;
    struct object *o;

    assert_int_equal(object_from_stored(a, &things, str_from(full), 42, 40, &o, &err), 0);
    check_full(o);
    struct buf out = {0};
    object_head(&out, o, true);
    buf_add_str(&out, object_tail(o));
    assert_true(str_starts(buf_str(&out), STR("{\"kind\":\"Thing\",\"apiVersion\":\"apps/v1\",\"metadata\":{"
                                              "\"resourceVersion\":\"42\",\"name\":\"a\",")));
    assert_true(str_ends(buf_str(&out), STR("\"status\":{\"count\":7}}")));
    out.len = 0;
    object_head(&out, o, false);
    assert_true(str_eqz(buf_str(&out), "{\"metadata\":{\"resourceVersion\":\"42\","));
    buf_free(&out);

    struct object *later = object_at_revision(o, 50);
    check_full(later);
    assert_int_equal(later->revision, 50);
    assert_int_equal(later->create_revision, 40);
    assert_true(str_eq(later->body, o->body));
    object_put(later);
    object_put(o);
    arena_destroy(a);
}

static void stored_forms_give_one_body(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } rows[] = {
        {"{\"kind\":\"T\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},\"spec\":{}}\n",
         "{\"metadata\":{\"name\":\"a\"},\"spec\":{}}"},
        {"{\"apiVersion\":\"v1\",\"kind\":\"T\",\"metadata\":{\"name\":\"a\"}}", "{\"metadata\":{\"name\":\"a\"}}"},
        {"{\"metadata\":{\"name\":\"a\"},\"x\":1}", "{\"metadata\":{\"name\":\"a\"},\"x\":1}"},
        {"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"7\"},\"x\":1,\"kind\":\"T\"}",
         "{\"metadata\":{\"name\":\"a\"},\"x\":1}"},
        {"{ \"spec\": {\"kind\":\"inner\"}, \"metadata\": {\"name\":\"a\"} }",
         "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"kind\":\"inner\"}}"},
    };
    struct arena *a = arena_create(0);
    struct err err;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct object *o;
        assert_int_equal(object_from_stored(a, &things, str_from(rows[i].given), 1, 1, &o, &err), 0);
        assert_int_equal(o->body.len, strlen(rows[i].want));
        assert_memory_equal(o->body.p, rows[i].want, o->body.len);
        assert_true(str_eqz(o->fields[0], ""));
        object_put(o);
    }
    static const char *const bad[] = {"", "{", "[]", "{\"metadata\":1}", "{\"metadata\":{}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct object *o;
        assert_true(object_from_stored(a, &things, str_from(bad[i]), 1, 1, &o, &err) < 0);
    }
    arena_destroy(a);
}

static void value_and_back(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct json_options opt = {0};
    struct err err;
    struct value *v;
    struct object *o;

    assert_int_equal(json_decode(a, str_from(full), &opt, &v, &err), 0);
    assert_int_equal(object_from_value(a, &things, v, 0, 0, &o, &err), 0);
    check_full(o);
    object_set_revision(o, 9, 8);
    struct value *back = object_value(a, o);
    assert_true(str_eqz(value_path_str(back, "metadata.resourceVersion"), "9"));
    value_remove_path(back, "metadata.resourceVersion");
    assert_true(value_equal(v, back));
    object_put(o);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_is_head_and_tail),
        cmocka_unit_test(stored_forms_give_one_body),
        cmocka_unit_test(value_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
