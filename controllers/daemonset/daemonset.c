/* DaemonSet: one pod on every node that it fits. */
#include "controllers/controllers.h"
#include "controllers/pods/history.h"
#include "controllers/pods/node_match.h"
#include "controllers/pods/pod_control.h"

#include <inttypes.h>

#define HASH_LABEL "controller-revision-hash"
#define BURST 250

enum { WATCH_SETS, WATCH_PODS, WATCH_NODES, WATCH_REVISIONS };

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    keys_of_controller("DaemonSet", old, now, add, arg);
}

static bool same_labels(const struct object *a, const struct object *b)
{
    if (a->n_labels != b->n_labels)
        return false;
    for (size_t i = 0; i < a->n_labels; i++) {
        if (!str_eq(a->labels[i].key, b->labels[i].key) || !str_eq(a->labels[i].value, b->labels[i].value))
            return false;
    }
    return true;
}

/* Only what decides about pods: whether it is there, its labels, its taints. */
static void keys_of_node(const struct view *v, const struct object *old, const struct object *now,
                         void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    struct arena *a = arena_create(0);
    const struct object **sets;
    bool same =
        old && now && same_labels(old, now) &&
        value_semantic_equal(value_path(object_value(a, old), "spec"), value_path(object_value(a, now), "spec"));
    size_t n = same ? 0 : view_list(v, a, WATCH_SETS, STR(""), &sets);
    for (size_t i = 0; i < n; i++)
        add(arg, sets[i]->namespace_, sets[i]->name);
    arena_destroy(a);
}

/* ---- what a pod looks like ---- */

static void add_tolerations(struct arena *a, struct value *spec)
{
    static const struct {
        const char *key, *effect;
        bool host_network;
    } all[] = {
        {"node.kubernetes.io/not-ready", "NoExecute"},
        {"node.kubernetes.io/unreachable", "NoExecute"},
        {"node.kubernetes.io/disk-pressure", "NoSchedule"},
        {"node.kubernetes.io/memory-pressure", "NoSchedule"},
        {"node.kubernetes.io/pid-pressure", "NoSchedule"},
        {"node.kubernetes.io/unschedulable", "NoSchedule"},
        {"node.kubernetes.io/network-unavailable", "NoSchedule", true},
    };
    struct value *list = value_ensure_list(a, spec, "tolerations");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].host_network && !value_path_bool(spec, "hostNetwork", false))
            continue;
        struct value *t = value_map(a);
        value_setz(a, t, "key", value_stringz(a, all[i].key));
        value_setz(a, t, "operator", value_stringz(a, "Exists"));
        value_setz(a, t, "effect", value_stringz(a, all[i].effect));
        value_append(a, list, t);
    }
}

/* The scheduler binds it, but to no other node than this. */
static void pin(struct arena *a, struct value *spec, struct str node)
{
    static const char path[] = "requiredDuringSchedulingIgnoredDuringExecution";
    struct value *affinity = value_ensure_map(a, value_ensure_map(a, spec, "affinity"), "nodeAffinity");
    struct value *terms = value_path(affinity, "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    struct value *field = value_map(a), *values = value_list(a), *fields = value_list(a), *pinned = value_list(a);
    value_append(a, values, value_string(a, node));
    value_setz(a, field, "key", value_stringz(a, "metadata.name"));
    value_setz(a, field, "operator", value_stringz(a, "In"));
    value_setz(a, field, "values", values);
    value_append(a, fields, field);
    for (size_t i = 0; i < value_len(terms) || i == 0; i++) {
        struct value *term = value_at(terms, i) ? value_copy(a, value_at(terms, i)) : value_map(a);
        value_setz(a, term, "matchFields", fields);
        value_append(a, pinned, term);
    }
    struct value *required = value_map(a);
    value_setz(a, required, "nodeSelectorTerms", pinned);
    value_setz(a, affinity, path, required);
}

/* ---- one run ---- */

struct daemon { /* one DaemonSet, as one run sees it */
    const struct object *object;
    const struct apps_v1_daemon_set *set;
    struct value *template;
    const struct core_v1_pod_spec *spec; /* of its pods, with the tolerations all get */
    struct pod_state *pods;
    size_t n_pods;
    struct history history;
    struct outcome *out;
    uint64_t random;
    size_t n_written;
    int64_t max_unavailable, unavailable; /* of the update */
    int64_t desired, current, misscheduled, ready, updated, available;
};

static struct str node_of(const struct pod_state *p)
{
    if (p->pod->spec->node_name.len)
        return p->pod->spec->node_name;
    const struct core_v1_affinity *affinity = p->pod->spec->affinity;
    const struct core_v1_node_selector *required =
        affinity && affinity->node_affinity
            ? affinity->node_affinity->required_during_scheduling_ignored_during_execution
            : NULL;
    if (!required || !required->node_selector_terms.len || !required->node_selector_terms.items[0].match_fields.len ||
        !required->node_selector_terms.items[0].match_fields.items[0].values.len)
        return STR("");
    return required->node_selector_terms.items[0].match_fields.items[0].values.items[0];
}

static void create_pod(struct daemon *d, struct str node)
{
    struct arena *a = d->out->arena;
    if (d->n_written++ >= BURST)
        return;
    struct value *pod =
        pod_from_template(a, value_copy(a, d->template), d->object,
                          arena_printf(a, STR_FMT "-", STR_ARG(d->object->name)), d->random, d->n_written);
    struct value *labels = value_ensure_map(a, value_getz(pod, "metadata"), "labels");
    value_setz(a, labels, HASH_LABEL, value_string(a, d->history.hash));
    pin(a, value_getz(pod, "spec"), node);
    struct write *w = outcome_create(d->out, resource_find(STR(""), STR("pods")), d->object->namespace_, pod);
    w->on_success = (struct reconcile_event){d->object, "Normal", "SuccessfulCreate",
                                             arena_printf(a, "Created pod: " STR_FMT, STR_ARG(w->call.name))};
    w->on_failure = (struct reconcile_event){d->object, "Warning", "FailedCreate", STR("Error creating: ")};
}

static void delete_pod(struct daemon *d, struct pod_state *p)
{
    if (p->object->deletion_s || d->n_written++ >= BURST)
        return;
    struct write *w = outcome_delete(d->out, p->object);
    w->on_success =
        (struct reconcile_event){d->object, "Normal", "SuccessfulDelete",
                                 arena_printf(d->out->arena, "Deleted pod: " STR_FMT, STR_ARG(p->object->name))};
    w->on_failure = (struct reconcile_event){d->object, "Warning", "FailedDelete", STR("Error deleting: ")};
}

/* A pod that has ended makes room for the next. */
static bool replace_ended(struct daemon *d, struct pod_state *p, struct str node)
{
    bool failed = str_eqz(p->pod->status->phase, "Failed");
    if (!p->finished || p->object->deletion_s)
        return p->finished;
    if (failed)
        outcome_event(d->out, d->object, "Warning", "FailedDaemonPod",
                      "Found failed daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT ", will try to kill it",
                      STR_ARG(p->object->namespace_), STR_ARG(p->object->name), STR_ARG(node));
    else
        outcome_event(d->out, d->object, "Normal", "SucceededDaemonPod",
                      "Found succeeded daemon pod " STR_FMT "/" STR_FMT " on node " STR_FMT ", will try to delete it",
                      STR_ARG(p->object->namespace_), STR_ARG(p->object->name), STR_ARG(node));
    delete_pod(d, p);
    return true;
}

static bool is_updated(const struct daemon *d, const struct pod_state *p)
{
    return str_eq(object_label(p->object, STR(HASH_LABEL)), d->history.hash);
}

/* The pod that stays on its node, the oldest; others are deleted. NULL = none. `present`: there is one at all. */
static struct pod_state *keep_one(struct daemon *d, struct str node, bool may_stay, bool *ret_present)
{
    struct pod_state *kept = NULL;
    *ret_present = false;
    for (size_t i = 0; i < d->n_pods; i++) {
        struct pod_state *p = &d->pods[i];
        if (!str_eq(node_of(p), node))
            continue;
        *ret_present = true;
        if (p->object->deletion_s || replace_ended(d, p, node))
            continue;
        if (!may_stay) {
            delete_pod(d, p);
        } else if (!kept || p->object->creation_s < kept->object->creation_s) {
            if (kept)
                delete_pod(d, kept);
            kept = p;
        } else {
            delete_pod(d, p);
        }
    }
    return kept;
}

/* Old pods give way, as many at a time as may be missing; those that do not work anyway first. */
static void update_pod(struct daemon *d, struct pod_state *p)
{
    bool on_delete = d->set->spec->update_strategy && str_eqz(d->set->spec->update_strategy->type, "OnDelete");
    if (!p || is_updated(d, p) || on_delete)
        return;
    if (p->available && d->unavailable >= d->max_unavailable)
        return;
    d->unavailable += p->available;
    delete_pod(d, p);
}

static void visit_node(struct daemon *d, const struct object *o, struct pod_state **ret)
{
    const struct core_v1_node *node = view_object(d->out->arena, o);
    bool present, selected = node_is_selected(d->spec, o);
    bool runs = selected && tolerates_taints(d->spec, node, NULL);
    bool stays = selected && tolerates_taints(d->spec, node, "NoExecute");
    struct pod_state *p = keep_one(d, o->name, stays, &present);
    *ret = p;
    if (!runs) {
        d->misscheduled += present;
        return;
    }
    d->desired++;
    d->current += present;
    if (!present)
        create_pod(d, o->name);
    d->unavailable += !p || !p->available;
    if (p) {
        d->ready += p->ready;
        d->available += p->available;
        d->updated += is_updated(d, p);
    }
}

static int64_t max_unavailable(const struct daemon *d)
{
    const struct apps_v1_daemon_set_update_strategy *s = d->set->spec->update_strategy;
    const struct int_or_string *v = s && s->rolling_update ? &s->rolling_update->max_unavailable : NULL;
    int64_t percent = 0, n = 1;
    if (v && v->present && !v->is_string)
        n = v->integer;
    else if (v && v->present && str_to_i64(str_sub(v->string, 0, v->string.len ? v->string.len - 1 : 0), &percent))
        n = (percent * d->desired + 99) / 100;
    return n > 0 ? n : 1;
}

static void write_status(struct daemon *d)
{
    const struct apps_v1_daemon_set_status *s = d->set->status;
    int64_t missing = d->desired - d->available;
    if (s->observed_generation >= d->object->generation && s->desired_number_scheduled == d->desired &&
        s->current_number_scheduled == d->current && s->number_misscheduled == d->misscheduled &&
        s->number_ready == d->ready && s->updated_number_scheduled == d->updated &&
        s->number_available == d->available && s->number_unavailable == missing)
        return;
    struct arena *a = d->out->arena;
    struct value *patch = value_map(a), *status = value_ensure_map(a, patch, "status");
    value_setz(a, status, "observedGeneration", value_int(a, d->object->generation));
    value_setz(a, status, "currentNumberScheduled", value_int(a, d->current));
    value_setz(a, status, "numberMisscheduled", value_int(a, d->misscheduled));
    value_setz(a, status, "desiredNumberScheduled", value_int(a, d->desired));
    value_setz(a, status, "numberReady", value_int(a, d->ready));
    value_setz(a, status, "updatedNumberScheduled", d->updated ? value_int(a, d->updated) : value_null(a));
    value_setz(a, status, "numberAvailable", d->available ? value_int(a, d->available) : value_null(a));
    value_setz(a, status, "numberUnavailable", missing ? value_int(a, missing) : value_null(a));
    outcome_modify(d->out, d->object, "status", patch);
}

static bool revision_in_use(void *arg, const struct object *revision)
{
    const struct daemon *d = arg;
    struct str hash = object_label(revision, STR(HASH_LABEL));
    for (size_t i = 0; i < d->n_pods; i++) {
        if (str_eq(object_label(d->pods[i].object, STR(HASH_LABEL)), hash))
            return true;
    }
    return false;
}

static const struct core_v1_pod_spec *spec_view(struct arena *a, struct value *template)
{
    struct value *pod = value_map(a), *spec = value_copy(a, value_getz(template, "spec"));
    value_setz(a, pod, "spec", spec);
    const struct core_v1_pod *p =
        view_from_value(a, resource_storage_version(resource_find(STR(""), STR("pods")))->message, pod);
    return p->spec;
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    struct arena *a = out->arena;
    const struct object *o = view_find(v, WATCH_SETS, key.namespace_, key.name), **nodes;
    struct label_selector selector;
    struct err err = ERR_INIT;
    if (!o || o->deletion_s)
        return;
    struct daemon d = {.object = o, .set = view_object(a, o), .out = out, .random = facts->random};
    if (label_selector_from_view(a, d.set->spec->selector, &selector, &err) < 0)
        return;
    d.template = value_path(object_value(a, o), "spec.template");
    add_tolerations(a, value_ensure_map(a, d.template, "spec"));
    d.spec = spec_view(a, d.template);
    history_sync(v, WATCH_REVISIONS, o, HASH_LABEL, out, &d.history);
    d.n_pods = pods_claim(v, WATCH_PODS, o, &selector, d.set->spec->min_ready_seconds, now_ms, out, &d.pods);
    size_t n = view_list(v, a, WATCH_NODES, STR(""), &nodes);
    struct pod_state **kept = ARENA_ARRAY(a, struct pod_state *, n + 1);
    for (size_t i = 0; i < n; i++)
        visit_node(&d, nodes[i], &kept[i]);
    d.max_unavailable = max_unavailable(&d);
    for (size_t i = 0; i < n; i++)
        update_pod(&d, kept[i]);
    for (size_t i = 0; i < d.n_pods; i++) {
        struct pod_state *p = &d.pods[i];
        if (!p->pod->spec->node_name.len && !view_find(v, WATCH_NODES, STR(""), node_of(p)))
            delete_pod(&d, p); /* it waits for a node that is gone */
        if (p->ready && !p->available)
            outcome_requeue_at(out, (p->ready_since_s + d.set->spec->min_ready_seconds) * 1000 + 1);
    }
    history_clean_up(&d.history, d.set->spec->has_revision_history_limit ? d.set->spec->revision_history_limit : 10,
                     revision_in_use, &d, out);
    write_status(&d);
}

const struct controller daemonset_controller = {
    .name = "daemonset",
    .user = "system:serviceaccount:kube-system:daemon-set-controller",
    .component = "daemonset-controller",
    .watches = {{"apps", "daemonsets", NULL},
                {"", "pods", keys_of_pod},
                {"", "nodes", keys_of_node},
                {"apps", "controllerrevisions", keys_of_pod}},
    .concurrency = 4,
    .reconcile = reconcile,
};
