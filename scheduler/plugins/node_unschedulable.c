/* node unschedulable: cordoned nodes take only pods that tolerate that. */
#include "scheduler/cycle.h"

static bool tolerates(const struct sched_pod *p)
{
    return tolerated(p->tolerations, p->n_tolerations, STR("node.kubernetes.io/unschedulable"), STR(""),
                     EFFECT_NO_SCHEDULE);
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    if (n->unschedulable && !tolerates(c->pod))
        return (struct verdict){(uint64_t)1 << REASON_NODE_UNSCHEDULABLE, true};
    return (struct verdict){0};
}

static bool hint(const struct sched_pod *p, const struct sched_node *n, uint32_t events)
{
    (void)p;
    (void)events;
    return !n->unschedulable;
}

const struct plugin plugin_node_unschedulable = {
    .name = "NodeUnschedulable", .events = EVENT_NODE_ADD | EVENT_NODE_TAINT, .hint = hint, .filter = filter};
