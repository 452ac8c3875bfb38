#include "node/network/proxy.h"

#include "base/map.h"
#include "node/network/nft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#define TABLE "skiff"
#define SERVICES "services"
#define NODE_PORTS "nodeports"
#define NO_ENDPOINTS "no-endpoints"
#define HAIRPIN "hairpin"
#define MASQUERADE_MARK 0x4000u /* the bit kube-proxy uses */
#define BATCH_BYTES (2u << 20)

/* Keys of the look-ups: every field on its own four bytes, as concatenations are. */
struct service_key {
    uint32_t address; /* network byte order */
    uint8_t protocol, pad0[3];
    uint16_t port; /* network byte order */
    uint8_t pad1[2];
};
struct port_key {
    uint8_t protocol, pad0[3];
    uint16_t port;
    uint8_t pad1[2];
};

#define KEYS_MAX 40 /* cluster address, node port and external addresses of one Service port */

struct installed { /* one Service port */
    uint64_t signature;
    unsigned id, sync;
    bool has_inner, has_outer;
    struct service_key services[KEYS_MAX];
    size_t n_services;
    struct service_key refused[KEYS_MAX];
    size_t n_refused;
    struct port_key node_port;
    bool has_node_port;
};

struct proxy {
    struct proxy_options options;
    struct nft *nft;
    struct map installed; /* "namespace/name/port" -> struct installed */
    struct map hairpins;  /* 4 address bytes -> sync number */
    unsigned next_id, sync;
    bool table_ready;
};

int proxy_create(const struct proxy_options *opt, struct proxy **ret, struct err *err)
{
    struct nft *nft = NULL;
    int rc = nft_open(TABLE, &nft, err);
    if (rc < 0)
        return rc;
    struct proxy *p = calloc(1, sizeof *p);
    assert(p);
    p->options = *opt;
    p->nft = nft;
    *ret = p;
    return 0;
}

/* What is in the kernel stays. */
static void forget(struct proxy *p)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &p->installed);
    while (map_iter_next(&it, &key, &value))
        free(value);
    map_finish(&p->installed);
    map_finish(&p->hairpins);
    memset(&p->installed, 0, sizeof p->installed);
    memset(&p->hairpins, 0, sizeof p->hairpins);
    p->table_ready = false;
}

void proxy_destroy(struct proxy *p)
{
    if (!p)
        return;
    forget(p);
    nft_close(p->nft);
    free(p);
}

int proxy_remove_rules(struct err *err)
{
    struct nft *nft = NULL;
    int rc = nft_open(TABLE, &nft, err);
    if (rc < 0)
        return rc;
    nft_table_add(nft); /* deleting what is not there would fail */
    nft_table_del(nft);
    rc = nft_send(nft, err);
    nft_close(nft);
    return rc;
}

/* ---- the fixed part ---- */

static void dispatch_rules(struct nft *n, const char *chain)
{
    nft_rule_begin(n, chain); /* ip daddr . meta l4proto . th dport vmap @services */
    nft_expr_payload(n, NFT_BASE_NETWORK, 16, 4, 0);
    nft_expr_meta(n, NFT_META_L4PROTO, 1);
    nft_expr_payload(n, NFT_BASE_TRANSPORT, 2, 2, 2);
    nft_expr_lookup_verdict(n, SERVICES, 0);
    nft_rule_end(n);
    uint32_t type_local = RTN_LOCAL;
    nft_rule_begin(n, chain); /* fib daddr type local meta l4proto . th dport vmap @nodeports */
    nft_expr_fib_daddr_type(n, 0);
    nft_expr_cmp(n, true, 0, &type_local, 4);
    nft_expr_meta(n, NFT_META_L4PROTO, 1);
    nft_expr_payload(n, NFT_BASE_TRANSPORT, 2, 2, 2);
    nft_expr_lookup_verdict(n, NODE_PORTS, 1);
    nft_rule_end(n);
}

static void refuse_rule(struct nft *n, const char *chain)
{
    nft_rule_begin(n, chain);
    nft_expr_payload(n, NFT_BASE_NETWORK, 16, 4, 0);
    nft_expr_meta(n, NFT_META_L4PROTO, 1);
    nft_expr_payload(n, NFT_BASE_TRANSPORT, 2, 2, 2);
    nft_expr_lookup_verdict(n, NO_ENDPOINTS, 0);
    nft_rule_end(n);
}

static void compare_network(struct nft *n, uint32_t offset, const struct subnet *subnet, bool equal)
{
    uint32_t mask = htonl(~(uint32_t)0 << (32 - subnet->prefix_len)), zero = 0, network = htonl(subnet->network);
    nft_expr_payload(n, NFT_BASE_NETWORK, offset, 4, 0);
    nft_expr_bitwise(n, 0, 4, &mask, &zero);
    nft_expr_cmp(n, equal, 0, &network, 4);
}

static void postrouting_rules(const struct proxy *p)
{
    struct nft *n = p->nft;
    uint32_t mark = MASQUERADE_MARK, zero = 0, dnat = IPS_DST_NAT;
    char bridge[IFNAMSIZ] = "";
    nft_rule_begin(n, "postrouting"); /* meta mark & 0x4000 != 0 masquerade */
    nft_expr_meta(n, NFT_META_MARK, 0);
    nft_expr_bitwise(n, 0, 4, &mark, &zero);
    nft_expr_cmp(n, false, 0, &zero, 4);
    nft_expr_masquerade(n);
    nft_rule_end(n);
    nft_rule_begin(n, "postrouting"); /* ct status dnat ip saddr . ip daddr @hairpin masquerade */
    nft_expr_ct_status(n, 0);
    nft_expr_bitwise(n, 0, 4, &dnat, &zero);
    nft_expr_cmp(n, false, 0, &zero, 4);
    nft_expr_payload(n, NFT_BASE_NETWORK, 12, 4, 0);
    nft_expr_payload(n, NFT_BASE_NETWORK, 16, 4, 1);
    nft_expr_lookup(n, HAIRPIN, 0, false);
    nft_expr_masquerade(n);
    nft_rule_end(n);
    snprintf(bridge, sizeof bridge, "%s", p->options.bridge);
    nft_rule_begin(n, "postrouting"); /* pods to the outside of the cluster */
    compare_network(n, 12, &p->options.pods, true);
    compare_network(n, 16, &p->options.cluster, false);
    nft_expr_meta(n, NFT_META_OIFNAME, 0);
    nft_expr_cmp(n, false, 0, bridge, sizeof bridge);
    nft_expr_masquerade(n);
    nft_rule_end(n);
}

static void create_table(const struct proxy *p)
{
    struct nft *n = p->nft;
    nft_table_add(n);
    nft_table_del(n);
    nft_table_add(n);
    nft_set_add(n, SERVICES, NFT_VERDICTS, sizeof(struct service_key), 0);
    nft_set_add(n, NODE_PORTS, NFT_VERDICTS, sizeof(struct port_key), 0);
    nft_set_add(n, NO_ENDPOINTS, NFT_VERDICTS, sizeof(struct service_key), 0);
    nft_set_add(n, HAIRPIN, NFT_PLAIN, 8, 0);
    nft_chain_add(n, "refuse", NULL);
    uint8_t tcp = IPPROTO_TCP;
    nft_rule_begin(n, "refuse");
    nft_expr_meta(n, NFT_META_L4PROTO, 0);
    nft_expr_cmp(n, true, 0, &tcp, 1);
    nft_expr_reject(n, true);
    nft_rule_end(n);
    nft_rule_begin(n, "refuse");
    nft_expr_reject(n, false);
    nft_rule_end(n);
    nft_chain_add(n, "prerouting", &(struct nft_hook){"nat", NF_INET_PRE_ROUTING, -100});
    nft_chain_add(n, "output", &(struct nft_hook){"nat", NF_INET_LOCAL_OUT, -100});
    nft_chain_add(n, "postrouting", &(struct nft_hook){"nat", NF_INET_POST_ROUTING, 100});
    nft_chain_add(n, "filter-forward", &(struct nft_hook){"filter", NF_INET_FORWARD, -110});
    nft_chain_add(n, "filter-output", &(struct nft_hook){"filter", NF_INET_LOCAL_OUT, -110});
    dispatch_rules(n, "prerouting");
    dispatch_rules(n, "output");
    refuse_rule(n, "filter-forward");
    refuse_rule(n, "filter-output");
    postrouting_rules(p);
}

/* ---- one Service port ---- */

static struct service_key service_key(uint32_t address, const struct service_port *port)
{
    struct service_key key = {.address = htonl(address), .protocol = port->protocol, .port = htons(port->port)};
    return key;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t signature_of(const struct service *s, const struct service_port *port)
{
    uint64_t h = mix(mix(s->cluster_ip, (uint64_t)port->protocol << 32 | (uint64_t)port->port << 16 | port->node_port),
                     (uint64_t)s->external_local << 1 | s->internal_local);
    for (size_t i = 0; i < s->n_external_ips; i++)
        h = mix(h, s->external_ips[i]);
    for (size_t i = 0; i < port->endpoints.len; i++) {
        const struct endpoint *e = &port->endpoints.items[i];
        h = mix(h, (uint64_t)e->address << 32 | (uint64_t)e->port << 1 | e->local);
    }
    return h;
}

static void uninstall(struct nft *n, const struct installed *in)
{
    char name[24];
    for (size_t i = 0; i < in->n_services; i++)
        nft_elem_del(n, SERVICES, &in->services[i], sizeof in->services[i]);
    for (size_t i = 0; i < in->n_refused; i++)
        nft_elem_del(n, NO_ENDPOINTS, &in->refused[i], sizeof in->refused[i]);
    if (in->has_node_port)
        nft_elem_del(n, NODE_PORTS, &in->node_port, sizeof in->node_port);
    for (int outer = 1; outer >= 0; outer--) { /* the outer chain may go to the inner one */
        if (!(outer ? in->has_outer : in->has_inner))
            continue;
        snprintf(name, sizeof name, "%c%u", outer ? 'x' : 's', in->id);
        nft_chain_flush(n, name);
        nft_chain_del(n, name);
    }
    for (int outer = 1; outer >= 0; outer--) {
        if (!(outer ? in->has_outer : in->has_inner))
            continue;
        snprintf(name, sizeof name, "%c%u-endpoints", outer ? 'x' : 's', in->id);
        nft_set_del(n, name);
    }
}

/* A chain that spreads over the endpoints (only the local ones when asked). Answers false, making nothing, without any.
 */
static bool add_chain(struct nft *n, char kind, unsigned id, const struct endpoint_list *endpoints, bool local_only,
                      bool mark)
{
    char chain[24], map[24];
    uint32_t count = 0;
    for (size_t i = 0; i < endpoints->len; i++)
        count += !local_only || endpoints->items[i].local;
    if (!count)
        return false;
    snprintf(chain, sizeof chain, "%c%u", kind, id);
    snprintf(map, sizeof map, "%c%u-endpoints", kind, id);
    nft_set_add(n, map, NFT_DATA, 4, 8);
    uint32_t at = 0;
    for (size_t i = 0; i < endpoints->len; i++) {
        const struct endpoint *e = &endpoints->items[i];
        struct {
            uint32_t address;
            uint16_t port, pad;
        } data = {htonl(e->address), htons(e->port), 0};
        if (local_only && !e->local)
            continue;
        nft_elem_add(n, map, &at, 4, &data, sizeof data);
        at++;
    }
    nft_chain_add(n, chain, NULL);
    if (mark) {
        uint32_t keep = ~MASQUERADE_MARK, set = MASQUERADE_MARK;
        nft_rule_begin(n, chain);
        nft_expr_meta(n, NFT_META_MARK, 0);
        nft_expr_bitwise(n, 0, 4, &keep, &set);
        nft_expr_meta_set(n, NFT_META_MARK, 0);
        nft_rule_end(n);
    }
    nft_rule_begin(n, chain);
    nft_expr_random(n, count, 0);
    nft_expr_lookup_data(n, map, 0, 4);
    nft_expr_dnat(n, 4, 5);
    nft_rule_end(n);
    return true;
}

static void refuse(struct nft *n, struct installed *in, struct service_key key)
{
    if (in->n_refused == KEYS_MAX)
        return;
    nft_elem_add_goto(n, NO_ENDPOINTS, &key, sizeof key, "refuse");
    in->refused[in->n_refused++] = key;
}

static void lead(struct nft *n, struct installed *in, struct service_key key, const char *chain)
{
    if (in->n_services == KEYS_MAX)
        return;
    nft_elem_add_goto(n, SERVICES, &key, sizeof key, chain);
    in->services[in->n_services++] = key;
}

static void install(struct nft *n, struct installed *in, const struct service *s, const struct service_port *port)
{
    char inner[24], outer[24];
    bool from_outside = port->node_port || s->n_external_ips;
    snprintf(inner, sizeof inner, "s%u", in->id);
    snprintf(outer, sizeof outer, "x%u", in->id);
    if (s->cluster_ip)
        in->has_inner = add_chain(n, 's', in->id, &port->endpoints, s->internal_local, false);
    if (from_outside)
        in->has_outer = add_chain(n, 'x', in->id, &port->endpoints, s->external_local, !s->external_local);
    if (in->has_inner)
        lead(n, in, service_key(s->cluster_ip, port), inner);
    else if (s->cluster_ip)
        refuse(n, in, service_key(s->cluster_ip, port));
    for (size_t i = 0; i < s->n_external_ips; i++) {
        if (in->has_outer)
            lead(n, in, service_key(s->external_ips[i], port), outer);
        else
            refuse(n, in, service_key(s->external_ips[i], port));
    }
    if (port->node_port && in->has_outer) {
        in->node_port = (struct port_key){.protocol = port->protocol, .port = htons(port->node_port)};
        in->has_node_port = true;
        nft_elem_add_goto(n, NODE_PORTS, &in->node_port, sizeof in->node_port, outer);
    }
}

static int flush_if_large(struct proxy *p, struct err *err)
{
    return nft_pending_bytes(p->nft) > BATCH_BYTES ? nft_send(p->nft, err) : 0;
}

static struct str port_name(const struct service *s, const struct service_port *port, char buffer[600])
{
    int n = snprintf(buffer, 600, STR_FMT "/" STR_FMT "/" STR_FMT "/%u/%u", STR_ARG(s->namespace_), STR_ARG(s->name),
                     STR_ARG(port->name), port->protocol, port->port);
    return (struct str){buffer, (size_t)n};
}

/* First pass: what is installed and still right stays; the rest is removed before anything new may claim its keys. */
static int keep_port(struct proxy *p, const struct service *s, const struct service_port *port, struct err *err)
{
    char buffer[600];
    struct installed *in = map_get(&p->installed, port_name(s, port, buffer));
    (void)err;
    if (in && in->signature == signature_of(s, port))
        in->sync = p->sync;
    return 0;
}

/* Second pass. */
static int install_port(struct proxy *p, const struct service *s, const struct service_port *port, struct err *err)
{
    char buffer[600];
    struct str name = port_name(s, port, buffer);
    if (map_get(&p->installed, name))
        return 0;
    struct installed *in = calloc(1, sizeof *in);
    assert(in);
    in->id = ++p->next_id;
    in->signature = signature_of(s, port);
    in->sync = p->sync;
    map_put(&p->installed, name, in);
    install(p->nft, in, s, port);
    return flush_if_large(p, err);
}

static int each_port(struct proxy *p, const struct service_table *table,
                     int (*fn)(struct proxy *p, const struct service *s, const struct service_port *port,
                               struct err *err),
                     struct err *err)
{
    for (size_t i = 0; i < table->len; i++) {
        const struct service *s = &table->items[i];
        if (s->cluster_ip == p->options.dns_ip)
            continue;
        for (size_t j = 0; j < s->n_ports; j++) {
            if (!s->cluster_ip && !s->ports[j].node_port)
                continue; /* headless: names only */
            int rc = fn(p, s, &s->ports[j], err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* Local endpoints, as (address, address): who reaches itself through a Service must see another source. */
static void sync_hairpins(struct proxy *p, const struct service_table *table)
{
    for (size_t i = 0; i < table->len; i++) {
        const struct service *s = &table->items[i];
        for (size_t j = 0; j < s->n_ports; j++) {
            for (size_t k = 0; k < s->ports[j].endpoints.len; k++) {
                const struct endpoint *e = &s->ports[j].endpoints.items[k];
                uint32_t pair[2] = {htonl(e->address), htonl(e->address)};
                if (e->local && !map_put(&p->hairpins, (struct str){(char *)pair, 4}, (void *)(uintptr_t)p->sync))
                    nft_elem_add(p->nft, HAIRPIN, pair, 8, NULL, 0);
            }
        }
    }
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &p->hairpins);
    while (map_iter_next(&it, &key, &value)) {
        if ((unsigned)(uintptr_t)value == p->sync)
            continue;
        uint32_t pair[2];
        memcpy(&pair[0], key.p, 4);
        pair[1] = pair[0];
        nft_elem_del(p->nft, HAIRPIN, pair, 8);
        map_remove(&p->hairpins, (struct str){(char *)pair, 4});
    }
}

static void remove_unseen(struct proxy *p)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &p->installed);
    while (map_iter_next(&it, &key, &value)) {
        struct installed *in = value;
        if (in->sync == p->sync)
            continue;
        uninstall(p->nft, in);
        map_remove(&p->installed, key);
        free(in);
    }
}

int proxy_sync(struct proxy *p, const struct service_table *table, struct err *err)
{
    p->sync++;
    if (!p->table_ready)
        create_table(p);
    p->table_ready = true;
    each_port(p, table, keep_port, err);
    remove_unseen(p);
    int rc = each_port(p, table, install_port, err);
    if (rc == 0) {
        sync_hairpins(p, table);
        rc = nft_send(p->nft, err);
    }
    if (rc < 0)
        forget(p); /* after a refused batch nothing is known of the kernel's state: the next sync starts over */
    return rc;
}
