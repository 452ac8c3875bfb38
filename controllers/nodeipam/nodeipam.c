/* Node IPAM: a /24 of the pod range for each node. One key for all nodes: they draw from one range, and a run sees what
 * the last one gave away. */
#include "controllers/controllers.h"
#include "openapi/views.h"

#include <stdio.h>
#include <stdlib.h>

#define NODE_PREFIX 24

enum { WATCH_NODES };

static void key_of_all(const struct view *v, const struct object *old, const struct object *now,
                       void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    if (!old || !now) /* a range once given stays */
        add(arg, STR(""), STR("nodes"));
}

struct range {
    uint32_t base;
    size_t n; /* how many /24s */
    bool *used;
    size_t next;
};

static bool parse_cidr(struct arena *a, struct str text, uint32_t *ret_base, unsigned *ret_prefix)
{
    unsigned b[4], prefix;
    if (sscanf(arena_str(a, text).p, "%3u.%3u.%3u.%3u/%2u", &b[0], &b[1], &b[2], &b[3], &prefix) != 5 || prefix > 32)
        return false;
    *ret_base = b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
    *ret_prefix = prefix;
    return true;
}

static bool range_init(struct arena *a, const char *cidr, struct range *r)
{
    unsigned prefix;
    if (!cidr || !parse_cidr(a, str_from(cidr), &r->base, &prefix) || prefix > NODE_PREFIX || prefix < 8)
        return false;
    r->n = (size_t)1 << (NODE_PREFIX - prefix);
    r->base &= (uint32_t)(0xffffffffu << (32 - prefix));
    r->used = ARENA_ARRAY(a, bool, r->n);
    return true;
}

static void take_used(struct arena *a, struct range *r, struct str cidr)
{
    uint32_t base;
    unsigned prefix;
    if (!parse_cidr(a, cidr, &base, &prefix) || base < r->base)
        return;
    size_t first = (base - r->base) >> (32 - NODE_PREFIX);
    size_t n = prefix < NODE_PREFIX ? (size_t)1 << (NODE_PREFIX - prefix) : 1;
    for (size_t i = first; i < r->n && i < first + n; i++)
        r->used[i] = true;
}

static bool take_free(struct arena *a, struct range *r, struct str *ret)
{
    while (r->next < r->n && r->used[r->next])
        r->next++;
    if (r->next == r->n)
        return false;
    uint32_t base = r->base + (uint32_t)(r->next++ << (32 - NODE_PREFIX));
    *ret = arena_printf(a, "%u.%u.%u.0/%d", base >> 24, base >> 16 & 255, base >> 8 & 255, NODE_PREFIX);
    return true;
}

static int by_age(const void *x, const void *y)
{
    const struct object *a = *(const struct object *const *)x, *b = *(const struct object *const *)y;
    if (a->create_revision != b->create_revision)
        return a->create_revision < b->create_revision ? -1 : 1;
    return str_cmp(a->name, b->name);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)key, (void)now_ms;
    struct arena *a = out->arena;
    struct range range = {0};
    const struct object **nodes, **without;
    if (!range_init(a, facts->settings->pod_cidr, &range))
        return;
    size_t n = view_list(v, a, WATCH_NODES, STR(""), &nodes), n_without = 0;
    without = ARENA_ARRAY(a, const struct object *, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct core_v1_node *node = view_object(a, nodes[i]);
        if (node->spec->pod_cidr.len)
            take_used(a, &range, node->spec->pod_cidr);
        else if (!nodes[i]->deletion_s)
            without[n_without++] = nodes[i];
    }
    qsort(without, n_without, sizeof *without, by_age);
    for (size_t i = 0; i < n_without; i++) {
        struct str cidr;
        if (!take_free(a, &range, &cidr)) {
            outcome_event(out, without[i], "Normal", "CIDRNotAvailable",
                          "Node " STR_FMT " status is now: CIDRNotAvailable", STR_ARG(without[i]->name));
            continue;
        }
        struct value *patch = value_map(a), *list = value_list(a);
        value_append(a, list, value_string(a, cidr));
        value_set_path(a, patch, "spec.podCIDR", value_string(a, cidr));
        value_set_path(a, patch, "spec.podCIDRs", list);
        outcome_patch(out, without[i], NULL, patch);
    }
}

const struct controller nodeipam_controller = {
    .name = "nodeipam",
    .user = "system:serviceaccount:kube-system:node-controller",
    .component = "cidrAllocator",
    .watches = {{"", "nodes", key_of_all}},
    .concurrency = 1,
    .reconcile = reconcile,
};
