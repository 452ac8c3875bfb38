/* eviction: a deletion that the pod's disruption budget may forbid. The budget's share is taken in the transaction of
 * the deletion, so that two evictions cannot use the same one. */
#include "api/verbs/subresource.h"

#include "base/clock.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"

#define PROCESSING_RETRY_S 10

static bool ready(const struct value *pod)
{
    const struct value *conditions = value_path(pod, "status.conditions");
    for (size_t i = 0; i < value_len(conditions); i++)
        if (str_eqz(value_path_str(value_at(conditions, i), "type"), "Ready"))
            return str_eqz(value_path_str(value_at(conditions, i), "status"), "True");
    return false;
}

static bool no_budget_counts(const struct write *w)
{
    struct str phase = value_path_str(w->old_value, "status.phase");
    return str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed") || str_eqz(phase, "Pending") || w->old->deletion_s;
}

static void put_tree(void *t)
{
    object_tree_put(t);
}

static size_t find_budgets(struct write *w, const struct object **ret, struct value **ret_value)
{
    struct api_request *req = w->req;
    struct object_tree *t =
        cache_snapshot(req->server->cache, resource_find(STR("policy"), STR("poddisruptionbudgets")));
    struct object_tree_iter it;
    const struct object *o;
    size_t n = 0;
    arena_defer(req->arena, put_tree, t);
    object_tree_iter_init(&it, t, req->namespace_);
    while ((o = object_tree_next(&it))) {
        struct value *v = object_value(req->arena, o);
        struct label_selector s = {0};
        struct err ignored = ERR_INIT;
        if (label_selector_from_value(req->arena, value_path(v, "spec.selector"), &s, &ignored) < 0 ||
            !label_selector_matches(&s, w->old))
            continue;
        *ret = o;
        *ret_value = v;
        n++;
    }
    return n;
}

static int refuse(struct api_request *req, struct err *err, struct str why, int retry_s)
{
    struct api_details *d = ARENA_NEW(req->arena, struct api_details);
    struct api_cause *cause = ARENA_NEW(req->arena, struct api_cause);
    *cause = (struct api_cause){.reason = STR("DisruptionBudget"), .message = why};
    d->causes = cause;
    d->n_causes = 1;
    req->details = d;
    err_set(err, ERR_TOO_MANY, "Cannot evict pod as it would violate the pod's disruption budget.");
    err->retry_after_s = retry_s;
    return err->code;
}

static int take_share(struct write *w, const struct object *o, struct value *v, struct err *err)
{
    struct api_request *req = w->req;
    struct arena *a = req->arena;
    int64_t healthy = value_path_int(v, "status.currentHealthy", 0),
            desired = value_path_int(v, "status.desiredHealthy", 0);
    if (value_path_int(v, "status.observedGeneration", 0) < value_path_int(v, "metadata.generation", 0))
        return refuse(req, err,
                      arena_printf(a, "The disruption budget " STR_FMT " is still being processed by the server.",
                                   STR_ARG(o->name)),
                      PROCESSING_RETRY_S);
    int64_t allowed = value_path_int(v, "status.disruptionsAllowed", 0);
    if (allowed < 0)
        return err_set(err, ERR_FORBIDDEN,
                       "poddisruptionbudgets.policy \"" STR_FMT "\" is forbidden: pdb disruptions allowed is negative",
                       STR_ARG(o->name));
    if (allowed == 0)
        return refuse(req, err,
                      arena_printf(a,
                                   "The disruption budget " STR_FMT " needs %lld healthy pods and has %lld currently",
                                   STR_ARG(o->name), (long long)desired, (long long)healthy),
                      0);
    value_set_path(a, v, "status.disruptionsAllowed", value_int(a, allowed - 1));
    value_set(a, value_ensure_map(a, v, "status.disruptedPods"), w->old->name,
              value_string(a, time_format(a, clock_wall_us())));
    return write_also_update(w, o->resource, o, v, err);
}

static int check_budget(struct write *w, struct err *err)
{
    const struct object *o = NULL;
    struct value *v = NULL;
    if (no_budget_counts(w))
        return 0;
    size_t n = find_budgets(w, &o, &v);
    if (n == 0)
        return 0;
    if (n > 1)
        return err_set(
            err, ERR_INTERNAL,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    if (!ready(w->old_value)) {
        if (str_eqz(value_path_str(v, "spec.unhealthyPodEvictionPolicy"), "AlwaysAllow"))
            return 0;
        int64_t desired = value_path_int(v, "status.desiredHealthy", 0);
        if (value_path_int(v, "status.currentHealthy", 0) >= desired && desired > 0)
            return 0;
    }
    return take_share(w, o, v, err);
}

static int compute(struct write *w, struct err *err)
{
    int rc = write_load(w, err);
    if (rc < 0 || (rc = check_budget(w, err)) < 0)
        return rc;
    return delete_compute(w, w->arg, err);
}

static void answer(struct write *w, const struct object *o)
{
    (void)o;
    sub_answer_created(w->req);
}

void sub_eviction(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct value *v;
    int rc = body_subresource(req, &v, &err);
    struct str name = rc == 0 ? value_path_str(v, "metadata.name") : STR_NULL;
    if (rc == 0 && name.len && !str_eq(name, req->name))
        rc = err_set(&err, ERR_BAD_REQUEST, "name in URL does not match name in Eviction object");
    struct delete_options *opt = ARENA_NEW(req->arena, struct delete_options);
    if (rc == 0) {
        const struct value *options = value_getz(v, "deleteOptions");
        req->body_value = options ? options : value_map(req->arena);
        rc = delete_options_parse(req, opt, &err);
    }
    if (rc < 0) {
        api_answer_err(req, &err);
        return;
    }
    struct write *w = write_create(req, compute);
    w->arg = opt;
    w->retry = true;
    w->answer = answer;
    write_run(w);
}
