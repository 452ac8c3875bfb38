#include "scheduler/snapshot.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum taint_effect taint_effect_from(struct str s)
{
    if (str_eqz(s, "NoSchedule"))
        return EFFECT_NO_SCHEDULE;
    if (str_eqz(s, "PreferNoSchedule"))
        return EFFECT_PREFER_NO_SCHEDULE;
    if (str_eqz(s, "NoExecute"))
        return EFFECT_NO_EXECUTE;
    return EFFECT_ANY;
}

bool tolerated(const struct toleration *t, size_t n, struct str key, struct str value, enum taint_effect effect)
{
    for (size_t i = 0; i < n; i++) {
        if (t[i].effect != EFFECT_ANY && t[i].effect != effect)
            continue;
        if (t[i].key.len && !str_eq(t[i].key, key))
            continue;
        if (t[i].exists || str_eq(t[i].value, value))
            return true;
    }
    return false;
}

/* ---- decoding ---- */

static struct str copy_to(char **at, struct str s)
{
    struct str out = {*at, s.len};
    if (s.len)
        memcpy(*at, s.p, s.len);
    *at += s.len;
    return out;
}

/* One block: the array and behind it the bytes of its strings. */
static void keep_tolerations(struct sched_pod *p, struct core_v1_toleration_array from)
{
    size_t bytes = 0;
    for (size_t i = 0; i < from.len; i++)
        bytes += from.items[i].key.len + from.items[i].value.len;
    if (!from.len)
        return;
    struct toleration *to = mem_alloc(from.len * sizeof *to + bytes);
    char *at = (char *)(to + from.len);
    for (size_t i = 0; i < from.len; i++)
        to[i] = (struct toleration){.key = copy_to(&at, from.items[i].key),
                                    .value = copy_to(&at, from.items[i].value),
                                    .effect = taint_effect_from(from.items[i].effect),
                                    .exists = str_eqz(from.items[i].operator_, "Exists")};
    p->tolerations = to;
    p->n_tolerations = from.len;
}

/* Nodes list images with their tag: "nginx" there is "nginx:latest". */
static bool has_tag(struct str image)
{
    size_t at, after = 0;
    struct str rest = image;
    while (str_index(rest, '/', &at)) {
        after += at + 1;
        rest = str_sub(image, after, image.len);
    }
    return str_index(rest, ':', &at) || str_index(rest, '@', &at);
}

static void keep_images(struct sched_pod *p, const struct core_v1_pod_spec *spec)
{
    struct core_v1_container_array lists[2] = {spec->init_containers, spec->containers};
    size_t bytes = 0, n = lists[0].len + lists[1].len;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k].len; i++)
            bytes += lists[k].items[i].image.len + sizeof ":latest";
    if (!n)
        return;
    struct str *to = mem_alloc(n * sizeof *to + bytes);
    char *at = (char *)(to + n);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < lists[k].len; i++) {
            struct str image = copy_to(&at, lists[k].items[i].image);
            if (!has_tag(image))
                image.len += copy_to(&at, STR(":latest")).len;
            to[p->n_images++] = image;
        }
    }
    p->images = to;
}

/* The pod's own values of matchLabelKeys (In) and mismatchLabelKeys (NotIn) narrow the selector. */
static void add_label_keys(struct arena *a, struct label_selector *s, const struct object *o, struct str_array keys,
                           const char *op)
{
    struct err err = ERR_INIT;
    for (size_t i = 0; i < keys.len; i++) {
        struct str value = object_label(o, keys.items[i]);
        if (value.p)
            label_selector_add(a, s, keys.items[i], str_from(op), &value, 1, &err);
    }
    if (keys.len)
        label_selector_seal(s);
}

static void read_term(struct arena *a, const struct object *o, const struct core_v1_pod_affinity_term *from,
                      int64_t weight, struct affinity_term *to)
{
    struct err err = ERR_INIT;
    *to = (struct affinity_term){.topology_key = from->topology_key, .weight = weight};
    if (label_selector_from_view(a, from->label_selector, &to->selector, &err) < 0)
        to->selector.nothing = true;
    if (!to->selector.nothing) {
        add_label_keys(a, &to->selector, o, from->match_label_keys, "In");
        add_label_keys(a, &to->selector, o, from->mismatch_label_keys, "NotIn");
    }
    to->namespaces = from->namespaces.items;
    to->n_namespaces = from->namespaces.len;
    if (label_selector_from_view(a, from->namespace_selector, &to->namespace_selector, &err) < 0)
        to->namespace_selector.nothing = true;
    to->all_namespaces = from->namespace_selector && !to->namespace_selector.nothing && !to->namespace_selector.len;
    if (!from->namespaces.len && !from->namespace_selector) { /* its own namespace */
        to->namespaces = arena_memdup(a, &o->namespace_, sizeof o->namespace_);
        ((struct str *)to->namespaces)[0] = arena_str(a, o->namespace_);
        to->n_namespaces = 1;
    }
}

static struct affinity_terms read_required(struct arena *a, const struct object *o,
                                           struct core_v1_pod_affinity_term_array from)
{
    struct affinity_terms to = {ARENA_ARRAY(a, struct affinity_term, from.len), from.len};
    for (size_t i = 0; i < from.len; i++)
        read_term(a, o, &from.items[i], 0, &to.items[i]);
    return to;
}

static struct affinity_terms read_preferred(struct arena *a, const struct object *o,
                                            struct core_v1_weighted_pod_affinity_term_array from)
{
    struct affinity_terms to = {ARENA_ARRAY(a, struct affinity_term, from.len), 0};
    for (size_t i = 0; i < from.len; i++)
        if (from.items[i].pod_affinity_term && from.items[i].weight)
            read_term(a, o, from.items[i].pod_affinity_term, from.items[i].weight, &to.items[to.len++]);
    return to;
}

static void read_spread(struct arena *a, const struct object *o, struct core_v1_topology_spread_constraint_array from,
                        struct pod_constraints *c)
{
    struct err err = ERR_INIT;
    struct spread_constraint *to = ARENA_ARRAY(a, struct spread_constraint, from.len);
    for (size_t i = 0; i < from.len; i++) {
        const struct core_v1_topology_spread_constraint *f = &from.items[i];
        to[i] = (struct spread_constraint){.topology_key = f->topology_key,
                                           .max_skew = f->max_skew,
                                           .min_domains = f->has_min_domains ? f->min_domains : 1,
                                           .hard = str_eqz(f->when_unsatisfiable, "DoNotSchedule"),
                                           .honor_affinity = !str_eqz(f->node_affinity_policy, "Ignore"),
                                           .honor_taints = str_eqz(f->node_taints_policy, "Honor")};
        if (label_selector_from_view(a, f->label_selector, &to[i].selector, &err) < 0)
            to[i].selector.nothing = true;
        if (!to[i].selector.nothing)
            add_label_keys(a, &to[i].selector, o, f->match_label_keys, "In");
    }
    c->spread = to;
    c->n_spread = from.len;
}

static void read_ports(struct arena *a, const struct core_v1_pod_spec *spec, struct pod_constraints *c)
{
    struct host_port *ports = NULL;
    size_t n = 0, cap = 0;
    for (int kind = 0; kind < 2; kind++) {
        struct core_v1_container_array list = kind ? spec->init_containers : spec->containers;
        for (size_t i = 0; i < list.len; i++) {
            if (kind && !str_eqz(list.items[i].restart_policy, "Always"))
                continue;
            for (size_t k = 0; k < list.items[i].ports.len; k++) {
                const struct core_v1_container_port *p = &list.items[i].ports.items[k];
                if (p->host_port > 0)
                    ARENA_PUSH(a, ports, n, cap,
                               (struct host_port){p->host_port, p->protocol.len ? p->protocol : STR("TCP"),
                                                  str_eqz(p->host_ip, "0.0.0.0") ? STR("") : p->host_ip});
            }
        }
    }
    c->ports = ports;
    c->n_ports = n;
}

static void read_claims(struct arena *a, const struct object *o, const struct core_v1_pod_spec *spec,
                        struct pod_constraints *c)
{
    struct pod_claim *claims = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < spec->volumes.len; i++) {
        const struct core_v1_volume *v = &spec->volumes.items[i];
        if (v->persistent_volume_claim)
            ARENA_PUSH(a, claims, n, cap, (struct pod_claim){v->persistent_volume_claim->claim_name, false});
        else if (v->ephemeral)
            ARENA_PUSH(
                a, claims, n, cap,
                (struct pod_claim){arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(o->name), STR_ARG(v->name)), true});
    }
    c->claims = claims;
    c->n_claims = n;
}

static bool has_constraints(const struct core_v1_pod_spec *spec)
{
    if (spec->affinity || spec->node_selector.len || spec->topology_spread_constraints.len)
        return true;
    for (size_t i = 0; i < spec->volumes.len; i++)
        if (spec->volumes.items[i].persistent_volume_claim || spec->volumes.items[i].ephemeral)
            return true;
    for (int kind = 0; kind < 2; kind++) {
        struct core_v1_container_array list = kind ? spec->init_containers : spec->containers;
        for (size_t i = 0; i < list.len; i++)
            for (size_t k = 0; k < list.items[i].ports.len; k++)
                if (list.items[i].ports.items[k].host_port > 0)
                    return true;
    }
    return false;
}

/* The view's strings point into the body: it is copied into the arena, which then outlives the object. */
static void keep_constraints(struct sched_pod *p, const struct object *o)
{
    struct arena *a = p->arena = arena_create(0);
    const void *decoded;
    struct err err = ERR_INIT;
    int rc = view_from_json(a, resource_storage_version(o->resource)->message, arena_str(a, o->body), &decoded, &err);
    assert(rc == 0);
    const struct core_v1_pod_spec *spec = ((const struct core_v1_pod *)decoded)->spec;
    const struct core_v1_affinity *affinity = spec->affinity;
    struct pod_constraints *c = ARENA_NEW(a, struct pod_constraints);
    c->node_selector = spec->node_selector;
    c->node_affinity = affinity ? affinity->node_affinity : NULL;
    if (affinity && affinity->pod_affinity) {
        c->affinity = read_required(a, o, affinity->pod_affinity->required_during_scheduling_ignored_during_execution);
        c->preferred_affinity =
            read_preferred(a, o, affinity->pod_affinity->preferred_during_scheduling_ignored_during_execution);
    }
    if (affinity && affinity->pod_anti_affinity) {
        c->anti_affinity =
            read_required(a, o, affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution);
        c->preferred_anti_affinity =
            read_preferred(a, o, affinity->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution);
    }
    read_spread(a, o, spec->topology_spread_constraints, c);
    read_ports(a, spec, c);
    read_claims(a, o, spec, c);
    p->has_anti_affinity = c->anti_affinity.len > 0;
    p->has_affinity =
        c->affinity.len || c->anti_affinity.len || c->preferred_affinity.len || c->preferred_anti_affinity.len;
    p->constraints = c;
}

static struct owner_pods *find_owner(const struct object *o, struct snapshot *s)
{
    const struct object_owner *owner = object_controller(o);
    bool replicated = owner && (str_eqz(owner->kind, "ReplicaSet") || str_eqz(owner->kind, "StatefulSet") ||
                                str_eqz(owner->kind, "ReplicationController"));
    return replicated ? owner_pods_get(&s->owners, owner->uid) : NULL;
}

static void decode(struct sched_pod *p, const struct object *o, struct snapshot *s)
{
    struct arena *scratch = arena_create(0);
    const struct core_v1_pod *pod = view_object(scratch, o);
    requests_of_pod(pod, &s->names, &p->requests);
    p->priority = pod->spec->priority;
    p->never_preempts = str_eqz(pod->spec->preemption_policy, "Never");
    keep_tolerations(p, pod->spec->tolerations);
    keep_images(p, pod->spec);
    p->owner = find_owner(o, s);
    if (has_constraints(pod->spec))
        keep_constraints(p, o);
    if (pod->spec->scheduling_gates.len && !p->node)
        p->state = POD_GATED;
    arena_destroy(scratch);
}

static void forget_decoded(struct sched_pod *p, struct snapshot *s)
{
    arena_destroy(p->arena);
    sched_pod_slim(p);
    free(p->requests.extended);
    owner_pods_put(&s->owners, p->owner);
    p->arena = NULL;
    p->constraints = NULL;
    p->owner = NULL;
    p->has_affinity = p->has_anti_affinity = false;
}

struct sched_pod *sched_pod_create(const struct object *o, struct snapshot *s)
{
    struct sched_pod *p = MEM_NEW(struct sched_pod);
    p->object = object_get(o);
    decode(p, o, s);
    return p;
}

void sched_pod_destroy(struct sched_pod *p, struct snapshot *s)
{
    if (!p)
        return;
    assert(!p->node);
    forget_decoded(p, s);
    object_put(p->object);
    free((void *)p->nominated.p);
    free(p);
}

bool sched_pod_must_decode(const struct sched_pod *p, const struct object *now)
{
    /* beyond the first generation a resize may be under way, which the status tells of */
    return !now->generation || now->generation > 1 || p->object->generation != now->generation;
}

void sched_pod_update(struct sched_pod *p, const struct object *now, struct snapshot *s)
{
    const struct object *old = p->object;
    if (sched_pod_must_decode(p, now)) {
        assert(!p->node);
        if (p->state == POD_GATED) /* decoding finds out whether it still is */
            p->state = POD_IDLE;
        forget_decoded(p, s);
        decode(p, now, s);
    }
    p->object = object_get(now);
    object_put(old);
}

void sched_pod_slim(struct sched_pod *p)
{
    free((void *)p->tolerations);
    free((void *)p->images);
    p->tolerations = NULL;
    p->images = NULL;
    p->n_tolerations = p->n_images = 0;
}
