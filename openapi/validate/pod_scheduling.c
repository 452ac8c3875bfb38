/* Where a pod may run: affinity, tolerations, spreading; and how it is confined. */
#include "openapi/validate/rules.h"

static void check_node_requirement(struct check *c, at_path at, const struct value *e, bool field)
{
    size_t n = value_len(value_getz(e, "values"));
    struct str op = text_of(e, "operator");
    if (field) {
        if (!one_of(op, "In,NotIn"))
            bad_invalid(c, AT(at, "operator"), text_value(c, op), "not a valid selector operator");
        else if (n != 1)
            bad_required(c, AT(at, "values"),
                         "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        if (!text_is(e, "key", "metadata.name"))
            bad_invalid(c, AT(at, "key"), value_getz(e, "key"), "not a valid field selector key");
        return;
    }
    if (one_of(op, "In,NotIn")) {
        if (n == 0)
            bad_required(c, AT(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (one_of(op, "Exists,DoesNotExist")) {
        if (n > 0)
            bad_forbidden(c, AT(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (one_of(op, "Gt,Lt")) {
        if (n != 1)
            bad_required(c, AT(at, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else {
        bad_invalid(c, AT(at, "operator"), text_value(c, op), "not a valid selector operator");
    }
    bad_name(c, AT(at, "key"), name_check_qualified, text_of(e, "key"));
}

static void check_node_term(struct check *c, at_path at, const struct value *term)
{
    const struct value *expressions = value_getz(term, "matchExpressions"), *fields = value_getz(term, "matchFields");
    for (size_t i = 0; i < value_len(expressions); i++)
        check_node_requirement(c, AT_INDEX(AT(at, "matchExpressions"), i), value_at(expressions, i), false);
    for (size_t i = 0; i < value_len(fields); i++)
        check_node_requirement(c, AT_INDEX(AT(at, "matchFields"), i), value_at(fields, i), true);
}

void check_node_selector(struct check *c, at_path at, const struct value *selector)
{
    const struct value *terms = value_getz(selector, "nodeSelectorTerms");
    for (size_t i = 0; i < value_len(terms); i++)
        check_node_term(c, AT_INDEX(AT(at, "nodeSelectorTerms"), i), value_at(terms, i));
}

static void check_pod_term(struct check *c, at_path at, const struct value *term)
{
    const struct value *namespaces = value_getz(term, "namespaces");
    check_label_selector(c, AT(at, "labelSelector"), value_getz(term, "labelSelector"));
    check_label_selector(c, AT(at, "namespaceSelector"), value_getz(term, "namespaceSelector"));
    for (size_t i = 0; i < value_len(namespaces); i++)
        bad_name(c, AT(at, "namespace"), name_check_dns1123_label, value_str(value_at(namespaces, i)));
    if (!has(term, "labelSelector") && (value_len(value_getz(term, "matchLabelKeys")) > 0))
        bad_forbidden(c, AT(at, "matchLabelKeys"), "must not be specified when labelSelector is not set");
}

static void check_pod_affinity(struct check *c, at_path at, const struct value *affinity)
{
    const struct value *required = value_getz(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    const struct value *preferred = value_getz(affinity, "preferredDuringSchedulingIgnoredDuringExecution");
    for (size_t i = 0; i < value_len(required); i++)
        check_pod_term(c, AT_INDEX(AT(at, "requiredDuringSchedulingIgnoredDuringExecution"), i), value_at(required, i));
    for (size_t i = 0; i < value_len(preferred); i++)
        check_pod_term(c, AT(AT_INDEX(AT(at, "preferredDuringSchedulingIgnoredDuringExecution"), i), "podAffinityTerm"),
                       value_getz(value_at(preferred, i), "podAffinityTerm"));
}

static void check_affinity(struct check *c, at_path at, const struct value *affinity)
{
    const struct value *node = value_getz(affinity, "nodeAffinity");
    const struct value *preferred = value_getz(node, "preferredDuringSchedulingIgnoredDuringExecution");
    at_path node_at = AT(at, "nodeAffinity");
    check_node_selector(c, AT(node_at, "requiredDuringSchedulingIgnoredDuringExecution"),
                        value_getz(node, "requiredDuringSchedulingIgnoredDuringExecution"));
    for (size_t i = 0; i < value_len(preferred); i++)
        check_node_term(c,
                        AT(AT_INDEX(AT(node_at, "preferredDuringSchedulingIgnoredDuringExecution"), i), "preference"),
                        value_getz(value_at(preferred, i), "preference"));
    check_pod_affinity(c, AT(at, "podAffinity"), value_getz(affinity, "podAffinity"));
    check_pod_affinity(c, AT(at, "podAntiAffinity"), value_getz(affinity, "podAntiAffinity"));
}

static void check_tolerations(struct check *c, at_path at, const struct value *tolerations)
{
    for (size_t i = 0; i < value_len(tolerations); i++) {
        const struct value *t = value_at(tolerations, i);
        at_path here = AT_INDEX(at, i);
        struct str op = text_of(t, "operator");
        if (text_of(t, "key").len == 0 && !str_eqz(op, "Exists"))
            bad_invalid(c, AT(here, "operator"), text_value(c, op),
                        "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (has(t, "tolerationSeconds") && !text_is(t, "effect", "NoExecute"))
            bad_invalid(c, AT(here, "effect"), text_value(c, text_of(t, "effect")),
                        "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (op.len == 0 || str_eqz(op, "Equal"))
            bad_name(c, AT(here, "operator"), name_check_label_value, text_of(t, "value"));
        else if (str_eqz(op, "Exists") && text_of(t, "value").len)
            bad_invalid(c, AT(here, "operator"), t, "value must be empty when `operator` is 'Exists'");
    }
}

static void check_spread(struct check *c, at_path at, const struct value *constraints)
{
    for (size_t i = 0; i < value_len(constraints); i++) {
        const struct value *s = value_at(constraints, i);
        at_path here = AT_INDEX(at, i);
        struct str key = text_of(s, "topologyKey"), when = text_of(s, "whenUnsatisfiable");
        if (int_of(s, "maxSkew") == 0)
            bad_invalid(c, AT(here, "maxSkew"), value_int(c->a, 0), "must be greater than zero");
        if (when.len == 0)
            bad_unsupported(c, AT(here, "whenUnsatisfiable"), text_value(c, when), "DoNotSchedule,ScheduleAnyway");
        if (has(s, "minDomains") && int_of(s, "minDomains") > 0 && !str_eqz(when, "DoNotSchedule"))
            bad_invalid(c, AT(here, "minDomains"), value_getz(s, "minDomains"),
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " STR_FMT, STR_ARG(when));
        check_label_selector(c, AT(here, "labelSelector"), value_getz(s, "labelSelector"));
        if (!has(s, "labelSelector") && value_len(value_getz(s, "matchLabelKeys")) > 0)
            bad_forbidden(c, AT(here, "matchLabelKeys"), "must not be specified when labelSelector is not set");
        for (size_t j = 0; j < i; j++) {
            const struct value *o = value_at(constraints, j);
            if (str_eq(key, text_of(o, "topologyKey")) && str_eq(when, text_of(o, "whenUnsatisfiable"))) {
                struct str pair = arena_printf(c->a, "{" STR_FMT ", " STR_FMT "}", STR_ARG(key), STR_ARG(when));
                bad_duplicate(c, AT(here, "{topologyKey, whenUnsatisfiable}"), text_value(c, pair));
                break;
            }
        }
    }
}

void check_scheduling(struct check *c, at_path at, const struct value *spec)
{
    check_affinity(c, AT(at, "affinity"), value_getz(spec, "affinity"));
    check_tolerations(c, AT(at, "tolerations"), value_getz(spec, "tolerations"));
    check_spread(c, AT(at, "topologySpreadConstraints"), value_getz(spec, "topologySpreadConstraints"));
}

static void check_seccomp(struct check *c, at_path at, const struct value *profile)
{
    bool local = text_is(profile, "type", "Localhost");
    if (!value_is(profile, VALUE_MAP))
        return;
    if (text_of(profile, "type").len == 0)
        bad_required(c, AT(at, "type"), "type is required when seccompProfile is set");
    if (local && text_of(profile, "localhostProfile").len == 0)
        bad_required(c, AT(at, "localhostProfile"), "must be set when seccomp type is Localhost");
    else if (!local && has(profile, "localhostProfile"))
        bad_invalid(c, AT(at, "localhostProfile"), value_getz(profile, "localhostProfile"),
                    "can only be set when seccomp type is Localhost");
}

void check_pod_security(struct check *c, at_path at, const struct value *spec)
{
    const struct value *sc = value_getz(spec, "securityContext"), *groups = value_getz(sc, "supplementalGroups");
    const struct value *users = value_getz(spec, "hostUsers");
    at_path here = AT(at, "securityContext");
    for (size_t i = 0; i < value_len(groups); i++) {
        const struct value *g = value_at(groups, i);
        if (value_is(g, VALUE_INT) && (g->integer < 0 || g->integer > INT32_MAX))
            bad_invalid(c, AT_INDEX(AT(here, "supplementalGroups"), i), g,
                        "must be between 0 and 2147483647, inclusive");
    }
    check_seccomp(c, AT(here, "seccompProfile"), value_getz(sc, "seccompProfile"));
    if (bool_of(spec, "hostPID") && bool_of(spec, "shareProcessNamespace"))
        bad_invalid(c, AT(here, "shareProcessNamespace"), value_getz(spec, "shareProcessNamespace"),
                    "ShareProcessNamespace and HostPID cannot both be enabled");
    static const char *const shared[] = {"hostNetwork", "hostPID", "hostIPC"};
    for (size_t i = 0; value_is(users, VALUE_BOOL) && !users->boolean && i < 3; i++) {
        if (bool_of(spec, shared[i]))
            bad_forbidden(c, AT_STR(at, str_from(shared[i])), "when `hostUsers` is false");
    }
}
