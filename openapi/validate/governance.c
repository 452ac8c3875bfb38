/* RBAC, disruption budgets, priority classes and leases. */
#include "openapi/validate/rules.h"

#define RBAC "rbac.authorization.k8s.io"

static void check_rules(struct check *c, const struct value *rules, bool namespaced)
{
    for (size_t i = 0; i < value_len(rules); i++) {
        const struct value *r = value_at(rules, i), *urls = value_getz(r, "nonResourceURLs");
        at_path at = AT_INDEX(AT(NULL, "rules"), i);
        size_t groups = value_len(value_getz(r, "apiGroups")), resources = value_len(value_getz(r, "resources"));
        if (value_len(value_getz(r, "verbs")) == 0)
            bad_required(c, AT(at, "verbs"), "verbs must contain at least one value");
        if (value_len(urls) > 0) {
            if (namespaced)
                bad_invalid(c, AT(at, "nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
            if (groups || resources || value_len(value_getz(r, "resourceNames")))
                bad_invalid(c, AT(at, "nonResourceURLs"), urls,
                            "rules cannot apply to both regular resources and non-resource URLs");
            continue;
        }
        if (groups == 0)
            bad_required(c, AT(at, "apiGroups"), "resource rules must supply at least one api group");
        if (resources == 0)
            bad_required(c, AT(at, "resources"), "resource rules must supply at least one resource");
    }
}

static void role(struct check *c, const struct value *obj)
{
    check_rules(c, value_getz(obj, "rules"), true);
}

static void cluster_role(struct check *c, const struct value *obj)
{
    const struct value *selectors = value_path(obj, "aggregationRule.clusterRoleSelectors");
    check_rules(c, value_getz(obj, "rules"), false);
    if (!has(obj, "aggregationRule"))
        return;
    at_path at = AT(AT(NULL, "aggregationRule"), "clusterRoleSelectors");
    if (value_len(selectors) == 0)
        bad_required(c, at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    for (size_t i = 0; i < value_len(selectors); i++)
        check_label_selector(c, AT_INDEX(at, i), value_at(selectors, i));
}

static void check_subject(struct check *c, at_path at, const struct value *s)
{
    struct str kind = text_of(s, "kind"), name = text_of(s, "name"), group = text_of(s, "apiGroup");
    if (name.len == 0)
        bad_required(c, AT(at, "name"), "");
    if (str_eqz(kind, "ServiceAccount")) {
        if (name.len)
            bad_name(c, AT(at, "name"), name_check_dns1123_subdomain, name);
        if (group.len)
            bad_unsupported(c, AT(at, "apiGroup"), value_getz(s, "apiGroup"), "");
        if (text_of(s, "namespace").len == 0)
            bad_required(c, AT(at, "namespace"), "");
    } else if (one_of(kind, "User,Group")) {
        if (!str_eqz(group, RBAC))
            bad_unsupported(c, AT(at, "apiGroup"), text_value(c, group), RBAC);
    } else {
        bad_unsupported(c, AT(at, "kind"), text_value(c, kind), "ServiceAccount,User,Group");
    }
}

static void check_binding(struct check *c, const struct value *obj, const char *kinds)
{
    const struct value *ref = value_getz(obj, "roleRef"), *subjects = value_getz(obj, "subjects");
    at_path at = AT(NULL, "roleRef");
    if (!text_is(ref, "apiGroup", RBAC))
        bad_unsupported(c, AT(at, "apiGroup"), text_value(c, text_of(ref, "apiGroup")), RBAC);
    if (!one_of(text_of(ref, "kind"), kinds))
        bad_unsupported(c, AT(at, "kind"), text_value(c, text_of(ref, "kind")), kinds);
    if (text_of(ref, "name").len == 0)
        bad_required(c, AT(at, "name"), "");
    else
        bad_name(c, AT(at, "name"), name_check_path_segment, text_of(ref, "name"));
    for (size_t i = 0; i < value_len(subjects); i++)
        check_subject(c, AT_INDEX(AT(NULL, "subjects"), i), value_at(subjects, i));
}

static void role_binding(struct check *c, const struct value *obj)
{
    check_binding(c, obj, "Role,ClusterRole");
}

static void cluster_role_binding(struct check *c, const struct value *obj)
{
    check_binding(c, obj, "ClusterRole");
}

static void binding_update(struct check *c, const struct value *obj, const struct value *old)
{
    if (!value_semantic_equal(value_getz(obj, "roleRef"), value_getz(old, "roleRef")))
        bad_invalid(c, AT(NULL, "roleRef"), value_getz(obj, "roleRef"), "cannot change roleRef");
}

static void disruption_budget(struct check *c, const struct value *obj)
{
    static const char *const both[] = {"minAvailable", "maxUnavailable"};
    const struct value *spec = value_getz(obj, "spec");
    at_path at = AT(NULL, "spec");
    if (has(spec, both[0]) && has(spec, both[1]))
        bad_invalid(c, at, spec, "minAvailable and maxUnavailable cannot be both set");
    for (size_t i = 0; i < 2; i++) {
        check_int_or_percent(c, at, spec, both[i]);
        if (is_percent(spec, both[i]) && int_or_percent_of(spec, both[i]) > 100)
            bad_invalid(c, AT_STR(at, str_from(both[i])), value_getz(spec, both[i]), "must not be greater than 100%%");
    }
    check_label_selector(c, AT(at, "selector"), value_getz(spec, "selector"));
}

static void priority_class(struct check *c, const struct value *obj)
{
    struct str name = value_path_str(obj, "metadata.name");
    bool system = one_of(name, "system-cluster-critical,system-node-critical");
    if (str_starts(name, STR("system-")) && !system)
        bad_forbidden(c, AT(AT(NULL, "metadata"), "name"),
                      "priority class names with 'system-' prefix are reserved for system use only. error: " STR_FMT
                      " is not a known system priority class",
                      STR_ARG(name));
    else if (!system && int_of(obj, "value") > 1000000000)
        bad_forbidden(c, AT(NULL, "value"), "maximum allowed value of a user defined priority is 1000000000");
}

static void priority_class_update(struct check *c, const struct value *obj, const struct value *old)
{
    if (int_of(obj, "value") != int_of(old, "value"))
        bad_forbidden(c, AT(NULL, "value"), "may not be changed in an update.");
    if (!str_eq(text_of(obj, "preemptionPolicy"), text_of(old, "preemptionPolicy")))
        bad_invalid(c, AT(NULL, "preemptionPolicy"), value_getz(obj, "preemptionPolicy"), IMMUTABLE);
}

static void lease(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *seconds = value_getz(spec, "leaseDurationSeconds");
    if (value_is(seconds, VALUE_INT) && seconds->integer <= 0)
        bad_invalid(c, AT(AT(NULL, "spec"), "leaseDurationSeconds"), seconds, "must be greater than 0");
}

const struct kind_rules governance_kinds[] = {
    {RBAC, "Role", role, NULL, NULL},
    {RBAC, "ClusterRole", cluster_role, NULL, NULL},
    {RBAC, "RoleBinding", role_binding, binding_update, NULL},
    {RBAC, "ClusterRoleBinding", cluster_role_binding, binding_update, NULL},
    {"policy", "PodDisruptionBudget", disruption_budget, NULL, NULL},
    {"scheduling.k8s.io", "PriorityClass", priority_class, priority_class_update, NULL},
    {"coordination.k8s.io", "Lease", lease, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
