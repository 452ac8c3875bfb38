#include "openapi/validate.h"

#include "openapi/defaults.h"
#include "openapi/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define META "\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"}"
#define CONTAINERS "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]"
#define TEMPLATE "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{" CONTAINERS "}}"
#define SELECTOR "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}"

static struct arena *arena;

static struct value *parse(const struct resource *r, const char *version, const char *json)
{
    struct err err = ERR_INIT;
    struct json_options opt = {.schema = resource_version_find(r, str_from(version))->message};
    struct value *v = NULL;
    if (json_decode(arena, str_from(json), &opt, &v, &err) < 0)
        fail_msg("%s: %s", json, err.message);
    defaults_apply(arena, r, str_from(version), v);
    return v;
}

static const struct {
    const char *group, *resource, *given, *want; /* want: problems_text, "" = valid */
} creates[] = {
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS "}}", ""},
    {"", "pods", "{\"metadata\":{\"name\":\"A\",\"namespace\":\"n\"},\"spec\":{" CONTAINERS "}}",
     "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
     "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
     "for "
     "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
    {"", "pods", "{\"metadata\":{\"namespace\":\"n\"},\"spec\":{" CONTAINERS "}}",
     "metadata.name: Required value: name or generateName is required"},
    {"", "pods", "{" META ",\"spec\":{}}", "spec.containers: Required value"},
    {"", "pods", "{" META ",\"spec\":{\"containers\":[{\"image\":\"x\"}]}}", "spec.containers[0].name: Required value"},
    {"", "pods", "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", "spec.containers[0].image: Required value"},
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS ",\"restartPolicy\":\"Often\"}}",
     "spec.restartPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"OnFailure\", \"Never\""},
    {"", "pods",
     "{" META
     ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":"
     "\"/v\"}]}]}}",
     "spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
    {"", "pods",
     "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"requests\":{\"cpu\":\"2\"},"
     "\"limits\":{\"cpu\":\"1\"}}}]}}",
     "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
    {"", "pods",
     "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"},{\"name\":\"c\",\"image\":\"y\"}]}}",
     "spec.containers[1].name: Duplicate value: \"c\""},
    {"", "pods",
     "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"ports\":[{\"containerPort\":70000}]}]}}",
     "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"},
    {"", "pods",
     "{" META
     ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"livenessProbe\":{\"initialDelaySeconds\":-1}}]}}",
     "[spec.containers[0].livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0, "
     "spec.containers[0].livenessProbe: Required value: must specify a handler type]"},
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS ",\"tolerations\":[{\"operator\":\"Equal\"}]}}",
     "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means "
     "\"match all values and all keys\""},
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS ",\"dnsPolicy\":\"None\"}}",
     "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
    {"", "pods",
     "{" META
     ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"env\":[{\"name\":\"E\",\"valueFrom\":{\"fieldRef\":{"
     "\"fieldPath\":\"status.phase\"}}}]}]}}",
     "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: "
     "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", "
     "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""},
    {"", "pods",
     "{" META ",\"spec\":{" CONTAINERS ",\"volumes\":[{\"name\":\"v\",\"emptyDir\":{},\"hostPath\":{\"path\":\"/"
     "\"}},{\"name\":\"v\",\"configMap\":{\"name\":\"c\","
     "\"items\":[{\"key\":\"k\",\"path\":\"/abs\"}]}}]}}",
     "[spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type, "
     "spec.volumes[1].configMap.items[0].path: Invalid value: \"/abs\": must be a relative path, "
     "spec.volumes[1].name: Duplicate value: \"v\"]"},
    {"", "pods",
     "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"labels\":{\"a b\":\"c\"}},\"spec\":{" CONTAINERS "}}",
     "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and "
     "must "
     "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
     "validation "
     "is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    {"apps", "deployments", "{" META ",\"spec\":{" SELECTOR "," TEMPLATE "}}", ""},
    {"apps", "deployments", "{" META ",\"spec\":{\"replicas\":-1," SELECTOR "," TEMPLATE "}}",
     "spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
    {"apps", "deployments", "{" META ",\"spec\":{" TEMPLATE "}}", "spec.selector: Required value"},
    {"apps", "deployments", "{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}}," TEMPLATE "}}",
     "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
    {"apps", "deployments",
     "{" META ",\"spec\":{" SELECTOR "," TEMPLATE ",\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":{}}}}",
     "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
    {"apps", "statefulsets", "{" META ",\"spec\":{\"serviceName\":\"s\"," SELECTOR "," TEMPLATE "}}", ""},
    {"apps", "daemonsets", "{" META ",\"spec\":{" SELECTOR "," TEMPLATE "}}", ""},
    {"apps", "replicasets", "{" META ",\"spec\":{" SELECTOR "," TEMPLATE "}}", ""},
    {"", "services", "{" META ",\"spec\":{\"ports\":[{\"port\":80}]}}", ""},
    {"", "services", "{" META ",\"spec\":{}}", "spec.ports: Required value"},
    {"", "services", "{" META ",\"spec\":{\"ports\":[{\"port\":80},{\"port\":81}]}}",
     "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]"},
    {"", "services", "{" META ",\"spec\":{\"type\":\"Odd\",\"ports\":[{\"port\":80}]}}",
     "spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", "
     "\"NodePort\""},
    {"", "configmaps", "{" META ",\"data\":{\"a\":\"b\"}}", ""},
    {"", "configmaps", "{" META ",\"data\":{\"a b\":\"b\"}}",
     "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
     "(e.g. "
     "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"},
    {"", "secrets", "{" META ",\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"\"}}",
     "data[tls.key]: Required value"},
    {"", "namespaces", "{\"metadata\":{\"name\":\"n\"}}", ""},
    {"", "nodes", "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]}}",
     ""},
    {"batch", "jobs", "{" META ",\"spec\":{" SELECTOR "," TEMPLATE "}}",
     "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""},
    {"batch", "cronjobs",
     "{" META ",\"spec\":{\"schedule\":\"* * "
     "*\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\"," CONTAINERS "}}}}}}",
     "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"},
    {"rbac.authorization.k8s.io", "roles", "{" META ",\"rules\":[{\"resources\":[\"pods\"],\"apiGroups\":[\"\"]}]}",
     "rules[0].verbs: Required value: verbs must contain at least one value"},
    {"rbac.authorization.k8s.io", "clusterrolebindings",
     "{\"metadata\":{\"name\":\"system:x\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"y\"},\"subjects\":[{"
     "\"kind\":"
     "\"User\",\"name\":\"u\"}]}",
     ""},
    {"networking.k8s.io", "ingresses", "{" META ",\"spec\":{}}",
     "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"},
    {"", "persistentvolumeclaims", "{" META ",\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]}}",
     "spec.resources[storage]: Required value"},
    {"policy", "poddisruptionbudgets", "{" META ",\"spec\":{\"minAvailable\":1,\"maxUnavailable\":1}}",
     "spec: Invalid value: {\"minAvailable\":1,\"maxUnavailable\":1}: minAvailable and maxUnavailable cannot be both "
     "set"},
    {"coordination.k8s.io", "leases", "{" META ",\"spec\":{\"leaseDurationSeconds\":0}}",
     "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"},
    {"", "events",
     "{\"metadata\":{\"name\":\"e\",\"namespace\":\"n\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"n\"}}",
     ""},
    {"", "endpoints", "{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"}],\"ports\":[{\"port\":80}]}]}", ""},
    {"discovery.k8s.io", "endpointslices",
     "{" META ",\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}],\"ports\":[{\"port\":80}]}",
     ""},
    {"scheduling.k8s.io", "priorityclasses", "{\"metadata\":{\"name\":\"p\"},\"value\":10}", ""},
    {"", "serviceaccounts", "{" META "}", ""},
    {"storage.k8s.io", "storageclasses", "{\"metadata\":{\"name\":\"p\"},\"provisioner\":\"a.b/c\"}", ""},
    {"networking.k8s.io", "networkpolicies", "{" META ",\"spec\":{\"ingress\":[{\"from\":[{\"podSelector\":{}}]}]}}",
     ""},
};

static void test_create(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof creates / sizeof *creates; i++) {
        const struct resource *r = resource_find(str_from(creates[i].group), str_from(creates[i].resource));
        assert_non_null(r);
        struct problems *p = problems_create(arena);
        validate_create(p, r, parse(r, "v1", creates[i].given));
        struct str got = p->len ? problems_text(p) : STR("");
        if (!str_eqz(got, creates[i].want)) {
            print_error("%s\n  got  " STR_FMT "\n  want %s\n", creates[i].given, STR_ARG(got), creates[i].want);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static const struct {
    const char *group, *resource, *old, *now, *want;
} updates[] = {
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS "}}",
     "{" META ",\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"y:1\",\"imagePullPolicy\":\"Always\"}]}}", ""},
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS "}}", "{" META ",\"spec\":{" CONTAINERS ",\"hostNetwork\":true}}",
     "spec: Forbidden: pod updates may not change fields other than "
     "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
     "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
     "previously "
     "negative)\n"},
    {"", "pods", "{" META ",\"spec\":{" CONTAINERS ",\"tolerations\":[{\"operator\":\"Exists\"}]}}",
     "{" META ",\"spec\":{" CONTAINERS "}}",
     "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"},
    {"apps", "deployments", "{" META ",\"spec\":{" SELECTOR "," TEMPLATE "}}",
     "{" META
     ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}},\"template\":{\"metadata\":{\"labels\":{"
     "\"a\":\"b\",\"c\":\"d\"}},\"spec\":{" CONTAINERS "}}}}",
     "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"},
    {"", "services",
     "{" META ",\"spec\":{\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"],\"ports\":[{\"port\":80}]}}",
     "{" META ",\"spec\":{\"clusterIP\":\"10.0.0.2\",\"clusterIPs\":[\"10.0.0.2\"],\"ports\":[{\"port\":80}]}}",
     "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"},
    {"", "configmaps", "{" META ",\"immutable\":true,\"data\":{\"a\":\"b\"}}",
     "{" META ",\"immutable\":true,\"data\":{\"a\":\"c\"}}",
     "data: Forbidden: field is immutable when `immutable` is set"},
    {"", "secrets", "{" META ",\"type\":\"Opaque\"}", "{" META ",\"type\":\"x/y\"}",
     "type: Invalid value: \"x/y\": field is immutable"},
    {"apps", "statefulsets", "{" META ",\"spec\":{\"serviceName\":\"s\"," SELECTOR "," TEMPLATE "}}",
     "{" META ",\"spec\":{\"serviceName\":\"t\"," SELECTOR "," TEMPLATE "}}",
     "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
     "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
     "forbidden"},
};

static void test_update(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        const struct resource *r = resource_find(str_from(updates[i].group), str_from(updates[i].resource));
        struct problems *p = problems_create(arena);
        validate_update(p, r, parse(r, "v1", updates[i].now), parse(r, "v1", updates[i].old));
        struct str got = p->len ? problems_text(p) : STR("");
        if (!str_eqz(got, updates[i].want)) {
            print_error("%s\n  got  " STR_FMT "\n  want %s\n", updates[i].now, STR_ARG(got), updates[i].want);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_create), cmocka_unit_test(test_update)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
