/* The rules are real: they are put into a network namespace of the test's own and traffic is sent through them. Needs
 * root; without it (or without nf_tables) the test says so and is skipped. */
#include "node/network/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/network/rtnl.h"

#include <cmocka.h>

#define CLUSTER_IP 0x0a600001u /* 10.96.0.1 */

static int listen_on(uint32_t address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* 0 = connected, else the errno. */
static int try_connect(uint32_t address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    int rc = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static bool has_connection(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) != 1)
        return false;
    close(accept(fd, NULL, NULL));
    return true;
}

static struct service_table one_service(struct arena *a, const struct endpoint *endpoints, size_t n, uint16_t node_port)
{
    struct service_table table = {.items = ARENA_NEW(a, struct service), .len = 1};
    struct service *s = table.items;
    s->namespace_ = STR("default");
    s->name = STR("web");
    s->cluster_ip = CLUSTER_IP;
    s->ports = ARENA_NEW(a, struct service_port);
    s->n_ports = 1;
    s->ports[0] =
        (struct service_port){.name = STR("http"), .protocol = IPPROTO_TCP, .port = 80, .node_port = node_port};
    for (size_t i = 0; i < n; i++)
        ARENA_PUSH(a, s->ports[0].endpoints.items, s->ports[0].endpoints.len, s->ports[0].endpoints.cap, endpoints[i]);
    return table;
}

static int enter_namespace(void **state)
{
    struct err err = ERR_INIT;
    struct rtnl *r = NULL;
    *state = NULL;
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0 || rtnl_open(&r, &err) < 0)
        return 0;
    rtnl_link_up(r, "lo", &err);
    rtnl_addr_add(r, "lo", "10.244.1.2", 32, &err);
    rtnl_addr_add(r, "lo", "10.244.1.3", 32, &err);
    rtnl_route_replace(r, "10.96.0.0", 16, NULL, "lo", &err);
    rtnl_close(r);
    *state = (void *)1;
    return 0;
}

static void traffic_follows_the_endpoints(void **state)
{
    if (!*state)
        skip();
    struct err err = ERR_INIT;
    struct proxy *p = NULL;
    struct arena *a = arena_create(0);
    struct proxy_options options = {.bridge = "skiff-pods"};
    assert_int_equal(subnet_parse("10.244.1.0/24", &options.pods, &err), 0);
    assert_int_equal(subnet_parse("10.244.0.0/16", &options.cluster, &err), 0);
    int first = listen_on(0x0af40102u, 8080), second = listen_on(0x0af40103u, 8080);
    struct endpoint both[] = {{.address = 0x0af40102u, .port = 8080, .ready = true, .local = true},
                              {.address = 0x0af40103u, .port = 8080, .ready = true, .local = true}};
    assert_int_equal(proxy_create(&options, &p, &err), 0);

    struct service_table table = one_service(a, both, 1, 30080);
    if (proxy_sync(p, &table, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(try_connect(CLUSTER_IP, 80), 0);
    assert_true(has_connection(first));
    assert_int_equal(try_connect(0x0af40102u, 30080), 0); /* node port, any local address */
    assert_true(has_connection(first));

    table = one_service(a, both, 2, 0); /* now two, and no node port any more */
    assert_int_equal(proxy_sync(p, &table, &err), 0);
    int hits[2] = {0};
    for (int i = 0; i < 64; i++) {
        assert_int_equal(try_connect(CLUSTER_IP, 80), 0);
        hits[0] += has_connection(first);
        hits[1] += has_connection(second);
    }
    assert_int_equal(hits[0] + hits[1], 64);
    assert_true(hits[0] > 8 && hits[1] > 8); /* fair coins: one in 10^9 runs falls outside */
    assert_int_equal(try_connect(0x0af40102u, 30080), ECONNREFUSED);

    table = one_service(a, both, 0, 0); /* nobody behind it: refused, not lost */
    assert_int_equal(proxy_sync(p, &table, &err), 0);
    assert_int_equal(try_connect(CLUSTER_IP, 80), ECONNREFUSED);

    table.len = 0;
    assert_int_equal(proxy_sync(p, &table, &err), 0);
    proxy_destroy(p);
    assert_int_equal(proxy_create(&options, &p, &err), 0); /* a restart takes over what a former life left */
    table = one_service(a, both, 2, 0);
    assert_int_equal(proxy_sync(p, &table, &err), 0);
    assert_int_equal(try_connect(CLUSTER_IP, 80), 0);
    proxy_destroy(p);
    assert_int_equal(proxy_remove_rules(&err), 0);
    close(first);
    close(second);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(traffic_follows_the_endpoints)};
    return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
