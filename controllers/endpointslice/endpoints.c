#include "controllers/endpointslice/endpoints.h"

#define ZONE_LABEL "topology.kubernetes.io/zone"

bool endpoints_selects(const struct core_v1_service *service, const struct object *pod)
{
    for (size_t i = 0; i < service->spec->selector.len; i++) {
        struct str have = object_label(pod, service->spec->selector.items[i].key);
        if (!have.p || !str_eq(have, service->spec->selector.items[i].value))
            return false;
    }
    return service->spec->selector.len > 0;
}

void endpoints_keys_of_pod(const struct view *v, int services, const struct object *old, const struct object *now,
                           void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    struct arena *a = arena_create(0);
    const struct object **all;
    size_t n = view_list(v, a, services, now ? now->namespace_ : old->namespace_, &all);
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_service *s = view_object(a, all[i]);
        if ((now && endpoints_selects(s, now)) || (old && endpoints_selects(s, old)))
            add(arg, all[i]->namespace_, all[i]->name);
    }
    arena_destroy(a);
}

static int32_t named_port(const struct core_v1_container_array *containers, struct str name, struct str protocol)
{
    for (size_t i = 0; i < containers->len; i++) {
        for (size_t j = 0; j < containers->items[i].ports.len; j++) {
            const struct core_v1_container_port *p = &containers->items[i].ports.items[j];
            if (str_eq(p->name, name) && str_eq(p->protocol.len ? p->protocol : STR("TCP"), protocol))
                return p->container_port;
        }
    }
    return 0;
}

/* 0 = this pod does not offer it */
static int32_t resolve_port(const struct core_v1_service_port *port, const struct core_v1_pod *pod)
{
    if (!port->target_port.present || (!port->target_port.is_string && port->target_port.integer == 0))
        return port->port;
    if (!port->target_port.is_string)
        return port->target_port.integer;
    struct str protocol = port->protocol.len ? port->protocol : STR("TCP");
    return named_port(&pod->spec->containers, port->target_port.string, protocol);
}

static struct value *ports_of(struct arena *a, const struct core_v1_service *service, const struct core_v1_pod *pod)
{
    struct value *list = value_list(a);
    for (size_t i = 0; i < service->spec->ports.len; i++) {
        const struct core_v1_service_port *port = &service->spec->ports.items[i];
        int32_t number = resolve_port(port, pod);
        if (!number)
            continue;
        struct value *v = value_map(a);
        value_setz(a, v, "name", value_string(a, port->name.p ? port->name : STR("")));
        value_setz(a, v, "protocol", value_string(a, port->protocol.len ? port->protocol : STR("TCP")));
        value_setz(a, v, "port", value_int(a, number));
        if (port->app_protocol.p)
            value_setz(a, v, "appProtocol", value_string(a, port->app_protocol));
        value_append(a, list, v);
    }
    return list;
}

static bool is_ready(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status->conditions.len; i++) {
        if (str_eqz(pod->status->conditions.items[i].type, "Ready"))
            return str_eqz(pod->status->conditions.items[i].status, "True");
    }
    return false;
}

static struct value *endpoint(struct arena *a, const struct object *service, const struct core_v1_service *view,
                              const struct object *object, const struct core_v1_pod *pod, const struct view *v,
                              int nodes)
{
    struct value *e = value_map(a), *addresses = value_list(a), *conditions = value_map(a), *target = value_map(a);
    bool serving = is_ready(pod), terminating = object->deletion_s != 0;
    value_append(a, addresses, value_string(a, pod->status->pod_ip));
    value_setz(a, e, "addresses", addresses);
    value_setz(a, conditions, "ready",
               value_bool(a, view->spec->publish_not_ready_addresses || (serving && !terminating)));
    value_setz(a, conditions, "serving", value_bool(a, serving));
    value_setz(a, conditions, "terminating", value_bool(a, terminating));
    value_setz(a, e, "conditions", conditions);
    if (pod->spec->hostname.len && str_eq(pod->spec->subdomain, service->name))
        value_setz(a, e, "hostname", value_string(a, pod->spec->hostname));
    value_setz(a, target, "kind", value_stringz(a, "Pod"));
    value_setz(a, target, "namespace", value_string(a, object->namespace_));
    value_setz(a, target, "name", value_string(a, object->name));
    value_setz(a, target, "uid", value_string(a, object->uid));
    value_setz(a, e, "targetRef", target);
    if (pod->spec->node_name.len) {
        const struct object *node = v ? view_find(v, nodes, STR(""), pod->spec->node_name) : NULL;
        struct str zone = node ? object_label(node, STR(ZONE_LABEL)) : STR_NULL;
        value_setz(a, e, "nodeName", value_string(a, pod->spec->node_name));
        if (zone.p)
            value_setz(a, e, "zone", value_string(a, zone));
    }
    return e;
}

static struct endpoint_group *group_of(struct arena *a, struct endpoint_groups *groups, struct value *ports)
{
    for (size_t i = 0; i < groups->len; i++) {
        if (value_semantic_equal(groups->items[i].ports, ports))
            return &groups->items[i];
    }
    ARENA_PUSH(a, groups->items, groups->len, groups->cap, (struct endpoint_group){.ports = ports});
    return &groups->items[groups->len - 1];
}

void endpoints_add(struct arena *a, struct endpoint_groups *groups, const struct object *service,
                   const struct core_v1_service *view, const struct object *object, const struct view *v, int nodes)
{
    const struct core_v1_pod *pod = view_object(a, object);
    if (!pod->status->pod_ip.len || str_eqz(pod->status->phase, "Succeeded") || str_eqz(pod->status->phase, "Failed"))
        return;
    struct endpoint_group *g = group_of(a, groups, ports_of(a, view, pod));
    size_t len = g->len;
    ARENA_PUSH(a, g->items, g->len, g->cap, endpoint(a, service, view, object, pod, v, nodes));
    ARENA_PUSH(a, g->taken, len, g->cap_taken, false);
}

void endpoints_placeholder(struct arena *a, struct endpoint_groups *groups)
{
    group_of(a, groups, value_list(a));
}
