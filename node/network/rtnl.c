#include "node/network/rtnl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* libmnl's mnl_attr_for_each narrows a pointer difference. */
#pragma GCC diagnostic ignored "-Wconversion"

#define MESSAGE_MAX 8192

struct rtnl {
    struct mnl_socket *socket;
    unsigned seq, port;
    char out[MESSAGE_MAX];
};

int rtnl_open(struct rtnl **ret, struct err *err)
{
    struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!socket)
        return err_set_errno(err, ERR_IO, errno, "open a netlink socket");
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
        int errnum = errno;
        mnl_socket_close(socket);
        return err_set_errno(err, ERR_IO, errnum, "bind a netlink socket");
    }
    struct rtnl *r = calloc(1, sizeof *r);
    assert(r);
    r->socket = socket;
    r->port = mnl_socket_get_portid(socket);
    *ret = r;
    return 0;
}

int rtnl_open_at(int netns_fd, struct rtnl **ret, struct err *err)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return err_set_errno(err, ERR_IO, errno, "open this thread's network namespace");
    if (setns(netns_fd, CLONE_NEWNET) < 0) {
        int errnum = errno;
        close(home);
        return err_set_errno(err, ERR_IO, errnum, "enter a network namespace");
    }
    int rc = rtnl_open(ret, err);
    int back = setns(home, CLONE_NEWNET);
    assert(back == 0);
    close(home);
    return rc;
}

void rtnl_close(struct rtnl *r)
{
    if (!r)
        return;
    mnl_socket_close(r->socket);
    free(r);
}

static struct nlmsghdr *begin(struct rtnl *r, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(r->out);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    h->nlmsg_seq = ++r->seq;
    return h;
}

/* Send and collect answers; returns 0 or a negative errno of the kernel's. */
static int exchange(struct rtnl *r, struct nlmsghdr *h, mnl_cb_t on_message, void *arg)
{
    char in[MESSAGE_MAX * 2];
    if (mnl_socket_sendto(r->socket, h, h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(r->socket, in, sizeof in);
        if (n < 0)
            return -errno;
        int rc = mnl_cb_run(in, (size_t)n, r->seq, r->port, on_message, arg);
        if (rc < 0)
            return -errno;
        if (rc == MNL_CB_STOP)
            return 0;
    }
}

static int request(struct rtnl *r, struct nlmsghdr *h)
{
    h->nlmsg_flags |= NLM_F_ACK;
    return exchange(r, h, NULL, NULL);
}

static struct ifinfomsg *begin_link(struct rtnl *r, struct nlmsghdr **ret_h, uint16_t type, uint16_t flags)
{
    *ret_h = begin(r, type, flags);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(*ret_h, sizeof *info);
    info->ifi_family = AF_UNSPEC;
    return info;
}

/* ---- links ---- */

struct link_found {
    int index;
    uint8_t mac[6];
    bool has_mac;
};

static int on_link(const struct nlmsghdr *h, void *arg)
{
    struct link_found *found = arg;
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
    const struct nlattr *attr;
    found->index = info->ifi_index;
    mnl_attr_for_each(attr, h, sizeof *info)
    {
        if (mnl_attr_get_type(attr) == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == 6) {
            memcpy(found->mac, mnl_attr_get_payload(attr), 6);
            found->has_mac = true;
        }
    }
    return MNL_CB_OK;
}

static int find_link(struct rtnl *r, const char *name, struct link_found *ret)
{
    struct nlmsghdr *h;
    *ret = (struct link_found){0};
    begin_link(r, &h, RTM_GETLINK, NLM_F_ACK);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    return exchange(r, h, on_link, ret);
}

int rtnl_link_index(struct rtnl *r, const char *name, int *ret, struct err *err)
{
    struct link_found found;
    int rc = find_link(r, name, &found);
    if (rc == -ENODEV)
        return 1;
    if (rc < 0)
        return err_set_errno(err, ERR_IO, -rc, "look up link %s", name);
    *ret = found.index;
    return 0;
}

int rtnl_link_get_mac(struct rtnl *r, const char *name, uint8_t ret_mac[6], struct err *err)
{
    struct link_found found;
    int rc = find_link(r, name, &found);
    if (rc < 0 || !found.has_mac)
        return err_set_errno(err, ERR_IO, rc < 0 ? -rc : ENODATA, "address of link %s", name);
    memcpy(ret_mac, found.mac, 6);
    return 0;
}

static int add_link(struct rtnl *r, struct nlmsghdr *h, const char *what, const char *name, struct err *err)
{
    int rc = request(r, h);
    if (rc == -EEXIST)
        return 1;
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "add %s %s", what, name) : 0;
}

int rtnl_bridge_add(struct rtnl *r, const char *name, struct err *err)
{
    struct nlmsghdr *h;
    begin_link(r, &h, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(h, info);
    return add_link(r, h, "bridge", name, err);
}

int rtnl_veth_add(struct rtnl *r, const char *name, const char *peer, int peer_netns_fd, uint32_t mtu, struct err *err)
{
    struct nlmsghdr *h;
    begin_link(r, &h, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *other = mnl_attr_nest_start(h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(h, IFLA_IFNAME, peer);
    if (mtu)
        mnl_attr_put_u32(h, IFLA_MTU, mtu);
    if (peer_netns_fd >= 0)
        mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns_fd);
    mnl_attr_nest_end(h, other);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    int rc = add_link(r, h, "veth", name, err);
    return rc == 1 ? err_set(err, ERR_ALREADY_EXISTS, "link %s or %s is there already", name, peer) : rc;
}

int rtnl_vxlan_add(struct rtnl *r, const char *name, uint32_t id, uint16_t port, int under, struct err *err)
{
    struct nlmsghdr *h;
    begin_link(r, &h, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    mnl_attr_put_u32(h, IFLA_VXLAN_ID, id);
    mnl_attr_put_u32(h, IFLA_VXLAN_LINK, (uint32_t)under);
    mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(port));
    mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 0);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    return add_link(r, h, "vxlan", name, err);
}

static int change_link(struct rtnl *r, const char *name,
                       int (*fill)(struct nlmsghdr *h, struct ifinfomsg *info, void *arg), void *arg, struct err *err)
{
    struct nlmsghdr *h;
    struct ifinfomsg *info = begin_link(r, &h, RTM_NEWLINK, 0);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    fill(h, info, arg);
    int rc = request(r, h);
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "change link %s", name) : 0;
}

static int fill_up(struct nlmsghdr *h, struct ifinfomsg *info, void *arg)
{
    (void)h;
    (void)arg;
    info->ifi_flags |= IFF_UP;
    info->ifi_change |= IFF_UP;
    return 0;
}

static int fill_master(struct nlmsghdr *h, struct ifinfomsg *info, void *arg)
{
    (void)info;
    mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t) * (int *)arg);
    return 0;
}

static int fill_mac(struct nlmsghdr *h, struct ifinfomsg *info, void *arg)
{
    (void)info;
    mnl_attr_put(h, IFLA_ADDRESS, 6, arg);
    return 0;
}

int rtnl_link_up(struct rtnl *r, const char *name, struct err *err)
{
    return change_link(r, name, fill_up, NULL, err);
}

int rtnl_link_master(struct rtnl *r, const char *name, const char *bridge, struct err *err)
{
    int index = 0, rc = rtnl_link_index(r, bridge, &index, err);
    if (rc)
        return rc < 0 ? rc : err_set(err, ERR_IO, "no bridge %s", bridge);
    return change_link(r, name, fill_master, &index, err);
}

int rtnl_link_mac(struct rtnl *r, const char *name, const uint8_t mac[6], struct err *err)
{
    uint8_t copy[6];
    memcpy(copy, mac, 6);
    return change_link(r, name, fill_mac, copy, err);
}

int rtnl_link_del(struct rtnl *r, const char *name, struct err *err)
{
    struct nlmsghdr *h;
    begin_link(r, &h, RTM_DELLINK, 0);
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    int rc = request(r, h);
    if (rc == -ENODEV)
        return 1;
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "delete link %s", name) : 0;
}

int rtnl_bridge_hairpin(struct rtnl *r, const char *port, struct err *err)
{
    int index = 0, rc = rtnl_link_index(r, port, &index, err);
    if (rc)
        return rc < 0 ? rc : err_set(err, ERR_IO, "no link %s", port);
    struct nlmsghdr *h;
    struct ifinfomsg *info = begin_link(r, &h, RTM_SETLINK, 0);
    info->ifi_family = PF_BRIDGE;
    info->ifi_index = index;
    struct nlattr *protinfo = mnl_attr_nest_start(h, IFLA_PROTINFO | NLA_F_NESTED);
    mnl_attr_put_u8(h, IFLA_BRPORT_MODE, 1);
    mnl_attr_nest_end(h, protinfo);
    rc = request(r, h);
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "hairpin mode on %s", port) : 0;
}

/* ---- addresses and routes ---- */

struct address {
    uint8_t family, len;
    uint8_t bytes[16];
};

static bool parse_address(const char *text, struct address *ret)
{
    if (inet_pton(AF_INET, text, ret->bytes) == 1) {
        ret->family = AF_INET;
        ret->len = 4;
        return true;
    }
    if (inet_pton(AF_INET6, text, ret->bytes) == 1) {
        ret->family = AF_INET6;
        ret->len = 16;
        return true;
    }
    return false;
}

int rtnl_addr_add(struct rtnl *r, const char *link, const char *address, unsigned prefix_len, struct err *err)
{
    struct address a;
    int index = 0;
    if (!parse_address(address, &a))
        return err_set(err, ERR_BAD_REQUEST, "%s is not an IP address", address);
    int rc = rtnl_link_index(r, link, &index, err);
    if (rc)
        return rc < 0 ? rc : err_set(err, ERR_IO, "no link %s", link);
    struct nlmsghdr *h = begin(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
    m->ifa_family = a.family;
    m->ifa_prefixlen = (uint8_t)prefix_len;
    m->ifa_flags = a.family == AF_INET6 ? IFA_F_NODAD : 0;
    m->ifa_index = (uint32_t)index;
    mnl_attr_put(h, IFA_LOCAL, a.len, a.bytes);
    mnl_attr_put(h, IFA_ADDRESS, a.len, a.bytes);
    rc = request(r, h);
    if (rc < 0 && rc != -EEXIST)
        return err_set_errno(err, ERR_IO, -rc, "add address %s/%u to %s", address, prefix_len, link);
    return 0;
}

static struct nlmsghdr *begin_route(struct rtnl *r, uint16_t type, uint16_t flags, const struct address *dst,
                                    unsigned prefix_len, struct rtmsg **ret)
{
    struct nlmsghdr *h = begin(r, type, flags);
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
    m->rtm_family = dst->family;
    m->rtm_dst_len = (uint8_t)prefix_len;
    m->rtm_table = RT_TABLE_MAIN;
    if (prefix_len)
        mnl_attr_put(h, RTA_DST, dst->len, dst->bytes);
    *ret = m;
    return h;
}

int rtnl_route_replace(struct rtnl *r, const char *dst, unsigned prefix_len, const char *via, const char *link,
                       struct err *err)
{
    struct address to, gateway = {0};
    if (!parse_address(dst, &to) || (via && !parse_address(via, &gateway)))
        return err_set(err, ERR_BAD_REQUEST, "route to %s via %s: not IP addresses", dst, via ? via : "-");
    int index = 0;
    if (link) {
        int rc = rtnl_link_index(r, link, &index, err);
        if (rc)
            return rc < 0 ? rc : err_set(err, ERR_IO, "no link %s", link);
    }
    struct rtmsg *m;
    struct nlmsghdr *h = begin_route(r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &to, prefix_len, &m);
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_type = RTN_UNICAST;
    m->rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    if (via)
        mnl_attr_put(h, RTA_GATEWAY, gateway.len, gateway.bytes);
    if (link)
        mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
    int rc = request(r, h);
    if (rc < 0)
        return err_set_errno(err, ERR_IO, -rc, "route %s/%u via %s dev %s", dst, prefix_len, via ? via : "-",
                             link ? link : "-");
    return 0;
}

int rtnl_route_del(struct rtnl *r, const char *dst, unsigned prefix_len, struct err *err)
{
    struct address to;
    if (!parse_address(dst, &to))
        return err_set(err, ERR_BAD_REQUEST, "%s is not an IP address", dst);
    struct rtmsg *m;
    struct nlmsghdr *h = begin_route(r, RTM_DELROUTE, 0, &to, prefix_len, &m);
    m->rtm_scope = RT_SCOPE_NOWHERE;
    int rc = request(r, h);
    if (rc == -ESRCH)
        return 1;
    return rc < 0 ? err_set_errno(err, ERR_IO, -rc, "delete route %s/%u", dst, prefix_len) : 0;
}

struct in_use {
    uint32_t network, mask;
    bool found;
};

static void check_network(struct in_use *use, const void *payload, unsigned prefix_len)
{
    uint32_t address;
    memcpy(&address, payload, 4);
    address = ntohl(address);
    uint32_t mask = prefix_len ? ~(uint32_t)0 << (32 - prefix_len) : 0;
    uint32_t both = mask & use->mask; /* the shorter of the two prefixes decides whether they overlap */
    if (prefix_len && (address & both) == (use->network & both))
        use->found = true;
}

static int on_address(const struct nlmsghdr *h, void *arg)
{
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *attr;
    if (m->ifa_family != AF_INET)
        return MNL_CB_OK;
    mnl_attr_for_each(attr, h, sizeof *m)
    {
        if (mnl_attr_get_type(attr) == IFA_LOCAL)
            check_network(arg, mnl_attr_get_payload(attr), m->ifa_prefixlen);
    }
    return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *attr;
    if (m->rtm_family != AF_INET || m->rtm_table == RT_TABLE_LOCAL)
        return MNL_CB_OK;
    mnl_attr_for_each(attr, h, sizeof *m)
    {
        if (mnl_attr_get_type(attr) == RTA_DST)
            check_network(arg, mnl_attr_get_payload(attr), m->rtm_dst_len);
    }
    return MNL_CB_OK;
}

int rtnl_in_use(struct rtnl *r, const char *dst, unsigned prefix_len, bool *ret, struct err *err)
{
    struct address to;
    if (!parse_address(dst, &to) || to.family != AF_INET)
        return err_set(err, ERR_BAD_REQUEST, "%s is not an IPv4 address", dst);
    struct in_use use = {.mask = prefix_len ? ~(uint32_t)0 << (32 - prefix_len) : 0};
    memcpy(&use.network, to.bytes, 4);
    use.network = ntohl(use.network) & use.mask;
    struct nlmsghdr *h = begin(r, RTM_GETADDR, NLM_F_DUMP);
    ((struct ifaddrmsg *)mnl_nlmsg_put_extra_header(h, sizeof(struct ifaddrmsg)))->ifa_family = AF_INET;
    int rc = exchange(r, h, on_address, &use);
    if (rc == 0) {
        h = begin(r, RTM_GETROUTE, NLM_F_DUMP);
        ((struct rtmsg *)mnl_nlmsg_put_extra_header(h, sizeof(struct rtmsg)))->rtm_family = AF_INET;
        rc = exchange(r, h, on_route, &use);
    }
    if (rc < 0)
        return err_set_errno(err, ERR_IO, -rc, "list addresses and routes");
    *ret = use.found;
    return 0;
}
