#include "scheduler/snapshot.h"

#include "base/mem.h"
#include "openapi/meta/quantity.h"

#include <assert.h>
#include <stdlib.h>

void snapshot_init(struct snapshot *s)
{
    *s = (struct snapshot){0};
}

/* ---- nodes ---- */

static struct sched_node *get_or_make(struct snapshot *s, struct str name)
{
    struct sched_node *n = map_get(&s->by_name, name);
    if (n)
        return n;
    n = MEM_NEW(struct sched_node);
    n->name = (struct str){mem_dup(name.p, name.len), name.len};
    map_put(&s->by_name, name, n);
    return n;
}

struct sched_node *snapshot_node(const struct snapshot *s, struct str name)
{
    struct sched_node *n = map_get(&s->by_name, name);
    return n && n->object ? n : NULL;
}

const struct object *snapshot_lookup(const struct snapshot *s, enum lookup_kind kind, struct str namespace_,
                                     struct str name)
{
    return s->lookup ? s->lookup(s->lookup_arg, kind, namespace_, name) : NULL;
}

static void forget_images(struct snapshot *s, struct sched_node *n)
{
    for (size_t i = 0; i < n->images.len; i++) {
        struct image *image = n->images.items[i].image;
        if (--image->n_nodes)
            continue;
        map_remove(&s->images, str_from(image->name));
        free(image->name);
        free(image);
    }
    n->images.len = 0;
}

static void node_free(struct snapshot *s, struct sched_node *n)
{
    forget_images(s, n);
    vec_free(&n->images);
    object_put(n->object);
    free((void *)n->taints);
    free(n->extended_allocatable);
    free(n->extended_requested);
    free(n->pods);
    vec_free(&n->ports);
    vec_free(&n->nominated);
    free((void *)n->name.p);
    free(n);
}

static void drop_when_unused(struct snapshot *s, struct sched_node *n)
{
    if (n->object || n->n_pods || n->nominated.len)
        return;
    map_remove(&s->by_name, n->name);
    node_free(s, n);
}

void snapshot_finish(struct snapshot *s)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &s->by_name);
    while (map_iter_next(&it, &key, &value))
        node_free(s, value);
    map_finish(&s->by_name);
    map_finish(&s->images);
    map_finish(&s->owners);
    vec_free(&s->nodes);
    resource_names_finish(&s->names);
}

static void need_extended(struct sched_node *n, size_t len)
{
    if (n->n_extended >= len)
        return;
    n->extended_allocatable = mem_realloc(n->extended_allocatable, len * sizeof(int64_t));
    n->extended_requested = mem_realloc(n->extended_requested, len * sizeof(int64_t));
    for (size_t i = n->n_extended; i < len; i++)
        n->extended_allocatable[i] = n->extended_requested[i] = 0;
    n->n_extended = len;
}

static bool read_allocatable(struct snapshot *s, struct sched_node *n, const struct core_v1_node *node)
{
    int64_t fixed[N_FIXED_RESOURCES] = {0}, pods = 0, extended[EXTENDED_MAX] = {0};
    for (size_t i = 0; i < node->status->allocatable.len; i++) {
        const struct str_entry *e = &node->status->allocatable.items[i];
        struct quantity q = quantity_from(e->value);
        int number;
        if (str_eqz(e->key, "cpu"))
            fixed[RESOURCE_CPU] = quantity_milli_value(&q);
        else if (str_eqz(e->key, "memory"))
            fixed[RESOURCE_MEMORY] = quantity_value(&q);
        else if (str_eqz(e->key, "ephemeral-storage"))
            fixed[RESOURCE_EPHEMERAL_STORAGE] = quantity_value(&q);
        else if (str_eqz(e->key, "pods"))
            pods = quantity_value(&q);
        else if ((number = resource_number(&s->names, e->key)) >= 0)
            extended[number] = quantity_value(&q);
    }
    size_t most = 0;
    for (size_t i = 0; i < EXTENDED_MAX; i++)
        most = extended[i] ? i + 1 : most;
    need_extended(n, most);
    bool changed = memcmp(n->allocatable, fixed, sizeof fixed) != 0 || n->allowed_pods != pods;
    for (size_t i = 0; i < n->n_extended; i++)
        changed = changed || n->extended_allocatable[i] != extended[i];
    memcpy(n->allocatable, fixed, sizeof fixed);
    n->allowed_pods = pods;
    if (n->n_extended)
        memcpy(n->extended_allocatable, extended, n->n_extended * sizeof *extended);
    return changed;
}

static struct str copy_to(char **at, struct str s)
{
    struct str out = {*at, s.len};
    if (s.len)
        memcpy(*at, s.p, s.len);
    *at += s.len;
    return out;
}

static bool same_taints(const struct sched_node *n, struct core_v1_taint_array from)
{
    if (n->n_taints != from.len)
        return false;
    for (size_t i = 0; i < from.len; i++)
        if (!str_eq(n->taints[i].key, from.items[i].key) || !str_eq(n->taints[i].value, from.items[i].value) ||
            n->taints[i].effect != taint_effect_from(from.items[i].effect))
            return false;
    return true;
}

static bool read_taints(struct sched_node *n, const struct core_v1_node_spec *spec)
{
    struct core_v1_taint_array from = spec->taints;
    bool changed = n->unschedulable != spec->unschedulable;
    n->unschedulable = spec->unschedulable;
    if (same_taints(n, from))
        return changed;
    size_t bytes = 0;
    for (size_t i = 0; i < from.len; i++)
        bytes += from.items[i].key.len + from.items[i].value.len;
    free((void *)n->taints);
    struct taint *to = from.len ? mem_alloc(from.len * sizeof *to + bytes) : NULL;
    char *at = (char *)(to + from.len);
    for (size_t i = 0; i < from.len; i++)
        to[i] = (struct taint){copy_to(&at, from.items[i].key), copy_to(&at, from.items[i].value),
                               taint_effect_from(from.items[i].effect)};
    n->taints = to;
    n->n_taints = (uint32_t)from.len;
    return true;
}

static void read_images(struct snapshot *s, struct sched_node *n, const struct core_v1_node_status *status)
{
    VEC(struct node_image) old = {n->images.items, n->images.len, n->images.cap};
    n->images.items = NULL;
    n->images.len = n->images.cap = 0;
    for (size_t i = 0; i < status->images.len; i++) {
        for (size_t k = 0; k < status->images.items[i].names.len; k++) {
            struct str name = status->images.items[i].names.items[k];
            struct image *image = map_get(&s->images, name);
            if (!image) {
                image = MEM_NEW(struct image);
                image->name = mem_dup(name.p, name.len);
                map_put(&s->images, name, image);
            }
            image->n_nodes++;
            vec_push(&n->images, (struct node_image){image, status->images.items[i].size_bytes});
        }
    }
    struct sched_node before = {.images = {old.items, old.len, old.cap}};
    forget_images(s, &before); /* after the new ones are counted: most stay */
    vec_free(&before.images);
}

static bool same_labels(const struct object *a, const struct object *b)
{
    if (a->n_labels != b->n_labels)
        return false;
    for (size_t i = 0; i < a->n_labels; i++)
        if (!str_eq(a->labels[i].key, b->labels[i].key) || !str_eq(a->labels[i].value, b->labels[i].value))
            return false;
    return true;
}

static void set_zoned(struct snapshot *s, struct sched_node *n, bool zoned)
{
    s->n_zoned += (size_t)zoned - (size_t)n->zoned;
    n->zoned = zoned;
}

uint32_t snapshot_set_node(struct snapshot *s, const struct object *o, struct sched_node **ret_node)
{
    struct arena *scratch = arena_create(0);
    const struct core_v1_node *node = view_object(scratch, o);
    struct sched_node *n = get_or_make(s, o->name);
    uint32_t events = 0;
    if (!n->object) {
        n->at = s->nodes.len;
        vec_push(&s->nodes, n);
        events |= EVENT_NODE_ADD;
    } else if (!same_labels(n->object, o)) {
        events |= EVENT_NODE_LABEL;
    }
    const struct object *old = n->object;
    n->object = object_get(o);
    object_put(old);
    if (read_allocatable(s, n, node))
        events |= EVENT_NODE_ALLOCATABLE;
    if (read_taints(n, node->spec))
        events |= EVENT_NODE_TAINT;
    read_images(s, n, node->status);
    set_zoned(s, n, object_label(o, STR("topology.kubernetes.io/zone")).p != NULL);
    arena_destroy(scratch);
    if (ret_node)
        *ret_node = n;
    return events & EVENT_NODE_ADD ? EVENT_NODE_ADD : events;
}

void snapshot_remove_node(struct snapshot *s, struct str name)
{
    struct sched_node *n = snapshot_node(s, name);
    if (!n)
        return;
    vec_remove_swap(&s->nodes, n->at);
    if (n->at < s->nodes.len)
        s->nodes.items[n->at]->at = n->at;
    object_put(n->object);
    n->object = NULL;
    set_zoned(s, n, false);
    forget_images(s, n);
    drop_when_unused(s, n);
}

/* ---- pods on nodes ---- */

static void count(struct snapshot *s, struct sched_node *n, const struct sched_pod *p, int sign)
{
    for (int i = 0; i < N_FIXED_RESOURCES; i++)
        n->requested[i] += sign * p->requests.fixed[i];
    for (int i = 0; i < 2; i++)
        n->nonzero[i] += sign * p->requests.nonzero[i];
    for (size_t i = 0; i < p->requests.n_extended; i++) {
        const struct extended_amount *e = &p->requests.extended[i];
        need_extended(n, (size_t)e->number + 1);
        n->extended_requested[e->number] += sign * e->amount;
    }
    if (p->has_affinity) {
        n->n_affinity += (size_t)sign;
        s->n_affinity += (size_t)sign;
    }
    if (p->has_anti_affinity) {
        n->n_anti_affinity += (size_t)sign;
        s->n_anti_affinity += (size_t)sign;
    }
}

void node_add_pod(struct snapshot *s, struct sched_node *n, struct sched_pod *p)
{
    if (n->n_pods == n->cap_pods) {
        n->cap_pods = n->cap_pods ? n->cap_pods * 2 : 8;
        n->pods = mem_realloc(n->pods, n->cap_pods * sizeof *n->pods);
    }
    if (!n->n_pods) {
        n->lowest_priority = p->priority;
        n->lowest_unknown = false;
    } else if (p->priority < n->lowest_priority) {
        n->lowest_priority = p->priority;
    }
    if (p->owner)
        owner_pods_add(p->owner, n, 1);
    p->at_node = n->n_pods;
    n->pods[n->n_pods++] = p;
    count(s, n, p, 1);
    for (size_t i = 0; p->constraints && i < p->constraints->n_ports; i++)
        vec_push(&n->ports, p->constraints->ports[i]);
}

static void remove_ports(struct sched_node *n, const struct sched_pod *p)
{
    for (size_t i = 0; p->constraints && i < p->constraints->n_ports; i++) {
        const struct host_port *port = &p->constraints->ports[i];
        for (size_t k = 0; k < n->ports.len; k++) {
            if (n->ports.items[k].ip.p == port->ip.p && n->ports.items[k].protocol.p == port->protocol.p &&
                n->ports.items[k].port == port->port) {
                vec_remove_swap(&n->ports, k);
                break;
            }
        }
    }
}

void node_remove_pod(struct snapshot *s, struct sched_node *n, struct sched_pod *p)
{
    assert(n->pods[p->at_node] == p);
    n->pods[p->at_node] = n->pods[--n->n_pods];
    n->pods[p->at_node]->at_node = p->at_node;
    count(s, n, p, -1);
    if (p->owner)
        owner_pods_add(p->owner, n, -1);
    if (p->priority == n->lowest_priority)
        n->lowest_unknown = true;
    remove_ports(n, p);
}

int32_t node_lowest_priority(struct sched_node *n)
{
    if (!n->n_pods)
        return INT32_MAX;
    if (n->lowest_unknown) {
        n->lowest_priority = INT32_MAX;
        for (size_t i = 0; i < n->n_pods; i++)
            if (n->pods[i]->priority < n->lowest_priority)
                n->lowest_priority = n->pods[i]->priority;
        n->lowest_unknown = false;
    }
    return n->lowest_priority;
}

void snapshot_place(struct snapshot *s, struct sched_pod *p, struct str node_name)
{
    assert(!p->node);
    p->node = get_or_make(s, node_name);
    node_add_pod(s, p->node, p);
}

void snapshot_unplace(struct snapshot *s, struct sched_pod *p)
{
    struct sched_node *n = p->node;
    if (!n)
        return;
    node_remove_pod(s, n, p);
    p->node = NULL;
    drop_when_unused(s, n);
}

void snapshot_nominate(struct snapshot *s, struct sched_pod *p, struct str node_name)
{
    struct sched_node *old = p->nominated.len ? map_get(&s->by_name, p->nominated) : NULL;
    for (size_t i = 0; old && i < old->nominated.len; i++) {
        if (old->nominated.items[i] == p) {
            vec_remove_swap(&old->nominated, i);
            s->n_nominated--;
            drop_when_unused(s, old);
            break;
        }
    }
    char *copy = node_name.len ? mem_dup(node_name.p, node_name.len) : NULL;
    free((void *)p->nominated.p);
    p->nominated = (struct str){copy, copy ? node_name.len : 0};
    if (!node_name.len)
        return;
    struct sched_node *n = get_or_make(s, p->nominated);
    vec_push(&n->nominated, p);
    s->n_nominated++;
}
