/* Configuration, namespaces, nodes, events, quotas and limits. */
#include "openapi/validate/rules.h"

#include "openapi/json.h"
#include "openapi/meta/quantity.h"

#define DATA_MAX (1024 * 1024)

static size_t base64_len(struct str s)
{
    size_t pad = s.len && s.p[s.len - 1] == '=' ? 1 + (s.len > 1 && s.p[s.len - 2] == '=') : 0;
    return s.len / 4 * 3 - (s.len >= 4 ? pad : 0);
}

static void config_map(struct check *c, const struct value *obj)
{
    const struct value *data = value_getz(obj, "data"), *binary = value_getz(obj, "binaryData");
    size_t total = 0;
    for (size_t i = 0; i < value_len(data); i++) {
        struct str key = data->map.members[i].key;
        bad_name(c, AT_KEY(AT(NULL, "data"), key), name_check_config_key, key);
        total += value_str(data->map.members[i].value).len;
        if (value_get(binary, key))
            bad_invalid(c, AT_KEY(AT(NULL, "data"), key), text_value(c, key), "duplicate of key present in binaryData");
    }
    for (size_t i = 0; i < value_len(binary); i++) {
        struct str key = binary->map.members[i].key;
        bad_name(c, AT_KEY(AT(NULL, "binaryData"), key), name_check_config_key, key);
        total += base64_len(value_str(binary->map.members[i].value));
    }
    if (total > DATA_MAX)
        problems_add_too_long(c->p, STR("[]"), DATA_MAX);
}

static void frozen(struct check *c, const struct value *obj, const struct value *old, const char *const *fields)
{
    if (!bool_of(old, "immutable"))
        return;
    if (!bool_of(obj, "immutable"))
        bad_forbidden(c, AT(NULL, "immutable"), "field is immutable when `immutable` is set");
    for (; *fields; fields++) {
        if (!value_semantic_equal(value_getz(obj, *fields), value_getz(old, *fields)))
            bad_forbidden(c, AT_STR(NULL, str_from(*fields)), "field is immutable when `immutable` is set");
    }
}

static void config_map_update(struct check *c, const struct value *obj, const struct value *old)
{
    static const char *const fields[] = {"data", "binaryData", NULL};
    frozen(c, obj, old, fields);
}

static void need_key(struct check *c, const struct value *data, const char *key)
{
    if (!value_getz(data, key))
        bad_required(c, AT_KEY(AT(NULL, "data"), str_from(key)), "");
}

static void secret(struct check *c, const struct value *obj)
{
    const struct value *data = value_getz(obj, "data"), *notes = value_path(obj, "metadata.annotations");
    struct str type = text_of(obj, "type");
    size_t total = 0;
    for (size_t i = 0; i < value_len(data); i++) {
        struct str key = data->map.members[i].key;
        bad_name(c, AT_KEY(AT(NULL, "data"), key), name_check_config_key, key);
        total += base64_len(value_str(data->map.members[i].value));
    }
    if (total > DATA_MAX)
        problems_add_too_long(c->p, STR("data"), DATA_MAX);
    if (str_eqz(type, "kubernetes.io/service-account-token") &&
        value_str(value_getz(notes, "kubernetes.io/service-account.name")).len == 0)
        bad_required(c, AT_KEY(AT(AT(NULL, "metadata"), "annotations"), STR("kubernetes.io/service-account.name")), "");
    if (str_eqz(type, "kubernetes.io/dockercfg"))
        need_key(c, data, ".dockercfg");
    if (str_eqz(type, "kubernetes.io/dockerconfigjson"))
        need_key(c, data, ".dockerconfigjson");
    if (str_eqz(type, "kubernetes.io/basic-auth") && !value_getz(data, "username") && !value_getz(data, "password")) {
        need_key(c, data, "username");
        need_key(c, data, "password");
    }
    if (str_eqz(type, "kubernetes.io/ssh-auth"))
        need_key(c, data, "ssh-privatekey");
    if (str_eqz(type, "kubernetes.io/tls")) {
        need_key(c, data, "tls.crt");
        need_key(c, data, "tls.key");
    }
}

static void secret_update(struct check *c, const struct value *obj, const struct value *old)
{
    static const char *const fields[] = {"data", NULL};
    frozen(c, obj, old, fields);
}

static void namespace(struct check *c, const struct value *obj)
{
    const struct value *finalizers = value_path(obj, "spec.finalizers");
    for (size_t i = 0; i < value_len(finalizers); i++) {
        struct str name = value_str(value_at(finalizers, i));
        size_t slash = 0;
        at_path at = AT(AT(NULL, "spec"), "finalizers");
        bad_name(c, at, name_check_qualified, name);
        if (!str_index(name, '/', &slash) && !one_of(name, "kubernetes,orphan,foregroundDeletion"))
            bad_invalid(c, at, text_value(c, name),
                        "name is neither a standard finalizer name nor is it fully qualified");
    }
}

static void node(struct check *c, const struct value *obj)
{
    const struct value *taints = value_path(obj, "spec.taints"), *cidrs = value_path(obj, "spec.podCIDRs");
    for (size_t i = 0; i < value_len(taints); i++) {
        const struct value *t = value_at(taints, i);
        at_path here = AT_INDEX(AT(AT(NULL, "spec"), "taints"), i);
        if (text_of(t, "key").len == 0)
            bad_name(c, AT(here, "key"), name_check_qualified, STR(""));
        for (size_t j = 0; j < i; j++) {
            const struct value *o = value_at(taints, j);
            if (str_eq(text_of(t, "key"), text_of(o, "key")) && str_eq(text_of(t, "effect"), text_of(o, "effect"))) {
                bad_duplicate(c, here, t);
                break;
            }
        }
    }
    for (size_t i = 0; i < value_len(cidrs); i++)
        bad_name(c, AT_INDEX(AT(AT(NULL, "spec"), "podCIDRs"), i), name_check_cidr, value_str(value_at(cidrs, i)));
}

static void node_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    const struct value *spec = value_getz(obj, "spec"), *old = value_getz(old_obj, "spec");
    at_path at = AT(NULL, "spec");
    if (value_len(value_getz(old, "podCIDRs")) &&
        !value_semantic_equal(value_getz(old, "podCIDRs"), value_getz(spec, "podCIDRs")))
        bad_forbidden(c, AT(at, "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    if (text_of(old, "providerID").len && !str_eq(text_of(old, "providerID"), text_of(spec, "providerID")))
        bad_forbidden(c, AT(at, "providerID"), "node updates may not change providerID except from \"\" to valid");
}

static void event(struct check *c, const struct value *obj)
{
    struct str ns = value_path_str(obj, "metadata.namespace"), about = value_path_str(obj, "involvedObject.namespace");
    bool modern = c->r->group.len > 0;
    at_path at = AT(AT(NULL, "involvedObject"), "namespace");
    if (about.len == 0 && ns.len && !str_eqz(ns, "default") && !str_eqz(ns, "kube-system"))
        bad_invalid(c, at, text_value(c, about), "does not match event.namespace");
    else if (about.len && !str_eq(about, ns))
        bad_invalid(c, at, text_value(c, about), "does not match event.namespace");
    if (!modern)
        return;
    static const struct {
        const char *stored, *shown;
        size_t max;
    } needed[] = {{"reportingComponent", "reportingController", 0},
                  {"reportingInstance", "reportingInstance", 128},
                  {"action", "action", 128},
                  {"reason", "reason", 128}};
    if (!has(obj, "eventTime"))
        bad_required(c, AT(NULL, "eventTime"), "");
    for (size_t i = 0; i < 4; i++) {
        struct str text = text_of(obj, needed[i].stored);
        at_path here = AT_STR(NULL, str_from(needed[i].shown));
        if (text.len == 0)
            bad_required(c, here, "");
        else if (needed[i].max && text.len > needed[i].max)
            bad_invalid(c, here, text_value(c, STR("")), "can have at most %zu characters", needed[i].max);
    }
    if (!one_of(text_of(obj, "type"), "Normal,Warning"))
        bad_invalid(c, AT(NULL, "type"), text_value(c, STR("")), "has invalid value: " STR_FMT,
                    STR_ARG(text_of(obj, "type")));
    if (text_of(obj, "message").len > 1024)
        bad_invalid(c, AT(NULL, "message"), text_value(c, STR("")), "can have at most 1024 characters");
}

static void check_amounts(struct check *c, at_path at, const struct value *amounts)
{
    for (size_t i = 0; i < value_len(amounts); i++) {
        struct str name = amounts->map.members[i].key;
        check_resource_name(c, AT_KEY(at, name), name);
        check_resource_quantity(c, AT_KEY(at, name), name, amounts->map.members[i].value);
    }
}

static void resource_quota(struct check *c, const struct value *obj)
{
    static const char scopes[] =
        "BestEffort,CrossNamespacePodAffinity,NotBestEffort,NotTerminating,PriorityClass,Terminating,"
        "VolumeAttributesClass";
    const struct value *list = value_path(obj, "spec.scopes");
    bool best = false, not_best = false, ending = false, not_ending = false;
    check_amounts(c, AT(AT(NULL, "spec"), "hard"), value_path(obj, "spec.hard"));
    for (size_t i = 0; i < value_len(list); i++) {
        struct str s = value_str(value_at(list, i));
        if (!one_of(s, scopes))
            bad_invalid(c, AT(AT(NULL, "spec"), "scopes"), list, "unsupported scope");
        best |= str_eqz(s, "BestEffort");
        not_best |= str_eqz(s, "NotBestEffort");
        ending |= str_eqz(s, "Terminating");
        not_ending |= str_eqz(s, "NotTerminating");
    }
    if ((best && not_best) || (ending && not_ending))
        bad_invalid(c, AT(AT(NULL, "spec"), "scopes"), list, "conflicting scopes");
}

static void resource_quota_update(struct check *c, const struct value *obj, const struct value *old)
{
    check_immutable(c, AT(NULL, "spec"), value_getz(obj, "spec"), value_getz(old, "spec"), "scopes");
}

static void check_ordered(struct check *c, at_path at, const struct value *item, const char *low, const char *high)
{
    const struct value *lows = value_getz(item, low), *highs = value_getz(item, high);
    for (size_t i = 0; i < value_len(lows); i++) {
        struct str name = lows->map.members[i].key;
        const struct value *top = value_get(highs, name);
        struct quantity l = quantity_from(value_str(lows->map.members[i].value)), h = quantity_from(value_str(top));
        if (top && quantity_cmp(&l, &h) > 0)
            bad_invalid(c, AT_KEY(AT_STR(at, str_from(low)), name), lows->map.members[i].value,
                        "%s value " STR_FMT " is greater than %s value " STR_FMT, low,
                        STR_ARG(value_str(lows->map.members[i].value)), high, STR_ARG(value_str(top)));
    }
}

static void limit_range(struct check *c, const struct value *obj)
{
    static const char *const lists[] = {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"};
    const struct value *limits = value_path(obj, "spec.limits");
    for (size_t i = 0; i < value_len(limits); i++) {
        const struct value *item = value_at(limits, i);
        at_path here = AT_INDEX(AT(AT(NULL, "spec"), "limits"), i);
        for (size_t j = 0; j < 5; j++)
            check_amounts(c, AT_STR(here, str_from(lists[j])), value_getz(item, lists[j]));
        check_ordered(c, here, item, "min", "max");
        check_ordered(c, here, item, "min", "defaultRequest");
        check_ordered(c, here, item, "min", "default");
        check_ordered(c, here, item, "default", "max");
        check_ordered(c, here, item, "defaultRequest", "max");
        check_ordered(c, here, item, "defaultRequest", "default");
        for (size_t j = 0; j < i; j++) {
            if (str_eq(text_of(item, "type"), text_of(value_at(limits, j), "type")))
                bad_duplicate(c, AT(here, "type"), value_getz(item, "type"));
        }
    }
}

const struct kind_rules core_kinds[] = {
    {"", "ConfigMap", config_map, config_map_update, NULL},
    {"", "Secret", secret, secret_update, NULL},
    {"", "Namespace", namespace, NULL, NULL},
    {"", "Node", node, node_update, NULL},
    {"", "Event", event, NULL, NULL},
    {"events.k8s.io", "Event", event, NULL, NULL},
    {"", "ResourceQuota", resource_quota, resource_quota_update, NULL},
    {"", "LimitRange", limit_range, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
