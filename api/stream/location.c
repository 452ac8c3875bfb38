#include "api/stream/location.h"

#include "api/server.h"

#define AGENT_PORT 10250

int location_pod(struct chain_request *c, struct str name, struct value **ret, struct err *err)
{
    const struct resource *pods = resource_find(STR(""), STR("pods"));
    const struct object *o = cache_find(c->req.server->cache, pods, c->req.namespace_, name);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "pods \"" STR_FMT "\" not found", STR_ARG(name));
    struct value *v = object_value(c->req.arena, o);
    *ret = value_copy(c->req.arena, v);
    arena_defer(c->req.arena, (void (*)(void *))object_put, (void *)o); /* strings may point into it */
    return 0;
}

static bool has_container(const struct value *list, struct str name)
{
    for (size_t i = 0; i < value_len(list); i++)
        if (str_eq(value_path_str(value_at(list, i), "name"), name))
            return true;
    return false;
}

int location_container(struct chain_request *c, const struct value *pod, struct str asked, struct str *ret,
                       struct err *err)
{
    static const char *const kinds[] = {"initContainers", "containers", "ephemeralContainers"};
    const struct value *spec = value_getz(pod, "spec"), *containers = value_getz(spec, "containers");
    struct str pod_name = value_path_str(pod, "metadata.name");
    if (asked.len) {
        for (size_t k = 0; k < 3; k++)
            if (has_container(value_getz(spec, kinds[k]), asked)) {
                *ret = asked;
                return 0;
            }
        return err_set(err, ERR_BAD_REQUEST, "container " STR_FMT " is not valid for pod " STR_FMT, STR_ARG(asked),
                       STR_ARG(pod_name));
    }
    if (value_len(containers) == 1) {
        *ret = value_path_str(value_at(containers, 0), "name");
        return 0;
    }
    if (!value_len(containers))
        return err_set(err, ERR_BAD_REQUEST, "a container name must be specified for pod " STR_FMT, STR_ARG(pod_name));
    struct buf names = {0};
    for (size_t k = 0; k < 3; k++) {
        const struct value *list = value_getz(spec, kinds[k]);
        for (size_t i = 0; i < value_len(list); i++) {
            buf_addz(&names, names.len ? " " : "");
            buf_add_str(&names, value_path_str(value_at(list, i), "name"));
        }
    }
    err_set(err, ERR_BAD_REQUEST,
            "a container name must be specified for pod " STR_FMT ", choose one of: [" STR_FMT "]", STR_ARG(pod_name),
            STR_ARG(buf_str(&names)));
    buf_free(&names);
    (void)c;
    return ERR_BAD_REQUEST;
}

int location_agent(struct chain_request *c, struct str node, struct str *ret_origin, struct err *err)
{
    static const char *const kinds[] = {"InternalIP", "ExternalIP", "Hostname"};
    struct arena *a = c->req.arena;
    const struct object *o = cache_find(c->req.server->cache, resource_find(STR(""), STR("nodes")), STR_NULL, node);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "nodes \"" STR_FMT "\" not found", STR_ARG(node));
    const struct value *status = value_getz(object_value(a, o), "status"), *list = value_getz(status, "addresses");
    int64_t port = value_path_int(status, "daemonEndpoints.kubeletEndpoint.Port", AGENT_PORT);
    struct str address = STR_NULL;
    for (size_t k = 0; k < 3 && !address.len; k++)
        for (size_t i = 0; i < value_len(list) && !address.len; i++)
            if (str_eqz(value_path_str(value_at(list, i), "type"), kinds[k]))
                address = value_path_str(value_at(list, i), "address");
    if (address.len)
        *ret_origin =
            arena_printf(a, str_contains(address, STR(":")) ? "https://[" STR_FMT "]:%d" : "https://" STR_FMT ":%d",
                         STR_ARG(address), (int)(port ? port : AGENT_PORT));
    object_put(o);
    if (!address.len)
        return err_set(err, ERR_INTERNAL, "no preferred addresses found; known addresses: []");
    return 0;
}

void location_encode(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '_' || c == '.' || c == '~';
        if (plain)
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

void location_add(struct buf *path, const char *name, struct str value)
{
    bool first = memchr(path->p, '?', path->len) == NULL;
    buf_printf(path, "%c%s=", first ? '?' : '&', name);
    location_encode(path, value);
}

struct str location_param(struct chain_request *c, const char *name)
{
    struct str query = c->query, key, value;
    while (http_query_next(c->req.arena, &query, &key, &value))
        if (str_eqz(key, name))
            return value;
    return STR_NULL;
}

bool location_flag(struct chain_request *c, const char *name)
{
    struct str v = location_param(c, name);
    return v.p && !str_eq(v, STR("0")) && !str_eq_nocase(v, STR("false"));
}
