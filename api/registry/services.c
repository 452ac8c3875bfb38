#include "api/registry/services.h"

#include "openapi/meta/names.h"

static bool is_type(const struct value *v, const char *type)
{
    return str_eqz(value_path_str(v, "spec.type"), type);
}

static bool needs_ip(const struct value *v)
{
    return v && !is_type(v, "ExternalName");
}

static bool is_headless(const struct value *v)
{
    return str_eqz(value_path_str(v, "spec.clusterIP"), "None");
}

static bool needs_node_ports(const struct value *v)
{
    if (!v)
        return false;
    if (is_type(v, "NodePort"))
        return true;
    return is_type(v, "LoadBalancer") && value_path_bool(v, "spec.allocateLoadBalancerNodePorts", true);
}

static bool needs_health_port(const struct value *v)
{
    return v && is_type(v, "LoadBalancer") && str_eqz(value_path_str(v, "spec.externalTrafficPolicy"), "Local");
}

static struct value *strings(struct arena *a, const char *one, const char *two)
{
    struct value *l = value_list(a);
    value_append(a, l, value_string(a, str_from(one)));
    if (two)
        value_append(a, l, value_string(a, str_from(two)));
    return l;
}

/* clusterIP and clusterIPs say the same; older clients know only the first. */
static void normalize_ips(struct arena *a, struct value *spec)
{
    struct str ip = value_path_str(spec, "clusterIP");
    if (ip.len && !value_len(value_getz(spec, "clusterIPs")))
        value_append(a, value_ensure_list(a, spec, "clusterIPs"), value_string(a, ip));
}

static void default_families(struct arena *a, struct value *v)
{
    struct value *spec = value_getz(v, "spec");
    if (!needs_ip(v)) {
        value_removez(spec, "ipFamilies");
        value_removez(spec, "ipFamilyPolicy");
        return;
    }
    bool free_choice = is_headless(v) && !value_len(value_getz(spec, "selector"));
    if (!value_path_str(spec, "ipFamilyPolicy").len)
        value_setz(a, spec, "ipFamilyPolicy", value_stringz(a, free_choice ? "RequireDualStack" : "SingleStack"));
    if (!value_len(value_getz(spec, "ipFamilies")))
        value_setz(
            a, spec, "ipFamilies",
            strings(a, "IPv4",
                    free_choice && !str_eqz(value_path_str(spec, "ipFamilyPolicy"), "SingleStack") ? "IPv6" : NULL));
}

static void prepare_create(struct registry_call *c, struct value *v)
{
    struct value *spec = value_ensure_map(c->arena, v, "spec");
    value_set_path(c->arena, v, "status", value_map(c->arena));
    value_set_path(c->arena, v, "status.loadBalancer", value_map(c->arena));
    normalize_ips(c->arena, spec);
    default_families(c->arena, v);
}

static struct value *port_of(const struct value *v, const struct value *like)
{
    const struct value *ports = value_path(v, "spec.ports");
    for (size_t i = 0; i < value_len(ports); i++) {
        struct value *p = value_at(ports, i);
        if (value_path_int(p, "port", 0) == value_path_int(like, "port", 0) &&
            str_eq(value_path_str(p, "protocol"), value_path_str(like, "protocol")))
            return p;
    }
    return NULL;
}

static void carry_ports(struct arena *a, struct value *v, const struct value *old)
{
    struct value *ports = value_path(v, "spec.ports");
    for (size_t i = 0; i < value_len(ports); i++) {
        struct value *p = value_at(ports, i);
        const struct value *was = port_of(old, p);
        int64_t had = value_path_int(was, "nodePort", 0);
        if (needs_node_ports(v)) {
            if (needs_node_ports(old) && !value_path_int(p, "nodePort", 0) && had)
                value_setz(a, p, "nodePort", value_int(a, had));
        } else if (needs_node_ports(old) && had && value_path_int(p, "nodePort", 0) == had) {
            value_removez(p, "nodePort"); /* the type that needed it is gone and the author did not touch it */
        }
    }
}

static bool is_external(const struct value *v)
{
    return is_type(v, "NodePort") || is_type(v, "LoadBalancer");
}

/* A field that only the old type had goes with it when the author left it as it was. */
static void drop_with_type(struct value *spec, const struct value *was, const char *member)
{
    const struct value *v = value_getz(spec, member);
    if (v && value_getz(was, member) && value_equal(v, value_getz(was, member)))
        value_removez(spec, member);
}

/* What the server gave stays unless the author says otherwise; what the new type has no use for goes. */
static void prepare_update(struct registry_call *c, struct value *v, const struct value *old)
{
    struct arena *a = c->arena;
    struct value *spec = value_ensure_map(a, v, "spec");
    const struct value *was = value_getz(old, "spec");
    if (needs_ip(v) && needs_ip(old)) {
        if (!value_path_str(spec, "clusterIP").len && !value_len(value_getz(spec, "clusterIPs"))) {
            value_setz(a, spec, "clusterIP", value_string(a, value_path_str(was, "clusterIP")));
            if (value_getz(was, "clusterIPs"))
                value_setz(a, spec, "clusterIPs", value_getz(was, "clusterIPs"));
        }
        static const char *const members[] = {"ipFamilies", "ipFamilyPolicy"};
        for (size_t i = 0; i < 2; i++)
            if (!value_getz(spec, members[i]) && value_getz(was, members[i]))
                value_setz(a, spec, members[i], value_getz(was, members[i]));
    } else if (!needs_ip(v) && needs_ip(old)) {
        if (str_eq(value_path_str(spec, "clusterIP"), value_path_str(was, "clusterIP"))) {
            value_removez(spec, "clusterIP");
            value_removez(spec, "clusterIPs");
        }
    }
    if (needs_health_port(v) && needs_health_port(old) && !value_path_int(spec, "healthCheckNodePort", 0) &&
        value_path_int(was, "healthCheckNodePort", 0))
        value_setz(a, spec, "healthCheckNodePort", value_getz(was, "healthCheckNodePort"));
    if (!needs_health_port(v) && needs_health_port(old) &&
        value_path_int(spec, "healthCheckNodePort", 0) == value_path_int(was, "healthCheckNodePort", 0))
        value_removez(spec, "healthCheckNodePort");
    if (is_external(old) && !is_external(v))
        drop_with_type(spec, was, "externalTrafficPolicy");
    if (is_type(old, "LoadBalancer") && !is_type(v, "LoadBalancer")) {
        drop_with_type(spec, was, "allocateLoadBalancerNodePorts");
        drop_with_type(spec, was, "loadBalancerClass");
    }
    carry_ports(a, v, old);
    normalize_ips(a, spec);
    default_families(a, v);
}

static bool holds_ip(const struct value *v)
{
    return needs_ip(v) && value_path_str(v, "spec.clusterIP").len && !is_headless(v);
}

static int settle_ip(struct registry_call *c, struct value *v, const struct value *old, struct problems *p,
                     struct err *err)
{
    struct value *spec = value_getz(v, "spec");
    if (holds_ip(old) &&
        (!holds_ip(v) || !str_eq(value_path_str(v, "spec.clusterIP"), value_path_str(old, "spec.clusterIP"))))
        cluster_ip_release(c, value_path_str(old, "spec.clusterIP"));
    if (!needs_ip(v) || is_headless(v))
        return 0;
    struct str asked = value_path_str(spec, "clusterIP"), ip;
    if (asked.len && holds_ip(old) && str_eq(asked, value_path_str(old, "spec.clusterIP")))
        return 0;
    int rc = cluster_ip_claim(c, v, asked, p, &ip, err);
    if (rc < 0)
        return rc;
    struct value *list = value_list(c->arena);
    value_append(c->arena, list, value_string(c->arena, ip));
    value_setz(c->arena, spec, "clusterIP", value_string(c->arena, ip));
    value_setz(c->arena, spec, "clusterIPs", list);
    return 0;
}

static bool had_port(const struct value *v, int64_t port)
{
    const struct value *ports = needs_node_ports(v) ? value_path(v, "spec.ports") : NULL;
    for (size_t i = 0; i < value_len(ports); i++)
        if (value_path_int(value_at(ports, i), "nodePort", 0) == port)
            return true;
    return needs_health_port(v) && value_path_int(v, "spec.healthCheckNodePort", 0) == port;
}

/* The same port number under another protocol shares its node port. */
static int64_t sibling(const struct value *ports, size_t at)
{
    int64_t port = value_path_int(value_at(ports, at), "port", 0);
    for (size_t i = 0; i < at; i++)
        if (value_path_int(value_at(ports, i), "port", 0) == port &&
            !str_eq(value_path_str(value_at(ports, i), "protocol"), value_path_str(value_at(ports, at), "protocol")))
            return value_path_int(value_at(ports, i), "nodePort", 0);
    return 0;
}

static int settle_ports(struct registry_call *c, struct value *v, const struct value *old, struct problems *p,
                        struct err *err)
{
    struct value *ports = needs_node_ports(v) ? value_path(v, "spec.ports") : NULL;
    for (size_t i = 0; i < value_len(ports); i++) {
        struct value *port = value_at(ports, i);
        int64_t asked = value_path_int(port, "nodePort", 0), got;
        if (!asked && (asked = sibling(ports, i))) {
            value_setz(c->arena, port, "nodePort", value_int(c->arena, asked));
            continue;
        }
        if (asked && (had_port(old, asked) || (i && sibling(ports, i) == asked)))
            continue;
        struct str field = arena_printf(c->arena, "spec.ports[%zu].nodePort", i);
        int rc = node_port_claim(c, v, asked, field, p, &got, err);
        if (rc < 0)
            return rc;
        value_setz(c->arena, port, "nodePort", value_int(c->arena, got));
    }
    int64_t health = value_path_int(v, "spec.healthCheckNodePort", 0), got;
    if (!needs_health_port(v) || (health && had_port(old, health)))
        return 0;
    int rc = node_port_claim(c, v, health, STR("spec.healthCheckNodePort"), p, &got, err);
    if (rc == 0)
        value_set_path(c->arena, v, "spec.healthCheckNodePort", value_int(c->arena, got));
    return rc;
}

static void release_ports(struct registry_call *c, const struct value *old, const struct value *v)
{
    const struct value *ports = needs_node_ports(old) ? value_path(old, "spec.ports") : NULL;
    int64_t last = 0;
    for (size_t i = 0; i < value_len(ports); i++) {
        int64_t port = value_path_int(value_at(ports, i), "nodePort", 0);
        if (port && port != last && !had_port(v, port))
            node_port_release(c, port);
        last = port;
    }
    int64_t health = needs_health_port(old) ? value_path_int(old, "spec.healthCheckNodePort", 0) : 0;
    if (health && !had_port(v, health))
        node_port_release(c, health);
}

static int allocate(struct registry_call *c, struct value *v, const struct value *old, struct err *err)
{
    struct problems *p = problems_create(c->arena);
    int rc = settle_ip(c, v, old, p, err);
    if (rc == 0)
        rc = settle_ports(c, v, old, p, err);
    if (rc < 0 || (rc = problems_err(p, err)) < 0)
        return rc;
    if (old)
        release_ports(c, old, v);
    return 0;
}

static void release(struct registry_call *c, const struct value *old)
{
    if (holds_ip(old))
        cluster_ip_release(c, value_path_str(old, "spec.clusterIP"));
    release_ports(c, old, NULL);
}

const struct registry_rules registry_services = {
    .group = "",
    .resource = "services",
    .flags = REGISTRY_CREATE_ON_UPDATE | REGISTRY_RETURN_DELETED,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .allocate = allocate,
    .release = release,
};
