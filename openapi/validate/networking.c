/* Ingresses and network policies. */
#include "openapi/validate/rules.h"

static void check_backend(struct check *c, at_path at, const struct value *backend)
{
    const struct value *service = value_getz(backend, "service"), *port = value_getz(service, "port");
    bool resource = has(backend, "resource");
    if (resource && has(backend, "service")) {
        bad_invalid(c, at, text_value(c, STR("")), "cannot set both resource and service backends");
        return;
    }
    if (resource)
        return;
    if (!has(backend, "service")) {
        bad_required(c, AT(at, "service"), "must specify either service or resource");
        return;
    }
    at_path here = AT(at, "service");
    if (text_of(service, "name").len == 0)
        bad_required(c, AT(here, "name"), "");
    else
        bad_name(c, AT(here, "name"), name_check_dns1123_label, text_of(service, "name"));
    bool named = text_of(port, "name").len > 0;
    int64_t number = int_of(port, "number");
    if (named && number)
        bad_invalid(c, here, text_value(c, STR("")), "cannot set both port name & port number");
    else if (named)
        bad_name(c, AT(AT(here, "port"), "name"), name_check_port, text_of(port, "name"));
    else if (number == 0)
        bad_required(c, here, "port name or number is required");
    else if (number < 1 || number > 65535)
        bad_invalid(c, AT(AT(here, "port"), "number"), value_getz(port, "number"),
                    "must be between 1 and 65535, inclusive");
}

static void check_path(struct check *c, at_path at, const struct value *p)
{
    static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F"};
    static const char *const ends[] = {"/..", "/."};
    struct str path = text_of(p, "path"), type = text_of(p, "pathType");
    if (type.len == 0) {
        bad_required(c, AT(at, "pathType"), "pathType must be specified");
    } else if (one_of(type, "Exact,Prefix")) {
        if (!str_starts(path, STR("/")))
            bad_invalid(c, AT(at, "path"), text_value(c, path), "must be an absolute path");
        for (size_t i = 0; path.len && i < 5; i++) {
            if (str_contains(path, str_from(inside[i])))
                bad_invalid(c, AT(at, "path"), text_value(c, path), "must not contain '%s'", inside[i]);
        }
        for (size_t i = 0; path.len && i < 2; i++) {
            if (str_ends(path, str_from(ends[i])))
                bad_invalid(c, AT(at, "path"), text_value(c, path), "cannot end with '%s'", ends[i]);
        }
    } else if (str_eqz(type, "ImplementationSpecific") && path.len && path.p[0] != '/') {
        bad_invalid(c, AT(at, "path"), text_value(c, path), "must be an absolute path");
    }
    check_backend(c, AT(at, "backend"), value_getz(p, "backend"));
}

static void check_host(struct check *c, at_path at, struct str host)
{
    uint8_t ip[16];
    bool v6 = false;
    if (name_parse_ip(host, ip, &v6))
        bad_invalid(c, at, text_value(c, host), "must be a DNS name, not an IP address");
    else
        bad_name(c, at,
                 str_contains(host, STR("*")) ? name_check_dns1123_subdomain_wildcard : name_check_dns1123_subdomain,
                 host);
}

static void ingress(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *rules = value_getz(spec, "rules"),
                       *tls = value_getz(spec, "tls");
    at_path at = AT(NULL, "spec");
    if (value_len(rules) == 0 && !has(spec, "defaultBackend"))
        bad_invalid(c, at, rules ? rules : value_list(c->a), "either `defaultBackend` or `rules` must be specified");
    if (has(spec, "defaultBackend"))
        check_backend(c, AT(at, "defaultBackend"), value_getz(spec, "defaultBackend"));
    for (size_t i = 0; i < value_len(rules); i++) {
        const struct value *rule = value_at(rules, i), *http = value_getz(rule, "http"),
                           *paths = value_getz(http, "paths");
        at_path here = AT_INDEX(AT(at, "rules"), i);
        if (text_of(rule, "host").len)
            check_host(c, AT(here, "host"), text_of(rule, "host"));
        if (has(rule, "http") && value_len(paths) == 0)
            bad_required(c, AT(AT(here, "http"), "paths"), "");
        for (size_t j = 0; j < value_len(paths); j++)
            check_path(c, AT_INDEX(AT(AT(here, "http"), "paths"), j), value_at(paths, j));
    }
    for (size_t i = 0; i < value_len(tls); i++) {
        const struct value *hosts = value_getz(value_at(tls, i), "hosts");
        for (size_t j = 0; j < value_len(hosts); j++)
            check_host(c, AT_INDEX(AT(AT_INDEX(AT(at, "tls"), i), "hosts"), j), value_str(value_at(hosts, j)));
    }
}

static void ingress_class(struct check *c, const struct value *obj)
{
    struct str controller = value_path_str(obj, "spec.controller");
    at_path at = AT(AT(NULL, "spec"), "controller");
    if (controller.len == 0)
        bad_required(c, at, "");
    else if (controller.len > 250)
        problems_add_too_long(c->p, field_path_text(c->a, at), 250);
    else
        bad_name(c, at, name_check_domain_prefixed_path, controller);
}

static void ingress_class_update(struct check *c, const struct value *obj, const struct value *old)
{
    if (!str_eq(value_path_str(obj, "spec.controller"), value_path_str(old, "spec.controller")))
        bad_invalid(c, AT(AT(NULL, "spec"), "controller"), value_path(obj, "spec.controller"), IMMUTABLE);
}

static void check_peers(struct check *c, at_path at, const struct value *peers)
{
    for (size_t i = 0; i < value_len(peers); i++) {
        const struct value *peer = value_at(peers, i), *block = value_getz(peer, "ipBlock");
        at_path here = AT_INDEX(at, i);
        bool selects = has(peer, "podSelector") || has(peer, "namespaceSelector");
        check_label_selector(c, AT(here, "podSelector"), value_getz(peer, "podSelector"));
        check_label_selector(c, AT(here, "namespaceSelector"), value_getz(peer, "namespaceSelector"));
        if (!selects && !has(peer, "ipBlock"))
            bad_required(c, here, "must specify a peer");
        else if (selects && has(peer, "ipBlock"))
            bad_forbidden(c, here, "may not specify both ipBlock and another peer");
        if (!has(peer, "ipBlock"))
            continue;
        if (text_of(block, "cidr").len == 0)
            bad_required(c, AT(AT(here, "ipBlock"), "cidr"), "");
        else
            bad_name(c, AT(AT(here, "ipBlock"), "cidr"), name_check_cidr, text_of(block, "cidr"));
    }
}

static void check_policy_ports(struct check *c, at_path at, const struct value *ports)
{
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *p = value_at(ports, i), *port = value_getz(p, "port");
        at_path here = AT_INDEX(at, i);
        if (has(p, "port"))
            check_port_or_name(c, AT(here, "port"), port);
        if (!has(p, "endPort"))
            continue;
        if (!has(p, "port"))
            bad_required(c, AT(here, "port"), "must be specified when `endPort` is specified");
        else if (value_is(port, VALUE_STRING))
            bad_invalid(c, AT(here, "endPort"), value_getz(p, "endPort"),
                        "may not be specified when `port` is non-numeric");
        else if (int_of(p, "endPort") < int_of(p, "port"))
            bad_invalid(c, AT(here, "endPort"), value_getz(p, "endPort"), "must be greater than or equal to `port`");
    }
}

static void network_policy(struct check *c, const struct value *obj)
{
    const struct value *spec = value_getz(obj, "spec"), *in = value_getz(spec, "ingress"),
                       *out = value_getz(spec, "egress");
    at_path at = AT(NULL, "spec");
    check_label_selector(c, AT(at, "podSelector"), value_getz(spec, "podSelector"));
    for (size_t i = 0; i < value_len(in); i++) {
        at_path here = AT_INDEX(AT(at, "ingress"), i);
        check_policy_ports(c, AT(here, "ports"), value_getz(value_at(in, i), "ports"));
        check_peers(c, AT(here, "from"), value_getz(value_at(in, i), "from"));
    }
    for (size_t i = 0; i < value_len(out); i++) {
        at_path here = AT_INDEX(AT(at, "egress"), i);
        check_policy_ports(c, AT(here, "ports"), value_getz(value_at(out, i), "ports"));
        check_peers(c, AT(here, "to"), value_getz(value_at(out, i), "to"));
    }
    const struct value *types = value_getz(spec, "policyTypes");
    for (size_t i = 0; i < value_len(types); i++) {
        if (!one_of(value_str(value_at(types, i)), "Egress,Ingress"))
            bad_unsupported(c, AT_INDEX(AT(at, "policyTypes"), i), value_at(types, i), "Egress,Ingress");
    }
}

const struct kind_rules networking_kinds[] = {
    {"networking.k8s.io", "Ingress", ingress, NULL, NULL},
    {"networking.k8s.io", "IngressClass", ingress_class, ingress_class_update, NULL},
    {"networking.k8s.io", "NetworkPolicy", network_policy, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
