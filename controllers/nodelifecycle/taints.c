#include "controllers/nodelifecycle/taints.h"

#include "openapi/meta/time.h"

#define PREFIX "node.kubernetes.io/"

/* A condition of that status asks for the taint; no type: spec.unschedulable does. */
static const struct {
    const char *type, *status, *key, *effect;
} rules[] = {
    {"Ready", "False", PREFIX "not-ready", "NoSchedule"},
    {"Ready", "Unknown", PREFIX "unreachable", "NoSchedule"},
    {"MemoryPressure", "True", PREFIX "memory-pressure", "NoSchedule"},
    {"DiskPressure", "True", PREFIX "disk-pressure", "NoSchedule"},
    {"PIDPressure", "True", PREFIX "pid-pressure", "NoSchedule"},
    {"NetworkUnavailable", "True", PREFIX "network-unavailable", "NoSchedule"},
    {NULL, NULL, PREFIX "unschedulable", "NoSchedule"},
    {"Ready", "False", PREFIX "not-ready", "NoExecute"},
    {"Ready", "Unknown", PREFIX "unreachable", "NoExecute"},
};

static bool asks(const struct core_v1_node *node, const char *type, const char *status)
{
    if (!type)
        return node->spec->unschedulable;
    for (size_t i = 0; i < node->status->conditions.len; i++) {
        if (str_eqz(node->status->conditions.items[i].type, type))
            return str_eqz(node->status->conditions.items[i].status, status);
    }
    return false;
}

/* A node that has not reported at all keeps what it was registered with. */
static bool may_clear(const struct core_v1_node *node, const char *type)
{
    for (size_t i = 0; type && i < node->status->conditions.len; i++) {
        if (str_eqz(node->status->conditions.items[i].type, type))
            return true;
    }
    return !type || strcmp(type, "Ready") != 0;
}

static bool is_taint(const struct value *v, const char *key, const char *effect)
{
    return str_eqz(value_path_str(v, "key"), key) && str_eqz(value_path_str(v, "effect"), effect);
}

void taints_update(const struct object *o, const struct core_v1_node *node, int64_t now_ms, struct outcome *out)
{
    struct arena *a = out->arena;
    struct value *body = object_value(a, o), *list = value_ensure_list(a, value_ensure_map(a, body, "spec"), "taints");
    bool changed = false;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        bool wanted = asks(node, rules[i].type, rules[i].status), found = false;
        for (size_t j = value_len(list); j-- > 0;) {
            if (!is_taint(value_at(list, j), rules[i].key, rules[i].effect))
                continue;
            found = true;
            if (!wanted && may_clear(node, rules[i].type)) {
                value_remove_at(list, j);
                changed = true;
            }
        }
        if (!wanted || found)
            continue;
        struct value *taint = value_map(a);
        value_setz(a, taint, "key", value_stringz(a, rules[i].key));
        value_setz(a, taint, "effect", value_stringz(a, rules[i].effect));
        value_setz(a, taint, "timeAdded", value_string(a, time_format(a, now_ms * 1000)));
        value_append(a, list, taint);
        changed = true;
    }
    if (changed)
        outcome_update(out, o, NULL, body)->accept = 1u << -ERR_NOT_FOUND;
}
