/* ReplicaSet: as many pods as it says, and the count of those that are there. */
#include "controllers/controllers.h"
#include "controllers/pods/pod_control.h"
#include "openapi/meta/time.h"

#include <inttypes.h>

#define BURST 500 /* creations or deletions in one run; the rest follows when these are seen */

enum { WATCH_REPLICASETS, WATCH_PODS };

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    keys_of_controller("ReplicaSet", old, now, add, arg);
    if (!now || now->n_owners || (old && !old->n_owners && old->n_labels == now->n_labels))
        return;
    /* an orphan: whoever selects it may adopt it */
    struct arena *a = arena_create(0);
    const struct object **sets;
    size_t n = view_list(v, a, WATCH_REPLICASETS, now->namespace_, &sets);
    for (size_t i = 0; i < n; i++) {
        const struct apps_v1_replica_set *rs = view_object(a, sets[i]);
        struct label_selector selector;
        struct err err = ERR_INIT;
        if (label_selector_from_view(a, rs->spec->selector, &selector, &err) == 0 &&
            label_selector_matches(&selector, now))
            add(arg, sets[i]->namespace_, sets[i]->name);
    }
    arena_destroy(a);
}

struct counts {
    int64_t replicas, labeled, ready, available, terminating;
};

static void create_pods(struct outcome *out, const struct object *o, int64_t n, uint64_t random)
{
    struct value *template = value_path(object_value(out->arena, o), "spec.template");
    const struct resource *pods = resource_find(STR(""), STR("pods"));
    struct str prefix = arena_printf(out->arena, STR_FMT "-", STR_ARG(o->name));
    if (prefix.len > 58) /* room for the suffix in a name of 63 */
        prefix = arena_printf(out->arena, "%.58s", prefix.p);
    for (int64_t i = 0; i < n && i < BURST; i++) {
        struct value *pod = pod_from_template(out->arena, template, o, prefix, random, (size_t)i);
        struct write *w = outcome_create(out, pods, o->namespace_, pod);
        w->on_success = (struct reconcile_event){
            o, "Normal", "SuccessfulCreate", arena_printf(out->arena, "Created pod: " STR_FMT, STR_ARG(w->call.name))};
        w->on_failure = (struct reconcile_event){o, "Warning", "FailedCreate", STR("Error creating: ")};
    }
}

static void delete_pods(struct outcome *out, const struct object *o, struct pod_state *active, size_t n_active,
                        int64_t n)
{
    pods_rank_for_deletion(out->arena, active, n_active);
    for (int64_t i = 0; i < n && i < BURST && i < (int64_t)n_active; i++) {
        struct write *w = outcome_delete(out, active[i].object);
        w->on_success = (struct reconcile_event){
            o, "Normal", "SuccessfulDelete",
            arena_printf(out->arena, "Deleted pod: " STR_FMT, STR_ARG(active[i].object->name))};
        w->on_failure = (struct reconcile_event){o, "Warning", "FailedDelete", STR("Error deleting: ")};
    }
}

static bool has_template_labels(const struct object *pod, const struct core_v1_pod_template_spec *template)
{
    for (size_t i = 0; template && template->metadata && i < template->metadata->labels.len; i++) {
        if (!str_eq(object_label(pod, template->metadata->labels.items[i].key),
                    template->metadata->labels.items[i].value))
            return false;
    }
    return true;
}

static const struct apps_v1_replica_set_condition *failure_of(const struct apps_v1_replica_set *rs)
{
    for (size_t i = 0; i < rs->status->conditions.len; i++) {
        if (str_eqz(rs->status->conditions.items[i].type, "ReplicaFailure"))
            return &rs->status->conditions.items[i];
    }
    return NULL;
}

/* `missing` pods could not be made (or, negative, not be deleted): `failure` says why. */
static struct value *conditions(struct arena *a, struct str failure, int64_t missing, int64_t now_ms)
{
    struct value *list = value_list(a), *c = value_map(a);
    value_setz(a, c, "type", value_stringz(a, "ReplicaFailure"));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
    value_setz(a, c, "reason", value_stringz(a, missing > 0 ? "FailedCreate" : "FailedDelete"));
    value_setz(a, c, "message", value_string(a, failure));
    value_append(a, list, c);
    return list;
}

static struct value *count_value(struct arena *a, int64_t n)
{
    return n ? value_int(a, n) : value_null(a); /* zero is absent on the wire */
}

static void write_status(struct outcome *out, const struct object *o, const struct apps_v1_replica_set *rs,
                         const struct counts *c, struct str failure, int64_t missing, int64_t now_ms)
{
    const struct apps_v1_replica_set_status *s = rs->status;
    bool failed = failure.len && missing, had_failed = failure_of(rs) != NULL;
    if (s->replicas == c->replicas && s->has_replicas && s->fully_labeled_replicas == c->labeled &&
        s->ready_replicas == c->ready && s->available_replicas == c->available && s->has_terminating_replicas &&
        s->terminating_replicas == c->terminating && s->observed_generation >= o->generation && failed == had_failed)
        return;
    struct arena *a = out->arena;
    struct value *patch = value_map(a), *status = value_ensure_map(a, patch, "status");
    value_setz(a, status, "replicas", value_int(a, c->replicas));
    value_setz(a, status, "fullyLabeledReplicas", count_value(a, c->labeled));
    value_setz(a, status, "readyReplicas", count_value(a, c->ready));
    value_setz(a, status, "availableReplicas", count_value(a, c->available));
    value_setz(a, status, "terminatingReplicas", value_int(a, c->terminating));
    value_setz(a, status, "observedGeneration", value_int(a, o->generation));
    if (failed != had_failed)
        value_setz(a, status, "conditions", failed ? conditions(a, failure, missing, now_ms) : value_null(a));
    outcome_modify(out, o, "status", patch);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    const struct object *o = view_find(v, WATCH_REPLICASETS, key.namespace_, key.name);
    struct label_selector selector;
    struct err err = ERR_INIT;
    if (!o)
        return;
    const struct apps_v1_replica_set *rs = view_object(out->arena, o);
    int64_t wanted = rs->spec->has_replicas ? rs->spec->replicas : 1, min_ready_s = rs->spec->min_ready_seconds;
    if (label_selector_from_view(out->arena, rs->spec->selector, &selector, &err) < 0)
        return;
    struct pod_state *pods, *active = NULL;
    size_t n = pods_claim(v, WATCH_PODS, o, &selector, min_ready_s, now_ms, out, &pods), n_active = 0, cap = 0;
    struct counts counts = {0};
    for (size_t i = 0; i < n; i++) {
        counts.terminating += pods[i].object->deletion_s && !pods[i].finished;
        if (!pods[i].active)
            continue;
        ARENA_PUSH(out->arena, active, n_active, cap, pods[i]);
        counts.replicas++;
        counts.labeled += has_template_labels(pods[i].object, rs->spec->template_);
        counts.ready += pods[i].ready;
        counts.available += pods[i].available;
        if (pods[i].ready && !pods[i].available) /* look again when it has been ready for long enough */
            outcome_requeue_at(out, (pods[i].ready_since_s + min_ready_s) * 1000 + 1);
    }
    int64_t missing = o->deletion_s ? 0 : wanted - counts.replicas;
    if (missing > 0)
        create_pods(out, o, facts->failure.len ? 1 : missing,
                    facts->random); /* after a failure one shows whether it goes on */
    else if (missing < 0)
        delete_pods(out, o, active, n_active, -missing);
    write_status(out, o, rs, &counts, facts->failure, missing, now_ms);
}

const struct controller replicaset_controller = {
    .name = "replicaset",
    .user = "system:serviceaccount:kube-system:replicaset-controller",
    .component = "replicaset-controller",
    .watches = {{"apps", "replicasets", NULL}, {"", "pods", keys_of_pod}},
    .concurrency = 16,
    .reconcile = reconcile,
};
