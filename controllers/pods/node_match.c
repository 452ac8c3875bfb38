#include "controllers/pods/node_match.h"

bool toleration_matches(const struct core_v1_toleration *t, const struct core_v1_taint *taint)
{
    if (t->effect.len && !str_eq(t->effect, taint->effect))
        return false;
    if (t->key.len && !str_eq(t->key, taint->key))
        return false;
    if (str_eqz(t->operator_, "Exists"))
        return true;
    return (!t->operator_.len || str_eqz(t->operator_, "Equal")) && t->key.len && str_eq(t->value, taint->value);
}

bool tolerates_taints(const struct core_v1_pod_spec *pod, const struct core_v1_node *node, const char *effect)
{
    for (size_t i = 0; i < node->spec->taints.len; i++) {
        const struct core_v1_taint *taint = &node->spec->taints.items[i];
        bool counts = effect ? str_eqz(taint->effect, effect) : !str_eqz(taint->effect, "PreferNoSchedule"),
             tolerated = false;
        for (size_t j = 0; counts && j < pod->tolerations.len; j++)
            tolerated = tolerated || toleration_matches(&pod->tolerations.items[j], taint);
        if (counts && !tolerated)
            return false;
    }
    return true;
}

static bool is_among(const struct str_array *values, struct str s)
{
    for (size_t i = 0; i < values->len; i++) {
        if (str_eq(values->items[i], s))
            return true;
    }
    return false;
}

static bool meets(const struct core_v1_node_selector_requirement *r, struct str value)
{
    int64_t have, bound;
    if (str_eqz(r->operator_, "In"))
        return value.p && is_among(&r->values, value);
    if (str_eqz(r->operator_, "NotIn"))
        return !value.p || !is_among(&r->values, value);
    if (str_eqz(r->operator_, "Exists"))
        return value.p;
    if (str_eqz(r->operator_, "DoesNotExist"))
        return !value.p;
    if (!value.p || r->values.len != 1 || !str_to_i64(value, &have) || !str_to_i64(r->values.items[0], &bound))
        return false;
    return str_eqz(r->operator_, "Gt") ? have > bound : str_eqz(r->operator_, "Lt") && have < bound;
}

static bool term_matches(const struct core_v1_node_selector_term *term, const struct object *node)
{
    for (size_t i = 0; i < term->match_expressions.len; i++) {
        struct str value = object_label(node, term->match_expressions.items[i].key);
        if (!meets(&term->match_expressions.items[i], value))
            return false;
    }
    for (size_t i = 0; i < term->match_fields.len; i++) {
        bool known = str_eqz(term->match_fields.items[i].key, "metadata.name");
        if (!known || !meets(&term->match_fields.items[i], node->name))
            return false;
    }
    return term->match_expressions.len || term->match_fields.len; /* an empty term matches nothing */
}

bool node_is_selected(const struct core_v1_pod_spec *pod, const struct object *node)
{
    for (size_t i = 0; i < pod->node_selector.len; i++) {
        struct str value = object_label(node, pod->node_selector.items[i].key);
        if (!value.p || !str_eq(value, pod->node_selector.items[i].value))
            return false;
    }
    const struct core_v1_node_affinity *affinity = pod->affinity ? pod->affinity->node_affinity : NULL;
    const struct core_v1_node_selector *wanted =
        affinity ? affinity->required_during_scheduling_ignored_during_execution : NULL;
    for (size_t i = 0; wanted && i < wanted->node_selector_terms.len; i++) {
        if (term_matches(&wanted->node_selector_terms.items[i], node))
            return true;
    }
    return !wanted;
}
