/* topology spread: pods that match a constraint's selector shall be spread over the values of a topology key. Hard
 * constraints (DoNotSchedule) bound by how much one value may exceed the least used one; soft ones, and those that
 * every replicated pod has by default (nodes with skew 3, zones with 5), score.
 *
 * By default the pods that count are those of the same owner; the snapshot keeps their number per node, so that scoring
 * a node is one look-up. */
#include "scheduler/cycle.h"
#include "scheduler/plugins/topology.h"

#include <math.h>

#define HOSTNAME STR("kubernetes.io/hostname")
#define ZONE STR("topology.kubernetes.io/zone")

struct spread {
    struct topology_counts counts[8]; /* of the constraint at that position */
    int64_t least[8];
    size_t n_domains[8];
    bool self_matches[8];
};
enum { CONSTRAINTS_MAX = 8 };

struct soft_spread {
    struct topology_counts counts[CONSTRAINTS_MAX];
    double weights[CONSTRAINTS_MAX];
    const struct owner_pods *owner; /* default constraints */
    bool zones;
    double host_weight, zone_weight;
    struct topology_counts zone_counts;
};

static size_t n_constraints(const struct sched_pod *p)
{
    size_t n = p->constraints ? p->constraints->n_spread : 0;
    return n < CONSTRAINTS_MAX ? n : CONSTRAINTS_MAX;
}

static bool has_all_keys(const struct sched_pod *p, const struct sched_node *n, bool hard)
{
    for (size_t i = 0; i < n_constraints(p); i++)
        if (p->constraints->spread[i].hard == hard &&
            !object_label(n->object, p->constraints->spread[i].topology_key).p)
            return false;
    return true;
}

static bool counts_node(const struct sched_pod *p, const struct spread_constraint *s, const struct sched_node *n)
{
    return (!s->honor_affinity || node_affinity_matches(p, n)) && (!s->honor_taints || taints_tolerated(p, n));
}

static int64_t count_matching(const struct sched_node *n, const struct spread_constraint *s, struct str namespace_)
{
    int64_t count = 0;
    for (size_t i = 0; i < n->n_pods; i++) {
        const struct object *o = n->pods[i]->object;
        count += !o->deletion_s && str_eq(o->namespace_, namespace_) && label_selector_matches(&s->selector, o);
    }
    return count;
}

/* ---- hard ---- */

static enum plugin_answer pre_filter(struct cycle *c)
{
    const struct sched_pod *p = c->pod;
    bool any = false;
    for (size_t i = 0; i < n_constraints(p); i++)
        any = any || p->constraints->spread[i].hard;
    if (!any)
        return PLUGIN_SKIP;
    struct spread *state = ARENA_NEW(c->arena, struct spread);
    for (size_t k = 0; k < c->snapshot->nodes.len; k++) {
        const struct sched_node *n = c->snapshot->nodes.items[k];
        if (!has_all_keys(p, n, true))
            continue;
        for (size_t i = 0; i < n_constraints(p); i++) {
            const struct spread_constraint *s = &p->constraints->spread[i];
            if (s->hard && counts_node(p, s, n))
                *topology_count_at(c->arena, &state->counts[i], s->topology_key,
                                   object_label(n->object, s->topology_key)) +=
                    count_matching(n, s, p->object->namespace_);
        }
    }
    for (size_t i = 0; i < n_constraints(p); i++) {
        const struct spread_constraint *s = &p->constraints->spread[i];
        state->self_matches[i] = label_selector_matches(&s->selector, p->object);
        state->least[i] = INT32_MAX;
        for (size_t k = 0; k < state->counts[i].cap; k++)
            if (state->counts[i].slots[k] && state->counts[i].slots[k]->n < state->least[i])
                state->least[i] = state->counts[i].slots[k]->n;
        if (state->counts[i].len < (size_t)s->min_domains)
            state->least[i] = 0;
    }
    c->state[PLUGIN_TOPOLOGY_SPREAD] = state;
    return PLUGIN_GO;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    const struct spread *state = c->state[PLUGIN_TOPOLOGY_SPREAD];
    const struct sched_pod *p = c->pod;
    for (size_t i = 0; i < n_constraints(p); i++) {
        const struct spread_constraint *s = &p->constraints->spread[i];
        if (!s->hard)
            continue;
        struct str value = object_label(n->object, s->topology_key);
        if (!value.p)
            return (struct verdict){(uint64_t)1 << REASON_SPREAD_LABEL, true};
        const int64_t *have = topology_count_find(&state->counts[i], s->topology_key, value);
        if ((have ? *have : 0) + state->self_matches[i] - state->least[i] > s->max_skew)
            return (struct verdict){(uint64_t)1 << REASON_SPREAD, false};
    }
    return (struct verdict){0};
}

/* ---- soft ---- */

static double weight_of(size_t n_values)
{
    return log((double)(n_values + 2));
}

static double score_of(int64_t count, int32_t max_skew, double weight)
{
    return (double)count * weight + (double)(max_skew - 1);
}

static void count_soft(struct cycle *c, struct soft_spread *state)
{
    const struct sched_pod *p = c->pod;
    size_t n_scored = 0;
    for (size_t k = 0; k < c->n_feasible; k++) {
        const struct sched_node *n = c->feasible[k];
        if (!has_all_keys(p, n, false))
            continue;
        n_scored++;
        for (size_t i = 0; i < n_constraints(p); i++) {
            const struct spread_constraint *s = &p->constraints->spread[i];
            if (!s->hard && !str_eq(s->topology_key, HOSTNAME))
                topology_count_at(c->arena, &state->counts[i], s->topology_key,
                                  object_label(n->object, s->topology_key));
        }
    }
    for (size_t i = 0; i < n_constraints(p); i++) {
        const struct spread_constraint *s = &p->constraints->spread[i];
        bool by_host = str_eq(s->topology_key, HOSTNAME);
        state->weights[i] = weight_of(by_host ? n_scored : state->counts[i].len);
        for (size_t k = 0; k < c->snapshot->nodes.len && !by_host && !s->hard; k++) {
            const struct sched_node *n = c->snapshot->nodes.items[k];
            struct str value = object_label(n->object, s->topology_key);
            if (value.p && topology_count_find(&state->counts[i], s->topology_key, value) &&
                has_all_keys(p, n, false) && counts_node(p, s, n))
                *topology_count_at(c->arena, &state->counts[i], s->topology_key, value) +=
                    count_matching(n, s, p->object->namespace_);
        }
    }
}

static void count_default(struct cycle *c, struct soft_spread *state)
{
    state->host_weight = weight_of(c->n_feasible);
    if (!c->snapshot->n_zoned)
        return;
    for (size_t k = 0; k < c->n_feasible; k++) {
        struct str zone = object_label(c->feasible[k]->object, ZONE);
        topology_count_at(c->arena, &state->zone_counts, ZONE, zone.p ? zone : STR(""));
    }
    for (size_t i = 0; i < state->owner->cap; i++) {
        const struct sched_node *n = state->owner->slots[i].node;
        struct str zone = n && n->object ? object_label(n->object, ZONE) : STR_NULL;
        if (zone.p && topology_count_find(&state->zone_counts, ZONE, zone))
            *topology_count_at(c->arena, &state->zone_counts, ZONE, zone) += state->owner->slots[i].n;
    }
    state->zones = true;
    state->zone_weight = weight_of(state->zone_counts.len);
}

static enum plugin_answer pre_score(struct cycle *c)
{
    const struct sched_pod *p = c->pod;
    struct soft_spread *state = ARENA_NEW(c->arena, struct soft_spread);
    c->state[PLUGIN_TOPOLOGY_SPREAD] = state;
    if (p->constraints && p->constraints->n_spread) {
        bool any = false;
        for (size_t i = 0; i < n_constraints(p); i++)
            any = any || !p->constraints->spread[i].hard;
        if (!any)
            return PLUGIN_SKIP;
        count_soft(c, state);
        return PLUGIN_GO;
    }
    state->owner = p->owner;
    if (!p->owner || !p->owner->n_pods)
        return PLUGIN_SKIP; /* nothing to keep a distance from */
    count_default(c, state);
    return PLUGIN_GO;
}

static int64_t score_default(const struct soft_spread *state, const struct sched_node *n)
{
    double sum = score_of(owner_pods_on(state->owner, n), 3, state->host_weight);
    struct str zone = state->zones ? object_label(n->object, ZONE) : STR_NULL;
    if (zone.p) {
        const int64_t *have = topology_count_find(&state->zone_counts, ZONE, zone);
        sum += score_of(have ? *have : 0, 5, state->zone_weight);
    }
    return llround(sum);
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    const struct soft_spread *state = c->state[PLUGIN_TOPOLOGY_SPREAD];
    const struct sched_pod *p = c->pod;
    if (state->owner)
        return score_default(state, n);
    if (!has_all_keys(p, n, false))
        return -1; /* best for others, worst here: normalize knows */
    double sum = 0;
    for (size_t i = 0; i < n_constraints(p); i++) {
        const struct spread_constraint *s = &p->constraints->spread[i];
        if (s->hard)
            continue;
        int64_t count;
        if (str_eq(s->topology_key, HOSTNAME)) {
            count = count_matching(n, s, p->object->namespace_);
        } else {
            const int64_t *have =
                topology_count_find(&state->counts[i], s->topology_key, object_label(n->object, s->topology_key));
            count = have ? *have : 0;
        }
        sum += score_of(count, s->max_skew, state->weights[i]);
    }
    return llround(sum);
}

static void normalize(const struct cycle *c, int64_t *scores, size_t n)
{
    int64_t least = INT64_MAX, most = 0;
    (void)c;
    for (size_t i = 0; i < n; i++) {
        least = scores[i] >= 0 && scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < n; i++)
        scores[i] = scores[i] < 0 ? 0 : !most ? SCORE_MAX : SCORE_MAX * (most + least - scores[i]) / most;
}

const struct plugin plugin_topology_spread = {.name = "PodTopologySpread",
                                              .counts_pods = true,
                                              .events = EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_LABEL |
                                                        EVENT_NODE_ADD | EVENT_NODE_DELETE | EVENT_NODE_LABEL |
                                                        EVENT_NODE_TAINT,
                                              .pre_filter = pre_filter,
                                              .filter = filter,
                                              .pre_score = pre_score,
                                              .score = score,
                                              .normalize = normalize,
                                              .weight = 2};
