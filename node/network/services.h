/* services: what the Services of a cluster mean on this node: pure data made from Service and EndpointSlice objects,
 * read by the proxy (rules), the DNS server (names) and, later, the ingress.
 */
#ifndef SKIFF_NODE_NETWORK_SERVICES_H
#define SKIFF_NODE_NETWORK_SERVICES_H

#include "base/arena.h"
#include "openapi/object/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct endpoint {
    uint32_t address;    /* IPv4, host byte order */
    uint16_t port;       /* of one port; 0 in lists of addresses */
    bool ready;          /* serving traffic: ready, or terminating but still serving when nothing else is there */
    bool local;          /* on this node */
    struct str hostname; /* of the pod, STR_NULL without one */
};

struct endpoint_list {
    struct endpoint *items;
    size_t len, cap;
};

struct service_port {
    struct str name;  /* may be empty */
    uint8_t protocol; /* IPPROTO_TCP, _UDP, _SCTP */
    uint16_t port, node_port;
    struct endpoint_list endpoints; /* those that take traffic, by address and port */
};

struct service {
    struct str namespace_, name;
    uint32_t cluster_ip; /* 0 = headless, external name, or a host port */
    bool headless, publish_not_ready, external_local, internal_local;
    struct str external_name;
    uint32_t *external_ips; /* externalIPs and load-balancer addresses */
    size_t n_external_ips, cap_external_ips;
    struct service_port *ports;
    size_t n_ports;
    struct endpoint_list addresses; /* every address once, for names; ready ones unless publish_not_ready */
};

struct service_table {
    struct service *items; /* in order of namespace and name */
    size_t len, cap;
};

/* Strings point into the objects' bodies or the arena: keep both while the table is used. */
void services_collect(struct arena *a, const struct object_tree *services, const struct object_tree *slices,
                      struct str node_name, struct service_table *ret);

/* Host ports of this node's pods, as services that have a node port only and one local endpoint. */
void services_add_host_ports(struct arena *a, const struct object_tree *pods, struct service_table *table);

bool ipv4_parse(struct str text, uint32_t *ret); /* host byte order */

#endif
