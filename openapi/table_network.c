/* Rows of services, endpoints, ingresses and addresses. */
#include "openapi/table_printers.h"

static struct str external_ip(struct row *r)
{
    const struct value *svc = r->obj;
    struct str type = value_path_str(svc, "spec.type"), ips = join(r, value_path(svc, "spec.externalIPs"), ",");
    if (str_eqz(type, "ClusterIP") || str_eqz(type, "NodePort"))
        return ips.len ? ips : STR("<none>");
    if (str_eqz(type, "LoadBalancer")) {
        struct str lb = load_balancer_text(r, value_getz(svc, "status"));
        if (ips.len)
            return append(r, lb, ",", ips);
        return lb.len ? lb : STR("<pending>");
    }
    return str_eqz(type, "ExternalName") ? value_path_str(svc, "spec.externalName") : STR("<unknown>");
}

static void print_service(struct row *r)
{
    const struct value *svc = r->obj, *ports = value_path(svc, "spec.ports");
    struct str text = STR(""), ip = value_str(value_at(value_path(svc, "spec.clusterIPs"), 0));
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *p = value_at(ports, i);
        long long node_port = (long long)value_path_int(p, "nodePort", 0),
                  port = (long long)value_path_int(p, "port", 0);
        struct str protocol = value_path_str(p, "protocol");
        text = append(r, text, ",",
                      node_port ? arena_printf(r->a, "%lld:%lld/" STR_FMT, port, node_port, STR_ARG(protocol))
                                : arena_printf(r->a, "%lld/" STR_FMT, port, STR_ARG(protocol)));
    }
    cell_name(r);
    cell_text(r, "spec.type");
    cell_or(r, ip.len ? ip : value_path_str(svc, "spec.clusterIP"), "<none>");
    cell(r, external_ip(r));
    cell_or(r, text, "<none>");
    cell_age(r);
    cell_labels(r, value_path(svc, "spec.selector"));
}

static struct str with_more(struct row *r, struct str text, size_t count, size_t max)
{
    return count > max ? arena_printf(r->a, STR_FMT " + %zu more...", STR_ARG(text), count - max) : text;
}

static void print_ingress(struct row *r)
{
    const struct value *rules = value_path(r->obj, "spec.rules");
    struct str hosts = STR("");
    size_t n = 0;
    for (size_t i = 0; i < value_len(rules); i++) {
        struct str host = value_path_str(value_at(rules, i), "host");
        if (host.len == 0)
            continue;
        if (n++ < 3)
            hosts = append(r, hosts, ",", host);
    }
    cell_name(r);
    cell_or(r, value_path_str(r->obj, "spec.ingressClassName"), "<none>");
    cell_or(r, with_more(r, hosts, n, 3), "*");
    cell(r, load_balancer_text(r, value_getz(r->obj, "status")));
    cell(r, value_len(value_path(r->obj, "spec.tls")) ? STR("80, 443") : STR("80"));
    cell_age(r);
}

static void print_ingress_class(struct row *r)
{
    const struct value *p = value_path(r->obj, "spec.parameters");
    struct str group = value_path_str(p, "apiGroup");
    cell_name(r);
    cell_text(r, "spec.controller");
    if (!value_is(p, VALUE_MAP))
        cell(r, STR("<none>"));
    else
        cellf(r, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(value_path_str(p, "kind")), group.len ? "." : "",
              STR_ARG(group), STR_ARG(value_path_str(p, "name")));
    cell_age(r);
}

static void print_endpoints(struct row *r)
{
    const struct value *subsets = value_getz(r->obj, "subsets");
    struct str text = STR("");
    size_t n = 0;
    for (size_t i = 0; i < value_len(subsets); i++) {
        const struct value *s = value_at(subsets, i), *ports = value_getz(s, "ports"),
                           *ips = value_getz(s, "addresses");
        size_t n_ports = value_len(ports);
        for (size_t j = 0; j < (n_ports ? n_ports : 1); j++) {
            for (size_t k = 0; k < value_len(ips); k++) {
                struct str ip = value_path_str(value_at(ips, k), "ip");
                long long port = (long long)value_path_int(value_at(ports, j), "port", 0);
                if (n++ >= 3)
                    continue;
                bool v6 = str_contains(ip, STR(":"));
                text = append(r, text, ",",
                              n_ports ? arena_printf(r->a, "%s" STR_FMT "%s:%lld", v6 ? "[" : "", STR_ARG(ip),
                                                     v6 ? "]" : "", port)
                                      : ip);
            }
        }
    }
    cell_name(r);
    cell_or(r, with_more(r, text, n, 3), "<none>");
    cell_age(r);
}

static void print_endpoint_slice(struct row *r)
{
    const struct value *ports = value_getz(r->obj, "ports"), *endpoints = value_getz(r->obj, "endpoints");
    struct str port_text = STR(""), text = STR("");
    size_t n_ports = 0, n = 0;
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *port = value_getz(value_at(ports, i), "port");
        if (n_ports++ < 3)
            port_text =
                append(r, port_text, ",",
                       value_is(port, VALUE_INT) ? arena_printf(r->a, "%lld", (long long)port->integer) : STR("*"));
    }
    for (size_t i = 0; i < value_len(endpoints); i++) {
        const struct value *addresses = value_getz(value_at(endpoints, i), "addresses");
        for (size_t j = 0; j < value_len(addresses); j++) {
            if (n++ < 3)
                text = append(r, text, ",", value_str(value_at(addresses, j)));
        }
    }
    cell_name(r);
    cell_text(r, "addressType");
    cell_or(r, with_more(r, port_text, n_ports, 3), "<unset>");
    cell_or(r, with_more(r, text, n, 3), "<unset>");
    cell_age(r);
}

static void print_service_cidr(struct row *r)
{
    cell_name(r);
    cell(r, join(r, value_path(r->obj, "spec.cidrs"), ","));
    cell_age(r);
}

static void print_ip_address(struct row *r)
{
    const struct value *p = value_path(r->obj, "spec.parentRef");
    struct str out = value_path_str(p, "group"), ns = value_path_str(p, "namespace");
    out = append(r, out, "/", value_path_str(p, "resource"));
    if (ns.len)
        out = append(r, out, "/", ns);
    cell_name(r);
    cell(r, append(r, out, "/", value_path_str(p, "name")));
}

const struct table_printer network_printers[] = {
    {"service", print_service},
    {"ingress", print_ingress},
    {"ingressClass", print_ingress_class},
    {"endpoint", print_endpoints},
    {"endpointSlice", print_endpoint_slice},
    {"serviceCIDR", print_service_cidr},
    {"ipAddress", print_ip_address},
    {NULL, NULL},
};
