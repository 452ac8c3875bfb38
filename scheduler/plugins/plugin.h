/* plugin: one rule of where a pod may run (filter) or had better run (score). Rules are pure: they look at the cycle,
 * the pod and a node. Each has a file of its own; the table in table.c puts them in order (the first that refuses a
 * node names the reason) and gives them weights.
 */
#ifndef SKIFF_SCHEDULER_PLUGINS_PLUGIN_H
#define SKIFF_SCHEDULER_PLUGINS_PLUGIN_H

#include "scheduler/snapshot.h"

struct cycle;

enum {
    PLUGIN_NODE_UNSCHEDULABLE,
    PLUGIN_NODE_NAME,
    PLUGIN_TAINT_TOLERATION,
    PLUGIN_NODE_AFFINITY,
    PLUGIN_NODE_PORTS,
    PLUGIN_RESOURCES_FIT,
    PLUGIN_VOLUME_BINDING,
    PLUGIN_TOPOLOGY_SPREAD,
    PLUGIN_INTER_POD_AFFINITY,
    PLUGIN_BALANCED_ALLOCATION,
    PLUGIN_IMAGE_LOCALITY,
    N_PLUGINS
};

struct verdict {
    uint64_t reasons; /* bits of enum reason; 0 = fine */
    bool final;       /* taking pods away from the node would not help */
};

enum plugin_answer {
    PLUGIN_GO,     /* ask me about each node */
    PLUGIN_SKIP,   /* I have nothing to say about this pod */
    PLUGIN_REFUSE, /* no node will do: cycle.refusal says why */
};

struct plugin {
    const char *name;
    uint32_t events; /* enum cluster_event: after these a pod it refused may fit */
    /* Whether it may fit now on that node, which has changed (events about nodes and pods on them); NULL = it may. */
    bool (*hint)(const struct sched_pod *p, const struct sched_node *n, uint32_t events);
    enum plugin_answer (*pre_filter)(struct cycle *c); /* NULL = PLUGIN_GO */
    struct verdict (*filter)(const struct cycle *c, const struct sched_node *n);
    enum plugin_answer (*pre_score)(struct cycle *c); /* NULL = PLUGIN_GO */
    int64_t (*score)(const struct cycle *c, const struct sched_node *n);
    /* From raw scores of cycle.feasible to 0 … 100; NULL = they are already. */
    void (*normalize)(const struct cycle *c, int64_t *scores, size_t n);
    int64_t weight;
    bool counts_pods; /* what it prepares depends on the pods placed */
};

extern const struct plugin *const plugins[N_PLUGINS];

extern const struct plugin plugin_node_unschedulable, plugin_node_name, plugin_taint_toleration, plugin_node_affinity,
    plugin_node_ports, plugin_resources_fit, plugin_volume_binding, plugin_topology_spread, plugin_inter_pod_affinity,
    plugin_balanced_allocation, plugin_image_locality;

enum { SCORE_MAX = 100 };
/* Scale so that the largest becomes 100; `reverse`: the smallest is the best. */
void normalize_scores(int64_t *scores, size_t n, bool reverse);

/* Shared by plugins that look through the eyes of others (spreading honours node affinity and taints). */
bool node_affinity_matches(const struct sched_pod *p, const struct sched_node *n);
bool node_selector_matches(const struct core_v1_node_selector *s, const struct sched_node *n);
bool taints_tolerated(const struct sched_pod *p, const struct sched_node *n); /* NoSchedule and NoExecute */
bool namespace_matches(const struct snapshot *s, const struct affinity_term *t, struct str namespace_);

#endif
