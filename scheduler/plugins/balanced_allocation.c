/* balanced allocation: a node whose cpu and memory would be used to a similar share scores best. */
#include "scheduler/cycle.h"

static enum plugin_answer pre_score(struct cycle *c)
{
    const struct requests *r = &c->pod->requests;
    return r->fixed[RESOURCE_CPU] || r->fixed[RESOURCE_MEMORY] ? PLUGIN_GO : PLUGIN_SKIP;
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    double share[2];
    int len = 0;
    for (int i = 0; i <= RESOURCE_MEMORY; i++) {
        if (!n->allocatable[i])
            continue;
        double f = (double)(n->requested[i] + c->pod->requests.fixed[i]) / (double)n->allocatable[i];
        share[len++] = f > 1 ? 1 : f;
    }
    double deviation = len == 2 ? (share[0] > share[1] ? share[0] - share[1] : share[1] - share[0]) / 2 : 0;
    return (int64_t)((1 - deviation) * SCORE_MAX);
}

const struct plugin plugin_balanced_allocation = {
    .name = "NodeResourcesBalancedAllocation", .pre_score = pre_score, .score = score, .weight = 1};
