#include "api/registry/registry.h"

/* Kinds whose only rules are marks. Those with code stand in their own files. */
static const struct registry_rules marks[] = {
    {.group = "", .resource = "endpoints", .flags = REGISTRY_CREATE_ON_UPDATE},
    {.group = "", .resource = "events", .flags = REGISTRY_CREATE_ON_UPDATE, .ttl_s = 3600},
    {.group = "", .resource = "limitranges", .flags = REGISTRY_CREATE_ON_UPDATE},
    {.group = "",
     .resource = "podtemplates",
     .flags = REGISTRY_GENERATION | REGISTRY_RETURN_DELETED,
     .desired = "template"},
    {.group = "", .resource = "replicationcontrollers", .flags = REGISTRY_GENERATION},
    {.group = "", .resource = "resourcequotas", .flags = REGISTRY_RETURN_DELETED},
    {.group = "apps", .resource = "deployments", .flags = REGISTRY_GENERATION | REGISTRY_STATUS_LABELS},
    {.group = "apps", .resource = "daemonsets", .flags = REGISTRY_GENERATION},
    {.group = "apps", .resource = "replicasets", .flags = REGISTRY_GENERATION},
    {.group = "apps", .resource = "statefulsets", .flags = REGISTRY_GENERATION},
    {.group = "batch", .resource = "cronjobs", .flags = REGISTRY_GENERATION},
    {.group = "networking.k8s.io", .resource = "ingresses", .flags = REGISTRY_GENERATION},
    {.group = "networking.k8s.io", .resource = "ingressclasses", .flags = REGISTRY_GENERATION},
    {.group = "networking.k8s.io", .resource = "networkpolicies", .flags = REGISTRY_GENERATION},
    {.group = "networking.k8s.io", .resource = "ipaddresses", .flags = REGISTRY_CONDITIONAL},
    {.group = "policy", .resource = "poddisruptionbudgets", .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "discovery.k8s.io", .resource = "endpointslices", .flags = REGISTRY_GENERATION, .desired = "endpoints"},
    {.group = "coordination.k8s.io",
     .resource = "leasecandidates",
     .flags = REGISTRY_CREATE_ON_UPDATE | REGISTRY_CONDITIONAL},
    {.group = "scheduling.k8s.io", .resource = "priorityclasses", .flags = REGISTRY_GENERATION, .desired = "value"},
    {.group = "node.k8s.io", .resource = "runtimeclasses", .flags = REGISTRY_CONDITIONAL},
    {.group = "storage.k8s.io", .resource = "storageclasses", .flags = REGISTRY_RETURN_DELETED},
    {.group = "storage.k8s.io", .resource = "csidrivers", .flags = REGISTRY_RETURN_DELETED | REGISTRY_CONDITIONAL},
    {.group = "storage.k8s.io", .resource = "csinodes", .flags = REGISTRY_RETURN_DELETED | REGISTRY_CONDITIONAL},
    {.group = "storage.k8s.io", .resource = "csistoragecapacities", .flags = REGISTRY_RETURN_DELETED},
    {.group = "storage.k8s.io",
     .resource = "volumeattachments",
     .flags = REGISTRY_RETURN_DELETED | REGISTRY_CONDITIONAL},
    {.group = "storage.k8s.io", .resource = "volumeattributesclasses", .flags = REGISTRY_RETURN_DELETED},
    {.group = "flowcontrol.apiserver.k8s.io", .resource = "flowschemas", .flags = REGISTRY_GENERATION},
    {.group = "flowcontrol.apiserver.k8s.io", .resource = "prioritylevelconfigurations", .flags = REGISTRY_GENERATION},
    {.group = "admissionregistration.k8s.io",
     .resource = "mutatingwebhookconfigurations",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL,
     .desired = "webhooks"},
    {.group = "admissionregistration.k8s.io",
     .resource = "validatingwebhookconfigurations",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL,
     .desired = "webhooks"},
    {.group = "admissionregistration.k8s.io",
     .resource = "validatingadmissionpolicies",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "admissionregistration.k8s.io",
     .resource = "validatingadmissionpolicybindings",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "admissionregistration.k8s.io",
     .resource = "mutatingadmissionpolicies",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "admissionregistration.k8s.io",
     .resource = "mutatingadmissionpolicybindings",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "apiextensions.k8s.io",
     .resource = "customresourcedefinitions",
     .flags = REGISTRY_GENERATION | REGISTRY_CONDITIONAL},
    {.group = "apiregistration.k8s.io", .resource = "apiservices", .flags = REGISTRY_CONDITIONAL},
};

static const struct registry_rules *const files[] = {
    &registry_pods,
    &registry_services,
    &registry_namespaces,
    &registry_nodes,
    &registry_secrets,
    &registry_serviceaccounts,
    &registry_persistentvolumes,
    &registry_persistentvolumeclaims,
    &registry_jobs,
    &registry_leases,
    &registry_certificatesigningrequests,
    &registry_roles,
    &registry_clusterroles,
    &registry_rolebindings,
    &registry_clusterrolebindings,
};

static bool is(const struct registry_rules *rules, const struct resource *r)
{
    return str_eqz(r->group, rules->group) && str_eqz(r->name, rules->resource);
}

static const struct registry_rules *look_up(const struct resource *r)
{
    static const struct registry_rules none = {.group = "", .resource = ""};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (is(files[i], r))
            return files[i];
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (is(&marks[i], r))
            return &marks[i];
    return &none;
}

const struct registry_rules *registry_rules_of(const struct resource *r)
{
    static _Atomic(const struct registry_rules *) found[512]; /* by resource index */
    if (r->stored_as && r->stored_as != r)
        r = r->stored_as;
    if (r->index >= sizeof found / sizeof *found)
        return look_up(r);
    const struct registry_rules *rules = found[r->index];
    if (!rules || !is(rules, r))
        found[r->index] = rules = look_up(r);
    return rules;
}

bool registry_has_status(const struct resource *r)
{
    const struct resource_version *v = resource_storage_version(r);
    if (!v)
        v = r->versions;
    for (const struct subresource *s = v->subresources; s && s->name.p; s++)
        if (str_eqz(s->name, "status"))
            return true;
    return false;
}
