#include "api/server_address.h"

#include "api/bootstrap.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add(const char ***list, size_t *n, const char *text)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*list)[i], text) == 0)
            return;
    *list = realloc(*list, (*n + 2) * sizeof **list);
    (*list)[(*n)++] = strdup(text);
    (*list)[*n] = NULL;
}

static bool is_address(const char *text)
{
    unsigned char b[16];
    return inet_pton(AF_INET, text, b) == 1 || inet_pton(AF_INET6, text, b) == 1;
}

static void add_either(struct server_names *n, const char *text)
{
    if (is_address(text))
        add(&n->ips, &n->n_ips, text);
    else if (*text)
        add(&n->dns, &n->n_dns, text);
}

/* The host of "host:port" or "[host]:port", of the first one in a list; empty for ":port" and the wildcards. */
static void listen_host(const char *listen, char *ret, size_t cap)
{
    size_t all = strcspn(listen, ",");
    const char *colon = memrchr(listen, ':', all);
    size_t len = colon ? (size_t)(colon - listen) : all;
    if (len >= 2 && listen[0] == '[') {
        listen++;
        len -= 2;
    }
    snprintf(ret, cap, "%.*s", (int)len, listen);
    if (strcmp(ret, "0.0.0.0") == 0 || strcmp(ret, "::") == 0 || strcmp(ret, "*") == 0)
        ret[0] = 0;
}

typedef void address_fn(void *arg, const char *text, bool loopback);

static void each_address(address_fn *fn, void *arg)
{
    struct ifaddrs *all, *i;
    char text[NI_MAXHOST];
    if (getifaddrs(&all) < 0)
        return;
    for (i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
            continue;
        if (i->ifa_addr->sa_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text, sizeof text);
        else if (i->ifa_addr->sa_family == AF_INET6 &&
                 !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr))
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, text, sizeof text);
        else
            continue;
        fn(arg, text, (i->ifa_flags & IFF_LOOPBACK) != 0);
    }
    freeifaddrs(all);
}

static void add_address(void *arg, const char *text, bool loopback)
{
    struct server_names *n = arg;
    (void)loopback;
    add(&n->ips, &n->n_ips, text);
}

int server_names_read(struct server_names *n, const char *listen, const char *service_cidr, const char *tls_san,
                      struct err *err)
{
    static const char *const names[] = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                        "kubernetes.default.svc.cluster.local"};
    char text[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add(&n->dns, &n->n_dns, names[i]);
    if (gethostname(text, sizeof text) == 0)
        add_either(n, text);
    add(&n->ips, &n->n_ips, "127.0.0.1");
    int rc = bootstrap_cidr_address(service_cidr, 1, text, sizeof text, err);
    if (rc < 0)
        return rc;
    add(&n->ips, &n->n_ips, text);
    listen_host(listen, text, sizeof text);
    add_either(n, text);
    each_address(add_address, n);
    while (tls_san && *tls_san) {
        size_t len = strcspn(tls_san, ",");
        snprintf(text, sizeof text, "%.*s", (int)len, tls_san);
        add_either(n, text);
        tls_san += len + (tls_san[len] == ',');
    }
    return 0;
}

void server_names_finish(struct server_names *n)
{
    for (size_t i = 0; i < n->n_dns; i++)
        free((void *)n->dns[i]);
    for (size_t i = 0; i < n->n_ips; i++)
        free((void *)n->ips[i]);
    free(n->dns);
    free(n->ips);
    *n = (struct server_names){0};
}

static void first_address(void *arg, const char *text, bool loopback)
{
    char *ret = arg;
    if (!loopback && !ret[0] && !strchr(text, ':'))
        snprintf(ret, NI_MAXHOST, "%s", text);
}

static void join(const char *host, int port, char *ret, size_t cap)
{
    snprintf(ret, cap, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
}

void server_address(const char *listen, const char *advertise, int port, char *ret, size_t cap)
{
    char host[NI_MAXHOST] = "";
    if (advertise)
        snprintf(host, sizeof host, "%s", advertise);
    else
        listen_host(listen, host, sizeof host);
    if (!is_address(host)) {
        host[0] = 0;
        each_address(first_address, host);
    }
    join(host[0] ? host : "127.0.0.1", port, ret, cap);
}

void server_local_url(const char *listen, int port, char *ret, size_t cap)
{
    char host[NI_MAXHOST], both[NI_MAXHOST + 16];
    listen_host(listen, host, sizeof host);
    join(host[0] ? host : "127.0.0.1", port, both, sizeof both);
    snprintf(ret, cap, "https://%s", both);
}
