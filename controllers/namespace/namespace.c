/* Namespace: empties one that is being deleted, then lets it go by taking its finalizer away.
 *
 * Everything of every resource is watched, so what is left is known without asking; the watches of one loop are in
 * step, so nothing that was written before the namespace began to end is missed. */
#include "controllers/controllers.h"
#include "controllers/namespace/conditions.h"

#define FINALIZER "kubernetes"

/* As upstream: `kubectl delete -f` that begins with a namespace still finds what else it wants to delete. */
#define DELAY_MS 5000

enum { WATCH_NAMESPACES };

static void keys_of_content(const struct view *v, const struct object *old, const struct object *now,
                            void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object *o = now ? now : old, *namespace_;
    if (!o->namespace_.len || (old && now))
        return;
    namespace_ = view_find(v, WATCH_NAMESPACES, STR(""), o->namespace_);
    if (namespace_ && namespace_->deletion_s)
        add(arg, STR(""), o->namespace_);
}

/* Things of resource number `which` that are still there; what nobody deletes yet is deleted in one call. */
static void delete_content(const struct view *v, int which, struct str namespace_, struct remains *remains,
                           struct outcome *out)
{
    const struct object **items;
    const struct resource *r = view_resource(v, which);
    bool undeleted = false;
    size_t n = r->namespaced ? view_list(v, out->arena, which, namespace_, &items) : 0;
    for (size_t i = 0; i < n; i++) {
        remains_add(out->arena, remains, items[i]);
        undeleted = undeleted || !items[i]->deletion_s;
    }
    if (!undeleted)
        return;
    if (resource_storage_version(r)->verbs & VERB_DELETE_COLLECTION) {
        struct write w = {.call = {.verb = VERB_DELETE_COLLECTION,
                                   .resource = r,
                                   .namespace_ = namespace_,
                                   .grace_period_s = -1,
                                   .propagation_policy = STR("Background")}};
        ARENA_PUSH(out->arena, out->writes, out->n_writes, out->cap_writes, w);
        return;
    }
    for (size_t i = 0; i < n; i++) { /* Services know no deletecollection in older versions */
        if (!items[i]->deletion_s)
            outcome_delete(out, items[i])->call.propagation_policy = STR("Background");
    }
}

static void finalize(const struct object *o, struct outcome *out)
{
    struct value *body = object_value(out->arena, o), *list = value_path(body, "spec.finalizers");
    bool found = false;
    for (size_t i = value_len(list); i-- > 0;) {
        if (str_eqz(value_str(value_at(list, i)), FINALIZER)) {
            value_remove_at(list, i);
            found = true;
        }
    }
    if (found)
        outcome_update(out, o, "finalize", body)->accept = 1u << -ERR_NOT_FOUND;
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)facts;
    struct arena *a = out->arena;
    const struct object *o = view_find(v, WATCH_NAMESPACES, STR(""), key.name);
    struct remains remains = {0};
    if (!o || !o->deletion_s)
        return;
    if (now_ms < o->deletion_s * 1000 + DELAY_MS) {
        outcome_requeue_at(out, o->deletion_s * 1000 + DELAY_MS);
        return;
    }
    for (int i = 0; i < view_len(v); i++)
        delete_content(v, i, o->name, &remains, out);
    if (!remains.n_resources) {
        finalize(o, out);
        return;
    }
    if (out->n_writes)
        return; /* the next run sees what that left */
    struct value *body = object_value(a, o), *have = value_path(body, "status.conditions");
    struct value *conditions = namespace_conditions(a, have, &remains, now_ms);
    if (conditions == have)
        return;
    value_set_path(a, body, "status.conditions", conditions);
    outcome_update(out, o, "status", body)->accept = 1u << -ERR_NOT_FOUND;
}

const struct controller namespace_controller = {
    .name = "namespace",
    .user = "system:serviceaccount:kube-system:namespace-controller",
    .component = "namespace-controller",
    .watches = {{"", "namespaces", NULL}},
    .keys_of_any = keys_of_content,
    .concurrency = 10,
    .reconcile = reconcile,
};
