/* Pod GC: ends pods nobody else would end: those of nodes that are gone, those that were deleted before they got a
 * node, and those being deleted on a node that somebody declared out of service. */
#include "controllers/controllers.h"
#include "openapi/meta/time.h"
#include "openapi/views.h"

#define QUARANTINE_MS 40000 /* a node may come back under its name */
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

enum { WATCH_PODS, WATCH_NODES };

static struct str node_of(const struct object *pod)
{
    const char *const *names = resource_storage_version(pod->resource)->selectable;
    for (size_t i = 0; names && names[i] && i < pod->n_fields; i++) {
        if (strcmp(names[i], "spec.nodeName") == 0)
            return pod->fields[i];
    }
    return STR("");
}

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    struct str node = now ? node_of(now) : STR("");
    (void)old;
    if (now && (node.len ? now->deletion_s || !view_find(v, WATCH_NODES, STR(""), node) : now->deletion_s))
        add(arg, now->namespace_, now->name);
}

static void keys_of_node(const struct view *v, const struct object *old, const struct object *now,
                         void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object *o = now ? now : old, **pods;
    if (now && !str_contains(now->body, STR(OUT_OF_SERVICE)))
        return;
    struct arena *a = arena_create(0);
    size_t n = view_by_field(v, a, WATCH_PODS, "spec.nodeName", o->name, &pods);
    for (size_t i = 0; i < n; i++)
        add(arg, pods[i]->namespace_, pods[i]->name);
    arena_destroy(a);
}

static void end_pod(const struct object *o, const struct core_v1_pod *pod, const char *why, int64_t now_ms,
                    struct outcome *out)
{
    struct arena *a = out->arena;
    if (!str_eqz(pod->status->phase, "Succeeded") && !str_eqz(pod->status->phase, "Failed")) {
        struct value *patch = value_map(a), *list = value_path(object_value(a, o), "status.conditions"),
                     *c = value_map(a);
        list = value_is(list, VALUE_LIST) ? list : value_list(a);
        value_setz(a, c, "type", value_stringz(a, "DisruptionTarget"));
        value_setz(a, c, "status", value_stringz(a, "True"));
        value_setz(a, c, "reason", value_stringz(a, "DeletionByPodGC"));
        value_setz(a, c, "message", value_stringz(a, why));
        value_setz(a, c, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
        for (size_t i = value_len(list); why && i-- > 0;) {
            if (str_eqz(value_path_str(value_at(list, i), "type"), "DisruptionTarget"))
                value_remove_at(list, i);
        }
        if (why)
            value_append(a, list, c);
        value_set_path(a, patch, "status.phase", value_stringz(a, "Failed"));
        value_set_path(a, patch, "status.conditions", list);
        outcome_patch(out, o, "status", patch);
    }
    outcome_delete(out, o)->call.grace_period_s = 0;
}

static bool is_out_of_service(struct arena *a, const struct object *o)
{
    const struct core_v1_node *node = view_object(a, o);
    bool ready = false, marked = false;
    for (size_t i = 0; i < node->status->conditions.len; i++)
        ready = ready || (str_eqz(node->status->conditions.items[i].type, "Ready") &&
                          str_eqz(node->status->conditions.items[i].status, "True"));
    for (size_t i = 0; i < node->spec->taints.len; i++)
        marked = marked || str_eqz(node->spec->taints.items[i].key, OUT_OF_SERVICE);
    return marked && !ready;
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    const struct object *o = view_find(v, WATCH_PODS, key.namespace_, key.name);
    if (!o)
        return;
    const struct core_v1_pod *pod = view_object(out->arena, o);
    struct str name = pod->spec->node_name;
    if (!name.len) {
        if (o->deletion_s)
            end_pod(o, pod, NULL, now_ms, out);
        return;
    }
    const struct object *node = view_find(v, WATCH_NODES, STR(""), name);
    if (node) {
        if (o->deletion_s && is_out_of_service(out->arena, node))
            end_pod(o, pod, NULL, now_ms, out);
        return;
    }
    if (now_ms < facts->since_ms + QUARANTINE_MS) {
        outcome_requeue_at(out, facts->since_ms + QUARANTINE_MS);
        return;
    }
    if (!facts->n_live)
        outcome_want_live(out, resource_find(STR(""), STR("nodes")), STR(""), name);
    else if (facts->live[0].rc == ERR_NOT_FOUND)
        end_pod(o, pod, "PodGC: node no longer exists", now_ms, out);
}

const struct controller podgc_controller = {
    .name = "podgc",
    .user = "system:serviceaccount:kube-system:pod-garbage-collector",
    .component = "pod-garbage-collector-controller",
    .watches = {{"", "pods", keys_of_pod}, {"", "nodes", keys_of_node}},
    .concurrency = 8,
    .reconcile = reconcile,
};
