#include "node/network/network.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/network/cni.h"
#include "node/network/dns.h"
#include "node/network/proxy.h"
#include "node/network/rtnl.h"
#include "openapi/view.h"
#include "openapi/views.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AREA "network"
#define SETTLE_MS 5 /* changes come in bursts: one pass for all of them */
#define RETRY_MS 1000

struct network {
    struct network_options options;
    struct client *client;
    struct loop *loop;
    struct informer *services, *slices, *nodes, *pods_here;
    struct timer services_timer, nodes_timer;
    struct rtnl *rtnl;
    struct proxy *proxy;
    struct dns_server *dns;
    char field[300]; /* selects this node's pods */
    uint32_t dns_ip;
    struct subnet cluster, pods;
    bool pods_known;
    /* what the DNS zone points into, replaced as a whole */
    struct arena *arena;
    struct object_tree *service_tree, *slice_tree, *pod_tree;
    struct service_table table;
    struct dns_zone zone;
    struct map routes; /* destination -> gateway text (malloc'd) */
};

/* ---- Services ---- */

static void drop_zone(struct network *n)
{
    dns_server_set_zone(n->dns, NULL);
    dns_zone_finish(&n->zone);
    arena_destroy(n->arena);
    object_tree_put(n->service_tree);
    object_tree_put(n->slice_tree);
    object_tree_put(n->pod_tree);
    n->arena = NULL;
    n->service_tree = n->slice_tree = n->pod_tree = NULL;
}

static void sync_services(void *arg)
{
    struct network *n = arg;
    struct err err = ERR_INIT;
    if (!informer_synced(n->services) || !informer_synced(n->slices) || !informer_synced(n->pods_here))
        return;
    drop_zone(n);
    n->arena = arena_create(0);
    n->service_tree = informer_snapshot(n->services);
    n->slice_tree = informer_snapshot(n->slices);
    services_collect(n->arena, n->service_tree, n->slice_tree, str_from(n->options.node_name), &n->table);
    n->pod_tree = informer_snapshot(n->pods_here);
    services_add_host_ports(n->arena, n->pod_tree, &n->table);
    dns_zone_init(&n->zone, n->arena, n->options.cluster_domain, n->dns_ip, &n->table,
                  (uint32_t)informer_revision(n->services));
    dns_server_set_zone(n->dns, &n->zone);
    if (n->proxy && proxy_sync(n->proxy, &n->table, &err) < 0) {
        log_warn(AREA, "service rules: %s", err.message);
        timer_start(&n->services_timer, n->loop, RETRY_MS, sync_services, n);
    }
}

static void services_changed(void *arg)
{
    struct network *n = arg;
    if (!n->services_timer.heap_at)
        timer_start(&n->services_timer, n->loop, SETTLE_MS, sync_services, n);
}

static void service_changed(void *arg, const struct object *old, const struct object *now)
{
    (void)old;
    (void)now;
    services_changed(arg);
}

/* ---- nodes: our own pod range, and the way to the others' ---- */

static const char *internal_address(struct arena *a, const struct core_v1_node *node)
{
    for (size_t i = 0; i < node->status->addresses.len; i++) {
        uint32_t ip;
        if (str_eqz(node->status->addresses.items[i].type, "InternalIP") &&
            ipv4_parse(node->status->addresses.items[i].address, &ip))
            return arena_str(a, node->status->addresses.items[i].address).p;
    }
    return NULL;
}

static int configure_pods(struct network *n, const char *range, struct err *err)
{
    char program[512];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    int rc = subnet_parse(range, &n->pods, err);
    if (rc < 0)
        return rc;
    program[len > 0 ? len : 0] = 0;
    struct cni_config config = {
        .dir = n->options.cni_dir, .program = program, .subnet = range, .data_dir = n->options.data_dir};
    if ((rc = cni_write_config(&config, err)) < 0)
        return rc;
    struct proxy_options options = {.pods = n->pods, .cluster = n->cluster, .bridge = CNI_BRIDGE, .dns_ip = n->dns_ip};
    if ((rc = proxy_create(&options, &n->proxy, err)) < 0)
        return rc;
    n->pods_known = true;
    log_info(AREA, "pods of this node get addresses of %s", range);
    services_changed(n);
    return 0;
}

static void set_route(struct network *n, struct str destination, const char *gateway)
{
    struct err err = ERR_INIT;
    struct subnet subnet;
    char text[32], network[16];
    char *have = map_get(&n->routes, destination);
    if (have && strcmp(have, gateway) == 0)
        return;
    snprintf(text, sizeof text, STR_FMT, STR_ARG(destination));
    if (subnet_parse(text, &subnet, &err) == 0) {
        address_format(subnet.network, network);
        if (rtnl_route_replace(n->rtnl, network, subnet.prefix_len, gateway, NULL, &err) == 0) {
            free(map_put(&n->routes, destination, strdup(gateway)));
            return;
        }
    }
    log_warn(AREA, "%s", err.message);
}

static void remove_route(struct network *n, struct str destination)
{
    struct err err = ERR_INIT;
    struct subnet subnet;
    char text[32], network[16];
    snprintf(text, sizeof text, STR_FMT, STR_ARG(destination));
    free(map_remove(&n->routes, destination));
    if (subnet_parse(text, &subnet, &err) < 0)
        return;
    address_format(subnet.network, network);
    if (rtnl_route_del(n->rtnl, network, subnet.prefix_len, &err) < 0)
        log_warn(AREA, "%s", err.message);
}

static void remove_stale_routes(struct network *n, const struct map *wanted)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &n->routes);
    while (map_iter_next(&it, &key, &value)) {
        if (!map_get(wanted, key))
            remove_route(n, key);
    }
}

static void sync_nodes(void *arg)
{
    struct network *n = arg;
    struct arena *a = arena_create(0);
    struct object_tree *tree = informer_snapshot(n->nodes);
    struct object_tree_iter it;
    struct map wanted = {0};
    const struct object *o;
    object_tree_iter_init(&it, tree, STR(""));
    while ((o = object_tree_next(&it))) {
        const struct core_v1_node *node = view_object(a, o);
        if (!node->spec->pod_cidr.len)
            continue;
        struct str range = arena_str(a, node->spec->pod_cidr);
        if (str_eqz(o->name, n->options.node_name)) {
            struct err err = ERR_INIT;
            if (!n->pods_known && configure_pods(n, range.p, &err) < 0) {
                log_warn(AREA, "pod range %s: %s", range.p, err.message);
                timer_start(&n->nodes_timer, n->loop, RETRY_MS, sync_nodes, n);
            }
            continue;
        }
        const char *gateway = internal_address(a, node);
        if (gateway) {
            map_put(&wanted, range, (void *)gateway);
            set_route(n, range, gateway);
        }
    }
    remove_stale_routes(n, &wanted);
    map_finish(&wanted);
    object_tree_put(tree);
    arena_destroy(a);
}

static void node_changed(void *arg, const struct object *old, const struct object *now)
{
    struct network *n = arg;
    (void)old;
    (void)now;
    if (!n->nodes_timer.heap_at)
        timer_start(&n->nodes_timer, n->loop, SETTLE_MS, sync_nodes, n);
}

/* ---- life ---- */

/* A change of a pod matters when it has host ports; most have none. */
static bool has_host_port(const struct object *o)
{
    return o && str_contains(o->body, STR("\"hostPort\":"));
}

static void pod_changed(void *arg, const struct object *old, const struct object *now)
{
    if (has_host_port(old) || has_host_port(now))
        services_changed(arg);
}

static struct informer *watch_all(struct network *n, struct str group, struct str name,
                                  void (*on_change)(void *arg, const struct object *old, const struct object *now),
                                  void (*on_synced)(void *arg))
{
    struct informer_options options = {
        .resource = resource_find(group, name), .on_change = on_change, .on_synced = on_synced, .arg = n};
    assert(options.resource);
    return client_informer(n->client, &options);
}

int network_start(struct client *c, struct loop *l, const struct network_options *opt, struct network **ret,
                  struct err *err)
{
    struct network *n = calloc(1, sizeof *n);
    assert(n);
    n->options = *opt;
    n->client = c;
    n->loop = l;
    int rc = subnet_parse(opt->cluster_cidr, &n->cluster, err);
    if (rc == 0 && !ipv4_parse(str_from(opt->cluster_dns), &n->dns_ip))
        rc = err_set(err, ERR_BAD_REQUEST, "cluster DNS address %s is not an IPv4 address", opt->cluster_dns);
    if (rc == 0 && (rc = rtnl_open(&n->rtnl, err)) == 0 && (rc = rtnl_link_up(n->rtnl, "lo", err)) == 0 &&
        (rc = rtnl_addr_add(n->rtnl, "lo", opt->cluster_dns, 32, err)) == 0)
        rc = dns_server_create(l, opt->cluster_dns, 53, NULL, &n->dns, err);
    if (rc < 0) {
        rtnl_close(n->rtnl);
        free(n);
        return err_context(err, "node network");
    }
    n->nodes = watch_all(n, STR(""), STR("nodes"), node_changed, NULL);
    n->services = watch_all(n, STR(""), STR("services"), service_changed, services_changed);
    n->slices = watch_all(n, STR("discovery.k8s.io"), STR("endpointslices"), service_changed, services_changed);
    snprintf(n->field, sizeof n->field, "spec.nodeName=%s", opt->node_name);
    struct informer_options here = {.resource = resource_find(STR(""), STR("pods")),
                                    .field_selector = str_from(n->field),
                                    .on_change = pod_changed,
                                    .on_synced = services_changed,
                                    .arg = n};
    n->pods_here = client_informer(c, &here);
    *ret = n;
    return 0;
}

bool network_ready(const struct network *n)
{
    return n->pods_known;
}

void network_stop(struct network *n)
{
    if (!n)
        return;
    timer_stop(&n->services_timer);
    timer_stop(&n->nodes_timer);
    informer_destroy(n->services);
    informer_destroy(n->slices);
    informer_destroy(n->nodes);
    informer_destroy(n->pods_here);
    drop_zone(n);
    dns_server_destroy(n->dns);
    proxy_destroy(n->proxy);
    rtnl_close(n->rtnl);
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &n->routes);
    while (map_iter_next(&it, &key, &value))
        free(value);
    map_finish(&n->routes);
    free(n);
}
