#include "openapi/protobuf.h"

#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BYTES(s)         \
    {                    \
        s, sizeof(s) - 1 \
    }

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        struct str in;
        const char *want;
    } rows[] = {
        {"io.k8s.api.core.v1.ConfigMap",
         BYTES("\x0a\x13\x0a\x03"
               "cmz\x12\x00\x1a\x00\"\x00*\x00\x32\x00\x38\x00\x42\x00\x12\x06\x0a\x01"
               "a\x12\x01"
               "1"),
         "{\"metadata\":{\"name\":\"cmz\"},\"data\":{\"a\":\"1\"}}"},
        {"io.k8s.api.core.v1.Secret", BYTES("\x12\x07\x0a\x01k\x12\x02hi"), "{\"data\":{\"k\":\"aGk=\"}}"},
        /* a pointer keeps its zero, a plain number does not */
        {"io.k8s.api.apps.v1.DeploymentSpec", BYTES("\x08\x00\x28\x00"), "{\"replicas\":0}"},
        /* an embedded message lies flat in JSON */
        {"io.k8s.api.core.v1.Volume", BYTES("\x0a\x01v\x12\x08\x0a\x06\x0a\x04/tmp"),
         "{\"name\":\"v\",\"hostPath\":{\"path\":\"/tmp\"}}"},
        {"io.k8s.api.core.v1.HTTPGetAction", BYTES("\x12\x06\x08\x01\x10\x00\x1a\x00"), "{\"port\":\"\"}"},
        {"io.k8s.api.core.v1.HTTPGetAction", BYTES("\x12\x05\x08\x00\x10\x90\x3f"), "{\"port\":8080}"},
        {"io.k8s.api.core.v1.ResourceRequirements",
         BYTES("\x0a\x0d\x0a\x03"
               "cpu\x12\x06\x0a\x04"
               "100m"),
         "{\"limits\":{\"cpu\":\"100m\"}}"},
        {"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", BYTES("\x42\x06\x08\x80\xb5\xb3\xc9\x06"),
         "{\"creationTimestamp\":\"2025-12-01T00:00:00Z\"}"},
        {"io.k8s.api.rbac.v1.PolicyRule", BYTES("\x0a\x03get\x12\x00\x1a\x04pods"),
         "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct value *v;
        struct buf out = {0};
        const struct schema_message *m = schema_message_find(str_from(rows[i].message));
        assert_non_null(m);
        if (protobuf_decode(a, m, rows[i].in, &v, &err) < 0)
            fail_msg("%s: %s", rows[i].message, err.message);
        json_encode(&out, v);
        buf_add_char(&out, '\0');
        assert_string_equal(out.p, rows[i].want);
        buf_free(&out);
        arena_destroy(a);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        const char *want;
    } rows[] = {
        {BYTES("\x0a\x05x"), "unexpected EOF"},
        {BYTES("\x0f\x05x"), "proto: illegal wireType 7"},
        {BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "proto: integer overflow"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct value *v;
        assert_int_equal(protobuf_decode(a, schema_message_find(STR("io.k8s.api.core.v1.Pod")), rows[i].in, &v, &err),
                         ERR_BAD_REQUEST);
        assert_string_equal(err.message, rows[i].want);
        arena_destroy(a);
    }
}

static void test_envelope(void **state)
{
    (void)state;
    static const struct str in = BYTES("k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x02xy\x1a\x00\"\x00");
    struct protobuf_envelope e;
    struct err err = ERR_INIT;
    assert_int_equal(protobuf_open(in, &e, &err), 0);
    assert_true(str_eqz(e.api_version, "v1") && str_eqz(e.kind, "Pod") && str_eqz(e.raw, "xy"));
    assert_int_equal(protobuf_open(STR("{}"), &e, &err), ERR_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_envelope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
