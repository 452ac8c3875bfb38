#include "scheduler/preemption.h"

#include <stdlib.h>

enum { CANDIDATES_MIN = 100, CANDIDATES_SHARE = 10 };

/* ---- what would be without some pods ---- */

/* Plugins that count placed pods must count again. */
static void count_again(struct cycle *c)
{
    for (int i = 0; i < N_PLUGINS; i++)
        if (plugins[i]->counts_pods && !(c->no_filter & 1u << i))
            plugins[i]->pre_filter(c);
}

static uint64_t refused(struct cycle *c, struct sched_node *n)
{
    int plugin;
    count_again(c);
    return cycle_filter(c, n, &plugin).reasons;
}

static int more_important_first(const void *a, const void *b)
{
    const struct sched_pod *x = *(struct sched_pod *const *)a, *y = *(struct sched_pod *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->object->creation_s != y->object->creation_s)
        return x->object->creation_s < y->object->creation_s ? -1 : 1;
    return str_cmp(x->object->uid, y->object->uid);
}

static bool budget_covers(const struct disruption_budget *b, const struct object *o)
{
    if (!str_eq(b->namespace_, o->namespace_) || !o->n_labels || !b->selector.len || b->selector.nothing ||
        !label_selector_matches(&b->selector, o))
        return false;
    for (size_t i = 0; i < b->disrupted.len; i++)
        if (str_eq(b->disrupted.items[i], o->name))
            return false;
    return true;
}

/* Marks those whose going would break a budget, given that those before them go too. */
static bool *mark_violations(struct cycle *c, struct sched_pod **pods, size_t n,
                             const struct disruption_budget *budgets, size_t n_budgets)
{
    bool *violates = ARENA_ARRAY(c->arena, bool, n);
    int64_t *allowed = ARENA_ARRAY(c->arena, int64_t, n_budgets);
    for (size_t i = 0; i < n_budgets; i++)
        allowed[i] = budgets[i].allowed;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n_budgets; i++)
            if (budget_covers(&budgets[i], pods[k]->object) && --allowed[i] < 0)
                violates[k] = true;
    return violates;
}

static uint64_t try_node(struct cycle *c, struct sched_pod *p, struct sched_node *n,
                         const struct disruption_budget *budgets, size_t n_budgets, struct preemption *ret)
{
    *ret = (struct preemption){.node = n};
    if (node_lowest_priority(n) >= p->priority)
        return (uint64_t)1 << REASON_NO_VICTIMS;
    struct sched_pod **gone = ARENA_ARRAY(c->arena, struct sched_pod *, n->n_pods);
    size_t n_gone = 0;
    for (size_t i = 0; i < n->n_pods; i++)
        if (n->pods[i]->priority < p->priority)
            gone[n_gone++] = n->pods[i];
    for (size_t i = 0; i < n_gone; i++)
        node_remove_pod(c->snapshot, n, gone[i]);
    uint64_t reasons = refused(c, n);
    ret->victims = ARENA_ARRAY(c->arena, struct sched_pod *, n_gone);
    if (!reasons) {
        qsort(gone, n_gone, sizeof *gone, more_important_first);
        bool *violates = mark_violations(c, gone, n_gone, budgets, n_budgets);
        for (int round = 0; round < 2; round++) { /* those that would break a budget come back first */
            for (size_t i = 0; i < n_gone; i++) {
                if (violates[i] != (round == 0))
                    continue;
                node_add_pod(c->snapshot, n, gone[i]);
                if (!refused(c, n))
                    continue;
                node_remove_pod(c->snapshot, n, gone[i]);
                ret->victims[ret->n_victims++] = gone[i];
                ret->n_violations += violates[i];
            }
        }
        qsort(ret->victims, ret->n_victims, sizeof *ret->victims, more_important_first);
        n_gone = ret->n_victims;
        gone = ret->victims;
    }
    for (size_t i = 0; i < n_gone; i++)
        node_add_pod(c->snapshot, n, gone[i]);
    return reasons;
}

/* ---- the least harm ---- */

static int64_t sum_of_priorities(const struct preemption *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->n_victims; i++)
        sum += (int64_t)p->victims[i]->priority + INT32_MAX + 1;
    return sum;
}

/* When the longest running of the most important victims started. */
static int64_t earliest_start(const struct preemption *p)
{
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < p->n_victims; i++)
        if (p->victims[i]->priority == p->victims[0]->priority && p->victims[i]->object->creation_s < earliest)
            earliest = p->victims[i]->object->creation_s;
    return earliest;
}

static bool does_less_harm(const struct preemption *a, const struct preemption *b)
{
    if (a->n_violations != b->n_violations)
        return a->n_violations < b->n_violations;
    if (!a->n_victims || !b->n_victims)
        return a->n_victims < b->n_victims;
    if (a->victims[0]->priority != b->victims[0]->priority)
        return a->victims[0]->priority < b->victims[0]->priority;
    int64_t x = sum_of_priorities(a), y = sum_of_priorities(b);
    if (x != y)
        return x < y;
    if (a->n_victims != b->n_victims)
        return a->n_victims < b->n_victims;
    return earliest_start(a) > earliest_start(b);
}

/* ---- all nodes ---- */

static bool may_preempt(const struct cycle *c, const struct sched_pod *p, struct str *ret_why)
{
    if (p->never_preempts) {
        *ret_why = STR("not eligible due to preemptionPolicy=Never.");
        return false;
    }
    const struct sched_node *n = p->nominated.len ? snapshot_node(c->snapshot, p->nominated) : NULL;
    if (!n || (c->statuses[n->at].seen && c->statuses[n->at].verdict.final))
        return true;
    for (size_t i = 0; i < n->n_pods; i++) {
        if (n->pods[i]->priority < p->priority && n->pods[i]->object->deletion_s) {
            *ret_why = STR("not eligible due to a terminating pod on the nominated node.");
            return false;
        }
    }
    return true;
}

void preemption_find(struct cycle *c, struct sched_pod *p, const struct disruption_budget *budgets, size_t n_budgets,
                     struct preemption *ret)
{
    struct snapshot *s = c->snapshot;
    size_t n_nodes = s->nodes.len, counts[64] = {0}, potential = 0, found = 0, start = c->next_start;
    *ret = (struct preemption){0};
    if (!may_preempt(c, p, &ret->message))
        return;
    for (size_t i = 0; i < n_nodes && !c->refusal.p; i++)
        potential += c->statuses[i].seen && !c->statuses[i].verdict.final;
    size_t want = n_nodes * CANDIDATES_SHARE / 100;
    want = want < CANDIDATES_MIN ? CANDIDATES_MIN : want;
    for (size_t i = 0; i < n_nodes; i++) {
        size_t at = (start + i) % n_nodes;
        struct preemption candidate;
        if (!potential || found == want || !c->statuses[at].seen || c->statuses[at].verdict.final) {
            counts[REASON_PREEMPTION_USELESS]++;
            continue;
        }
        uint64_t reasons = try_node(c, p, s->nodes.items[at], budgets, n_budgets, &candidate);
        if (reasons) {
            reasons_count(reasons, counts);
            continue;
        }
        found++;
        if (!ret->node || does_less_harm(&candidate, ret))
            *ret = candidate;
    }
    if (!ret->node)
        ret->message = reasons_message(c->arena, s, counts, n_nodes);
}
