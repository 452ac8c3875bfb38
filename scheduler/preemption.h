/* preemption: when a pod fits nowhere, which pods of lower priority would have to go from which node so that it fits.
 * Like the cycle a pure function: what it answers is carried out by evict.c.
 *
 * A node comes into question when it was refused for something that pods leaving could change. All pods of lower
 * priority are taken away in thought; if the pod fits then, as many as possible come back, the most important first
 * (those whose disruption budget would be broken before the others). Among the nodes the least harm decides.
 */
#ifndef SKIFF_SCHEDULER_PREEMPTION_H
#define SKIFF_SCHEDULER_PREEMPTION_H

#include "scheduler/cycle.h"

struct disruption_budget {
    struct str namespace_;
    struct label_selector selector;
    int64_t allowed;
    struct str_array disrupted; /* pods whose eviction is counted already */
};

struct preemption {
    struct sched_node *node;    /* NULL = it would not help: `message` says why */
    struct sched_pod **victims; /* the most important first; in the cycle's arena */
    size_t n_victims, n_violations;
    struct str message;
};

/* After cycle_run has found nothing for `p`; uses and keeps the cycle's state. */
void preemption_find(struct cycle *c, struct sched_pod *p, const struct disruption_budget *budgets, size_t n_budgets,
                     struct preemption *ret);

#endif
