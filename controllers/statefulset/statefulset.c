/* StatefulSet: pods with numbers, that keep their names and claims; made, removed and updated in order. */
#include "controllers/controllers.h"
#include "controllers/pods/history.h"
#include "controllers/pods/pod_control.h"

#include <inttypes.h>

#define REVISION_LABEL "controller-revision-hash" /* of pods: the revision's name */
#define HASH_LABEL "controller.kubernetes.io/hash"

enum { WATCH_SETS, WATCH_PODS, WATCH_CLAIMS, WATCH_REVISIONS };

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    keys_of_controller("StatefulSet", old, now, add, arg);
}

static void no_keys(const struct view *v, const struct object *old, const struct object *now,
                    void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v, (void)old, (void)now, (void)add, (void)arg;
}

struct stateful {
    const struct view *v;
    const struct object *object;
    const struct apps_v1_stateful_set *set;
    struct pod_state *pods;
    size_t n_pods;
    struct history history; /* its name is the update revision */
    struct str current;     /* revision */
    int64_t replicas, start, partition;
    bool ordered, rolling;
    int64_t n_current; /* pods of the current revision */
    struct outcome *out;
};

/* -1 = not one of ours */
static int64_t ordinal_of(const struct stateful *s, struct str name)
{
    int64_t n;
    struct str prefix = s->object->name;
    if (!str_starts(name, prefix) || name.len < prefix.len + 2 || name.p[prefix.len] != '-')
        return -1;
    return str_to_i64(str_sub(name, prefix.len + 1, name.len), &n) ? n : -1;
}

static struct pod_state *find_pod(const struct stateful *s, int64_t ordinal)
{
    for (size_t i = 0; i < s->n_pods; i++) {
        if (ordinal_of(s, s->pods[i].object->name) == ordinal)
            return &s->pods[i];
    }
    return NULL;
}

static struct str revision_of(const struct pod_state *p)
{
    return object_label(p->object, STR(REVISION_LABEL));
}

static bool is_healthy(const struct pod_state *p)
{
    return p && p->available && !p->object->deletion_s;
}

/* ---- pods and their claims ---- */

static struct str claim_name(struct stateful *s, struct str template, int64_t ordinal)
{
    return arena_printf(s->out->arena, STR_FMT "-" STR_FMT "-%" PRId64, STR_ARG(template), STR_ARG(s->object->name),
                        ordinal);
}

static void use_claims(struct stateful *s, struct value *spec, int64_t ordinal)
{
    struct arena *a = s->out->arena;
    struct value *whole = object_value(a, s->object), *templates = value_path(whole, "spec.volumeClaimTemplates");
    struct value *labels = value_path(whole, "spec.selector.matchLabels");
    for (size_t i = 0; i < value_len(templates); i++) {
        struct value *claim = value_at(templates, i), *volumes = value_ensure_list(a, spec, "volumes"),
                     *volume = value_map(a);
        struct str name = value_path_str(claim, "metadata.name"), full = claim_name(s, name, ordinal);
        for (size_t k = value_len(volumes); k-- > 0;) {
            if (str_eq(value_path_str(value_at(volumes, k), "name"), name))
                value_remove_at(volumes, k);
        }
        value_setz(a, volume, "name", value_string(a, name));
        value_set_path(a, volume, "persistentVolumeClaim.claimName", value_string(a, full));
        value_append(a, volumes, volume);
        if (view_find(s->v, WATCH_CLAIMS, s->object->namespace_, full))
            continue;
        value_setz(a, claim, "apiVersion", value_stringz(a, "v1"));
        value_setz(a, claim, "kind", value_stringz(a, "PersistentVolumeClaim"));
        value_removez(claim, "status");
        value_set_path(a, claim, "metadata.name", value_string(a, full));
        value_set_path(a, claim, "metadata.namespace", value_string(a, s->object->namespace_));
        struct value *claim_labels = value_ensure_map(a, value_getz(claim, "metadata"), "labels");
        for (size_t k = 0; labels && k < labels->map.len; k++)
            value_set(a, claim_labels, labels->map.members[k].key, labels->map.members[k].value);
        outcome_create(s->out, resource_find(STR(""), STR("persistentvolumeclaims")), s->object->namespace_, claim)
            ->accept = 1u << -ERR_ALREADY_EXISTS;
    }
}

/* Those below the partition stay with the current revision while another one rolls out. */
static bool needs_current(const struct stateful *s, int64_t ordinal)
{
    if (!s->rolling || str_eq(s->current, s->history.name))
        return false;
    return ordinal < s->start + (s->partition ? s->partition : s->n_current);
}

static struct value *template_of(struct stateful *s, struct str revision)
{
    struct arena *a = s->out->arena;
    struct value *template = value_path(object_value(a, s->object), "spec.template");
    for (size_t i = 0; !str_eq(revision, s->history.name) && i < s->history.n; i++) {
        if (str_eq(s->history.all[i]->name, revision)) {
            template = value_path(object_value(a, s->history.all[i]), "data.spec.template");
            value_removez(template, "$patch");
        }
    }
    return template;
}

static void create_pod(struct stateful *s, int64_t ordinal)
{
    struct arena *a = s->out->arena;
    struct str revision = needs_current(s, ordinal) ? s->current : s->history.name;
    struct str name = arena_printf(a, STR_FMT "-%" PRId64, STR_ARG(s->object->name), ordinal);
    struct value *pod = pod_from_template(a, template_of(s, revision), s->object, name, 0, 0);
    struct value *meta = value_getz(pod, "metadata"), *spec = value_getz(pod, "spec"),
                 *labels = value_ensure_map(a, meta, "labels");
    value_setz(a, meta, "name", value_string(a, name));
    value_setz(a, meta, "generateName", value_string(a, arena_printf(a, STR_FMT "-", STR_ARG(s->object->name))));
    value_setz(a, labels, REVISION_LABEL, value_string(a, revision));
    value_setz(a, labels, "statefulset.kubernetes.io/pod-name", value_string(a, name));
    value_setz(a, labels, "apps.kubernetes.io/pod-index", value_string(a, arena_printf(a, "%" PRId64, ordinal)));
    value_setz(a, spec, "hostname", value_string(a, name));
    if (s->set->spec->service_name.len)
        value_setz(a, spec, "subdomain", value_string(a, s->set->spec->service_name));
    use_claims(s, spec, ordinal);
    struct write *w = outcome_create(s->out, resource_find(STR(""), STR("pods")), s->object->namespace_, pod);
    w->on_success =
        (struct reconcile_event){s->object, "Normal", "SuccessfulCreate",
                                 arena_printf(a, "create Pod " STR_FMT " in StatefulSet " STR_FMT " successful",
                                              STR_ARG(name), STR_ARG(s->object->name))};
    w->on_failure = (struct reconcile_event){
        s->object, "Warning", "FailedCreate",
        arena_printf(a, "create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ", STR_ARG(name),
                     STR_ARG(s->object->name))};
}

static void delete_pod(struct stateful *s, const struct pod_state *p)
{
    if (p->object->deletion_s)
        return;
    struct write *w = outcome_delete(s->out, p->object);
    w->on_success = (struct reconcile_event){
        s->object, "Normal", "SuccessfulDelete",
        arena_printf(s->out->arena, "delete Pod " STR_FMT " in StatefulSet " STR_FMT " successful",
                     STR_ARG(p->object->name), STR_ARG(s->object->name))};
    w->on_failure = (struct reconcile_event){
        s->object, "Warning", "FailedDelete",
        arena_printf(s->out->arena, "delete Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ",
                     STR_ARG(p->object->name), STR_ARG(s->object->name))};
}

/* ---- one run ---- */

/* Answers false when the rest has to wait. */
static bool fill(struct stateful *s)
{
    bool all_healthy = true;
    for (int64_t i = s->start; i < s->start + s->replicas; i++) {
        struct pod_state *p = find_pod(s, i);
        if (p && p->finished && !p->object->deletion_s)
            delete_pod(s, p); /* the next run makes it anew */
        else if (!p)
            create_pod(s, i);
        if (is_healthy(p))
            continue;
        all_healthy = false;
        if (s->ordered)
            return false;
    }
    return all_healthy || !s->ordered;
}

/* The highest number goes first. Answers false when the rest has to wait. */
static bool condemn(struct stateful *s)
{
    struct pod_state *last = NULL;
    for (size_t i = 0; i < s->n_pods; i++) {
        int64_t ordinal = ordinal_of(s, s->pods[i].object->name);
        if (ordinal >= s->start && ordinal < s->start + s->replicas)
            continue;
        if (!s->ordered)
            delete_pod(s, &s->pods[i]);
        if (!last || ordinal > ordinal_of(s, last->object->name))
            last = &s->pods[i];
    }
    if (last && s->ordered)
        delete_pod(s, last);
    return !last;
}

static void update(struct stateful *s)
{
    if (!s->rolling)
        return;
    for (int64_t i = s->start + s->replicas - 1; i >= s->start + s->partition; i--) {
        struct pod_state *p = find_pod(s, i);
        if (p && !str_eq(revision_of(p), s->history.name) && !p->object->deletion_s) {
            delete_pod(s, p);
            return;
        }
        if (!is_healthy(p))
            return; /* one at a time */
    }
}

static void write_status(struct stateful *s)
{
    struct arena *a = s->out->arena;
    const struct apps_v1_stateful_set_status *have = s->set->status;
    int64_t replicas = 0, ready = 0, available = 0, current = s->n_current, updated = 0;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct pod_state *p = &s->pods[i];
        replicas++;
        ready += p->ready && !p->finished;
        available += p->available && !p->finished;
        updated += !p->object->deletion_s && str_eq(revision_of(p), s->history.name);
    }
    struct str revision = s->current;
    if (s->rolling && updated == s->replicas && replicas == s->replicas && ready == s->replicas) {
        revision = s->history.name; /* the roll-out is over */
        current = updated;
    }
    if (have->observed_generation >= s->object->generation && have->replicas == replicas &&
        have->ready_replicas == ready && have->available_replicas == available && have->current_replicas == current &&
        have->updated_replicas == updated && str_eq(have->current_revision, revision) &&
        str_eq(have->update_revision, s->history.name))
        return;
    struct value *patch = value_map(a), *status = value_ensure_map(a, patch, "status");
    value_setz(a, status, "observedGeneration", value_int(a, s->object->generation));
    value_setz(a, status, "replicas", value_int(a, replicas));
    value_setz(a, status, "readyReplicas", ready ? value_int(a, ready) : value_null(a));
    value_setz(a, status, "availableReplicas", value_int(a, available));
    value_setz(a, status, "currentReplicas", current ? value_int(a, current) : value_null(a));
    value_setz(a, status, "updatedReplicas", updated ? value_int(a, updated) : value_null(a));
    value_setz(a, status, "currentRevision", value_string(a, revision));
    value_setz(a, status, "updateRevision", value_string(a, s->history.name));
    value_setz(a, status, "collisionCount", value_int(a, have->collision_count));
    outcome_modify(s->out, s->object, "status", patch);
}

static bool revision_in_use(void *arg, const struct object *revision)
{
    const struct stateful *s = arg;
    for (size_t i = 0; i < s->n_pods; i++) {
        if (str_eq(revision_of(&s->pods[i]), revision->name))
            return true;
    }
    return str_eq(revision->name, s->current);
}

static void read_spec(struct stateful *s)
{
    const struct apps_v1_stateful_set_spec *spec = s->set->spec;
    const struct apps_v1_stateful_set_update_strategy *strategy = spec->update_strategy;
    s->replicas = spec->has_replicas ? spec->replicas : 1;
    s->start = spec->ordinals ? spec->ordinals->start : 0;
    s->ordered = !str_eqz(spec->pod_management_policy, "Parallel");
    s->rolling = !strategy || !str_eqz(strategy->type, "OnDelete");
    s->partition = strategy && strategy->rolling_update ? strategy->rolling_update->partition : 0;
    s->current = s->set->status->current_revision.len ? s->set->status->current_revision : s->history.name;
    for (size_t i = 0; i < s->n_pods; i++) {
        const struct pod_state *p = &s->pods[i];
        s->n_current += !p->object->deletion_s && str_eq(revision_of(p), s->current);
        if (p->ready && !p->available)
            outcome_requeue_at(s->out, (p->ready_since_s + spec->min_ready_seconds) * 1000 + 1);
    }
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)facts;
    struct arena *a = out->arena;
    const struct object *o = view_find(v, WATCH_SETS, key.namespace_, key.name);
    struct label_selector selector;
    struct err err = ERR_INIT;
    if (!o || o->deletion_s)
        return;
    struct stateful s = {.v = v, .object = o, .set = view_object(a, o), .out = out};
    if (label_selector_from_view(a, s.set->spec->selector, &selector, &err) < 0)
        return;
    history_sync(v, WATCH_REVISIONS, o, HASH_LABEL, out, &s.history);
    s.n_pods = pods_claim(v, WATCH_PODS, o, &selector, s.set->spec->min_ready_seconds, now_ms, out, &s.pods);
    size_t kept = 0;
    for (size_t i = 0; i < s.n_pods; i++) { /* pods of other names are somebody else's doing */
        if (ordinal_of(&s, s.pods[i].object->name) >= 0)
            s.pods[kept++] = s.pods[i];
    }
    s.n_pods = kept;
    read_spec(&s);
    if (fill(&s) && condemn(&s))
        update(&s);
    history_clean_up(&s.history, s.set->spec->has_revision_history_limit ? s.set->spec->revision_history_limit : 10,
                     revision_in_use, &s, out);
    write_status(&s);
}

const struct controller statefulset_controller = {
    .name = "statefulset",
    .user = "system:serviceaccount:kube-system:statefulset-controller",
    .component = "statefulset-controller",
    .watches = {{"apps", "statefulsets", NULL},
                {"", "pods", keys_of_pod},
                {"", "persistentvolumeclaims", no_keys},
                {"apps", "controllerrevisions", keys_of_pod}},
    .concurrency = 8,
    .reconcile = reconcile,
};
