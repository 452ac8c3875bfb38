#include "node/network/cni.h"

#include "base/arena.h"
#include "node/network/addresses.h"
#include "node/network/rtnl.h"
#include "openapi/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MAX (256u << 10)

/* Error codes of the specification, section "Error". */
enum cni_code {
    CNI_UNSUPPORTED_VERSION = 1,
    CNI_BAD_ENVIRONMENT = 4,
    CNI_IO = 5,
    CNI_BAD_JSON = 6,
    CNI_BAD_CONFIG = 7,
    CNI_TRY_LATER = 11,
    CNI_FAILED = 100
};

struct cni {
    struct arena *arena;
    const char *command, *container, *netns, *ifname;
    struct value *config;
    const char *version, *bridge, *data_dir;
    struct subnet subnet;
    uint32_t mtu;
    char owner[256], host_link[16];
};

static int fail(const struct cni *c, enum cni_code code, const char *message)
{
    struct buf out = {0};
    buf_printf(&out, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":", c->version ? c->version : "1.0.0", (int)code);
    json_encode_string(&out, str_from(message));
    buf_addz(&out, "}\n");
    fwrite(out.p, 1, out.len, stdout);
    buf_free(&out);
    return 1;
}

static const char *text_of(struct cni *c, const char *name, const char *otherwise)
{
    struct str s = value_str(value_getz(c->config, name));
    return s.p ? arena_str(c->arena, s).p : otherwise;
}

static bool supported(const char *version)
{
    static const char *const known[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(version, known[i]) == 0)
            return true;
    }
    return false;
}

static int print_version(const struct cni *c)
{
    printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n",
           c->version ? c->version : "1.0.0");
    return 0;
}

/* Answers 0, or the exit code after the error was printed. */
static int read_config(struct cni *c)
{
    char *text = arena_alloc(c->arena, CONFIG_MAX);
    size_t n = fread(text, 1, CONFIG_MAX, stdin);
    struct json_options options = {.max_depth = 32};
    struct err err = ERR_INIT;
    if (n == CONFIG_MAX || json_decode(c->arena, (struct str){text, n}, &options, &c->config, &err) < 0)
        return fail(c, CNI_BAD_JSON, n == CONFIG_MAX ? "the configuration is larger than 256 KiB" : err.message);
    c->version = text_of(c, "cniVersion", "1.0.0");
    if (!supported(c->version))
        return fail(c, CNI_UNSUPPORTED_VERSION, "this cniVersion is not supported: use 0.3.0 to 1.1.0");
    return 0;
}

static int check_parameters(struct cni *c)
{
    struct err err = ERR_INIT;
    if (!c->container || !*c->container || !c->ifname || !*c->ifname || strlen(c->ifname) > 15 ||
        strchr(c->ifname, '/') || strlen(c->container) > 200)
        return fail(c, CNI_BAD_ENVIRONMENT, "CNI_CONTAINERID and CNI_IFNAME must be set");
    c->bridge = text_of(c, "bridge", CNI_BRIDGE);
    c->data_dir = text_of(c, "dataDir", NULL);
    c->mtu = (uint32_t)value_path_int(c->config, "mtu", 0);
    const char *subnet = text_of(c, "subnet", NULL);
    if (!subnet || !c->data_dir)
        return fail(c, CNI_BAD_CONFIG, "the configuration needs subnet and dataDir");
    if (subnet_parse(subnet, &c->subnet, &err) < 0)
        return fail(c, CNI_BAD_CONFIG, err.message);
    snprintf(c->owner, sizeof c->owner, "%s %s", c->container, c->ifname);
    uint64_t hash = 1469598103934665603u; /* FNV-1a: the same name in every process */
    for (const char *p = c->owner; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    snprintf(c->host_link, sizeof c->host_link, "veth%08x", (unsigned)(hash >> 16));
    return 0;
}

/* The bridge with the gateway's address; its hardware address is fixed, else it would change with its ports. */
static int ensure_bridge(struct cni *c, struct rtnl *r, struct err *err)
{
    char gateway[16];
    uint32_t address = c->subnet.network + 1;
    const uint8_t mac[6] = {
        0x0a, 0x58, (uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8), (uint8_t)address};
    int rc = rtnl_bridge_add(r, c->bridge, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    address_format(address, gateway);
    if ((rc = rtnl_link_mac(r, c->bridge, mac, err)) < 0 ||
        (rc = rtnl_addr_add(r, c->bridge, gateway, c->subnet.prefix_len, err)) < 0)
        return rc;
    return rtnl_link_up(r, c->bridge, err);
}

static int connect_pod(struct cni *c, struct rtnl *host, int netns_fd, uint32_t address, uint8_t ret_mac[6],
                       struct err *err)
{
    char text[16], gateway[16];
    struct rtnl *pod = NULL;
    address_format(address, text);
    address_format(c->subnet.network + 1, gateway);
    int rc = rtnl_open_at(netns_fd, &pod, err);
    if (rc < 0)
        return rc;
    rtnl_link_del(host, c->host_link, err); /* of an ADD that was cut short */
    if ((rc = rtnl_veth_add(host, c->host_link, c->ifname, netns_fd, c->mtu, err)) == 0 &&
        (rc = rtnl_link_master(host, c->host_link, c->bridge, err)) == 0 &&
        (rc = rtnl_bridge_hairpin(host, c->host_link, err)) == 0 && (rc = rtnl_link_up(host, c->host_link, err)) == 0 &&
        (rc = rtnl_link_up(pod, "lo", err)) == 0 &&
        (rc = rtnl_addr_add(pod, c->ifname, text, c->subnet.prefix_len, err)) == 0 &&
        (rc = rtnl_link_up(pod, c->ifname, err)) == 0 &&
        (rc = rtnl_route_replace(pod, "0.0.0.0", 0, gateway, NULL, err)) == 0)
        rc = rtnl_link_get_mac(pod, c->ifname, ret_mac, err);
    rtnl_close(pod);
    return rc;
}

static int print_result(const struct cni *c, uint32_t address, const uint8_t mac[6])
{
    char text[16], gateway[16];
    address_format(address, text);
    address_format(c->subnet.network + 1, gateway);
    bool has_version_field = c->version[0] == '0'; /* before 1.0.0 an address said which family it was */
    printf("{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"%s\"},{\"name\":\"%s\",\"mac\":"
           "\"%02x:%02x:%02x:%02x:%02x:%02x\",\"sandbox\":\"%s\"}],\"ips\":[{%s\"interface\":1,\"address\":\"%s/%u\","
           "\"gateway\":\"%s\"}],\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"%s\"}],\"dns\":{}}\n",
           c->version, c->host_link, c->ifname, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], c->netns,
           has_version_field ? "\"version\":\"4\"," : "", text, c->subnet.prefix_len, gateway, gateway);
    return 0;
}

static int add(struct cni *c)
{
    struct err err = ERR_INIT;
    struct rtnl *host = NULL;
    uint8_t mac[6] = {0};
    uint32_t address = 0;
    int netns_fd = c->netns ? open(c->netns, O_RDONLY | O_CLOEXEC) : -1;
    if (netns_fd < 0)
        return fail(c, CNI_BAD_ENVIRONMENT, "CNI_NETNS cannot be opened");
    int rc = address_take(c->data_dir, &c->subnet, c->owner, &address, &err);
    bool taken = rc == 0;
    if (rc == 0 && (rc = rtnl_open(&host, &err)) == 0 && (rc = ensure_bridge(c, host, &err)) == 0)
        rc = connect_pod(c, host, netns_fd, address, mac, &err);
    close(netns_fd);
    if (rc < 0) {
        struct err ignored = ERR_INIT;
        if (host)
            rtnl_link_del(host, c->host_link, &ignored);
        if (taken)
            address_release(c->data_dir, c->owner, &ignored);
    }
    rtnl_close(host);
    return rc < 0 ? fail(c, CNI_FAILED, err.message) : print_result(c, address, mac);
}

/* Deleting the host's end takes the pod's with it; the namespace may be gone already. */
static int del(struct cni *c)
{
    struct err err = ERR_INIT;
    struct rtnl *host = NULL;
    int rc = rtnl_open(&host, &err);
    if (rc == 0)
        rc = rtnl_link_del(host, c->host_link, &err);
    rtnl_close(host);
    if (rc >= 0)
        rc = address_release(c->data_dir, c->owner, &err);
    return rc < 0 ? fail(c, CNI_FAILED, err.message) : 0;
}

static int check(struct cni *c)
{
    struct err err = ERR_INIT;
    struct rtnl *host = NULL;
    int index = 0, rc = rtnl_open(&host, &err);
    if (rc == 0)
        rc = rtnl_link_index(host, c->host_link, &index, &err);
    rtnl_close(host);
    if (rc == 1)
        return fail(c, CNI_FAILED, "the pod's link is gone");
    return rc < 0 ? fail(c, CNI_FAILED, err.message) : 0;
}

/* The runtime runs a plugin named "loopback" for every sandbox before the configured ones. */
static int loopback(struct cni *c)
{
    struct err err = ERR_INIT;
    struct rtnl *pod = NULL;
    int netns_fd, rc;
    if (strcmp(c->command, "ADD") != 0)
        return 0; /* the link goes with its namespace */
    netns_fd = c->netns ? open(c->netns, O_RDONLY | O_CLOEXEC) : -1;
    if (netns_fd < 0)
        return fail(c, CNI_BAD_ENVIRONMENT, "CNI_NETNS cannot be opened");
    rc = rtnl_open_at(netns_fd, &pod, &err);
    close(netns_fd);
    if (rc == 0)
        rc = rtnl_link_up(pod, "lo", &err);
    rtnl_close(pod);
    if (rc < 0)
        return fail(c, CNI_FAILED, err.message);
    printf("{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\",\"sandbox\":\"%s\"}],"
           "\"ips\":[{%s\"interface\":0,\"address\":\"127.0.0.1/8\"}],\"dns\":{}}\n",
           c->version, c->netns, c->version[0] == '0' ? "\"version\":\"4\"," : "");
    return 0;
}

static int run(struct cni *c)
{
    c->command = getenv("CNI_COMMAND");
    c->container = getenv("CNI_CONTAINERID");
    c->netns = getenv("CNI_NETNS");
    c->ifname = getenv("CNI_IFNAME");
    if (!c->command)
        return fail(c, CNI_BAD_ENVIRONMENT,
                    "CNI_COMMAND is not set: this program is a CNI plugin, run by a container runtime");
    int rc = read_config(c);
    if (rc)
        return rc;
    if (strcmp(c->command, "VERSION") == 0)
        return print_version(c);
    if (strcmp(c->command, "STATUS") == 0 || strcmp(c->command, "GC") == 0)
        return 0;
    if (strcmp(text_of(c, "type", ""), CNI_LOOPBACK) == 0)
        return loopback(c);
    if ((rc = check_parameters(c)))
        return rc;
    if (strcmp(c->command, "ADD") == 0)
        return add(c);
    if (strcmp(c->command, "DEL") == 0)
        return del(c);
    if (strcmp(c->command, "CHECK") == 0)
        return check(c);
    return fail(c, CNI_BAD_ENVIRONMENT, "unknown CNI_COMMAND: ADD, DEL, CHECK, GC, STATUS and VERSION are known");
}

int cni_main(void)
{
    struct cni c = {.arena = arena_create(0)};
    int rc = run(&c);
    arena_destroy(c.arena);
    return rc;
}

int cni_write_config(const struct cni_config *config, struct err *err)
{
    char path[700], part[720], text[1500];
    snprintf(path, sizeof path, "%s/bin", config->dir);
    mkdir(config->dir, 0755);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/net.d", config->dir);
    mkdir(path, 0755);
    static const char *const names[] = {CNI_PROGRAM, CNI_LOOPBACK};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/bin/%s", config->dir, names[i]);
        snprintf(part, sizeof part, "%s.part", path);
        unlink(part);
        if (symlink(config->program, part) != 0 || rename(part, path) != 0)
            return err_set_errno(err, ERR_IO, errno, "install %s", path);
    }
    int n = snprintf(text, sizeof text,
                     "{\"cniVersion\":\"1.0.0\",\"name\":\"skiff\",\"plugins\":[{\"type\":\"" CNI_PROGRAM
                     "\",\"bridge\":\"" CNI_BRIDGE "\",\"subnet\":\"%s\",\"dataDir\":\"%s\",\"mtu\":%d}]}\n",
                     config->subnet, config->data_dir, config->mtu);
    snprintf(path, sizeof path, "%s/net.d/10-skiff.conflist", config->dir);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "we");
    bool ok = f && fwrite(text, 1, (size_t)n, f) == (size_t)n;
    ok = f && fclose(f) == 0 && ok;
    if (!ok || rename(part, path) != 0)
        return err_set_errno(err, ERR_IO, errno, "write %s", path);
    return 0;
}
