#include "openapi/json.h"
#include "openapi/messages.h"
#include "openapi/object/object.h"
#include "openapi/views.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char pod_text[] =
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"uid\":\"u\",\"generation\":3,"
    "\"creationTimestamp\":"
    "\"2026-01-02T03:04:05Z\",\"labels\":{\"app\":\"web\",\"tier\":\"a\\\"b\"},\"managedFields\":[{"
    "\"manager\":\"m\",\"fieldsV1\":{\"f:spec\":{\".\":{}}}}]},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
    "\"nginx\",\"args\":[\"-g\",\"x\"],\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}],\"resources\":{"
    "\"limits\":"
    "{\"cpu\":\"100m\",\"memory\":\"1Gi\"}},\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":\"http\"},"
    "\"periodSeconds\":10},\"readinessProbe\":{\"tcpSocket\":{\"port\":80}}},{\"name\":\"d\"}],"
    "\"terminationGracePeriodSeconds\":30,\"nodeName\":\"n1\",\"hostNetwork\":false}}";

static const struct schema_message *const pod_message = &schema_core_v1_pod;

static void check_pod(const struct core_v1_pod *pod)
{
    assert_true(str_eqz(pod->kind, "Pod"));
    assert_true(str_eqz(pod->metadata->name, "web"));
    assert_true(pod->metadata->creation_timestamp == 1767323045000000);
    assert_true(pod->metadata->deletion_timestamp == 0);
    assert_true(str_eqz(view_map_get(pod->metadata->labels, STR("app")), "web"));
    assert_true(str_eqz(view_map_get(pod->metadata->labels, STR("tier")), "a\"b"));
    assert_null(view_map_get(pod->metadata->labels, STR("none")).p);
    assert_null(pod->metadata->namespace_.p);
    assert_int_equal(pod->spec->containers.len, 2);
    const struct core_v1_container *c = pod->spec->containers.items;
    assert_true(str_eqz(c->args.items[1], "x"));
    assert_int_equal(c->ports.items[0].container_port, 80);
    assert_true(str_eqz(view_map_get(c->resources->limits, STR("memory")), "1Gi"));
    assert_true(c->liveness_probe->http_get->port.is_string);
    assert_int_equal(c->readiness_probe->tcp_socket->port.integer, 80);
    assert_true(c->liveness_probe->has_period_seconds && c->liveness_probe->period_seconds == 10);
    assert_true(!c->readiness_probe->has_period_seconds);
    assert_true(pod->spec->has_host_network && !pod->spec->host_network && !pod->spec->has_host_pid);
    assert_true(pod->spec->termination_grace_period_seconds == 30);
    assert_null(c[1].resources);
    assert_non_null(pod->status);
    assert_int_equal(pod->status->conditions.len, 0);
    assert_true(value_is(pod->metadata->managed_fields.items[0].fields_v1, VALUE_MAP));
}

static void from_json_and_back(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    const void *view;
    struct str text = arena_str(a, str_from(pod_text));
    assert_int_equal(view_from_json(a, pod_message, text, &view, &err), 0);
    const struct core_v1_pod *pod = view;
    check_pod(pod);
    assert_true(pod->metadata->name.p > text.p && pod->metadata->name.p < text.p + text.len); /* not copied */

    struct buf out = {0};
    json_encode(&out, view_to_value(a, pod_message, pod));
    buf_add_char(&out, 0);
    assert_string_equal(out.p, pod_text);
    buf_free(&out);
    arena_destroy(a);
}

static void from_value(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct value *v;
    assert_int_equal(json_decode(a, str_from(pod_text), NULL, &v, &err), 0);
    check_pod(view_from_value(a, pod_message, v));
    arena_destroy(a);
}

static void odd_input(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    const void *view;
    assert_int_equal(view_from_json(a, pod_message,
                                    STR("{\"spec\":{\"containers\":{},\"nodeName\":1,\"hostNetwork\":\"x\"},\"x\":[{}],"
                                        "\"metadata\":{\"labels\":{\"b\":\"1\",\"a\":\"2\"}}}"),
                                    &view, &err),
                     0);
    const struct core_v1_pod *pod = view;
    assert_int_equal(pod->spec->containers.len, 0);
    assert_null(pod->spec->node_name.p);
    assert_true(!pod->spec->has_host_network);
    assert_true(str_eqz(pod->metadata->labels.items[0].key, "a"));
    assert_int_equal(view_from_json(a, pod_message, STR("{"), &view, &err), ERR_BAD_REQUEST);
    assert_int_equal(view_from_json(a, pod_message, STR("[]"), &view, &err), 0);
    assert_non_null(((const struct core_v1_pod *)view)->spec);
    arena_destroy(a);
}

static void of_object(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct value *v;
    struct object *o;
    assert_int_equal(json_decode(a, str_from(pod_text), NULL, &v, &err), 0);
    assert_int_equal(object_from_value(a, resource_find(STR(""), STR("pods")), v, 42, 41, &o, &err), 0);
    const struct core_v1_pod *pod = view_object(a, o);
    check_pod(pod);
    assert_true(str_eqz(pod->metadata->resource_version, "42"));
    assert_true(str_eqz(pod->api_version, "v1"));
    object_put(o);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_json_and_back),
        cmocka_unit_test(from_value),
        cmocka_unit_test(odd_input),
        cmocka_unit_test(of_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
