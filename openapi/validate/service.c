/* Services and their endpoints. */
#include "openapi/validate/rules.h"

static bool is_headless(const struct value *spec)
{
    return text_is(spec, "clusterIP", "None") ||
           str_eqz(value_str(value_at(value_getz(spec, "clusterIPs"), 0)), "None");
}

static void check_special_ip(struct check *c, at_path at, struct str s)
{
    uint8_t ip[16];
    bool v6 = false;
    if (!name_parse_ip(s, ip, &v6)) {
        bad_name(c, at, name_check_ip, s);
        return;
    }
    bool zero = true, loop6 = v6 && ip[15] == 1;
    for (int i = 0; i < 16; i++) {
        zero &= ip[i] == 0;
        loop6 &= i == 15 || ip[i] == 0;
    }
    if (zero)
        bad_invalid(c, at, text_value(c, s), "may not be unspecified (0.0.0.0 or ::)");
    if (loop6 || (!v6 && ip[12] == 127))
        bad_invalid(c, at, text_value(c, s), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (v6 ? ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80 : ip[12] == 169 && ip[13] == 254)
        bad_invalid(c, at, text_value(c, s), "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (v6 ? ip[0] == 0xff && (ip[1] & 0xf) == 2 : ip[12] == 224 && ip[13] == 0 && ip[14] == 0)
        bad_invalid(c, at, text_value(c, s), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

static void check_service_port(struct check *c, at_path at, const struct value *ports, size_t i, const char *type)
{
    const struct value *p = value_at(ports, i), *target = value_getz(p, "targetPort");
    struct str name = text_of(p, "name");
    if (name.len == 0 && value_len(ports) > 1)
        bad_required(c, AT(at, "name"), "");
    if (int_of(p, "port") == 0)
        bad_invalid(c, AT(at, "port"), value_int(c->a, 0), "must be between 1 and 65535, inclusive");
    if (target)
        check_port_or_name(c, AT(at, "targetPort"), target);
    if (int_of(p, "nodePort") && strcmp(type, "ClusterIP") == 0)
        bad_forbidden(c, AT(at, "nodePort"), "may not be used when `type` is 'ClusterIP'");
    for (size_t j = 0; j < i; j++) {
        const struct value *o = value_at(ports, j);
        bool same_protocol = str_eq(text_of(o, "protocol"), text_of(p, "protocol"));
        if (name.len && str_eq(name, text_of(o, "name")))
            bad_duplicate(c, AT(at, "name"), value_getz(p, "name"));
        if (same_protocol && int_of(o, "port") == int_of(p, "port")) {
            struct value *key = value_map(c->a);
            value_setz(c->a, key, "protocol", text_value(c, text_of(p, "protocol")));
            value_setz(c->a, key, "port", value_int(c->a, int_of(p, "port")));
            bad_duplicate(c, at, key);
        }
        if (same_protocol && int_of(p, "nodePort") && int_of(o, "nodePort") == int_of(p, "nodePort"))
            bad_duplicate(c, AT(at, "nodePort"), value_getz(p, "nodePort"));
    }
}

static void check_external_name(struct check *c, at_path at, const struct value *spec)
{
    struct str name = text_of(spec, "externalName");
    if (value_len(value_getz(spec, "clusterIPs")))
        bad_forbidden(c, AT(at, "clusterIPs"), "may not be set for ExternalName services");
    if (value_len(value_getz(spec, "ipFamilies")))
        bad_forbidden(c, AT(at, "ipFamilies"), "may not be set for ExternalName services");
    if (text_of(spec, "ipFamilyPolicy").len)
        bad_forbidden(c, AT(at, "ipFamilyPolicy"), "may not be set for ExternalName services");
    if (name.len == 0)
        bad_required(c, AT(at, "externalName"), "");
    else
        bad_name(c, AT(at, "externalName"), name_check_dns1123_subdomain,
                 str_ends(name, STR(".")) ? str_sub(name, 0, name.len - 1) : name);
}

static void check_by_type(struct check *c, at_path at, const struct value *spec)
{
    struct str type = text_of(spec, "type");
    bool lb = str_eqz(type, "LoadBalancer"), node_port = str_eqz(type, "NodePort");
    bool external = lb || node_port || value_len(value_getz(spec, "externalIPs")) > 0;
    static const char *const lb_only[] = {"loadBalancerSourceRanges", "allocateLoadBalancerNodePorts",
                                          "loadBalancerClass"};
    if (is_headless(spec) && (lb || node_port))
        bad_invalid(c, AT_INDEX(AT(at, "clusterIPs"), 0), text_value(c, STR("None")),
                    "may not be set to 'None' for " STR_FMT " services", STR_ARG(type));
    if (str_eqz(type, "ExternalName"))
        check_external_name(c, at, spec);
    for (size_t i = 0; i < 3 && !lb; i++) {
        if (has(spec, lb_only[i]) && (i || value_len(value_getz(spec, lb_only[i]))))
            bad_forbidden(c, AT_STR(at, str_from(lb_only[i])), "may only be used when `type` is 'LoadBalancer'");
    }
    if (text_of(spec, "externalTrafficPolicy").len && !external)
        bad_invalid(c, AT(at, "externalTrafficPolicy"), value_getz(spec, "externalTrafficPolicy"),
                    "may only be set for externally-accessible services");
    if (int_of(spec, "healthCheckNodePort") && !(lb && text_is(spec, "externalTrafficPolicy", "Local")))
        bad_invalid(c, AT(at, "healthCheckNodePort"), value_getz(spec, "healthCheckNodePort"),
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
}

static void check_families(struct check *c, at_path at, const struct value *spec)
{
    const struct value *families = value_getz(spec, "ipFamilies"), *ips = value_getz(spec, "clusterIPs");
    for (size_t i = 0; i < value_len(families); i++) {
        struct str f = value_str(value_at(families, i));
        if (!one_of(f, "IPv4,IPv6"))
            bad_unsupported(c, AT_INDEX(AT(at, "ipFamilies"), i), value_at(families, i), "IPv4,IPv6");
        for (size_t j = 0; j < i; j++) {
            if (value_equal(value_at(families, i), value_at(families, j)))
                bad_duplicate(c, AT_INDEX(AT(at, "ipFamilies"), i), value_at(families, i));
        }
    }
    if (value_len(ips) > 0 && !str_eq(text_of(spec, "clusterIP"), value_str(value_at(ips, 0))))
        bad_invalid(c, AT(at, "clusterIPs"), ips, "first value must match `clusterIP`");
    for (size_t i = 0; i < value_len(ips) && !is_headless(spec); i++)
        bad_name(c, AT_INDEX(AT(at, "clusterIPs"), i), name_check_ip, value_str(value_at(ips, i)));
    if (value_len(ips) > 2)
        bad_invalid(c, AT(at, "clusterIPs"), ips, "may only hold up to 2 values");
}

static void service(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *ports = value_getz(spec, "ports");
    const struct value *external = value_getz(spec, "externalIPs"),
                       *ranges = value_getz(spec, "loadBalancerSourceRanges");
    at_path at = AT(NULL, "spec");
    struct str type = text_of(spec, "type");
    if (value_len(ports) == 0 && !is_headless(spec) && !str_eqz(type, "ExternalName"))
        bad_required(c, AT(at, "ports"), "");
    for (size_t i = 0; i < value_len(ports); i++)
        check_service_port(c, AT_INDEX(AT(at, "ports"), i), ports, i, arena_str(c->a, type).p);
    check_labels(c, AT(at, "selector"), value_getz(spec, "selector"));
    if (text_is(spec, "sessionAffinity", "None") && has(spec, "sessionAffinityConfig"))
        bad_forbidden(c, AT(at, "sessionAffinityConfig"), "must not be set when session affinity is None");
    check_by_type(c, at, spec);
    check_families(c, at, spec);
    for (size_t i = 0; i < value_len(external); i++)
        check_special_ip(c, AT_INDEX(AT(at, "externalIPs"), i), value_str(value_at(external, i)));
    for (size_t i = 0; i < value_len(ranges); i++)
        bad_name(c, AT_INDEX(AT(at, "loadBalancerSourceRanges"), i), name_check_cidr, value_str(value_at(ranges, i)));
}

static void service_update(struct check *c, const struct value *obj, const struct value *old_obj)
{
    const struct value *spec = value_getz(obj, "spec"), *old = value_getz(old_obj, "spec");
    const struct value *ips = value_getz(spec, "clusterIPs"), *was = value_getz(old, "clusterIPs");
    at_path at = AT(NULL, "spec");
    bool needed = !text_is(spec, "type", "ExternalName") && !text_is(old, "type", "ExternalName");
    if (needed && value_len(was) && !(value_len(ips) && value_equal(value_at(ips, 0), value_at(was, 0))))
        bad_invalid(c, AT_INDEX(AT(at, "clusterIPs"), 0), ips, "may not change once set");
    if (has(old, "loadBalancerClass") && text_is(spec, "type", "LoadBalancer") &&
        text_is(old, "type", "LoadBalancer") &&
        !str_eq(text_of(old, "loadBalancerClass"), text_of(spec, "loadBalancerClass")))
        bad_invalid(c, AT(at, "loadBalancerClass"), value_getz(spec, "loadBalancerClass"), "may not change once set");
}

static void endpoints(struct check *c, const struct value *obj)
{
    static const char *const lists[] = {"addresses", "notReadyAddresses"};
    const struct value *subsets = value_getz(obj, "subsets");
    for (size_t i = 0; i < value_len(subsets); i++) {
        const struct value *s = value_at(subsets, i), *ports = value_getz(s, "ports");
        at_path at = AT_INDEX(AT(NULL, "subsets"), i);
        if (value_len(value_getz(s, lists[0])) + value_len(value_getz(s, lists[1])) == 0)
            bad_required(c, at, "must specify `addresses` or `notReadyAddresses`");
        for (size_t l = 0; l < 2; l++) {
            const struct value *addresses = value_getz(s, lists[l]);
            for (size_t j = 0; j < value_len(addresses); j++) {
                uint8_t ip[16];
                bool v6 = false;
                struct str text = text_of(value_at(addresses, j), "ip");
                if (name_parse_ip(text, ip, &v6))
                    check_special_ip(c, AT(AT_INDEX(AT_STR(at, str_from(lists[l])), j), "ip"), text);
                else if (text.len == 0)
                    bad_name(c, AT(AT_INDEX(AT_STR(at, str_from(lists[l])), j), "ip"), name_check_ip, text);
            }
        }
        for (size_t j = 0; j < value_len(ports); j++) {
            at_path here = AT_INDEX(AT(at, "ports"), j);
            if (value_len(ports) > 1 && text_of(value_at(ports, j), "name").len == 0)
                bad_required(c, AT(here, "name"), "");
            if (int_of(value_at(ports, j), "port") == 0)
                bad_invalid(c, AT(here, "port"), value_int(c->a, 0), "must be between 1 and 65535, inclusive");
        }
    }
}

static void check_slice_endpoint(struct check *c, at_path at, const struct value *e, struct str type)
{
    const struct value *addresses = value_getz(e, "addresses");
    if (value_len(addresses) == 0)
        bad_required(c, AT(at, "addresses"), "must contain at least 1 address");
    if (value_len(addresses) > 100)
        problems_add_too_many(c->p, field_path_text(c->a, AT(at, "addresses")), value_len(addresses), 100);
    for (size_t i = 0; i < value_len(addresses); i++) {
        struct str address = value_str(value_at(addresses, i));
        at_path here = AT_INDEX(AT(at, "addresses"), i);
        uint8_t ip[16];
        bool v6 = false, parsed = name_parse_ip(address, ip, &v6);
        if (str_eqz(type, "FQDN"))
            bad_name(c, here, name_check_dns1123_subdomain, address);
        else if (str_eqz(type, "IPv4") && (!parsed || v6))
            bad_invalid(c, here, text_value(c, address), "must be a valid IPv4 address");
        else if (str_eqz(type, "IPv6") && (!parsed || !v6))
            bad_invalid(c, here, text_value(c, address), "must be a valid IPv6 address");
        else if (parsed)
            check_special_ip(c, here, address);
    }
    if (text_of(e, "nodeName").len)
        bad_name(c, AT(at, "nodeName"), name_check_dns1123_subdomain, text_of(e, "nodeName"));
}

static void endpoint_slice(struct check *c, const struct value *obj)
{
    const struct value *list = value_getz(obj, "endpoints"), *ports = value_getz(obj, "ports");
    if (value_len(list) > 1000)
        problems_add_too_many(c->p, STR("endpoints"), value_len(list), 1000);
    for (size_t i = 0; i < value_len(list) && i < 1000; i++)
        check_slice_endpoint(c, AT_INDEX(AT(NULL, "endpoints"), i), value_at(list, i), text_of(obj, "addressType"));
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *name = value_getz(value_at(ports, i), "name");
        for (size_t j = 0; j < i; j++) {
            if (value_semantic_equal(name, value_getz(value_at(ports, j), "name"))) {
                bad_duplicate(c, AT(AT_INDEX(AT(NULL, "ports"), i), "name"), name ? name : text_value(c, STR("")));
                break;
            }
        }
    }
}

static void endpoint_slice_update(struct check *c, const struct value *obj, const struct value *old)
{
    if (!str_eq(text_of(obj, "addressType"), text_of(old, "addressType")))
        bad_invalid(c, AT(NULL, "addressType"), value_getz(obj, "addressType"), IMMUTABLE);
}

const struct kind_rules service_kinds[] = {
    {"", "Service", service, service_update, NULL},
    {"", "Endpoints", endpoints, NULL, NULL},
    {"discovery.k8s.io", "EndpointSlice", endpoint_slice, endpoint_slice_update, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
