/* inter-pod affinity: required terms say which pods must (affinity) or must not (anti-affinity) run in the same
 * topology domain, and the anti-affinity of pods already placed keeps newcomers off too; preferred terms, of either
 * side, score. */
#include "scheduler/cycle.h"
#include "scheduler/plugins/topology.h"

struct affinity_state {
    struct topology_counts existing_anti; /* domains where a placed pod will not have this one */
    struct topology_counts wanted;        /* domains with pods that match all required affinity terms */
    struct topology_counts unwanted;      /* domains with pods that match a required anti-affinity term */
    bool matches_itself;
};

bool namespace_matches(const struct snapshot *s, const struct affinity_term *t, struct str namespace_)
{
    if (t->all_namespaces)
        return true;
    for (size_t i = 0; i < t->n_namespaces; i++)
        if (str_eq(t->namespaces[i], namespace_))
            return true;
    if (t->namespace_selector.nothing)
        return false;
    const struct object *o = snapshot_lookup(s, LOOKUP_NAMESPACE, STR(""), namespace_);
    return o && label_selector_matches(&t->namespace_selector, o);
}

static bool term_matches(const struct snapshot *s, const struct affinity_term *t, const struct sched_pod *p)
{
    return namespace_matches(s, t, p->object->namespace_) && label_selector_matches(&t->selector, p->object);
}

static bool all_terms_match(const struct snapshot *s, const struct affinity_terms *terms, const struct sched_pod *p)
{
    for (size_t i = 0; i < terms->len; i++)
        if (!term_matches(s, &terms->items[i], p))
            return false;
    return terms->len > 0;
}

static void add_pair(struct cycle *c, struct topology_counts *counts, const struct sched_node *n, struct str key,
                     int64_t by)
{
    struct str value = object_label(n->object, key);
    if (value.p)
        *topology_count_at(c->arena, counts, key, value) += by;
}

/* ---- required ---- */

static void look_at_existing(struct cycle *c, struct affinity_state *state, const struct sched_node *n,
                             const struct sched_pod *existing)
{
    if (!existing->has_anti_affinity)
        return;
    const struct affinity_terms *terms = &existing->constraints->anti_affinity;
    for (size_t i = 0; i < terms->len; i++)
        if (term_matches(c->snapshot, &terms->items[i], c->pod))
            add_pair(c, &state->existing_anti, n, terms->items[i].topology_key, 1);
}

static void look_for_wanted(struct cycle *c, struct affinity_state *state, const struct sched_node *n,
                            const struct sched_pod *existing)
{
    const struct pod_constraints *own = c->pod->constraints;
    if (all_terms_match(c->snapshot, &own->affinity, existing))
        for (size_t i = 0; i < own->affinity.len; i++)
            add_pair(c, &state->wanted, n, own->affinity.items[i].topology_key, 1);
    for (size_t i = 0; i < own->anti_affinity.len; i++)
        if (term_matches(c->snapshot, &own->anti_affinity.items[i], existing))
            add_pair(c, &state->unwanted, n, own->anti_affinity.items[i].topology_key, 1);
}

static enum plugin_answer pre_filter(struct cycle *c)
{
    const struct pod_constraints *own = c->pod->constraints;
    bool required = own && (own->affinity.len || own->anti_affinity.len);
    if (!required && !c->snapshot->n_anti_affinity)
        return PLUGIN_SKIP;
    struct affinity_state *state = ARENA_NEW(c->arena, struct affinity_state);
    for (size_t k = 0; k < c->snapshot->nodes.len; k++) {
        const struct sched_node *n = c->snapshot->nodes.items[k];
        for (size_t i = 0; i < n->n_pods && (required || n->n_anti_affinity); i++) {
            look_at_existing(c, state, n, n->pods[i]);
            if (required)
                look_for_wanted(c, state, n, n->pods[i]);
        }
    }
    if (required)
        state->matches_itself = all_terms_match(c->snapshot, &own->affinity, c->pod);
    else if (!state->existing_anti.len)
        return PLUGIN_SKIP;
    c->state[PLUGIN_INTER_POD_AFFINITY] = state;
    return PLUGIN_GO;
}

static bool affinity_holds(const struct affinity_state *state, const struct affinity_terms *terms,
                           const struct sched_node *n)
{
    bool found = true;
    for (size_t i = 0; i < terms->len; i++) {
        struct str value = object_label(n->object, terms->items[i].topology_key);
        if (!value.p)
            return false;
        const int64_t *have = topology_count_find(&state->wanted, terms->items[i].topology_key, value);
        found = found && have && *have > 0;
    }
    /* the first of a group that wants to be together */
    return found || (!state->wanted.len && state->matches_itself);
}

static bool anti_affinity_holds(const struct affinity_state *state, const struct affinity_terms *terms,
                                const struct sched_node *n)
{
    for (size_t i = 0; i < terms->len; i++) {
        struct str value = object_label(n->object, terms->items[i].topology_key);
        const int64_t *have =
            value.p ? topology_count_find(&state->unwanted, terms->items[i].topology_key, value) : NULL;
        if (have && *have > 0)
            return false;
    }
    return true;
}

static bool existing_agree(const struct affinity_state *state, const struct sched_node *n)
{
    for (size_t i = 0; state->existing_anti.len && i < n->object->n_labels; i++) {
        const int64_t *have =
            topology_count_find(&state->existing_anti, n->object->labels[i].key, n->object->labels[i].value);
        if (have && *have > 0)
            return false;
    }
    return true;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    const struct affinity_state *state = c->state[PLUGIN_INTER_POD_AFFINITY];
    const struct pod_constraints *own = c->pod->constraints;
    if (own && own->affinity.len && !affinity_holds(state, &own->affinity, n))
        return (struct verdict){(uint64_t)1 << REASON_AFFINITY, true};
    if (own && own->anti_affinity.len && !anti_affinity_holds(state, &own->anti_affinity, n))
        return (struct verdict){(uint64_t)1 << REASON_ANTI_AFFINITY, false};
    if (!existing_agree(state, n))
        return (struct verdict){(uint64_t)1 << REASON_EXISTING_ANTI_AFFINITY, false};
    return (struct verdict){0};
}

/* ---- preferred ---- */

static void add_terms(struct cycle *c, struct topology_counts *scores, const struct affinity_terms *terms,
                      const struct sched_pod *p, const struct sched_node *n, int64_t sign)
{
    for (size_t i = 0; i < terms->len; i++) {
        int64_t weight =
            terms->items[i].weight ? terms->items[i].weight : 1; /* required terms of others count as one */
        if (term_matches(c->snapshot, &terms->items[i], p))
            add_pair(c, scores, n, terms->items[i].topology_key, sign * weight);
    }
}

static void score_existing(struct cycle *c, struct topology_counts *scores, const struct sched_node *n,
                           const struct sched_pod *existing)
{
    const struct pod_constraints *own = c->pod->constraints, *theirs = existing->constraints;
    if (own) {
        add_terms(c, scores, &own->preferred_affinity, existing, n, 1);
        add_terms(c, scores, &own->preferred_anti_affinity, existing, n, -1);
    }
    if (existing->has_affinity) {
        add_terms(c, scores, &theirs->affinity, c->pod, n, 1);
        add_terms(c, scores, &theirs->preferred_affinity, c->pod, n, 1);
        add_terms(c, scores, &theirs->preferred_anti_affinity, c->pod, n, -1);
    }
}

static enum plugin_answer pre_score(struct cycle *c)
{
    const struct pod_constraints *own = c->pod->constraints;
    bool preferred = own && (own->preferred_affinity.len || own->preferred_anti_affinity.len);
    if (!preferred && !c->snapshot->n_affinity)
        return PLUGIN_SKIP;
    struct topology_counts *scores = ARENA_NEW(c->arena, struct topology_counts);
    for (size_t k = 0; k < c->snapshot->nodes.len; k++) {
        const struct sched_node *n = c->snapshot->nodes.items[k];
        for (size_t i = 0; i < n->n_pods && (preferred || n->n_affinity); i++)
            score_existing(c, scores, n, n->pods[i]);
    }
    c->state[PLUGIN_INTER_POD_AFFINITY] = scores;
    return scores->len ? PLUGIN_GO : PLUGIN_SKIP;
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    const struct topology_counts *scores = c->state[PLUGIN_INTER_POD_AFFINITY];
    int64_t sum = 0;
    for (size_t i = 0; i < n->object->n_labels; i++) {
        const int64_t *have = topology_count_find(scores, n->object->labels[i].key, n->object->labels[i].value);
        sum += have ? *have : 0;
    }
    return sum;
}

static void normalize(const struct cycle *c, int64_t *scores, size_t n)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    (void)c;
    for (size_t i = 0; i < n; i++) {
        least = scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < n; i++)
        scores[i] = most > least ? (int64_t)(SCORE_MAX * ((double)(scores[i] - least) / (double)(most - least))) : 0;
}

const struct plugin plugin_inter_pod_affinity = {.name = "InterPodAffinity",
                                                 .counts_pods = true,
                                                 .events = EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_LABEL |
                                                           EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_NAMESPACE,
                                                 .pre_filter = pre_filter,
                                                 .filter = filter,
                                                 .pre_score = pre_score,
                                                 .score = score,
                                                 .normalize = normalize,
                                                 .weight = 2};
