/* services: cluster IPs and node ports.
 *
 * An address belongs to whoever stored the IPAddress object of its name (networking.k8s.io/v1, as upstream's allocator
 * does); a node port to whoever stored its key under SERVICE_PORT_PREFIX. Both are created and deleted in the
 * transaction of the Service itself, so two Services can never hold the same, and nothing leaks. */
#ifndef SKIFF_API_REGISTRY_SERVICES_H
#define SKIFF_API_REGISTRY_SERVICES_H

#include "api/registry/registry.h"

#define SERVICE_PORT_PREFIX "/registry/ranges/nodeports/"
#define NODE_PORT_MIN 30000
#define NODE_PORT_MAX 32767

struct service_range {    /* IPv4 */
    uint32_t first, size; /* network address and number of addresses */
    char text[32];
};
int service_range_of(const struct api_server *s, struct service_range *ret, struct err *err);

/* Cluster IPs: claim one (`asked` STR_NULL = choose). What is wrong with an asked one is a problem. */
int cluster_ip_claim(struct registry_call *c, const struct value *service, struct str asked, struct problems *p,
                     struct str *ret, struct err *err);
void cluster_ip_release(struct registry_call *c, struct str ip);

/* Node ports: claim (`asked` 0 = choose). `index` is the port's place in spec.ports. */
int node_port_claim(struct registry_call *c, const struct value *service, int64_t asked, struct str field,
                    struct problems *p, int64_t *ret, struct err *err);
void node_port_release(struct registry_call *c, int64_t port);

#endif
