/* node name: a pod that names its node fits nowhere else. The queue holds no such pod (it is placed already); what-if
 * questions may ask about one. */
#include "scheduler/cycle.h"

static enum plugin_answer pre_filter(struct cycle *c)
{
    return c->pod->constraints && c->pod->constraints->node_name.len ? PLUGIN_GO : PLUGIN_SKIP;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    if (!str_eq(c->pod->constraints->node_name, n->name))
        return (struct verdict){(uint64_t)1 << REASON_NODE_NAME, true};
    return (struct verdict){0};
}

const struct plugin plugin_node_name = {
    .name = "NodeName", .events = EVENT_NODE_ADD, .pre_filter = pre_filter, .filter = filter};
