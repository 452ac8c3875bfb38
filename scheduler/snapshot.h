/* snapshot: the nodes as scheduling sees them, with what is requested on each by the pods placed or assumed there. Kept
 * up to date change by change, never rebuilt; a cycle reads it as it stands.
 *
 * A pod may be placed on a node that is not known (yet): the node is then kept by name, outside of `nodes`.
 */
#ifndef SKIFF_SCHEDULER_SNAPSHOT_H
#define SKIFF_SCHEDULER_SNAPSHOT_H

#include "base/map.h"
#include "base/vec.h"
#include "scheduler/pod.h"

struct taint {
    struct str key, value;
    enum taint_effect effect;
};

struct sched_node {
    /* what every filter looks at comes first */
    int64_t allocatable[N_FIXED_RESOURCES], requested[N_FIXED_RESOURCES], nonzero[2];
    size_t n_pods;
    int64_t allowed_pods;
    const struct taint *taints; /* in one block with their strings */
    uint32_t n_taints;
    bool unschedulable;
    int64_t *extended_allocatable, *extended_requested; /* by number, n_extended of each */
    size_t n_extended;

    struct sched_pod **pods;
    size_t cap_pods;
    int32_t lowest_priority; /* of the pods; see node_lowest_priority */
    bool lowest_unknown, zoned;
    size_t n_affinity, n_anti_affinity; /* how many of the pods have such terms */
    VEC(struct host_port) ports;        /* in use; strings are the pods' */
    VEC(struct sched_pod *) nominated;  /* pods for which preemption has made room here */
    const struct object *object;        /* NULL: not known, only pods name it */
    struct str name;
    size_t at; /* in snapshot.nodes */
    VEC(struct node_image) images;
};

struct node_image {
    struct image *image;
    int64_t size;
};

struct image { /* of any name that nodes report */
    size_t n_nodes;
    char *name;
};

enum lookup_kind { LOOKUP_NAMESPACE, LOOKUP_CLAIM, LOOKUP_VOLUME, LOOKUP_STORAGE_CLASS };

struct snapshot {
    VEC(struct sched_node *) nodes;
    struct map by_name;
    struct map images; /* name -> struct image */
    struct map owners; /* uid -> struct owner_pods */
    size_t n_zoned;    /* nodes that say which zone they are in */
    struct resource_names names;
    size_t n_affinity, n_anti_affinity; /* placed pods with such terms */
    size_t n_nominated;
    /* objects that some plugins look at; NULL = there are none */
    const struct object *(*lookup)(void *arg, enum lookup_kind kind, struct str namespace_, struct str name);
    void *lookup_arg;
};

void snapshot_init(struct snapshot *s);
void snapshot_finish(struct snapshot *s); /* after all pods are gone */

/* What changed on a node or with a pod, as the plugins' hints ask for it. */
enum cluster_event {
    EVENT_NODE_ADD = 1 << 0,
    EVENT_NODE_ALLOCATABLE = 1 << 1,
    EVENT_NODE_LABEL = 1 << 2,
    EVENT_NODE_TAINT = 1 << 3, /* also spec.unschedulable */
    EVENT_POD_ADD = 1 << 4,    /* placed */
    EVENT_POD_LABEL = 1 << 5,
    EVENT_POD_DELETE = 1 << 6, /* from a node */
    EVENT_POD_UPDATE = 1 << 7, /* of the waiting pod itself */
    EVENT_NAMESPACE = 1 << 8,
    EVENT_STORAGE = 1 << 9,
    EVENT_NODE_DELETE = 1 << 10,
    EVENT_TIME = 1 << 11, /* it has waited long enough */
};

/* Answer event bits. ret_node may be NULL. */
uint32_t snapshot_set_node(struct snapshot *s, const struct object *o, struct sched_node **ret_node);
void snapshot_remove_node(struct snapshot *s, struct str name);
struct sched_node *snapshot_node(const struct snapshot *s, struct str name); /* known ones only; else NULL */

/* NULL when there is none. Borrowed until the loop goes on. */
const struct object *snapshot_lookup(const struct snapshot *s, enum lookup_kind kind, struct str namespace_,
                                     struct str name);

void snapshot_place(struct snapshot *s, struct sched_pod *p, struct str node_name);
void snapshot_unplace(struct snapshot *s, struct sched_pod *p);
/* Only for a moment, without a trace: what a node would be with or without a pod (preemption, nominated pods). */
void node_add_pod(struct snapshot *s, struct sched_node *n, struct sched_pod *p);
void node_remove_pod(struct snapshot *s, struct sched_node *n, struct sched_pod *p);

int32_t node_lowest_priority(struct sched_node *n); /* INT32_MAX when it has no pods */

void snapshot_nominate(struct snapshot *s, struct sched_pod *p, struct str node_name); /* STR_NULL: no more */

#endif
