/* Defaults of the kinds that govern others: RBAC, networking policy, storage drivers, flow control, definitions. */
#include "openapi/defaults_rules.h"

static bool is(const struct value *v, const char *key, const char *text)
{
    return str_eqz(value_str(value_getz(v, key)), text);
}

static void subject(struct defaulting *d, struct value *v)
{
    if (is(v, "kind", "User") || is(v, "kind", "Group"))
        defaults_set_str(d, v, "apiGroup", "rbac.authorization.k8s.io");
}

static void network_policy_spec(struct defaulting *d, struct value *v)
{
    if (value_len(value_getz(v, "policyTypes")) > 0)
        return;
    struct value *types = value_list(d->a);
    value_append(d->a, types, value_stringz(d->a, "Ingress"));
    if (value_len(value_getz(v, "egress")) > 0)
        value_append(d->a, types, value_stringz(d->a, "Egress"));
    value_setz(d->a, v, "policyTypes", types);
}

static void csi_driver_spec(struct defaulting *d, struct value *v)
{
    if (value_len(value_getz(v, "volumeLifecycleModes")) > 0)
        return;
    struct value *modes = value_list(d->a);
    value_append(d->a, modes, value_stringz(d->a, "Persistent"));
    value_setz(d->a, v, "volumeLifecycleModes", modes);
}

static void limited_priority(struct defaulting *d, struct value *v)
{
    defaults_set_int(d, v, "nominalConcurrencyShares", 30);
}

static void definition_spec(struct defaulting *d, struct value *v)
{
    struct value *names = value_getz(v, "names");
    struct str kind = value_str(value_getz(names, "kind"));
    if (kind.len > 0 && defaults_missing(names, "listKind"))
        value_setz(d->a, names, "listKind", value_string(d->a, arena_printf(d->a, STR_FMT "List", STR_ARG(kind))));
    if (kind.len > 0 && defaults_missing(names, "singular")) {
        char *lower = arena_memdup(d->a, kind.p, kind.len);
        for (size_t i = 0; i < kind.len; i++)
            lower[i] = (char)(lower[i] >= 'A' && lower[i] <= 'Z' ? lower[i] + 32 : lower[i]);
        value_setz(d->a, names, "singular", value_string(d->a, (struct str){lower, kind.len}));
    }
    defaults_set_str(d, defaults_map(d, v, "conversion"), "strategy", "None");
}

static void device_count(struct defaulting *d, struct value *v)
{
    if (is(v, "allocationMode", "ExactCount") && value_path_int(v, "count", 0) == 0)
        value_setz(d->a, v, "count", value_int(d->a, 1));
}

const struct defaults_entry defaults_policy_entries[] = {
    {&schema_rbac_v1_subject, subject},
    {&schema_networking_v1_network_policy_spec, network_policy_spec},
    {&schema_storage_v1_csi_driver_spec, csi_driver_spec},
    {&schema_flowcontrol_v1_limited_priority_level_configuration, limited_priority},
    {&schema_apiextensions_v1_custom_resource_definition_spec, definition_spec},
    {&schema_resource_v1_exact_device_request, device_count},
    {&schema_resource_v1_device_sub_request, device_count},
    {NULL, NULL},
};
