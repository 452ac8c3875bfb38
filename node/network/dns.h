/* dns: the node's own DNS server for its pods, on the cluster's DNS address: names of the cluster from memory,
 * everything else forwarded to the resolvers of the machine (/etc/resolv.conf). UDP and TCP, on the agent's loop.
 */
#ifndef SKIFF_NODE_NETWORK_DNS_H
#define SKIFF_NODE_NETWORK_DNS_H

#include "base/loop.h"
#include "node/network/dns_zone.h"

struct dns_server;

/* The address must be one of this network namespace's. resolv_conf NULL = /etc/resolv.conf. */
int dns_server_create(struct loop *loop, const char *address, uint16_t port, const char *resolv_conf,
                      struct dns_server **ret, struct err *err);
/* Answer from this zone from now on (borrowed; NULL = SERVFAIL for names of the cluster). */
void dns_server_set_zone(struct dns_server *s, const struct dns_zone *zone);
void dns_server_destroy(struct dns_server *s);

#endif
