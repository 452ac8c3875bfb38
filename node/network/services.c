#include "node/network/services.h"

#include "base/map.h"
#include "openapi/view.h"
#include "openapi/views.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

bool ipv4_parse(struct str text, uint32_t *ret)
{
    char z[16];
    struct in_addr in;
    if (text.len == 0 || text.len >= sizeof z)
        return false;
    memcpy(z, text.p, text.len);
    z[text.len] = 0;
    if (inet_pton(AF_INET, z, &in) != 1)
        return false;
    *ret = ntohl(in.s_addr);
    return true;
}

static uint8_t protocol_of(struct str s)
{
    if (str_eqz(s, "UDP"))
        return IPPROTO_UDP;
    return str_eqz(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static void add_external(struct arena *a, struct service *s, struct str text)
{
    uint32_t address;
    if (ipv4_parse(text, &address))
        ARENA_PUSH(a, s->external_ips, s->n_external_ips, s->cap_external_ips, address);
}

static void fill_service(struct arena *a, const struct object *o, struct service *s)
{
    const struct core_v1_service *view = view_object(a, o);
    const struct core_v1_service_spec *spec = view->spec;
    s->namespace_ = o->namespace_;
    s->name = o->name;
    s->publish_not_ready = spec->publish_not_ready_addresses;
    s->external_local = str_eqz(spec->external_traffic_policy, "Local");
    s->internal_local = str_eqz(spec->internal_traffic_policy, "Local");
    if (str_eqz(spec->type, "ExternalName")) {
        s->external_name = spec->external_name;
        return;
    }
    s->headless = str_eqz(spec->cluster_ip, "None");
    ipv4_parse(spec->cluster_ip, &s->cluster_ip);
    for (size_t i = 0; i < spec->external_ips.len; i++)
        add_external(a, s, spec->external_ips.items[i]);
    const struct core_v1_load_balancer_status *balancer = view->status->load_balancer;
    for (size_t i = 0; balancer && i < balancer->ingress.len; i++)
        add_external(a, s, balancer->ingress.items[i].ip);
    s->ports = ARENA_ARRAY(a, struct service_port, spec->ports.len + 1);
    s->n_ports = spec->ports.len;
    for (size_t i = 0; i < spec->ports.len; i++) {
        const struct core_v1_service_port *from = &spec->ports.items[i];
        s->ports[i] = (struct service_port){.name = from->name,
                                            .protocol = protocol_of(from->protocol),
                                            .port = (uint16_t)from->port,
                                            .node_port = (uint16_t)from->node_port};
    }
}

static void add_endpoint(struct arena *a, struct endpoint_list *list, const struct endpoint *e)
{
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i].address == e->address && list->items[i].port == e->port) {
            list->items[i].ready = list->items[i].ready || e->ready;
            return;
        }
    }
    ARENA_PUSH(a, list->items, list->len, list->cap, *e);
}

static int by_address(const void *a, const void *b)
{
    const struct endpoint *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return (int)x->port - (int)y->port;
}

/* Ready endpoints, and as a fallback those that terminate but still serve (KEP-1669). */
static void fill_slice(struct arena *a, const struct object *o, struct str node_name, struct service *s)
{
    const struct discovery_v1_endpoint_slice *slice = view_object(a, o);
    if (!str_eqz(slice->address_type, "IPv4"))
        return;
    for (size_t i = 0; i < slice->endpoints.len; i++) {
        const struct discovery_v1_endpoint *from = &slice->endpoints.items[i];
        const struct discovery_v1_endpoint_conditions *c = from->conditions;
        bool ready = !c || !c->has_ready || c->ready;
        bool fallback = c && c->has_serving && c->serving && c->has_terminating && c->terminating;
        for (size_t j = 0; j < from->addresses.len; j++) {
            struct endpoint e = {
                .ready = ready, .local = str_eq(from->node_name, node_name), .hostname = from->hostname};
            if (!ipv4_parse(from->addresses.items[j], &e.address))
                continue;
            if (ready || s->publish_not_ready)
                add_endpoint(a, &s->addresses, &e);
            for (size_t p = 0; p < slice->ports.len && (ready || fallback); p++) {
                for (size_t k = 0; k < s->n_ports; k++) {
                    if (!str_eq(s->ports[k].name, slice->ports.items[p].name) ||
                        s->ports[k].protocol != protocol_of(slice->ports.items[p].protocol))
                        continue;
                    e.port = (uint16_t)slice->ports.items[p].port;
                    add_endpoint(a, &s->ports[k].endpoints, &e);
                }
            }
        }
    }
}

/* Keep what traffic goes to, in a stable order (rules change only when endpoints do). */
static void settle(struct endpoint_list *list)
{
    bool any_ready = false;
    size_t kept = 0;
    for (size_t i = 0; i < list->len; i++)
        any_ready = any_ready || list->items[i].ready;
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i].ready || !any_ready)
            list->items[kept++] = list->items[i];
    }
    list->len = kept;
    if (kept)
        qsort(list->items, kept, sizeof *list->items, by_address);
}

void services_collect(struct arena *a, const struct object_tree *services, const struct object_tree *slices,
                      struct str node_name, struct service_table *ret)
{
    struct map by_name = {0};
    struct object_tree_iter it;
    const struct object *o;
    *ret = (struct service_table){0};
    ret->cap = object_tree_len(services) + 1;
    ret->items = ARENA_ARRAY(a, struct service, ret->cap);
    object_tree_iter_init(&it, services, STR(""));
    while ((o = object_tree_next(&it))) {
        struct service *s = &ret->items[ret->len++];
        fill_service(a, o, s);
        map_put(&by_name, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->namespace_), STR_ARG(s->name)), s);
    }
    object_tree_iter_init(&it, slices, STR(""));
    while ((o = object_tree_next(&it))) {
        struct str owner = object_label(o, STR("kubernetes.io/service-name"));
        struct service *s =
            owner.p ? map_get(&by_name, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(o->namespace_), STR_ARG(owner)))
                    : NULL;
        if (s)
            fill_slice(a, o, node_name, s);
    }
    map_finish(&by_name);
    for (size_t i = 0; i < ret->len; i++) {
        for (size_t p = 0; p < ret->items[i].n_ports; p++)
            settle(&ret->items[i].ports[p].endpoints);
        if (ret->items[i].addresses.len)
            qsort(ret->items[i].addresses.items, ret->items[i].addresses.len, sizeof(struct endpoint), by_address);
    }
}

static void add_host_port(struct arena *a, const struct object *pod, uint32_t address,
                          const struct core_v1_container_port *port, struct service_table *table)
{
    struct service *s;
    ARENA_PUSH(a, table->items, table->len, table->cap, (struct service){0});
    s = &table->items[table->len - 1];
    s->namespace_ = pod->namespace_;
    s->name = pod->name;
    s->external_local = true; /* the client's address is kept: the pod is here */
    s->ports = ARENA_NEW(a, struct service_port);
    s->n_ports = 1;
    *s->ports = (struct service_port){.name = STR("host port"),
                                      .protocol = protocol_of(port->protocol),
                                      .port = (uint16_t)port->container_port,
                                      .node_port = (uint16_t)port->host_port};
    struct endpoint e = {.address = address, .port = (uint16_t)port->container_port, .ready = true, .local = true};
    add_endpoint(a, &s->ports->endpoints, &e);
}

void services_add_host_ports(struct arena *a, const struct object_tree *pods, struct service_table *table)
{
    struct object_tree_iter it;
    const struct object *o;
    object_tree_iter_init(&it, pods, STR(""));
    while ((o = object_tree_next(&it))) {
        const struct core_v1_pod *pod = view_object(a, o);
        uint32_t address;
        if (pod->spec->host_network || !ipv4_parse(pod->status->pod_ip, &address) ||
            str_eqz(pod->status->phase, "Succeeded") || str_eqz(pod->status->phase, "Failed"))
            continue;
        for (size_t i = 0; i < pod->spec->containers.len; i++) {
            const struct core_v1_container *c = &pod->spec->containers.items[i];
            for (size_t j = 0; j < c->ports.len; j++) {
                if (c->ports.items[j].host_port)
                    add_host_port(a, o, address, &c->ports.items[j], table);
            }
        }
    }
}
