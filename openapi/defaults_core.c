/* Defaults of the core group's kinds besides pods: services, secrets, namespaces, nodes, volumes, limits. */
#include "openapi/defaults_rules.h"

#include "base/base64.h"

static bool is(const struct value *v, const char *key, const char *text)
{
    return str_eqz(value_str(value_getz(v, key)), text);
}

static void service(struct defaulting *d, struct value *v)
{
    struct value *spec = value_getz(v, "spec");
    d->load_balancer = is(spec, "type", "LoadBalancer");
}

static void service_spec(struct defaulting *d, struct value *v)
{
    bool load_balancer = is(v, "type", "LoadBalancer"), node_port = is(v, "type", "NodePort");
    bool cluster_ip = is(v, "type", "ClusterIP");
    if (is(v, "sessionAffinity", "None")) {
        value_removez(v, "sessionAffinityConfig");
    } else if (is(v, "sessionAffinity", "ClientIP")) {
        struct value *client = defaults_map(d, defaults_map(d, v, "sessionAffinityConfig"), "clientIP");
        defaults_set_int(d, client, "timeoutSeconds", 10800);
    }
    if (node_port || load_balancer || (cluster_ip && value_len(value_getz(v, "externalIPs")) > 0))
        defaults_set_str(d, v, "externalTrafficPolicy", "Cluster");
    if (cluster_ip || node_port || load_balancer)
        defaults_set_str(d, v, "internalTrafficPolicy", "Cluster");
    if (load_balancer)
        defaults_set(d, v, "allocateLoadBalancerNodePorts", value_bool(d->a, true));
}

static void service_port(struct defaulting *d, struct value *v)
{
    const struct value *target = value_getz(v, "targetPort");
    bool missing = defaults_missing(v, "targetPort") || (value_is(target, VALUE_INT) && target->integer == 0);
    if (missing && value_getz(v, "port"))
        value_setz(d->a, v, "targetPort", value_copy(d->a, value_getz(v, "port")));
}

static void load_balancer_ingress(struct defaulting *d, struct value *v)
{
    if (d->load_balancer && !defaults_missing(v, "ip"))
        defaults_set_str(d, v, "ipMode", "VIP");
}

static void secret(struct defaulting *d, struct value *v)
{
    const struct value *texts = value_getz(v, "stringData");
    for (size_t i = 0; i < value_len(texts) && texts->kind == VALUE_MAP; i++) {
        struct value *data = defaults_map(d, v, "data");
        value_set(d->a, data, texts->map.members[i].key,
                  value_string(d->a, base64_encode(d->a, value_str(texts->map.members[i].value))));
    }
    value_removez(v, "stringData");
}

static void namespace(struct defaulting *d, struct value *v)
{
    struct str name = value_path_str(v, "metadata.name");
    if (name.len == 0)
        return;
    struct value *labels = value_ensure_map(d->a, v, "metadata.labels");
    value_setz(d->a, labels, "kubernetes.io/metadata.name", value_string(d->a, name));
}

static void node_spec(struct defaulting *d, struct value *v)
{
    const struct value *cidrs = value_getz(v, "podCIDRs");
    if (value_len(cidrs) > 0 && defaults_missing(v, "podCIDR"))
        value_setz(d->a, v, "podCIDR", value_copy(d->a, value_at(cidrs, 0)));
    else if (value_len(cidrs) == 0 && !defaults_missing(v, "podCIDR"))
        value_append(d->a, value_ensure_list(d->a, v, "podCIDRs"), value_copy(d->a, value_getz(v, "podCIDR")));
}

static void node_status(struct defaulting *d, struct value *v)
{
    const struct value *capacity = value_getz(v, "capacity");
    const struct value *allocatable = value_getz(v, "allocatable");
    if (value_len(capacity) > 0 && (!allocatable || allocatable->kind == VALUE_NULL))
        value_setz(d->a, v, "allocatable", value_copy(d->a, capacity));
}

static void pending(struct defaulting *d, struct value *v)
{
    defaults_set_str(d, defaults_map(d, v, "status"), "phase", "Pending");
}

/* dataSource is the old name of a dataSourceRef without a namespace. */
static void claim_spec(struct defaulting *d, struct value *v)
{
    const struct value *source = value_getz(v, "dataSource"), *ref = value_getz(v, "dataSourceRef");
    if (value_is(source, VALUE_MAP) && !value_is(ref, VALUE_MAP))
        value_setz(d->a, v, "dataSourceRef", value_copy(d->a, source));
    else if (value_is(ref, VALUE_MAP) && !value_is(source, VALUE_MAP) && defaults_missing(ref, "namespace"))
        value_setz(d->a, v, "dataSource", value_copy(d->a, ref));
}

static void fill(struct defaulting *d, struct value *v, const char *key, const struct value *from)
{
    for (size_t i = 0; i < value_len(from) && from->kind == VALUE_MAP; i++) {
        struct value *to = defaults_map(d, v, key);
        if (!value_get(to, from->map.members[i].key))
            value_set(d->a, to, from->map.members[i].key, value_copy(d->a, from->map.members[i].value));
    }
}

static void limit_range_item(struct defaulting *d, struct value *v)
{
    if (!is(v, "type", "Container"))
        return;
    fill(d, v, "default", value_getz(v, "max"));
    fill(d, v, "defaultRequest", value_getz(v, "default"));
    fill(d, v, "defaultRequest", value_getz(v, "min"));
}

static void replication_controller(struct defaulting *d, struct value *v)
{
    const struct value *labels = value_path(v, "spec.template.metadata.labels");
    if (value_len(labels) == 0)
        return;
    if (value_len(value_path(v, "spec.selector")) == 0)
        value_set_path(d->a, v, "spec.selector", value_copy(d->a, labels));
    if (value_len(value_path(v, "metadata.labels")) == 0)
        value_set_path(d->a, v, "metadata.labels", value_copy(d->a, labels));
}

const struct defaults_entry defaults_core_entries[] = {
    {&schema_core_v1_service, service},
    {&schema_core_v1_service_spec, service_spec},
    {&schema_core_v1_service_port, service_port},
    {&schema_core_v1_load_balancer_ingress, load_balancer_ingress},
    {&schema_core_v1_secret, secret},
    {&schema_core_v1_namespace_, namespace},
    {&schema_core_v1_node_spec, node_spec},
    {&schema_core_v1_node_status, node_status},
    {&schema_core_v1_persistent_volume, pending},
    {&schema_core_v1_persistent_volume_claim, pending},
    {&schema_core_v1_persistent_volume_claim_spec, claim_spec},
    {&schema_core_v1_limit_range_item, limit_range_item},
    {&schema_core_v1_replication_controller, replication_controller},
    {NULL, NULL},
};
