/* rtnl: links, addresses, routes and neighbours over rtnetlink (libmnl), in whatever network namespace the socket was
 * opened in. Blocking, one request and one answer at a time: each takes tens of microseconds.
 *
 * "Already there" is success where the caller wants the thing to be there: see each function.
 */
#ifndef SKIFF_NODE_NETWORK_RTNL_H
#define SKIFF_NODE_NETWORK_RTNL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rtnl;

int rtnl_open(struct rtnl **ret, struct err *err); /* in the calling thread's network namespace */
int rtnl_open_at(int netns_fd, struct rtnl **ret,
                 struct err *err); /* in that namespace; the thread returns to its own */
void rtnl_close(struct rtnl *r);   /* NULL is fine */

/* Links. Names are at most 15 bytes. */
int rtnl_link_index(struct rtnl *r, const char *name, int *ret, struct err *err); /* 1 = no such link */
int rtnl_bridge_add(struct rtnl *r, const char *name, struct err *err);           /* 1 = was there */
/* A pair: `name` here, `peer` in the namespace of peer_netns_fd (-1 = here too). mtu 0 = default. */
int rtnl_veth_add(struct rtnl *r, const char *name, const char *peer, int peer_netns_fd, uint32_t mtu, struct err *err);
/* A vxlan device: id, UDP port, on the link `under` (index), learning off. 1 = was there */
int rtnl_vxlan_add(struct rtnl *r, const char *name, uint32_t id, uint16_t port, int under, struct err *err);
int rtnl_link_up(struct rtnl *r, const char *name, struct err *err);
int rtnl_link_master(struct rtnl *r, const char *name, const char *bridge, struct err *err);
int rtnl_link_mac(struct rtnl *r, const char *name, const uint8_t mac[6], struct err *err);
int rtnl_link_get_mac(struct rtnl *r, const char *name, uint8_t ret_mac[6], struct err *err);
int rtnl_link_del(struct rtnl *r, const char *name, struct err *err); /* 1 = no such link */
int rtnl_bridge_hairpin(struct rtnl *r, const char *port,
                        struct err *err); /* a pod may reach itself through a Service */

/* Addresses and routes, IPv4 and IPv6 as text ("10.0.0.1"). Adding what is there is success. */
int rtnl_addr_add(struct rtnl *r, const char *link, const char *address, unsigned prefix_len, struct err *err);
/* Replaces a route of the same destination. dst "0.0.0.0"/0 is the default route; via NULL: on-link through `link`;
 * link NULL: found through via. */
int rtnl_route_replace(struct rtnl *r, const char *dst, unsigned prefix_len, const char *via, const char *link,
                       struct err *err);
int rtnl_route_del(struct rtnl *r, const char *dst, unsigned prefix_len, struct err *err); /* 1 = no such route */

/* True when some address or route of this namespace lies inside dst/prefix_len (IPv4), the default route aside. */
int rtnl_in_use(struct rtnl *r, const char *dst, unsigned prefix_len, bool *ret, struct err *err);

#endif
