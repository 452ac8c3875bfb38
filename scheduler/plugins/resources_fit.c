/* resources fit: what the pod requests must be free on the node; among those that fit, the least allocated scores best.
 */
#include "scheduler/cycle.h"

static struct verdict lacking(const struct sched_pod *p, const struct sched_node *n)
{
    struct verdict v = {0};
    const struct requests *r = &p->requests;
    if ((int64_t)n->n_pods + 1 > n->allowed_pods)
        v.reasons |= (uint64_t)1 << REASON_TOO_MANY_PODS;
    for (int i = 0; i < N_FIXED_RESOURCES; i++) {
        if (r->fixed[i] > 0 && r->fixed[i] > n->allocatable[i] - n->requested[i]) {
            v.reasons |= (uint64_t)1 << (REASON_CPU + i);
            v.final = v.final || r->fixed[i] > n->allocatable[i];
        }
    }
    for (size_t i = 0; i < r->n_extended; i++) {
        size_t number = (size_t)r->extended[i].number;
        int64_t amount = r->extended[i].amount;
        int64_t all = number < n->n_extended ? n->extended_allocatable[number] : 0;
        int64_t used = number < n->n_extended ? n->extended_requested[number] : 0;
        if (amount > all - used) {
            v.reasons |= (uint64_t)1 << (REASON_EXTENDED + number);
            v.final = v.final || amount > all;
        }
    }
    return v;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    return lacking(c->pod, n);
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    int64_t sum = 0, weights = 0;
    for (int i = 0; i <= RESOURCE_MEMORY; i++) {
        int64_t all = n->allocatable[i], used = n->nonzero[i] + c->pod->requests.nonzero[i];
        if (!all)
            continue;
        weights++;
        sum += used > all ? 0 : (int64_t)((__int128)(all - used) * SCORE_MAX / all);
    }
    return weights ? sum / weights : 0;
}

static bool hint(const struct sched_pod *p, const struct sched_node *n, uint32_t events)
{
    (void)events;
    return !lacking(p, n).reasons;
}

const struct plugin plugin_resources_fit = {.name = "NodeResourcesFit",
                                            .events = EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE | EVENT_POD_DELETE,
                                            .hint = hint,
                                            .filter = filter,
                                            .score = score,
                                            .weight = 1};
