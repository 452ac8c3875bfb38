#include "node/pod/env.h"
#include "openapi/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct source *nothing(void *arg, enum source_kind kind, struct str name)
{
    (void)arg;
    (void)kind;
    (void)name;
    return NULL;
}

static const struct {
    const char *env, *want; /* want: NAME=value lines, or the error */
} rows[] = {
    {"[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)-$$(A)-$(NO)\"}]", "A=1\nB=1-$(A)-$(NO)\n"},
    {"[{\"name\":\"B\",\"value\":\"$(A)\"},{\"name\":\"A\",\"value\":\"1\"}]", "B=$(A)\nA=1\n"},
    {"[{\"name\":\"A\",\"value\":\"$\"},{\"name\":\"B\",\"value\":\"$(\"}]", "A=$\nB=$(\n"},
    {"[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"}]", "A=2\n"},
    {"[{\"name\":\"N\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]", "N=p\n"},
    {"[{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['x']\"}}}]", "L=y\n"},
    {"[{\"name\":\"I\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}}]", "I=10.1.2.3\n"},
    {"[{\"name\":\"C\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}}]", "C=1\n"},
    {"[{\"name\":\"C\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}}}]",
     "C=250\n"},
    {"[{\"name\":\"M\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"requests.memory\",\"divisor\":\"1Mi\"}}}]",
     "M=64\n"},
    {"[{\"name\":\"K\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"c\",\"key\":\"k\"}}}]",
     "configmap \"c\" not found"},
    {"[{\"name\":\"K\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"c\",\"key\":\"k\",\"optional\":true}}}]", ""},
};

static void test_env(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena *a = arena_create(0);
        struct err err = ERR_INIT;
        struct downward_facts facts = {
            .node_name = "node", .host_ip = "10.0.0.9", .pod_ips = {"10.1.2.3", ""}, .cpu_milli = 2000};
        struct str json = arena_printf(
            a,
            "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"labels\":{\"x\":\"y\"}},\"spec\":{\"containers\":"
            "[{\"name\":\"c\",\"env\":%s,\"resources\":{\"limits\":{\"cpu\":\"250m\"},"
            "\"requests\":{\"memory\":\"64Mi\"}}}]}}",
            rows[i].env);
        const void *view;
        const struct core_v1_pod *pod;
        struct env env;
        struct buf text = {0};
        assert_int_equal(view_from_json(a, schema_message_find(STR("io.k8s.api.core.v1.Pod")), json, &view, &err), 0);
        pod = view;
        struct env_input in = {
            .pod = pod, .container = &pod->spec->containers.items[0], .facts = &facts, .find = nothing};
        if (env_build(a, &in, &env, &err) < 0) {
            buf_addz(&text, err.message);
        } else {
            for (size_t j = 0; j < env.len; j++)
                buf_printf(&text, STR_FMT "=" STR_FMT "\n", STR_ARG(env.items[j].name), STR_ARG(env.items[j].value));
        }
        buf_add_char(&text, 0);
        assert_string_equal(text.p, rows[i].want);
        buf_free(&text);
        arena_destroy(a);
    }
}

static void test_service_links(void **state)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct downward_facts facts = {.node_name = "", .host_ip = "", .pod_ips = {"", ""}};
    const void *pod, *service;
    struct env env;
    static const char *const want[][2] = {{"MY_DB_SERVICE_HOST", "10.96.0.7"},
                                          {"MY_DB_SERVICE_PORT", "5432"},
                                          {"MY_DB_SERVICE_PORT_PG", "5432"},
                                          {"MY_DB_PORT", "tcp://10.96.0.7:5432"},
                                          {"MY_DB_PORT_5432_TCP", "tcp://10.96.0.7:5432"},
                                          {"MY_DB_PORT_5432_TCP_PROTO", "tcp"},
                                          {"MY_DB_PORT_5432_TCP_PORT", "5432"},
                                          {"MY_DB_PORT_5432_TCP_ADDR", "10.96.0.7"}};
    (void)state;
    assert_int_equal(
        view_from_json(a, schema_message_find(STR("io.k8s.api.core.v1.Pod")),
                       STR("{\"metadata\":{\"namespace\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}"), &pod,
                       &err),
        0);
    assert_int_equal(
        view_from_json(
            a, schema_message_find(STR("io.k8s.api.core.v1.Service")),
            STR("{\"metadata\":{\"name\":\"my-db\",\"namespace\":\"n\"},\"spec\":{\"clusterIP\":\"10.96.0.7\","
                "\"ports\":[{\"name\":\"pg\",\"protocol\":\"TCP\",\"port\":5432}]}}"),
            &service, &err),
        0);
    const struct core_v1_service *list[] = {service};
    struct env_input in = {.pod = pod,
                           .container = &((const struct core_v1_pod *)pod)->spec->containers.items[0],
                           .facts = &facts,
                           .find = nothing,
                           .services = list,
                           .n_services = 1};
    assert_int_equal(env_build(a, &in, &env, &err), 0);
    assert_int_equal(env.len, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_true(str_eqz(env.items[i].name, want[i][0]));
        assert_true(str_eqz(env.items[i].value, want[i][1]));
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_env), cmocka_unit_test(test_service_links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
