/* cycle: one pod against all nodes: filter, score, pick. A pure function of the snapshot, the pod and the seed: no
 * clock, no I/O, nothing placed. The plugins (plugins/plugin.h) decide; the cycle calls them, keeps why each node was
 * refused, and says it in upstream's words.
 *
 * In large clusters not every node is looked at: the search stops once enough nodes fit (all up to 100, then a share
 * that falls from half to a twentieth), and the next cycle goes on where this one ended.
 */
#ifndef SKIFF_SCHEDULER_CYCLE_H
#define SKIFF_SCHEDULER_CYCLE_H

#include "scheduler/plugins/plugin.h"
#include "scheduler/snapshot.h"

/* Why a node was refused. Up to REASON_EXTENDED the texts are fixed, then one for each extended resource. */
enum reason {
    REASON_NODE_UNSCHEDULABLE,
    REASON_NODE_NAME,
    REASON_TAINT,
    REASON_NODE_AFFINITY,
    REASON_PORTS,
    REASON_TOO_MANY_PODS,
    REASON_CPU,
    REASON_MEMORY,
    REASON_EPHEMERAL_STORAGE,
    REASON_SPREAD,
    REASON_SPREAD_LABEL,
    REASON_AFFINITY,
    REASON_ANTI_AFFINITY,
    REASON_EXISTING_ANTI_AFFINITY,
    REASON_NOT_IN_PREFILTER, /* others only were considered */
    REASON_NO_VICTIMS,
    REASON_PREEMPTION_USELESS,
    REASON_VOLUME_NODE_AFFINITY,
    REASON_VOLUME_BIND,
    REASON_EXTENDED,
    N_REASONS = REASON_EXTENDED + EXTENDED_MAX
};
_Static_assert(N_REASONS <= 64, "reasons are bits");

struct node_status { /* of one node in the last cycle */
    struct verdict verdict;
    uint8_t plugin;
    bool seen;
};

struct cycle {
    /* set by the caller once */
    struct snapshot *snapshot;
    uint64_t random;   /* seed and state of the tie-breaks */
    size_t next_start; /* where the next search begins */

    /* of the cycle at hand; plugins read them */
    struct arena *arena;
    const struct sched_pod *pod;
    void *state[N_PLUGINS];       /* made by pre_filter or pre_score */
    uint32_t no_filter, no_score; /* bits: nothing to say about this pod */
    bool narrowed;                /* only these nodes come into question */
    struct sched_node **only;
    size_t n_only;

    /* what came out */
    struct sched_node **feasible;
    size_t n_feasible, n_evaluated;
    struct node_status *statuses; /* by sched_node.at */
    uint32_t refused_by;          /* plugins that refused a node, or all */
    struct str refusal;           /* a plugin's refusal of the pod as a whole; STR_NULL = none */
    bool refusal_final;           /* taking other pods away would not help */
    int64_t *totals, *scores;
    size_t cap;
};

void cycle_init(struct cycle *c, struct snapshot *s, uint64_t seed);
void cycle_finish(struct cycle *c);

/* The node for the pod, or NULL: then the outcome above says why. */
struct sched_node *cycle_run(struct cycle *c, const struct sched_pod *p);

/* Prepare for `p` and ask about single nodes: preemption's what-ifs. */
bool cycle_prepare(struct cycle *c, const struct sched_pod *p);
struct verdict cycle_filter(const struct cycle *c, struct sched_node *n, int *ret_plugin);

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." of the last cycle; in its arena. */
struct str cycle_message(const struct cycle *c);
/* The same sentence about other counts. */
struct str reasons_message(struct arena *a, const struct snapshot *s, const size_t counts[64], size_t n_nodes);
void reasons_count(uint64_t reasons, size_t counts[64]);

#endif
