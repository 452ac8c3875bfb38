#include "controllers/deployment/status.h"

#include "controllers/deployment/conditions.h"
#include "controllers/deployment/revisions.h"
#include "openapi/meta/time.h"

#include <inttypes.h>

#define NO_DEADLINE INT32_MAX

struct counts {
    int64_t replicas, updated, ready, available, unavailable, terminating;
};

static struct counts count(const struct rollout *r)
{
    struct counts c = {0};
    int64_t wanted = 0;
    for (size_t i = 0; i < r->n_old + 1; i++) {
        const struct set *s = i < r->n_old ? &r->old[i] : r->current;
        if (!s)
            continue;
        c.replicas += s->actual;
        c.ready += s->ready;
        c.available += s->available;
        c.terminating += s->rs->status->terminating_replicas;
        wanted += s->was;
    }
    c.updated = r->current ? r->current->actual : 0;
    c.unavailable = wanted > c.available ? wanted - c.available : 0; /* against what the sets are told to have */
    return c;
}

static bool complete(const struct rollout *r, const struct counts *c)
{
    return c->updated == r->replicas && c->replicas == r->replicas && c->available == r->replicas;
}

bool status_is_complete(const struct rollout *r)
{
    struct counts c = count(r);
    return r->current && complete(r, &c);
}

/* ---- conditions ---- */

static bool has_deadline(const struct rollout *r)
{
    return r->deployment->spec->has_progress_deadline_seconds &&
           r->deployment->spec->progress_deadline_seconds != NO_DEADLINE;
}

static void note_pause(struct arena *a, const struct rollout *r, struct value *list, int64_t now_ms)
{
    bool paused = condition_has_reason(list, "Progressing", "DeploymentPaused");
    if (!has_deadline(r) || condition_has_reason(list, "Progressing", "ProgressDeadlineExceeded"))
        return;
    if (r->deployment->spec->paused && !paused)
        condition_set(a, list,
                      &(struct condition){"Progressing", "Unknown", "DeploymentPaused", STR("Deployment is paused")},
                      now_ms);
    else if (!r->deployment->spec->paused && paused)
        condition_set(a, list,
                      &(struct condition){"Progressing", "Unknown", "DeploymentResumed", STR("Deployment is resumed")},
                      now_ms);
}

static void note_set(struct arena *a, const struct rollout *r, struct value *list, struct str failure, int64_t now_ms)
{
    struct condition c = {"Progressing", "True", NULL, STR_NULL};
    if (!has_deadline(r))
        return;
    if (r->created.p && failure.len)
        c = (struct condition){"Progressing", "False", "ReplicaSetCreateError",
                               arena_printf(a, "Failed to create new replica set \"" STR_FMT "\": " STR_FMT,
                                            STR_ARG(r->created), STR_ARG(failure))};
    else if (r->created.p)
        c = (struct condition){"Progressing", "True", "NewReplicaSetCreated",
                               arena_printf(a, "Created new replica set \"" STR_FMT "\"", STR_ARG(r->created))};
    else if (r->current && !condition_find(list, "Progressing"))
        c = (struct condition){
            "Progressing", "True", "FoundNewReplicaSet",
            arena_printf(a, "Found new replica set \"" STR_FMT "\"", STR_ARG(r->current->object->name))};
    if (c.reason)
        condition_set(a, list, &c, now_ms);
}

static void note_available(struct arena *a, const struct rollout *r, const struct counts *c, struct value *list,
                           int64_t now_ms)
{
    bool enough = c->available >= r->replicas - rollout_max_unavailable(r);
    struct condition yes = {"Available", "True", "MinimumReplicasAvailable",
                            STR("Deployment has minimum availability.")};
    struct condition no = {"Available", "False", "MinimumReplicasUnavailable",
                           STR("Deployment does not have minimum availability.")};
    condition_set(a, list, enough ? &yes : &no, now_ms);
}

static bool has_progressed(const struct rollout *r, const struct counts *c)
{
    const struct apps_v1_deployment_status *s = r->deployment->status;
    return c->updated > s->updated_replicas || c->replicas - c->updated < s->replicas - s->updated_replicas ||
           c->ready > s->ready_replicas || c->available > s->available_replicas;
}

static struct str progress_text(struct arena *a, const struct rollout *r, const char *what)
{
    return arena_printf(a, "%s \"" STR_FMT "\" %s.", r->current ? "ReplicaSet" : "Deployment",
                        STR_ARG(r->current ? r->current->object->name : r->object->name), what);
}

static void note_progress(struct arena *a, const struct rollout *r, const struct counts *c, struct value *list,
                          int64_t now_ms, struct outcome *out)
{
    if (!has_deadline(r)) {
        condition_remove(list, "Progressing");
        return;
    }
    const struct value *before = condition_find(list, "Progressing");
    bool was_complete = condition_has_reason(list, "Progressing", "NewReplicaSetAvailable");
    if (was_complete && c->replicas == c->updated)
        return; /* pods that come and go afterwards are no rollout */
    if (complete(r, c)) {
        struct condition done = {"Progressing", "True", "NewReplicaSetAvailable",
                                 progress_text(a, r, "has successfully progressed")};
        condition_set(a, list, &done, now_ms);
        return;
    }
    if (has_progressed(r, c)) {
        struct condition on = {"Progressing", "True", "ReplicaSetUpdated", progress_text(a, r, "is progressing"), true};
        condition_set(a, list, &on, now_ms);
        return;
    }
    if (!before || was_complete || condition_has_reason(list, "Progressing", "ProgressDeadlineExceeded"))
        return;
    int64_t due_ms = time_from(value_path_str(before, "lastUpdateTime")) / 1000 +
                     (int64_t)r->deployment->spec->progress_deadline_seconds * 1000;
    if (due_ms >= now_ms) {
        outcome_requeue_at(out, due_ms + 1000);
        return;
    }
    struct condition late = {"Progressing", "False", "ProgressDeadlineExceeded",
                             progress_text(a, r, "has timed out progressing")};
    condition_set(a, list, &late, now_ms);
}

static const struct apps_v1_replica_set_condition *failure_of(const struct set *s)
{
    for (size_t i = 0; s && i < s->rs->status->conditions.len; i++) {
        if (str_eqz(s->rs->status->conditions.items[i].type, "ReplicaFailure"))
            return &s->rs->status->conditions.items[i];
    }
    return NULL;
}

static void note_failures(struct arena *a, const struct rollout *r, struct value *list, int64_t now_ms)
{
    const struct apps_v1_replica_set_condition *f = failure_of(r->current);
    for (size_t i = 0; !f && i < r->n_old; i++)
        f = failure_of(&r->old[i]);
    if (!f) {
        condition_remove(list, "ReplicaFailure");
        return;
    }
    condition_set(
        a, list,
        &(struct condition){"ReplicaFailure", arena_str(a, f->status).p, arena_str(a, f->reason).p, f->message},
        now_ms);
}

/* ---- writing ---- */

static struct str revision_text(const struct rollout *r, struct arena *a)
{
    int64_t revision = revisions_max_old(r) + 1;
    if (!r->current && !r->created.p)
        return STR_NULL;
    if (r->current && r->current->revision > revision)
        revision = r->current->revision;
    return arena_printf(a, "%" PRId64, revision);
}

static struct value *count_value(struct arena *a, int64_t n)
{
    return n ? value_int(a, n) : value_null(a); /* zero is absent on the wire */
}

static bool same_counts(const struct rollout *r, const struct counts *c)
{
    const struct apps_v1_deployment_status *s = r->deployment->status;
    return s->observed_generation >= r->object->generation && s->replicas == c->replicas &&
           s->updated_replicas == c->updated && s->ready_replicas == c->ready &&
           s->available_replicas == c->available && s->unavailable_replicas == c->unavailable &&
           s->terminating_replicas == c->terminating && s->has_terminating_replicas && !r->collision;
}

static void fill_counts(struct arena *a, const struct rollout *r, const struct counts *c, struct value *status)
{
    value_setz(a, status, "observedGeneration", value_int(a, r->object->generation));
    value_setz(a, status, "replicas", count_value(a, c->replicas));
    value_setz(a, status, "updatedReplicas", count_value(a, c->updated));
    value_setz(a, status, "readyReplicas", count_value(a, c->ready));
    value_setz(a, status, "availableReplicas", count_value(a, c->available));
    value_setz(a, status, "unavailableReplicas", count_value(a, c->unavailable));
    value_setz(a, status, "terminatingReplicas", value_int(a, c->terminating));
    if (r->collision)
        value_setz(a, status, "collisionCount", value_int(a, r->deployment->status->collision_count + 1));
}

void status_write(const struct rollout *r, struct str failure, int64_t now_ms, struct outcome *out)
{
    struct arena *a = out->arena;
    struct counts c = count(r);
    struct value *have = value_path(object_value(a, r->object), "status.conditions");
    struct value *list = have ? value_copy(a, have) : value_list(a);
    if (!r->object->deletion_s) {
        note_pause(a, r, list, now_ms);
        note_set(a, r, list, failure, now_ms);
    }
    note_available(a, r, &c, list, now_ms);
    if (!r->object->deletion_s && !r->deployment->spec->paused && !r->scaling) {
        note_progress(a, r, &c, list, now_ms, out);
        note_failures(a, r, list, now_ms);
    }
    struct str revision = r->object->deletion_s ? STR_NULL : revision_text(r, a);
    bool revision_differs =
        revision.p && !str_eq(annotation_of(r->deployment->metadata, REVISION_ANNOTATION), revision);
    if (same_counts(r, &c) && !revision_differs && have && value_equal(have, list))
        return;
    struct value *patch = value_map(a), *status = value_ensure_map(a, patch, "status");
    fill_counts(a, r, &c, status);
    value_setz(a, status, "conditions", list);
    if (revision_differs)
        value_setz(a, value_ensure_map(a, value_ensure_map(a, patch, "metadata"), "annotations"), REVISION_ANNOTATION,
                   value_string(a, revision));
    outcome_modify(out, r->object, "status", patch);
}
