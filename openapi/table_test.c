#include "openapi/table.h"

#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CREATED "\"creationTimestamp\":\"2026-01-01T00:00:00Z\""

static const struct {
    const char *group, *resource, *given, *want;
} rows[] = {
    {"", "pods",
     "{\"metadata\":{\"name\":\"p\"," CREATED
     "},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]"
     "},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"containerStatuses\":[{\"name\":\"a\",\"ready\":true,"
     "\"restartCount\":1,\"state\":{\"running\":{}},\"lastState\":{\"terminated\":{\"finishedAt\":\"2026-01-01T00:03:"
     "00Z\"}}},{"
     "\"name\":\"b\",\"ready\":false,\"restartCount\":0,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}",
     "[\"p\",\"1/2\",\"CrashLoopBackOff\",\"1 (2m ago)\",\"5m\",\"10.0.0.1\",\"n1\",\"<none>\",\"<none>\"]"},
    {"", "pods",
     "{\"metadata\":{\"name\":\"p\"," CREATED
     "},\"spec\":{\"initContainers\":[{\"name\":\"i\"},{\"name\":\"j\"}],\"containers\":[{"
     "\"name\":\"a\"}]},\"status\":{\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{"
     "\"terminated\":{"
     "\"exitCode\":0}}},{\"name\":\"j\",\"state\":{\"running\":{}}}]}}",
     "[\"p\",\"0/1\",\"Init:1/2\",\"0\",\"5m\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
    {"", "pods",
     "{\"metadata\":{\"name\":\"p\"," CREATED
     ",\"deletionTimestamp\":\"2026-01-01T00:05:00Z\"},\"spec\":{\"containers\":[{"
     "\"name\":\"a\"}]},\"status\":{\"phase\":\"Running\"}}",
     "[\"p\",\"0/1\",\"Terminating\",\"0\",\"5m\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
    {"", "pods",
     "{\"metadata\":{\"name\":\"p\"," CREATED
     "},\"spec\":{\"containers\":[{\"name\":\"a\"}]},\"status\":{\"phase\":\"Succeeded\","
     "\"containerStatuses\":[{\"name\":\"a\",\"state\":{\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}}}]}}",
     "[\"p\",\"0/1\",\"Completed\",\"0\",\"5m\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
    {"apps", "deployments",
     "{\"metadata\":{\"name\":\"d\"," CREATED
     "},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"b\":\"2\",\"a\":\"1\"}},"
     "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"},{\"name\":\"d\",\"image\":\"y\"}]}}},"
     "\"status\":{"
     "\"readyReplicas\":2,\"updatedReplicas\":3,\"availableReplicas\":2}}",
     "[\"d\",\"2/3\",3,2,\"5m\",\"c,d\",\"x,y\",\"a=1,b=2\"]"},
    {"", "services",
     "{\"metadata\":{\"name\":\"s\"," CREATED
     "},\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.1\",\"clusterIPs\":["
     "\"10.96.0.1\"],\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":"
     "\"UDP\"}]}}",
     "[\"s\",\"NodePort\",\"10.96.0.1\",\"<none>\",\"80:30080/TCP,53/UDP\",\"5m\",\"<none>\"]"},
    {"", "services", "{\"metadata\":{\"name\":\"s\"," CREATED "},\"spec\":{\"type\":\"LoadBalancer\"}}",
     "[\"s\",\"LoadBalancer\",\"<none>\",\"<pending>\",\"<none>\",\"5m\",\"<none>\"]"},
    {"", "nodes",
     "{\"metadata\":{\"name\":\"n\",\"labels\":{\"node-role.kubernetes.io/worker\":\"\"}," CREATED
     "},\"spec\":{\"unschedulable\":"
     "true},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"addresses\":[{\"type\":"
     "\"InternalIP\","
     "\"address\":\"10.0.0.9\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1.36.2\"}}}",
     "[\"n\",\"Ready,SchedulingDisabled\",\"worker\",\"5m\",\"v1.36.2\",\"10.0.0.9\",\"<none>\",\"<unknown>\",\"<"
     "unknown>\","
     "\"<unknown>\"]"},
    {"", "events",
     "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\"},\"type\":\"Normal\","
     "\"reason\":"
     "\"Started\",\"message\":\"m "
     "\",\"firstTimestamp\":\"2026-01-01T00:00:00Z\",\"lastTimestamp\":\"2026-01-01T00:04:00Z\","
     "\"count\":2,\"source\":{\"component\":\"kubelet\",\"host\":\"n\"}}",
     "[\"60s\",\"Normal\",\"Started\",\"pod/p\",\"\",\"kubelet, n\",\"m\",\"5m\",2,\"e\"]"},
    {"", "configmaps", "{\"metadata\":{\"name\":\"c\"," CREATED "},\"data\":{\"a\":\"b\"},\"binaryData\":{\"c\":\"\"}}",
     "[\"c\",2,\"5m\"]"},
    {"batch", "jobs",
     "{\"metadata\":{\"name\":\"j\"," CREATED
     "},\"spec\":{\"completions\":2,\"template\":{\"spec\":{\"containers\":[]}}},"
     "\"status\":{\"succeeded\":1,\"startTime\":\"2026-01-01T00:04:30Z\"}}",
     "[\"j\",\"Running\",\"1/2\",\"30s\",\"5m\",\"\",\"\",\"<none>\"]"},
    {"rbac.authorization.k8s.io", "roles", "{\"metadata\":{\"name\":\"r\"," CREATED "}}",
     "[\"r\",\"2026-01-01T00:00:00Z\"]"},
    {"autoscaling", "horizontalpodautoscalers",
     "{\"metadata\":{\"name\":\"h\"," CREATED "},\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},"
     "\"minReplicas\":1,\"maxReplicas\":3,\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\","
     "\"target\":{\"type\":"
     "\"Utilization\",\"averageUtilization\":80}}}]}}",
     "[\"h\",\"Deployment/d\",\"cpu: <unknown>/80%\",\"1\",3,0,\"5m\"]"},
};

static void test_rows(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    int64_t now_us = time_from(STR("2026-01-01T00:05:00Z"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct resource *r = resource_find(str_from(rows[i].group), str_from(rows[i].resource));
        struct err err = ERR_INIT;
        struct json_options opt = {0};
        struct value *v = NULL;
        struct buf out = {0};
        size_t n = 0;
        assert_non_null(r);
        assert_int_equal(json_decode(a, str_from(rows[i].given), &opt, &v, &err), 0);
        struct value *cells = table_row_cells(a, r, NULL, v, now_us);
        table_columns(r, NULL, &n);
        assert_int_equal(value_len(cells), n);
        json_encode(&out, cells);
        struct str want = str_from(rows[i].want);
        struct value *want_cells = NULL;
        assert_int_equal(json_decode(a, want, &opt, &want_cells, &err), 0);
        if (!value_equal(cells, want_cells))
            fail_msg("got " STR_FMT "\nwant %s", STR_ARG(buf_str(&out)), rows[i].want);
        buf_free(&out);
    }
    arena_destroy(a);
}

static void test_every_table_fits(void **state)
{
    (void)state;
    size_t n = 0, columns = 0;
    const struct resource *const *all = resources_builtin(&n);
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < n; i++) {
        for (const struct resource_version *v = all[i]->versions; v->version.p; v++) {
            struct value *cells = table_row_cells(a, all[i], v, value_map(a), 0);
            table_columns(all[i], v, &columns);
            if (value_len(cells) != columns)
                fail_msg(STR_FMT ": %zu cells, %zu columns", STR_ARG(all[i]->name), value_len(cells), columns);
        }
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_every_table_fits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
