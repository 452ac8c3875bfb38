#include "storage/takeover/claims.h"

#include "openapi/json.h"
#include "storage/takeover/stored.h"

static struct str address_object(struct arena *a, const struct value *service, struct str ip)
{
    struct value *v = value_map(a), *labels = value_map(a), *parent = value_map(a);
    struct buf out = {0};
    value_setz(a, v, "kind", value_stringz(a, "IPAddress"));
    value_setz(a, v, "apiVersion", value_stringz(a, "networking.k8s.io/v1"));
    value_set_path(a, v, "metadata.name", value_string(a, ip));
    value_set_path(a, v, "metadata.uid", value_string(a, value_path_str(service, "metadata.uid")));
    value_set_path(a, v, "metadata.creationTimestamp",
                   value_string(a, value_path_str(service, "metadata.creationTimestamp")));
    value_setz(a, labels, "ipaddress.kubernetes.io/ip-family",
               value_stringz(a, str_contains(ip, STR(":")) ? "IPv6" : "IPv4"));
    value_setz(a, labels, "ipaddress.kubernetes.io/managed-by", value_stringz(a, "ipallocator.k8s.io"));
    value_set_path(a, v, "metadata.labels", labels);
    value_setz(a, parent, "resource", value_stringz(a, "services"));
    value_setz(a, parent, "namespace", value_string(a, value_path_str(service, "metadata.namespace")));
    value_setz(a, parent, "name", value_string(a, value_path_str(service, "metadata.name")));
    value_set_path(a, v, "spec.parentRef", parent);
    json_encode(&out, v);
    struct str text = arena_str(a, buf_str(&out));
    buf_free(&out);
    return text;
}

static int claim_ip(struct arena *a, const struct value *service, struct str ip, claim_fn *fn, void *arg,
                    struct err *err)
{
    if (!ip.len || str_eqz(ip, "None"))
        return 0;
    return fn(arg, arena_printf(a, "/registry/ipaddresses/" STR_FMT, STR_ARG(ip)), address_object(a, service, ip), err);
}

static int claim_port(struct arena *a, const struct value *service, int64_t port, claim_fn *fn, void *arg,
                      struct err *err)
{
    if (port <= 0 || port > 65535)
        return 0;
    return fn(arg, arena_printf(a, STR_FMT "%05lld", STR_ARG(STORED_PORT_PREFIX), (long long)port),
              arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(service, "metadata.namespace")),
                           STR_ARG(value_path_str(service, "metadata.name"))),
              err);
}

int claims_of_service(struct arena *a, struct str json, claim_fn *fn, void *arg, struct err *err)
{
    struct json_options plain = {0};
    struct value *service;
    int rc = json_decode(a, json, &plain, &service, err);
    if (rc < 0)
        return rc;
    if (str_eqz(value_path_str(service, "spec.type"), "ExternalName"))
        return 0;
    const struct value *ips = value_path(service, "spec.clusterIPs"), *ports = value_path(service, "spec.ports");
    rc = value_len(ips) ? 0 : claim_ip(a, service, value_path_str(service, "spec.clusterIP"), fn, arg, err);
    for (size_t i = 0; rc >= 0 && value_is(ips, VALUE_LIST) && i < value_len(ips); i++)
        rc = claim_ip(a, service, value_str(value_at(ips, i)), fn, arg, err);
    for (size_t i = 0; rc >= 0 && value_is(ports, VALUE_LIST) && i < value_len(ports); i++)
        rc = claim_port(a, service, value_path_int(value_at(ports, i), "nodePort", 0), fn, arg, err);
    if (rc >= 0)
        rc = claim_port(a, service, value_path_int(service, "spec.healthCheckNodePort", 0), fn, arg, err);
    return rc < 0 ? rc : 0;
}
