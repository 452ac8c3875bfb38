/* Node lifecycle: a node that is silent for too long is Unknown, and its pods are not ready; what its conditions say
 * stands on it as taints, which the scheduler and the taint eviction act on. */
#include "controllers/controllers.h"
#include "controllers/nodelifecycle/taints.h"
#include "openapi/meta/time.h"
#include "openapi/views.h"

#define GRACE_MS 50000
#define STARTUP_GRACE_MS 60000
#define LEASE_NAMESPACE "kube-node-lease"

enum { WATCH_NODES, WATCH_LEASES, WATCH_PODS };

/* Renewals need no look: a run comes when the last one would be too old. */
static void keys_of_lease(const struct view *v, const struct object *old, const struct object *now,
                          void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    const struct object *o = now ? now : old;
    if (!(old && now) && str_eqz(o->namespace_, LEASE_NAMESPACE))
        add(arg, STR(""), o->name);
}

static void no_keys(const struct view *v, const struct object *old, const struct object *now,
                    void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v, (void)old, (void)now, (void)add, (void)arg;
}

static const struct core_v1_node_condition *condition_of(const struct core_v1_node *node, const char *type)
{
    for (size_t i = 0; i < node->status->conditions.len; i++) {
        if (str_eqz(node->status->conditions.items[i].type, type))
            return &node->status->conditions.items[i];
    }
    return NULL;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When it would be too silent if nothing came any more. */
static int64_t silent_at_ms(const struct view *v, struct arena *a, const struct object *o,
                            const struct core_v1_node *node, int64_t started_ms)
{
    const struct core_v1_node_condition *ready = condition_of(node, "Ready");
    const struct object *lease = view_find(v, WATCH_LEASES, STR(LEASE_NAMESPACE), o->name);
    int64_t heard_ms = later(o->creation_s * 1000, started_ms);
    if (ready && ready->last_heartbeat_time)
        heard_ms = later(heard_ms, ready->last_heartbeat_time / 1000);
    if (lease) {
        const struct coordination_v1_lease *l = view_object(a, lease);
        heard_ms = later(heard_ms, l->spec->renew_time / 1000);
    }
    return heard_ms + (ready ? GRACE_MS : STARTUP_GRACE_MS);
}

static struct value *unknown(struct arena *a, const char *type, struct value *before, int64_t creation_s,
                             int64_t now_ms)
{
    struct value *c = before ? before : value_map(a);
    value_setz(a, c, "type", value_stringz(a, type));
    value_setz(a, c, "status", value_stringz(a, "Unknown"));
    value_setz(a, c, "reason", value_stringz(a, before ? "NodeStatusUnknown" : "NodeStatusNeverUpdated"));
    value_setz(a, c, "message",
               value_stringz(a, before ? "Kubelet stopped posting node status." : "Kubelet never posted node status."));
    value_setz(a, c, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
    if (!before)
        value_setz(a, c, "lastHeartbeatTime", value_string(a, time_format(a, creation_s * 1000000)));
    return c;
}

/* Answers whether there was anything to change. */
static bool mark_unknown(const struct object *o, int64_t now_ms, struct outcome *out)
{
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct arena *a = out->arena;
    struct value *body = object_value(a, o),
                 *list = value_ensure_list(a, value_ensure_map(a, body, "status"), "conditions");
    bool changed = false;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct value *c = NULL;
        for (size_t j = 0; j < value_len(list); j++) {
            if (str_eqz(value_path_str(value_at(list, j), "type"), types[i]))
                c = value_at(list, j);
        }
        if (c && str_eqz(value_path_str(c, "status"), "Unknown"))
            continue;
        struct value *fresh = unknown(a, types[i], c, o->creation_s, now_ms);
        if (!c)
            value_append(a, list, fresh);
        changed = true;
    }
    if (changed)
        outcome_update(out, o, "status", body)->accept = 1u << -ERR_NOT_FOUND;
    return changed;
}

/* Its pods cannot be reached: nobody should send them anything. */
static void mark_pods_not_ready(const struct view *v, const struct object *node, int64_t now_ms, struct outcome *out)
{
    struct arena *a = out->arena;
    const struct object **pods;
    size_t n = view_by_field(v, a, WATCH_PODS, "spec.nodeName", node->name, &pods);
    for (size_t i = 0; i < n; i++) {
        struct value *conditions = value_path(object_value(a, pods[i]), "status.conditions"), *ready = NULL;
        for (size_t j = 0; j < value_len(conditions); j++) {
            if (str_eqz(value_path_str(value_at(conditions, j), "type"), "Ready"))
                ready = value_at(conditions, j);
        }
        if (!ready || !str_eqz(value_path_str(ready, "status"), "True"))
            continue;
        struct value *patch = value_map(a);
        value_setz(a, ready, "status", value_stringz(a, "False"));
        value_setz(a, ready, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
        value_set_path(a, patch, "status.conditions", conditions);
        outcome_patch(out, pods[i], "status", patch);
        outcome_event(out, pods[i], "Warning", "NodeNotReady", "Node is not ready");
    }
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    const struct object *o = view_find(v, WATCH_NODES, STR(""), key.name);
    if (!o)
        return;
    const struct core_v1_node *node = view_object(out->arena, o);
    const struct core_v1_node_condition *ready = condition_of(node, "Ready");
    int64_t silent_ms = silent_at_ms(v, out->arena, o, node, facts->started_ms);
    bool silent = now_ms > silent_ms;
    if (!silent)
        outcome_requeue_at(out, silent_ms + 1);
    if (silent && mark_unknown(o, now_ms, out)) {
        if (ready && str_eqz(ready->status, "True"))
            outcome_event(out, o, "Normal", "NodeNotReady", "Node " STR_FMT " status is now: NodeNotReady",
                          STR_ARG(o->name));
    } else {
        taints_update(o, node, now_ms, out);
    }
    if (silent || (ready && !str_eqz(ready->status, "True")))
        mark_pods_not_ready(v, o, now_ms, out);
}

const struct controller nodelifecycle_controller = {
    .name = "nodelifecycle",
    .user = "system:serviceaccount:kube-system:node-controller",
    .component = "node-controller",
    .watches = {{"", "nodes", NULL}, {"coordination.k8s.io", "leases", keys_of_lease}, {"", "pods", no_keys}},
    .concurrency = 8,
    .reconcile = reconcile,
};
