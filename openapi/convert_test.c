#include "openapi/convert.h"

#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    const char *group, *resource, *from, *to, *given, *want;
} rows[] = {
    {"", "pods", "v1", "v1", "{\"spec\":{}}", "{\"spec\":{},\"kind\":\"Pod\",\"apiVersion\":\"v1\"}"},
    {"", "events", "events.k8s.io/v1", "v1",
     "{\"kind\":\"Event\",\"apiVersion\":\"events.k8s.io/v1\",\"metadata\":{\"name\":\"e\"},\"eventTime\":"
     "\"2026-01-02T03:04:05.000000Z\",\"regarding\":{\"kind\":\"Pod\"},\"note\":\"hello\",\"reportingController\":"
     "\"c\"}",
     "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\"},"
     "\"message\":\"hello\",\"source\":{},\"firstTimestamp\":null,\"lastTimestamp\":null,\"eventTime\":"
     "\"2026-01-02T03:04:05.000000Z\",\"reportingComponent\":\"c\",\"reportingInstance\":\"\"}"},
    {"autoscaling", "horizontalpodautoscalers", "autoscaling/v1", "autoscaling/v2",
     "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"h\"},\"spec\":{"
     "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":"
     "50}}",
     "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\"},\"spec\":{"
     "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3,\"metrics\":[{\"type\":"
     "\"Resource\","
     "\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]},\"status\":{"
     "\"desiredReplicas\":0,\"currentMetrics\":null}}"},
    {"autoscaling", "horizontalpodautoscalers", "autoscaling/v2", "autoscaling/v1",
     "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\"},\"spec\":{"
     "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3,\"metrics\":[{\"type\":\"Pods\","
     "\"pods\":"
     "{\"metric\":{\"name\":\"qps\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"100\"}}}]}}",
     "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"h\","
     "\"annotations\":{\"autoscaling.alpha.kubernetes.io/metrics\":\"[{\\\"type\\\":\\\"Pods\\\",\\\"pods\\\":{"
     "\\\"metricName\\\":\\\"qps\\\",\\\"targetAverageValue\\\":\\\"100\\\"}}]\"}},\"spec\":{\"scaleTargetRef\":{"
     "\"kind\":"
     "\"Deployment\",\"name\":\"d\"},\"maxReplicas\":3},\"status\":{\"currentReplicas\":0,\"desiredReplicas\":0}}"},
};

static void test_convert(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct resource *r = resource_find(str_from(rows[i].group), str_from(rows[i].resource));
        struct err err = ERR_INIT;
        struct json_options opt = {0};
        struct value *v = NULL;
        struct buf out = {0};
        assert_non_null(r);
        assert_int_equal(json_decode(a, str_from(rows[i].given), &opt, &v, &err), 0);
        v = convert(a, r, str_from(rows[i].from), str_from(rows[i].to), v, &err);
        assert_non_null(v);
        json_encode(&out, v);
        buf_add_char(&out, 0);
        assert_string_equal(out.p, rows[i].want);
        buf_free(&out);
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_convert)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
