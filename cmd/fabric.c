#include "cmd/fabric.h"

#include "node/network/rtnl.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define BRIDGE "skiff0"

static void host_link(const struct cluster *c, char ret[16])
{
    snprintf(ret, 16, "skiff%d", c->subnet & 255);
}

/* A new network namespace, kept by a bind mount on RUN/fabric. */
static int pin_namespace(const struct cluster *c, struct err *err)
{
    char path[256];
    cluster_path(c, "fabric", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "make %s", path);
    close(fd);
    pid_t child = fork();
    if (child < 0)
        return err_set_errno(err, ERR_IO, errno, "start a process");
    if (child == 0) {
        int failed = unshare(CLONE_NEWNET) != 0 || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) != 0;
        _exit(failed ? errno : 0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set_errno(err, ERR_IO, WIFEXITED(status) ? WEXITSTATUS(status) : EIO, "make a network namespace");
    return 0;
}

static int choose_subnet(struct rtnl *host, struct cluster *c, struct err *err)
{
    for (c->subnet = 1; c->subnet < 255; c->subnet++) {
        char address[16];
        bool used = false;
        cluster_host_address(c, address);
        int rc = rtnl_in_use(host, address, 24, &used, err);
        if (rc < 0)
            return rc;
        if (!used)
            return 0;
    }
    return err_set(err, ERR_NO_SPACE, "every network from 10.89.1.0/24 to 10.89.254.0/24 is in use on this machine");
}

int fabric_create(struct cluster *c, struct err *err)
{
    int rc = pin_namespace(c, err);
    if (rc < 0)
        return rc;
    char path[256], name[16], address[16];
    cluster_path(c, "fabric", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    struct rtnl *host = NULL, *inside = NULL;
    if ((rc = rtnl_open(&host, err)) == 0 && (rc = rtnl_open_at(fd, &inside, err)) == 0 &&
        (rc = choose_subnet(host, c, err)) == 0) {
        host_link(c, name);
        cluster_host_address(c, address);
        if ((rc = rtnl_bridge_add(inside, BRIDGE, err)) >= 0 && (rc = rtnl_link_up(inside, BRIDGE, err)) == 0 &&
            (rc = rtnl_veth_add(host, name, "host", fd, 0, err)) == 0 &&
            (rc = rtnl_link_master(inside, "host", BRIDGE, err)) == 0 &&
            (rc = rtnl_link_up(inside, "host", err)) == 0 && (rc = rtnl_addr_add(host, name, address, 24, err)) == 0)
            rc = rtnl_link_up(host, name, err);
    }
    rtnl_close(inside);
    rtnl_close(host);
    close(fd);
    return rc < 0 ? err_context(err, "join the nodes") : 0;
}

int fabric_join(const struct cluster *c, int node, struct err *err)
{
    char path[256], port[16], address[16], gateway[16];
    cluster_path(c, "fabric", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    snprintf(port, sizeof port, "node%d", node & 255);
    cluster_node_address(c, node, address);
    cluster_host_address(c, gateway);
    struct rtnl *here = NULL, *fabric = NULL;
    int rc = rtnl_open(&here, err);
    if (rc == 0 && (rc = rtnl_open_at(fd, &fabric, err)) == 0) {
        rtnl_link_del(fabric, port, err); /* left by a node of this name that died a moment ago */
        if ((rc = rtnl_link_up(here, "lo", err)) == 0 && (rc = rtnl_veth_add(here, "eth0", port, fd, 0, err)) == 0 &&
            (rc = rtnl_link_master(fabric, port, BRIDGE, err)) == 0 && (rc = rtnl_link_up(fabric, port, err)) == 0 &&
            (rc = rtnl_addr_add(here, "eth0", address, 24, err)) == 0 && (rc = rtnl_link_up(here, "eth0", err)) == 0)
            rc = rtnl_route_replace(here, "0.0.0.0", 0, gateway, NULL, err);
    }
    rtnl_close(fabric);
    rtnl_close(here);
    close(fd);
    return rc < 0 ? err_context(err, "join node %d", node) : 0;
}

void fabric_destroy(const struct cluster *c)
{
    char path[256], name[16];
    struct err err = ERR_INIT;
    struct rtnl *host = NULL;
    host_link(c, name);
    if (rtnl_open(&host, &err) == 0)
        rtnl_link_del(host, name, &err);
    rtnl_close(host);
    cluster_path(c, "fabric", path);
    umount2(path, MNT_DETACH);
    unlink(path);
}
