#include "openapi/defaults.h"

#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define POD_TAIL "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
#define CONTAINER_TAIL                                                                          \
    "\"terminationMessagePath\":\"/dev/termination-log\",\"imagePullPolicy\":\"IfNotPresent\"," \
    "\"terminationMessagePolicy\":\"File\""

static const struct {
    const char *group, *resource, *version, *given, *want;
} rows[] = {
    {"", "pods", "v1",
     "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx\","
     "\"resources\":{\"limits\":{\"cpu\":\"1\"}},\"ports\":[{\"containerPort\":80}]}]}}",
     "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"ports\":["
     "{\"containerPort\":80,\"protocol\":\"TCP\"}],\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"cpu\":"
     "\"1\"}},\"terminationMessagePath\":\"/dev/termination-log\",\"imagePullPolicy\":\"Always\","
     "\"terminationMessagePolicy\":\"File\"}],"
     "\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
     "\"securityContext\":{},\"schedulerName\":\"default-scheduler\",\"enableServiceLinks\":true},\"status\":{}}"},
    {"apps", "deployments", "v1",
     "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":"
     "{"
     "\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx:1\",\"livenessProbe\":{"
     "\"httpGet\":{\"port\":80}}}]}}}}",
     "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"replicas\":1,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
     "\"template\":{"
     "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx:1\","
     "\"resources\":{},\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":80,\"scheme\":\"HTTP\"},"
     "\"timeoutSeconds\":1,\"periodSeconds\":10,\"successThreshold\":1,\"failureThreshold\":3}," CONTAINER_TAIL
     "}]," POD_TAIL "\"securityContext\":{},\"schedulerName\":\"default-scheduler\"}},\"strategy\":{\"type\":"
     "\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":\"25%\",\"maxSurge\":\"25%\"}},"
     "\"revisionHistoryLimit\":10,\"progressDeadlineSeconds\":600},\"status\":{}}"},
    {"", "services", "v1", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"port\":80}]}}",
     "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":80}],"
     "\"type\":\"ClusterIP\",\"sessionAffinity\":\"None\",\"internalTrafficPolicy\":\"Cluster\"},"
     "\"status\":{\"loadBalancer\":{}}}"},
    {"", "services", "v1", "{\"spec\":{\"type\":\"NodePort\",\"sessionAffinity\":\"ClientIP\"}}",
     "{\"metadata\":{},\"spec\":{\"type\":\"NodePort\",\"sessionAffinity\":\"ClientIP\","
     "\"externalTrafficPolicy\":\"Cluster\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10800}},"
     "\"internalTrafficPolicy\":\"Cluster\"},\"status\":{\"loadBalancer\":{}}}"},
    {"", "secrets", "v1", "{\"stringData\":{\"a\":\"hello\"},\"data\":{\"b\":\"eA==\"}}",
     "{\"metadata\":{},\"data\":{\"b\":\"eA==\",\"a\":\"aGVsbG8=\"},\"type\":\"Opaque\"}"},
    {"", "namespaces", "v1", "{\"metadata\":{\"name\":\"n\"}}",
     "{\"metadata\":{\"name\":\"n\",\"labels\":{\"kubernetes.io/metadata.name\":\"n\"}},\"spec\":{},\"status\":{"
     "\"phase\":\"Active\"}}"},
    {"batch", "jobs", "v1", "{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}}",
     "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"parallelism\":1,\"completions\":1,"
     "\"manualSelector\":false,\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{" POD_TAIL
     "\"securityContext\":{},\"schedulerName\":\"default-scheduler\"}},\"backoffLimit\":6,"
     "\"completionMode\":\"NonIndexed\",\"suspend\":false,\"podReplacementPolicy\":\"TerminatingOrFailed\"},"
     "\"status\":{}}"},
    {"autoscaling", "horizontalpodautoscalers", "v2",
     "{\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"a\"},\"maxReplicas\":3}}",
     "{\"metadata\":{},\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"a\"},\"minReplicas\":1,"
     "\"maxReplicas\":3,\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":"
     "\"Utilization\",\"averageUtilization\":80}}}]},\"status\":{\"desiredReplicas\":0,\"currentMetrics\":null}}"},
    {"networking.k8s.io", "networkpolicies", "v1", "{\"spec\":{\"egress\":[{}]}}",
     "{\"metadata\":{},\"spec\":{\"podSelector\":{},\"egress\":[{}],\"policyTypes\":[\"Ingress\",\"Egress\"]}}"},
    {"rbac.authorization.k8s.io", "rolebindings", "v1",
     "{\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"},{\"kind\":\"ServiceAccount\",\"name\":\"s\"}],\"roleRef\":{"
     "\"kind\":\"Role\",\"name\":\"r\"}}",
     "{\"metadata\":{},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"u\"},{"
     "\"kind\":\"ServiceAccount\",\"name\":\"s\"}],\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
     "\"Role\",\"name\":\"r\"}}"},
    /* what Go writes although it is empty: numbers of values, null of pointers */
    {"policy", "poddisruptionbudgets", "v1", "{}",
     "{\"metadata\":{},\"spec\":{},\"status\":{\"disruptionsAllowed\":0,\"currentHealthy\":0,\"desiredHealthy\":0,"
     "\"expectedPods\":0}}"},
    {"", "persistentvolumeclaims", "v1",
     "{\"spec\":{\"dataSource\":{\"kind\":\"PersistentVolumeClaim\",\"name\":\"c\"}}}",
     "{\"metadata\":{},\"spec\":{\"resources\":{},\"volumeMode\":\"Filesystem\",\"dataSource\":{\"apiGroup\":null,"
     "\"kind\":\"PersistentVolumeClaim\",\"name\":\"c\"},\"dataSourceRef\":{\"apiGroup\":null,"
     "\"kind\":\"PersistentVolumeClaim\",\"name\":\"c\"}},\"status\":{\"phase\":\"Pending\"}}"},
    {"storage.k8s.io", "volumeattachments", "v1", "{\"status\":{\"attachError\":{}}}",
     "{\"metadata\":{},\"spec\":{\"attacher\":\"\",\"source\":{},\"nodeName\":\"\"},\"status\":{\"attached\":false,"
     "\"attachError\":{\"time\":null}}}"},
};

static void test_defaults(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct resource *r = resource_find(str_from(rows[i].group), str_from(rows[i].resource));
        assert_non_null(r);
        struct err err = ERR_INIT;
        struct json_options opt = {.schema = resource_version_find(r, str_from(rows[i].version))->message};
        struct value *v = NULL;
        if (json_decode(a, str_from(rows[i].given), &opt, &v, &err) < 0)
            fail_msg("%s", err.message);
        for (int again = 0; again < 2; again++) {
            struct buf out = {0};
            defaults_apply(a, r, str_from(rows[i].version), v);
            json_encode(&out, v);
            buf_add_char(&out, 0);
            assert_string_equal(out.p, rows[i].want);
            buf_free(&out);
        }
    }
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
