/* dns zone: the names of a cluster, answered from the Services of this moment, as the Kubernetes document "DNS-Based
 * Service Discovery" 1.1.0 says: Services (A, SRV), headless Services (their pods, with host names), ExternalName
 * (CNAME), pods by address, and the way back (PTR).
 */
#ifndef SKIFF_NODE_NETWORK_DNS_ZONE_H
#define SKIFF_NODE_NETWORK_DNS_ZONE_H

#include "base/map.h"
#include "node/network/dns_message.h"
#include "node/network/services.h"

#define DNS_TTL_S 5

struct dns_zone {
    const char *domain; /* "cluster.local" */
    uint32_t dns_ip;
    const struct service_table *table;
    struct map services;   /* "name.namespace" -> const struct service * */
    struct map namespaces; /* "namespace" */
    struct map reverse;    /* 4 address bytes -> name, in the arena */
    uint32_t serial;
};

/* Indexes the table; both the table and the arena must live as long as the zone. */
void dns_zone_init(struct dns_zone *z, struct arena *a, const char *domain, uint32_t dns_ip,
                   const struct service_table *table, uint32_t serial);
void dns_zone_finish(struct dns_zone *z);

/* true: the name is ours, and `answer` and *ret_code hold the answer (records, or SOA in authority when there are
 * none). false: ask elsewhere. */
bool dns_zone_answer(const struct dns_zone *z, const struct dns_question *q, struct dns_answer *answer,
                     enum dns_code *ret_code);

#endif
