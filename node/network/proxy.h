/* proxy: Services as nftables rules in the node's network namespace (table ip skiff), in the manner of kube-proxy.
 *
 *   prerouting, output   a look-up of (address, protocol, port) sends a packet for a Service to its chain; of
 *                        (protocol, port) one for a local address to the chain of a node port
 *   s<N>                 the chain of one Service port: random choice of an endpoint, destination translated
 *   x<N>                 the same for traffic from outside (node ports, external addresses): source translated too
 *   no-endpoints         Services nobody stands behind: refused
 *   postrouting          source translation: what was marked, a pod that reaches itself, pods that reach the outside
 *
 * A change touches only the Service ports it concerns and is one atomic batch. proxy_sync compares with what was
 * installed before; the first one replaces the whole table, so that a restart of the agent interrupts nothing.
 */
#ifndef SKIFF_NODE_NETWORK_PROXY_H
#define SKIFF_NODE_NETWORK_PROXY_H

#include "node/network/addresses.h"
#include "node/network/services.h"

struct proxy;

struct proxy_options {
    struct subnet pods;    /* of this node */
    struct subnet cluster; /* of all pods */
    const char *bridge;
    uint32_t dns_ip; /* answered on the node itself: no rules for it; 0 = none */
};
int proxy_create(const struct proxy_options *opt, struct proxy **ret, struct err *err);
void proxy_destroy(struct proxy *p); /* the rules stay: pods go on while the agent restarts */
int proxy_sync(struct proxy *p, const struct service_table *table, struct err *err);
/* Remove the table from this network namespace. */
int proxy_remove_rules(struct err *err);

#endif
