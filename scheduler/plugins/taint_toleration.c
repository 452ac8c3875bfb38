/* taint toleration: NoSchedule and NoExecute taints keep off pods that do not tolerate them; PreferNoSchedule taints
 * count against a node. */
#include "scheduler/cycle.h"

bool taints_tolerated(const struct sched_pod *p, const struct sched_node *n)
{
    for (size_t i = 0; i < n->n_taints; i++) {
        const struct taint *t = &n->taints[i];
        if (t->effect != EFFECT_PREFER_NO_SCHEDULE && t->effect != EFFECT_ANY &&
            !tolerated(p->tolerations, p->n_tolerations, t->key, t->value, t->effect))
            return false;
    }
    return true;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    if (n->n_taints && !taints_tolerated(c->pod, n))
        return (struct verdict){(uint64_t)1 << REASON_TAINT, true};
    return (struct verdict){0};
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    int64_t against = 0;
    for (size_t i = 0; i < n->n_taints; i++) {
        const struct taint *t = &n->taints[i];
        against += t->effect == EFFECT_PREFER_NO_SCHEDULE &&
                   !tolerated(c->pod->tolerations, c->pod->n_tolerations, t->key, t->value, t->effect);
    }
    return against;
}

static void normalize(const struct cycle *c, int64_t *scores, size_t n)
{
    (void)c;
    normalize_scores(scores, n, true);
}

static bool hint(const struct sched_pod *p, const struct sched_node *n, uint32_t events)
{
    (void)events;
    return taints_tolerated(p, n);
}

const struct plugin plugin_taint_toleration = {.name = "TaintToleration",
                                               .events = EVENT_NODE_ADD | EVENT_NODE_TAINT,
                                               .hint = hint,
                                               .filter = filter,
                                               .score = score,
                                               .normalize = normalize,
                                               .weight = 3};
