#include "storage/takeover/claims.h"
#include "storage/takeover/stored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CONFIG_MAP                                                                                              \
    "k8s\0\n\017\n\002v1\022\tConfigMap\022)\n\020\n\005proto\032\004shop*\001u\022\025\n\006medium\022\013in " \
    "protobuf"

static void values(void **state)
{
    static const struct {
        struct str key, value;
        int answer;
        const char *json, *what; /* of an error: its message */
    } rows[] = {
        {STR("/registry/configmaps/shop/proto"), STR(CONFIG_MAP), STORED_OBJECT,
         "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"proto\",\"namespace\":\"shop\","
         "\"uid\":\"u\"},"
         "\"data\":{\"medium\":\"in protobuf\"}}",
         ""},
        {STR("/registry/configmaps/a/b"),
         STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"7\"}}"),
         STORED_OBJECT, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"b\"}}", ""},
        /* another version of the resource */
        {STR("/registry/horizontalpodautoscalers/a/b"),
         STR("{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"HorizontalPodAutoscaler\",\"metadata\":{\"name\":\"b\"},"
             "\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3}}"),
         STORED_OBJECT, NULL, ""},
        {STR("/registry/flowschemas/a"),
         STR("{\"apiVersion\":\"flowcontrol.apiserver.k8s.io/"
             "v1alpha1\",\"kind\":\"FlowSchema\",\"metadata\":{\"name\":\"a\"}}"),
         STORED_UNSERVED, NULL, "flowschemas of flowcontrol.apiserver.k8s.io/v1alpha1"},
        {STR("/registry/zoo.example/pandas/a/b"),
         STR("{\"apiVersion\":\"zoo.example/v1\",\"kind\":\"Panda\",\"x\": 1}"), STORED_AS_IT_IS,
         "{\"apiVersion\":\"zoo.example/v1\",\"kind\":\"Panda\",\"x\": 1}", ""},
        {STR("/registry/ranges/nodeports/30123"), STR("a/b"), STORED_AS_IT_IS, "a/b", ""},
        {STR("/registry/ranges/serviceips"), STR("k8s\0\n\0\022\0"), STORED_UNSERVED, NULL, "/registry/ranges"},
        {STR("/registry/masterleases/10.0.0.1"), STR("x"), STORED_UNSERVED, NULL, "/registry/masterleases"},
        {STR("/registry/configmaps/a/b"), STR("x"), ERR_CORRUPT, NULL, "it holds neither JSON nor protobuf"},
        {STR("/registry/configmaps/a/b"), STR("{\"kind\":"), ERR_CORRUPT, NULL, NULL},
        {STR("/registry/configmaps/a/b"), STR("k8s\0\n\377"), ERR_CORRUPT, NULL, NULL},
        {STR("/registry/secrets/a/b"), STR(CONFIG_MAP), ERR_CORRUPT, NULL, "it holds a ConfigMap of v1"},
        {STR("/registry/configmaps/a/b"), STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}"), ERR_CORRUPT, NULL,
         "it holds an object without a name"},
    };
    struct arena *a = arena_create(0);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str json, what;
        struct err err = ERR_INIT;
        int answer = stored_read(a, rows[i].key, rows[i].value, &json, &what, &err);
        if (answer != rows[i].answer)
            fail_msg("row %zu: answered %d (%s), not %d", i, answer, err.message, rows[i].answer);
        if (rows[i].json)
            assert_string_equal(arena_str(a, json).p, rows[i].json);
        if (rows[i].what)
            assert_string_equal(answer < 0 ? err.message : arena_str(a, what).p, rows[i].what);
    }
    arena_destroy(a);
}

static int note_claim(void *arg, struct str key, struct str value, struct err *err)
{
    (void)err;
    buf_add_str(arg, key);
    buf_addz(arg, value.p[0] == '{' ? "={} " : "=");
    if (value.p[0] != '{')
        buf_printf(arg, STR_FMT " ", STR_ARG(value));
    return 0;
}

static void claims(void **state)
{
    static const struct {
        struct str spec;
        const char *want;
    } rows[] = {
        {STR("{\"clusterIP\":\"10.96.0.9\",\"clusterIPs\":[\"10.96.0.9\",\"fd00::9\"]}"),
         "/registry/ipaddresses/10.96.0.9={} /registry/ipaddresses/fd00::9={} "},
        {STR("{\"clusterIP\":\"10.96.0.9\"}"), "/registry/ipaddresses/10.96.0.9={} "},
        {STR("{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]}"), ""},
        {STR("{\"type\":\"ExternalName\",\"clusterIP\":\"\"}"), ""},
        {STR("{\"ports\":[{\"port\":80,\"nodePort\":30123},{\"port\":81}],\"healthCheckNodePort\":31000}"),
         "/registry/ranges/nodeports/30123=a/b /registry/ranges/nodeports/31000=a/b "},
        {STR("{\"ports\":\"none\",\"clusterIPs\":7}"), ""},
    };
    struct arena *a = arena_create(0);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf got = {0};
        struct err err = ERR_INIT;
        struct str service = arena_printf(a, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"a\"},\"spec\":" STR_FMT "}",
                                          STR_ARG(rows[i].spec));
        assert_int_equal(claims_of_service(a, service, note_claim, &got, &err), 0);
        buf_add_char(&got, 0);
        assert_string_equal(got.p, rows[i].want);
        buf_free(&got);
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(claims)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
