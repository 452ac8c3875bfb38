/* pods/proxy, services/proxy and nodes/proxy: [scheme:]name[:port] names the target, the rest of the path is its own.
 */
#include "api/server.h"
#include "api/stream/location.h"
#include "api/stream/relay.h"
#include "api/stream/stream.h"

struct target {
    struct str scheme, name, port;
};

static bool target_parse(struct str text, struct target *ret)
{
    struct str parts[3];
    size_t n = 0;
    while (n < 3 && str_split(&text, ':', &parts[n]))
        n++;
    *ret = (struct target){.scheme = STR("http")};
    if (text.p || !n)
        return false;
    if (n == 3) {
        if (parts[0].len)
            ret->scheme = parts[0];
        ret->name = parts[1];
        ret->port = parts[2];
    } else {
        ret->name = parts[0];
        if (n == 2)
            ret->port = parts[1];
    }
    return ret->name.len && (str_eq(ret->scheme, STR("http")) || str_eq(ret->scheme, STR("https")));
}

/* The path behind /proxy as the client encoded it, with its query. */
static struct str rest_of(struct chain_request *c)
{
    const struct str word = STR("/proxy");
    struct str path = c->raw_path;
    for (size_t i = 0; i + word.len <= path.len; i++) {
        struct str at = str_sub(path, i, path.len);
        if (!str_starts(at, word) || (at.len > word.len && at.p[word.len] != '/'))
            continue;
        struct str rest = str_sub(at, word.len, at.len);
        return arena_printf(c->req.arena, STR_FMT "%s" STR_FMT, STR_ARG(rest.len ? rest : STR("/")),
                            c->query.len ? "?" : "", STR_ARG(c->query));
    }
    return STR("/");
}

static struct str origin_of(struct chain_request *c, const struct target *t, struct str ip, int64_t port)
{
    return arena_printf(c->req.arena,
                        str_contains(ip, STR(":")) ? STR_FMT "://[" STR_FMT "]:%d" : STR_FMT "://" STR_FMT ":%d",
                        STR_ARG(t->scheme), STR_ARG(ip), (int)port);
}

static int pod_origin(struct chain_request *c, const struct target *t, struct str *ret, struct err *err)
{
    struct value *pod;
    int64_t port = 0;
    int rc = location_pod(c, t->name, &pod, err);
    if (rc < 0)
        return rc;
    const struct value *containers = value_path(pod, "spec.containers");
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *ports = value_getz(value_at(containers, i), "ports");
        for (size_t k = 0; k < value_len(ports); k++) {
            const struct value *one = value_at(ports, k);
            if (!port && (!t->port.len || str_eq(value_path_str(one, "name"), t->port)))
                port = value_path_int(one, "containerPort", 0);
        }
    }
    if (t->port.len && !port && !str_to_i64(t->port, &port))
        return err_set(err, ERR_UNAVAILABLE, "no port named \"" STR_FMT "\" in pod \"" STR_FMT "\"", STR_ARG(t->port),
                       STR_ARG(t->name));
    struct str ip = value_path_str(pod, "status.podIP");
    if (!ip.len)
        return err_set(err, ERR_BAD_REQUEST, "address not allowed");
    *ret = origin_of(c, t, ip, port ? port : 80);
    return 0;
}

/* The first ready address of the service's slices, and the target port of the service port asked for. */
static bool slice_pick(const struct value *slice, struct str port_name, struct str *ret_ip, int64_t *ret_port)
{
    const struct value *endpoints = value_getz(slice, "endpoints"), *ports = value_getz(slice, "ports");
    *ret_port = 0;
    for (size_t i = 0; i < value_len(ports) && !*ret_port; i++)
        if (str_eq(value_path_str(value_at(ports, i), "name"), port_name))
            *ret_port = value_path_int(value_at(ports, i), "port", 0);
    for (size_t i = 0; *ret_port && i < value_len(endpoints); i++) {
        const struct value *e = value_at(endpoints, i);
        if (!value_path_bool(e, "conditions.ready", true))
            continue;
        *ret_ip = value_str(value_at(value_getz(e, "addresses"), 0));
        return ret_ip->len > 0;
    }
    return false;
}

static int service_origin(struct chain_request *c, const struct target *t, struct str *ret, struct err *err)
{
    struct cache *cache = c->req.server->cache;
    struct arena *a = c->req.arena;
    const struct object *o = cache_find(cache, resource_find(STR(""), STR("services")), c->req.namespace_, t->name);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "services \"" STR_FMT "\" not found", STR_ARG(t->name));
    const struct value *ports = value_path(object_value(a, o), "spec.ports"), *port = NULL;
    for (size_t i = 0; i < value_len(ports) && !port; i++) {
        const struct value *p = value_at(ports, i);
        int64_t number = 0;
        bool same = str_eq(value_path_str(p, "name"), t->port) ||
                    (str_to_i64(t->port, &number) && number == value_path_int(p, "port", 0));
        if (same || (!t->port.len && value_len(ports) == 1))
            port = p;
    }
    object_put(o);
    if (!port)
        return err_set(err, ERR_UNAVAILABLE, "no service port \"" STR_FMT "\" found for service \"" STR_FMT "\"",
                       STR_ARG(t->port), STR_ARG(t->name));
    struct str name = value_path_str(port, "name"), ip;
    int64_t number;
    bool found = false;
    struct object_tree *slices = cache_snapshot(cache, resource_find(STR("discovery.k8s.io"), STR("endpointslices")));
    struct object_tree_iter it;
    object_tree_iter_init(&it, slices, c->req.namespace_);
    for (const struct object *s; !found && (s = object_tree_next(&it));)
        if (str_eq(object_label(s, STR("kubernetes.io/service-name")), t->name))
            found = slice_pick(object_value(a, s), name.p ? name : STR(""), &ip, &number);
    if (found)
        *ret = origin_of(c, t, ip, number);
    object_tree_put(slices);
    return found
               ? 0
               : err_set(err, ERR_UNAVAILABLE, "no endpoints available for service \"" STR_FMT "\"", STR_ARG(t->name));
}

void stream_proxy(struct chain_request *c)
{
    struct err err = ERR_INIT;
    struct target t;
    struct relay_target to = {.kind = RELAY_PROXY, .path = rest_of(c)};
    int rc;
    if (!target_parse(c->req.name, &t))
        rc = err_set(&err, ERR_BAD_REQUEST, "invalid request \"" STR_FMT "\"", STR_ARG(c->req.name));
    else if (str_eq(c->route.resource, STR("nodes")))
        rc = location_agent(c, t.name, &to.origin, &err);
    else if (str_eq(c->route.resource, STR("pods")))
        rc = pod_origin(c, &t, &to.origin, &err);
    else
        rc = service_origin(c, &t, &to.origin, &err);
    if (rc < 0)
        api_answer_err(&c->req, &err);
    else
        relay_run(c, &to);
}
