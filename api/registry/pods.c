#include "api/registry/registry.h"

#include "openapi/meta/quantity.h"

struct totals { /* of cpu and memory */
    struct quantity amount[2];
    bool found[2];
};

static const char *const qos_resources[] = {"cpu", "memory"};

static void add(struct totals *t, const struct value *list, unsigned *ret_seen)
{
    for (unsigned i = 0; i < 2; i++) {
        struct str text = value_str(value_getz(list, qos_resources[i]));
        struct quantity q = quantity_from(text);
        if (!text.len || quantity_sign(&q) <= 0)
            continue;
        quantity_add(&t->amount[i], &q);
        t->found[i] = true;
        *ret_seen |= 1u << i;
    }
}

struct qos_state {
    struct totals requests, limits;
    bool guaranteed;
};

static void count(struct qos_state *s, const struct value *resources)
{
    unsigned requested = 0, limited = 0;
    add(&s->requests, value_getz(resources, "requests"), &requested);
    add(&s->limits, value_getz(resources, "limits"), &limited);
    if (limited != 3)
        s->guaranteed = false;
}

static const char *qos_class(const struct value *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    struct qos_state s = {.guaranteed = true};
    if (value_len(value_path(spec, "resources.requests")) || value_len(value_path(spec, "resources.limits")))
        count(&s, value_getz(spec, "resources"));
    else
        for (size_t l = 0; l < 2; l++)
            for (size_t i = 0; i < value_len(value_getz(spec, lists[l])); i++)
                count(&s, value_getz(value_at(value_getz(spec, lists[l]), i), "resources"));
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        any = any || s.requests.found[i] || s.limits.found[i];
        if (s.requests.found[i] != s.limits.found[i] || quantity_cmp(&s.requests.amount[i], &s.limits.amount[i]) != 0)
            s.guaranteed = false;
    }
    return !any ? "BestEffort" : s.guaranteed ? "Guaranteed" : "Burstable";
}

static void prepare_create(struct registry_call *c, struct value *v)
{
    struct arena *a = c->arena;
    const struct value *spec = value_getz(v, "spec");
    struct value *status = value_map(a);
    value_setz(a, status, "phase", value_stringz(a, "Pending"));
    if (value_len(value_getz(spec, "schedulingGates"))) {
        struct value *condition = value_map(a);
        value_setz(a, condition, "type", value_stringz(a, "PodScheduled"));
        value_setz(a, condition, "status", value_stringz(a, "False"));
        value_setz(a, condition, "reason", value_stringz(a, "SchedulingGated"));
        value_setz(a, condition, "message",
                   value_stringz(a, "Scheduling is blocked due to non-empty scheduling gates"));
        value_append(a, value_ensure_list(a, status, "conditions"), condition);
    }
    value_setz(a, status, "qosClass", value_stringz(a, qos_class(spec)));
    value_setz(a, v, "status", status);
}

static void prepare_status(struct registry_call *c, struct value *v, const struct value *old)
{
    if (!value_path_str(v, "status.qosClass").len && value_path_str(old, "status.qosClass").len)
        value_set_path(c->arena, v, "status.qosClass", value_string(c->arena, value_path_str(old, "status.qosClass")));
}

static int64_t grace(const struct value *v, int64_t asked)
{
    struct str phase = value_path_str(v, "status.phase");
    int64_t period = asked >= 0 ? asked : value_path_int(v, "spec.terminationGracePeriodSeconds", 0);
    if (!value_path_str(v, "spec.nodeName").len || str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded"))
        return 0;
    return period < 0 ? 1 : period;
}

const struct registry_rules registry_pods = {
    .group = "",
    .resource = "pods",
    .flags = REGISTRY_GENERATION | REGISTRY_RETURN_DELETED,
    .prepare_create = prepare_create,
    .prepare_status = prepare_status,
    .grace = grace,
};
