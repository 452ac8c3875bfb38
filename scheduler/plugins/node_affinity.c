/* node affinity: spec.nodeSelector and the required terms of node affinity must match the node's labels (any term, all
 * of its requirements); preferred terms add their weight. Terms that name nodes (as those of a DaemonSet's pods) narrow
 * the search. */
#include "scheduler/cycle.h"

static bool has_value(const struct core_v1_node_selector_requirement *r, struct str value)
{
    for (size_t i = 0; i < r->values.len; i++)
        if (str_eq(r->values.items[i], value))
            return true;
    return false;
}

static bool compares(const struct core_v1_node_selector_requirement *r, struct str value, bool greater)
{
    int64_t have, bound;
    if (!value.p || r->values.len != 1 || !str_to_i64(value, &have) || !str_to_i64(r->values.items[0], &bound))
        return false;
    return greater ? have > bound : have < bound;
}

static bool requirement_matches(const struct core_v1_node_selector_requirement *r, struct str value)
{
    if (str_eqz(r->operator_, "In"))
        return value.p && has_value(r, value);
    if (str_eqz(r->operator_, "NotIn"))
        return !value.p || !has_value(r, value);
    if (str_eqz(r->operator_, "Exists"))
        return value.p != NULL;
    if (str_eqz(r->operator_, "DoesNotExist"))
        return value.p == NULL;
    if (str_eqz(r->operator_, "Gt"))
        return compares(r, value, true);
    if (str_eqz(r->operator_, "Lt"))
        return compares(r, value, false);
    return false;
}

static bool term_matches(const struct core_v1_node_selector_term *t, const struct sched_node *n)
{
    if (!t->match_expressions.len && !t->match_fields.len)
        return false; /* an empty term selects nothing */
    for (size_t i = 0; i < t->match_expressions.len; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_expressions.items[i];
        if (!requirement_matches(r, object_label(n->object, r->key)))
            return false;
    }
    for (size_t i = 0; i < t->match_fields.len; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_fields.items[i];
        if (!str_eqz(r->key, "metadata.name") || !requirement_matches(r, n->name))
            return false;
    }
    return true;
}

static const struct core_v1_node_selector *required(const struct sched_pod *p)
{
    const struct core_v1_node_affinity *a = p->constraints ? p->constraints->node_affinity : NULL;
    return a ? a->required_during_scheduling_ignored_during_execution : NULL;
}

bool node_selector_matches(const struct core_v1_node_selector *s, const struct sched_node *n)
{
    for (size_t i = 0; i < s->node_selector_terms.len; i++)
        if (term_matches(&s->node_selector_terms.items[i], n))
            return true;
    return false;
}

bool node_affinity_matches(const struct sched_pod *p, const struct sched_node *n)
{
    if (!p->constraints)
        return true;
    struct str_entry_array selector = p->constraints->node_selector;
    for (size_t i = 0; i < selector.len; i++) {
        struct str value = object_label(n->object, selector.items[i].key);
        if (!value.p || !str_eq(value, selector.items[i].value))
            return false;
    }
    const struct core_v1_node_selector *terms = required(p);
    return !terms || node_selector_matches(terms, n);
}

static bool names_nodes(const struct core_v1_node_selector_requirement *r)
{
    return str_eqz(r->key, "metadata.name") && str_eqz(r->operator_, "In");
}

/* The nodes that a term's fields name; false when it names none. */
static bool add_named(struct cycle *c, const struct core_v1_node_selector_term *t, size_t *cap)
{
    const struct core_v1_node_selector_requirement *first = NULL;
    for (size_t i = 0; i < t->match_fields.len && !first; i++)
        first = names_nodes(&t->match_fields.items[i]) ? &t->match_fields.items[i] : NULL;
    if (!first)
        return false;
    for (size_t i = 0; i < first->values.len; i++) {
        struct sched_node *n = snapshot_node(c->snapshot, first->values.items[i]);
        bool wanted = n != NULL;
        for (size_t k = 0; k < t->match_fields.len && wanted; k++)
            wanted = !names_nodes(&t->match_fields.items[k]) || has_value(&t->match_fields.items[k], n->name);
        for (size_t k = 0; k < c->n_only && wanted; k++)
            wanted = c->only[k] != n;
        if (wanted)
            ARENA_PUSH(c->arena, c->only, c->n_only, *cap, n);
    }
    return true;
}

/* Whether every term of the pod's names at least one node that all its requirements on names allow. */
static bool names_conflict(const struct core_v1_node_selector *terms)
{
    for (size_t i = 0; i < terms->node_selector_terms.len; i++) {
        struct core_v1_node_selector_requirement_array fields = terms->node_selector_terms.items[i].match_fields;
        const struct core_v1_node_selector_requirement *first = NULL;
        for (size_t k = 0; k < fields.len && !first; k++)
            first = names_nodes(&fields.items[k]) ? &fields.items[k] : NULL;
        for (size_t v = 0; first && v < first->values.len; v++) {
            bool in_all = true;
            for (size_t k = 0; k < fields.len && in_all; k++)
                in_all = !names_nodes(&fields.items[k]) || has_value(&fields.items[k], first->values.items[v]);
            if (in_all)
                return false;
        }
    }
    return true;
}

static enum plugin_answer pre_filter(struct cycle *c)
{
    const struct core_v1_node_selector *terms = required(c->pod);
    size_t cap = 0;
    if (!terms && !(c->pod->constraints && c->pod->constraints->node_selector.len))
        return PLUGIN_SKIP;
    if (!terms || !terms->node_selector_terms.len)
        return PLUGIN_GO;
    for (size_t i = 0; i < terms->node_selector_terms.len; i++) {
        if (!add_named(c, &terms->node_selector_terms.items[i], &cap)) { /* terms are alternatives: all nodes, then */
            c->only = NULL;
            c->n_only = 0;
            return PLUGIN_GO;
        }
    }
    if (names_conflict(terms)) {
        c->refusal = STR("pod affinity terms conflict");
        c->refusal_final = true;
        return PLUGIN_REFUSE;
    }
    c->narrowed = true;
    return PLUGIN_GO;
}

static struct verdict filter(const struct cycle *c, const struct sched_node *n)
{
    if (!node_affinity_matches(c->pod, n))
        return (struct verdict){(uint64_t)1 << REASON_NODE_AFFINITY, true};
    return (struct verdict){0};
}

static struct core_v1_preferred_scheduling_term_array preferred(const struct sched_pod *p)
{
    const struct core_v1_node_affinity *a = p->constraints ? p->constraints->node_affinity : NULL;
    return a ? a->preferred_during_scheduling_ignored_during_execution
             : (struct core_v1_preferred_scheduling_term_array){0};
}

static enum plugin_answer pre_score(struct cycle *c)
{
    return preferred(c->pod).len ? PLUGIN_GO : PLUGIN_SKIP;
}

static int64_t score(const struct cycle *c, const struct sched_node *n)
{
    struct core_v1_preferred_scheduling_term_array terms = preferred(c->pod);
    int64_t sum = 0;
    for (size_t i = 0; i < terms.len; i++)
        if (terms.items[i].preference && term_matches(terms.items[i].preference, n))
            sum += terms.items[i].weight;
    return sum;
}

static void normalize(const struct cycle *c, int64_t *scores, size_t n)
{
    (void)c;
    normalize_scores(scores, n, false);
}

static bool hint(const struct sched_pod *p, const struct sched_node *n, uint32_t events)
{
    (void)events;
    return node_affinity_matches(p, n);
}

const struct plugin plugin_node_affinity = {.name = "NodeAffinity",
                                            .events = EVENT_NODE_ADD | EVENT_NODE_LABEL,
                                            .hint = hint,
                                            .pre_filter = pre_filter,
                                            .filter = filter,
                                            .pre_score = pre_score,
                                            .score = score,
                                            .normalize = normalize,
                                            .weight = 2};
