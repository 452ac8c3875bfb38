/* Deployment: keeps one ReplicaSet per template, moves pods from the old ones to the current one, and says how far it
 * is. */
#include "controllers/controllers.h"
#include "controllers/deployment/revisions.h"
#include "controllers/deployment/status.h"
#include "controllers/pods/pod_control.h"

#include <stdlib.h>

enum { WATCH_DEPLOYMENTS, WATCH_REPLICASETS, WATCH_PODS };

static void keys_of_set(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    keys_of_controller("Deployment", old, now, add, arg);
}

/* The last pod of a ReplicaSet that is gone: a Recreate rollout may go on. */
static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object_owner *owner = old && !now ? object_controller(old) : NULL;
    const struct object *set = owner && str_eqz(owner->kind, "ReplicaSet")
                                   ? view_find(v, WATCH_REPLICASETS, old->namespace_, owner->name)
                                   : NULL;
    if (set)
        keys_of_controller("Deployment", NULL, set, add, arg);
}

/* Its labels say that it is somebody else's now. */
static void release_set(const struct object *set, const struct object *o, struct outcome *out)
{
    struct value *patch = value_map(out->arena),
                 *owners = value_path(object_value(out->arena, set), "metadata.ownerReferences");
    for (size_t i = value_len(owners); i-- > 0;) {
        if (str_eq(value_path_str(value_at(owners, i), "uid"), o->uid))
            value_remove_at(owners, i);
    }
    value_set_path(out->arena, patch, "metadata.ownerReferences", owners);
    outcome_patch(out, set, NULL, patch);
}

static size_t collect_sets(const struct view *v, const struct object *o, const struct label_selector *selector,
                           struct outcome *out, struct set **ret)
{
    const struct object **owned;
    size_t n = view_owned(v, out->arena, WATCH_REPLICASETS, o->uid, &owned), len = 0;
    struct set *sets = ARENA_ARRAY(out->arena, struct set, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct object_owner *controller = object_controller(owned[i]);
        if (!controller || !str_eq(controller->uid, o->uid))
            continue;
        if (!label_selector_matches(selector, owned[i])) {
            if (!o->deletion_s)
                release_set(owned[i], o, out);
            continue;
        }
        struct set *s = &sets[len++];
        s->object = owned[i];
        s->rs = view_object(out->arena, owned[i]);
        s->was = s->replicas = s->rs->spec->has_replicas ? s->rs->spec->replicas : 1;
        s->actual = s->rs->status->replicas;
        s->ready = s->rs->status->ready_replicas;
        s->available = s->rs->status->available_replicas;
        struct str revision = annotation_of(s->rs->metadata, REVISION_ANNOTATION);
        if (!str_to_i64(revision, &s->revision))
            s->revision = 0;
    }
    *ret = sets;
    return len;
}

/* Orphaned ReplicaSets that match are adopted; they count from the next run on. Answers whether there were any. */
static bool adopt_sets(const struct view *v, const struct object *o, const struct label_selector *selector,
                       struct outcome *out)
{
    const struct object **orphans;
    bool found = false;
    size_t n = view_orphans(v, out->arena, WATCH_REPLICASETS, o->namespace_, &orphans);
    for (size_t i = 0; i < n; i++) {
        if (orphans[i]->deletion_s || !label_selector_matches(selector, orphans[i]))
            continue;
        struct value *patch = value_map(out->arena), *owners = value_list(out->arena);
        value_append(out->arena, owners, controller_reference(out->arena, o));
        value_set_path(out->arena, patch, "metadata.ownerReferences", owners);
        outcome_patch(out, orphans[i], NULL, patch);
        found = true;
    }
    return found;
}

/* Recreate waits until no old pod runs any more. */
static bool old_pods_run(const struct view *v, const struct rollout *r, struct outcome *out)
{
    for (size_t i = 0; i < r->n_old; i++) {
        const struct object **pods;
        if (r->old[i].actual > 0)
            return true;
        size_t n = view_owned(v, out->arena, WATCH_PODS, r->old[i].object->uid, &pods);
        for (size_t j = 0; j < n; j++) {
            const struct core_v1_pod *pod = view_object(out->arena, pods[j]);
            if (!str_eqz(pod->status->phase, "Succeeded") && !str_eqz(pod->status->phase, "Failed"))
                return true;
        }
    }
    return false;
}

static void create_current(const struct view *v, struct rollout *r, struct outcome *out)
{
    struct str name = revisions_name(r, out->arena);
    if (view_find(v, WATCH_REPLICASETS, r->object->namespace_, name)) {
        r->collision = true; /* another template has the same hash, or somebody else the same name */
        return;
    }
    revisions_create(r, name, out);
    r->created = name;
}

static void recreate(const struct view *v, struct rollout *r, struct outcome *out)
{
    if (rollout_recreate_scale_down(r) || old_pods_run(v, r, out))
        return;
    if (r->current)
        r->current->replicas = r->replicas;
    else
        create_current(v, r, out);
}

static void roll(const struct view *v, struct rollout *r, struct outcome *out)
{
    r->scaling = rollout_is_scaled(r);
    if (r->scaling || r->deployment->spec->paused) {
        rollout_scale(r);
        return;
    }
    if (r->deployment->spec->strategy && str_eqz(r->deployment->spec->strategy->type, "Recreate"))
        recreate(v, r, out);
    else if (r->current)
        rollout_rolling_update(r);
    else
        create_current(v, r, out);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    const struct object *o = view_find(v, WATCH_DEPLOYMENTS, key.namespace_, key.name);
    struct label_selector selector;
    struct err err = ERR_INIT;
    if (!o)
        return;
    struct rollout r = {.object = o, .deployment = view_object(out->arena, o)};
    r.replicas = r.deployment->spec->has_replicas ? r.deployment->spec->replicas : 1;
    if (label_selector_from_view(out->arena, r.deployment->spec->selector, &selector, &err) < 0)
        return;
    struct set *sets;
    if (!o->deletion_s && adopt_sets(v, o, &selector, out))
        return;
    size_t n = collect_sets(v, o, &selector, out, &sets);
    rollout_limits(&r);
    revisions_find(out->arena, &r, sets, n);
    if (!o->deletion_s) {
        roll(v, &r, out);
        if (r.current)
            revisions_update(&r, r.current, out);
        for (size_t i = 0; i < r.n_old; i++)
            revisions_update(&r, &r.old[i], out);
        if (r.deployment->spec->paused || (!r.scaling && status_is_complete(&r)))
            revisions_clean_up(&r, out);
    }
    status_write(&r, facts->failure, now_ms, out);
}

const struct controller deployment_controller = {
    .name = "deployment",
    .user = "system:serviceaccount:kube-system:deployment-controller",
    .component = "deployment-controller",
    .watches = {{"apps", "deployments", NULL}, {"apps", "replicasets", keys_of_set}, {"", "pods", keys_of_pod}},
    .concurrency = 16,
    .reconcile = reconcile,
};
