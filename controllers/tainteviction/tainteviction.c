/* Taint eviction: pods that do not tolerate a NoExecute taint of their node are deleted: at once, or when the shortest
 * time is over for which they do. */
#include "controllers/controllers.h"
#include "controllers/pods/node_match.h"
#include "openapi/meta/time.h"
#include "openapi/views.h"

enum { WATCH_PODS, WATCH_NODES };

/* Cheap enough for every change of a node: the text is our own encoding. */
static bool may_evict(const struct object *node)
{
    return node && str_contains(node->body, STR("\"NoExecute\""));
}

static void keys_of_node(const struct view *v, const struct object *old, const struct object *now,
                         void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object **pods;
    if (!now || (!may_evict(old) && !may_evict(now)))
        return;
    struct arena *a = arena_create(0);
    size_t n = view_by_field(v, a, WATCH_PODS, "spec.nodeName", now->name, &pods);
    for (size_t i = 0; i < n; i++)
        add(arg, pods[i]->namespace_, pods[i]->name);
    arena_destroy(a);
}

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)old;
    if (!now || now->deletion_s)
        return;
    const char *const *names = resource_storage_version(now->resource)->selectable;
    for (size_t i = 0; names && names[i] && i < now->n_fields; i++) {
        if (strcmp(names[i], "spec.nodeName") == 0 && now->fields[i].len &&
            may_evict(view_find(v, WATCH_NODES, STR(""), now->fields[i])))
            add(arg, now->namespace_, now->name);
    }
}

enum { NEVER = -1 };

/* When the pod has to go: NEVER, or wall-clock milliseconds (0 = now). */
static int64_t due_ms(const struct core_v1_pod *pod, const struct core_v1_node *node, int64_t since_ms)
{
    int64_t due = NEVER;
    for (size_t i = 0; i < node->spec->taints.len; i++) {
        const struct core_v1_taint *taint = &node->spec->taints.items[i];
        bool tolerated = false;
        if (!str_eqz(taint->effect, "NoExecute"))
            continue;
        int64_t added_ms = taint->time_added ? taint->time_added / 1000 : since_ms;
        for (size_t j = 0; j < pod->spec->tolerations.len; j++) {
            const struct core_v1_toleration *t = &pod->spec->tolerations.items[j];
            if (!toleration_matches(t, taint))
                continue;
            tolerated = true;
            int64_t for_s = t->toleration_seconds > 0 ? t->toleration_seconds : 0;
            if (t->has_toleration_seconds && (due == NEVER || added_ms + for_s * 1000 < due))
                due = added_ms + for_s * 1000;
        }
        if (!tolerated)
            return 0;
    }
    return due;
}

static void evict(const struct object *o, int64_t now_ms, struct outcome *out)
{
    struct arena *a = out->arena;
    struct value *list = value_path(object_value(a, o), "status.conditions"), *c = value_map(a), *patch = value_map(a);
    list = value_is(list, VALUE_LIST) ? list : value_list(a);
    for (size_t i = value_len(list); i-- > 0;) {
        if (str_eqz(value_path_str(value_at(list, i), "type"), "DisruptionTarget"))
            value_remove_at(list, i);
    }
    value_setz(a, c, "type", value_stringz(a, "DisruptionTarget"));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "reason", value_stringz(a, "DeletionByTaintManager"));
    value_setz(a, c, "message", value_stringz(a, "Taint manager: deleting due to NoExecute taint"));
    value_setz(a, c, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
    value_append(a, list, c);
    value_set_path(a, patch, "status.conditions", list);
    outcome_event(out, o, "Normal", "TaintManagerEviction", "Marking for deletion Pod " STR_FMT "/" STR_FMT,
                  STR_ARG(o->namespace_), STR_ARG(o->name));
    outcome_patch(out, o, "status", patch);
    outcome_delete(out, o);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    const struct object *o = view_find(v, WATCH_PODS, key.namespace_, key.name);
    if (!o || o->deletion_s)
        return;
    const struct core_v1_pod *pod = view_object(out->arena, o);
    const struct object *node =
        pod->spec->node_name.len ? view_find(v, WATCH_NODES, STR(""), pod->spec->node_name) : NULL;
    if (!may_evict(node))
        return;
    int64_t due = due_ms(pod, view_object(out->arena, node), facts->since_ms);
    if (due == NEVER)
        return;
    if (due > now_ms)
        outcome_requeue_at(out, due);
    else
        evict(o, now_ms, out);
}

const struct controller tainteviction_controller = {
    .name = "tainteviction",
    .user = "system:serviceaccount:kube-system:node-controller",
    .component = "taint-eviction-controller",
    .watches = {{"", "pods", keys_of_pod}, {"", "nodes", keys_of_node}},
    .concurrency = 8,
    .reconcile = reconcile,
};
