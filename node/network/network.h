/* network: everything a node does for pods to reach each other, Services, names and the outside. Started by the agent
 * once its Node object is there; runs on the agent's loop in the node's network namespace.
 *
 *   pod range      from Node.spec.podCIDR: the CNI configuration (cni.h) is written when it is known
 *   routes         to the pod ranges of the other nodes, through their addresses (nodes on one link)
 *   proxy          Services and their endpoints as rules (proxy.h)
 *   dns            the cluster's names (dns.h) on the cluster's DNS address
 */
#ifndef SKIFF_NODE_NETWORK_NETWORK_H
#define SKIFF_NODE_NETWORK_NETWORK_H

#include "api/client/client.h"

struct network;

struct network_options {
    const char *node_name;
    const char *cni_dir;        /* bin/ and net.d/ of the runtime */
    const char *data_dir;       /* addresses in use */
    const char *cluster_cidr;   /* of all pods, "10.244.0.0/16" */
    const char *cluster_dns;    /* "10.96.0.10" */
    const char *cluster_domain; /* "cluster.local" */
};
/* Informers of Services, EndpointSlices and Nodes are made here; the agent's own readiness asks network_ready. */
int network_start(struct client *c, struct loop *l, const struct network_options *opt, struct network **ret,
                  struct err *err);
bool network_ready(const struct network *n); /* pods can be connected: the pod range is known and configured */
void network_stop(struct network *n);        /* rules, routes and links stay for the pods that go on */

#endif
