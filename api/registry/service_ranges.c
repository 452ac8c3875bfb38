#include "api/registry/services.h"

#include "openapi/meta/names.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"

#include <stdio.h>
#include <sys/random.h>

static uint32_t random_below(uint32_t n)
{
    uint32_t r = 0;
    while (getrandom(&r, sizeof r, 0) != sizeof r)
        ;
    return n ? r % n : 0;
}

/* ---- addresses ---- */

int service_range_of(const struct api_server *s, struct service_range *ret, struct err *err)
{
    struct str text = str_from(s->options.service_cidr ? s->options.service_cidr : "10.96.0.0/16");
    uint8_t ip[16];
    bool v6;
    int bits;
    if (!name_parse_cidr(text, ip, &v6, &bits) || v6 || bits < 8 || bits > 30)
        return err_set(err, ERR_BAD_REQUEST, "service CIDR \"" STR_FMT "\" must be an IPv4 network of /8 to /30",
                       STR_ARG(text));
    uint32_t address = (uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
    ret->size = 1u << (32 - bits);
    ret->first = address & ~(ret->size - 1);
    snprintf(ret->text, sizeof ret->text, STR_FMT, STR_ARG(text));
    return 0;
}

static struct str ip_text(struct arena *a, uint32_t ip)
{
    return arena_printf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static const struct resource *addresses(void)
{
    return resource_find(STR("networking.k8s.io"), STR("ipaddresses"));
}

static int claim_address(struct registry_call *c, const struct value *service, struct str ip, struct err *err)
{
    struct arena *a = c->arena;
    struct value *v = value_map(a), *labels = value_map(a), *parent = value_map(a);
    value_set_path(a, v, "metadata.name", value_string(a, ip));
    value_set_path(a, v, "metadata.uid", value_string(a, value_path_str(service, "metadata.uid")));
    value_set_path(a, v, "metadata.creationTimestamp",
                   value_string(a, value_path_str(service, "metadata.creationTimestamp")));
    value_setz(a, labels, "ipaddress.kubernetes.io/ip-family", value_stringz(a, "IPv4"));
    value_setz(a, labels, "ipaddress.kubernetes.io/managed-by", value_stringz(a, "ipallocator.k8s.io"));
    value_set_path(a, v, "metadata.labels", labels);
    value_setz(a, parent, "resource", value_stringz(a, "services"));
    value_setz(a, parent, "namespace", value_string(a, value_path_str(service, "metadata.namespace")));
    value_setz(a, parent, "name", value_string(a, value_path_str(service, "metadata.name")));
    value_set_path(a, v, "spec.parentRef", parent);
    return write_also_create(c->write, addresses(), v, err);
}

/* A free address: at random in the upper part of the range, then anywhere in it. The lower part is for those who choose
 * their own address (upstream's static band: a sixteenth, between 16 and 256). */
static bool choose_address(struct object_tree *taken, const struct service_range *r, struct arena *a, struct str *ret)
{
    uint32_t usable = r->size - 2, band = r->size / 16;
    band = band < 16 ? 16 : band > 256 ? 256 : band;
    if (band >= usable)
        band = 0;
    uint32_t start = random_below(usable - band);
    for (uint32_t i = 0; i < usable - band; i++) {
        *ret = ip_text(a, r->first + 1 + band + (start + i) % (usable - band));
        if (!object_tree_find(taken, STR(""), *ret))
            return true;
    }
    for (uint32_t i = 0; i < band; i++) {
        *ret = ip_text(a, r->first + 1 + i);
        if (!object_tree_find(taken, STR(""), *ret))
            return true;
    }
    return false;
}

static void refuse_address(struct registry_call *c, struct problems *p, struct str ip, struct str why)
{
    struct value *list = value_list(c->arena);
    value_append(c->arena, list, value_string(c->arena, ip));
    problems_add(p, PROBLEM_INVALID, STR("spec.clusterIPs"), list, "failed to allocate IP " STR_FMT ": " STR_FMT,
                 STR_ARG(ip), STR_ARG(why));
}

int cluster_ip_claim(struct registry_call *c, const struct value *service, struct str asked, struct problems *p,
                     struct str *ret, struct err *err)
{
    struct service_range range;
    int rc = service_range_of(c->server, &range, err);
    if (rc < 0)
        return rc;
    struct object_tree *taken = cache_snapshot(c->server->cache, addresses());
    *ret = asked;
    if (asked.len) {
        uint8_t ip[16];
        bool v6;
        bool parsed = name_parse_ip(asked, ip, &v6);
        uint32_t n = (uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
        if (!parsed || v6 || n <= range.first || n >= range.first + range.size - 1)
            refuse_address(c, p, asked,
                           arena_printf(c->arena,
                                        "the provided IP (" STR_FMT
                                        ") is not in the valid range. The range of valid IPs is %s",
                                        STR_ARG(asked), range.text));
        else if (object_tree_find(taken, STR(""), asked))
            refuse_address(c, p, asked, STR("provided IP is already allocated"));
    } else if (!choose_address(taken, &range, c->arena, ret)) {
        rc = err_set(err, ERR_INTERNAL, "failed to allocate a serviceIP: range is full");
    }
    object_tree_put(taken);
    return rc < 0 || p->len ? rc : claim_address(c, service, *ret, err);
}

static void put_object(void *o)
{
    object_put(o);
}

void cluster_ip_release(struct registry_call *c, struct str ip)
{
    const struct object *o = cache_find(c->server->cache, addresses(), STR(""), ip);
    if (!o)
        return;
    arena_defer(c->arena, put_object, (void *)o);
    write_also_delete(c->write, o);
}

/* ---- node ports ---- */

static struct str port_key(struct arena *a, int64_t port)
{
    return arena_printf(a, SERVICE_PORT_PREFIX "%05lld", (long long)port);
}

static bool claimed_here(const struct write *w, struct str key)
{
    for (size_t i = 0; i < w->n_ops; i++)
        if (w->ops[i].kind == KV_PUT && str_eq(w->ops[i].key, key))
            return true;
    return false;
}

static bool port_taken(struct registry_call *c, int64_t port)
{
    return cache_has_key(c->server->cache, port_key(c->arena, port));
}

static int64_t choose_port(struct registry_call *c)
{
    const uint32_t size = NODE_PORT_MAX - NODE_PORT_MIN + 1,
                   band = size / 32; /* the lower ones are for those who choose */
    uint32_t start = random_below(size - band);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t at = i < size - band ? band + (start + i) % (size - band) : i - (size - band);
        int64_t port = NODE_PORT_MIN + at;
        if (!port_taken(c, port) && !claimed_here(c->write, port_key(c->arena, port)))
            return port;
    }
    return 0;
}

int node_port_claim(struct registry_call *c, const struct value *service, int64_t asked, struct str field,
                    struct problems *p, int64_t *ret, struct err *err)
{
    *ret = asked;
    if (asked && (asked < NODE_PORT_MIN || asked > NODE_PORT_MAX)) {
        problems_add(p, PROBLEM_INVALID, field, value_int(c->arena, asked),
                     "provided port is not in the valid range. The range of valid ports is %d-%d", NODE_PORT_MIN,
                     NODE_PORT_MAX);
        return 0;
    }
    if (asked && port_taken(c, asked)) {
        problems_add(p, PROBLEM_INVALID, field, value_int(c->arena, asked), "provided port is already allocated");
        return 0;
    }
    if (!asked && !(*ret = choose_port(c)))
        return err_set(err, ERR_INTERNAL, "failed to allocate a nodePort: range is full");
    struct str key = port_key(c->arena, *ret);
    if (!claimed_here(c->write, key))
        write_claim(c->write, key,
                    arena_printf(c->arena, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(service, "metadata.namespace")),
                                 STR_ARG(value_path_str(service, "metadata.name"))));
    return 0;
}

void node_port_release(struct registry_call *c, int64_t port)
{
    write_release(c->write, port_key(c->arena, port));
}
