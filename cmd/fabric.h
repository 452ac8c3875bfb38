/* fabric: what joins the nodes of a local cluster: a network namespace holding one bridge, a cable from it to the host
 * (for the server and for people) and one to each node. Being in a namespace of its own, the bridge is out of reach of
 * the host's firewall and of Docker's rules.
 */
#ifndef SKIFF_CMD_FABRIC_H
#define SKIFF_CMD_FABRIC_H

#include "base/err.h"
#include "cmd/cluster.h"

/* Choose a subnet nobody uses, make namespace and bridge, and give the host its address. Fills c->subnet. */
int fabric_create(struct cluster *c, struct err *err);
/* From inside a node's new network namespace: its cable to the bridge, address, loopback and default route. */
int fabric_join(const struct cluster *c, int node, struct err *err);
/* Removes the namespace with everything in it; fine when it is gone already. */
void fabric_destroy(const struct cluster *c);

#endif
