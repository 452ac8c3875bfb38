/* Pods: the whole of a spec, templates, and what an update may change. */
#include "openapi/validate/rules.h"

#include "openapi/meta/quantity.h"

static void check_dns(struct check *c, at_path at, const struct value *spec)
{
    const struct value *dns = value_getz(spec, "dnsConfig"), *servers = value_getz(dns, "nameservers");
    const struct value *searches = value_getz(dns, "searches");
    at_path here = AT(at, "dnsConfig");
    if (text_is(spec, "dnsPolicy", "None")) {
        if (!has(spec, "dnsConfig"))
            bad_required(c, here, "must provide `dnsConfig` when `dnsPolicy` is None");
        else if (value_len(servers) == 0)
            bad_required(c, AT(here, "nameservers"),
                         "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if (value_len(servers) > 3)
        bad_invalid(c, AT(here, "nameservers"), servers, "must not have more than 3 nameservers");
    for (size_t i = 0; i < value_len(servers); i++)
        bad_name(c, AT_INDEX(AT(here, "nameservers"), i), name_check_ip, value_str(value_at(servers, i)));
    if (value_len(searches) > 32)
        bad_invalid(c, AT(here, "searches"), searches, "must not have more than 32 search paths");
    for (size_t i = 0; i < value_len(searches); i++) {
        struct str s = value_str(value_at(searches, i));
        if (str_eqz(s, "."))
            continue;
        s = str_ends(s, STR(".")) ? str_sub(s, 0, s.len - 1) : s;
        bad_name(c, AT_INDEX(AT(here, "searches"), i), name_check_dns1123_subdomain_underscore, s);
    }
}

static void check_host_aliases(struct check *c, at_path at, const struct value *aliases)
{
    for (size_t i = 0; i < value_len(aliases); i++) {
        const struct value *names = value_getz(value_at(aliases, i), "hostnames");
        at_path here = AT_INDEX(at, i);
        for (size_t j = 0; j < value_len(names); j++)
            bad_name(c, AT(here, "hostnames"), name_check_dns1123_subdomain, value_str(value_at(names, j)));
    }
}

static void check_gates(struct check *c, at_path at, const struct value *spec)
{
    const struct value *ready = value_getz(spec, "readinessGates"), *gates = value_getz(spec, "schedulingGates");
    for (size_t i = 0; i < value_len(ready); i++)
        bad_name(c, AT(AT_INDEX(AT(at, "readinessGates"), i), "conditionType"), name_check_qualified,
                 text_of(value_at(ready, i), "conditionType"));
    for (size_t i = 0; i < value_len(gates); i++) {
        const struct value *name = value_getz(value_at(gates, i), "name");
        at_path here = AT_INDEX(AT(at, "schedulingGates"), i);
        bad_name(c, here, name_check_qualified, value_str(name));
        for (size_t j = 0; j < i; j++) {
            if (name && value_equal(name, value_getz(value_at(gates, j), "name"))) {
                bad_duplicate(c, here, name);
                break;
            }
        }
    }
    if (value_len(gates) && text_of(spec, "nodeName").len && !c->old)
        bad_forbidden(c, AT(at, "nodeName"), "cannot be set until all schedulingGates have been cleared");
}

static void check_resource_claims(struct check *c, at_path at, const struct value *claims)
{
    for (size_t i = 0; i < value_len(claims); i++) {
        const struct value *claim = value_at(claims, i);
        at_path here = AT_INDEX(at, i);
        int sources =
            (text_of(claim, "resourceClaimName").len > 0) + (text_of(claim, "resourceClaimTemplateName").len > 0);
        if (sources > 1)
            bad_invalid(c, here, claim,
                        "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        else if (sources == 0)
            bad_invalid(c, here, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        for (size_t j = 0; j < i; j++) {
            if (str_eq(text_of(claim, "name"), text_of(value_at(claims, j), "name")))
                bad_duplicate(c, AT(here, "name"), value_getz(claim, "name"));
        }
    }
}

void check_pod_spec(struct check *c, at_path at, const struct value *spec)
{
    check_volumes(c, AT(at, "volumes"), value_getz(spec, "volumes"));
    check_containers(c, at, spec);
    check_labels(c, AT(at, "nodeSelector"), value_getz(spec, "nodeSelector"));
    check_pod_security(c, at, spec);
    check_scheduling(c, at, spec);
    check_dns(c, at, spec);
    check_gates(c, at, spec);
    check_host_aliases(c, AT(at, "hostAliases"), value_getz(spec, "hostAliases"));
    check_resource_claims(c, AT(at, "resourceClaims"), value_getz(spec, "resourceClaims"));
    if (int_of(spec, "terminationGracePeriodSeconds") < 0)
        bad_invalid(c, AT(at, "terminationGracePeriodSeconds"), value_getz(spec, "terminationGracePeriodSeconds"),
                    NOT_NEGATIVE);
}

void check_pod_template(struct check *c, at_path at, const struct value *template)
{
    const struct value *meta = value_getz(template, "metadata"), *spec = value_getz(template, "spec");
    check_labels(c, AT(AT(at, "metadata"), "labels"), value_getz(meta, "labels"));
    const struct value *annotations = value_getz(meta, "annotations");
    for (size_t i = 0; i < value_len(annotations); i++)
        bad_name(c, AT(AT(at, "metadata"), "annotations"), name_check_qualified, annotations->map.members[i].key);
    if (value_len(value_getz(spec, "ephemeralContainers")))
        bad_forbidden(c, AT(AT(at, "spec"), "ephemeralContainers"), "ephemeral containers not allowed in pod template");
    check_pod_spec(c, AT(at, "spec"), spec);
}

static void pod(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec");
    check_pod_spec(c, AT(NULL, "spec"), spec);
    if (!c->old && value_len(value_getz(spec, "ephemeralContainers")))
        bad_forbidden(c, AT(AT(NULL, "spec"), "ephemeralContainers"), "cannot be set on create");
}

/* ---- updates ---- */

static bool tolerates_same(const struct value *a, const struct value *b)
{
    static const char *const keys[] = {"key", "operator", "value", "effect"};
    for (size_t i = 0; i < 4; i++) {
        if (!str_eq(text_of(a, keys[i]), text_of(b, keys[i])))
            return false;
    }
    return true;
}

static void check_tolerations_only_added(struct check *c, at_path at, const struct value *now, const struct value *was)
{
    for (size_t i = 0; i < value_len(was); i++) {
        bool kept = false;
        for (size_t j = 0; j < value_len(now) && !kept; j++)
            kept = tolerates_same(value_at(was, i), value_at(now, j));
        if (!kept) {
            bad_forbidden(c, at, "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
}

static void check_deadline(struct check *c, at_path at, const struct value *spec, const struct value *old)
{
    const struct value *now = value_getz(spec, "activeDeadlineSeconds"),
                       *was = value_getz(old, "activeDeadlineSeconds");
    if (!value_is(was, VALUE_INT))
        return;
    if (!value_is(now, VALUE_INT))
        bad_invalid(c, AT(at, "activeDeadlineSeconds"), now, "must not update from a positive integer to nil value");
    else if (now->integer > was->integer)
        bad_invalid(c, AT(at, "activeDeadlineSeconds"), now, "must be less than or equal to previous value");
}

static void check_gates_removed(struct check *c, at_path at, const struct value *spec, const struct value *old)
{
    const struct value *now = value_getz(spec, "schedulingGates"), *was = value_getz(old, "schedulingGates");
    for (size_t i = 0; i < value_len(now); i++) {
        bool known = false;
        for (size_t j = 0; j < value_len(was) && !known; j++)
            known = str_eq(text_of(value_at(now, i), "name"), text_of(value_at(was, j), "name"));
        if (!known)
            bad_forbidden(c, AT(at, "schedulingGates"),
                          "only deletion is allowed, but found new scheduling gate '" STR_FMT "'",
                          STR_ARG(text_of(value_at(now, i), "name")));
    }
}

static void copy_member(struct arena *a, struct value *to, const struct value *from, const char *key)
{
    struct value *v = value_getz(from, key);
    if (v)
        value_setz(a, to, key, v);
    else
        value_removez(to, key);
}

/* The new spec with all that may change put back: what still differs was not allowed to. */
static struct value *with_allowed_changes_undone(struct check *c, const struct value *spec, const struct value *old)
{
    static const char *const lists[] = {"containers", "initContainers"};
    struct value *munged = value_copy(c->a, spec);
    for (size_t l = 0; l < 2; l++) {
        struct value *now = value_getz(munged, lists[l]);
        const struct value *was = value_getz(old, lists[l]);
        for (size_t i = 0; i < value_len(now) && value_len(now) == value_len(was); i++)
            copy_member(c->a, value_at(now, i), value_at(was, i), "image");
    }
    copy_member(c->a, munged, old, "activeDeadlineSeconds");
    copy_member(c->a, munged, old, "tolerations");
    copy_member(c->a, munged, old, "schedulingGates");
    if (value_len(value_getz(old, "schedulingGates"))) {
        copy_member(c->a, munged, old, "nodeSelector");
        copy_member(c->a, munged, old, "affinity");
    }
    int64_t was = int_of(old, "terminationGracePeriodSeconds");
    if (was < 0 && int_of(spec, "terminationGracePeriodSeconds") == 1)
        copy_member(c->a, munged, old, "terminationGracePeriodSeconds");
    return munged;
}

static void pod_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    const struct value *spec = value_getz(obj, "spec"), *old = value_getz(old_obj, "spec");
    at_path at = AT(NULL, "spec");
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t l = 0; l < 2; l++) {
        if (value_len(value_getz(spec, lists[l])) != value_len(value_getz(old, lists[l]))) {
            bad_forbidden(c, AT_STR(at, str_from(lists[l])), "pod updates may not add or remove containers");
            return;
        }
    }
    check_deadline(c, at, spec, old);
    check_tolerations_only_added(c, AT(at, "tolerations"), value_getz(spec, "tolerations"),
                                 value_getz(old, "tolerations"));
    check_gates_removed(c, at, spec, old);
    if (!value_semantic_equal(with_allowed_changes_undone(c, spec, old), old))
        bad_forbidden(
            c, at,
            "pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
            "(allow it to be set to 1 if it was previously negative)\n");
}

static void pod_template_kind(struct check *c, const struct value *obj)
{
    check_pod_template(c, AT(NULL, "template"), value_getz(obj, "template"));
}

const struct kind_rules pod_kinds[] = {
    {"", "Pod", pod, pod_update, NULL},
    {"", "PodTemplate", pod_template_kind, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
