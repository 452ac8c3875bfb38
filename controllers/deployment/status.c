#include "controllers/deployment/status.h"

#include "controllers/deployment/revisions.h"
#include "openapi/meta/time.h"

#define DEFAULT_DEADLINE_S 600

struct counts {
    int64_t replicas, updated, ready, available, unavailable;
};

void status_note_created(struct rollout *r, struct str name)
{
    r->created = name;
}

static struct counts count(const struct rollout *r)
{
    struct counts c = {0};
    for (size_t i = 0; i < r->n_old + 1; i++) {
        const struct set *s = i < r->n_old ? &r->old[i] : r->current;
        if (!s)
            continue;
        c.replicas += s->actual;
        c.ready += s->ready;
        c.available += s->available;
    }
    c.updated = r->current ? r->current->actual : 0;
    c.unavailable = c.replicas > c.available ? c.replicas - c.available : 0;
    int64_t wanted = 0; /* upstream counts against what the sets are told to have */
    for (size_t i = 0; i < r->n_old; i++)
        wanted += r->old[i].was;
    wanted += r->current ? r->current->was : 0;
    c.unavailable = wanted > c.available ? wanted - c.available : 0;
    return c;
}

static bool complete(const struct rollout *r, const struct counts *c)
{
    return c->updated == r->replicas && c->replicas == r->replicas && c->available == r->replicas;
}

bool status_is_complete(const struct rollout *r)
{
    struct counts c = count(r);
    return r->current && complete(r, &c) && r->deployment->status->observed_generation >= r->object->generation;
}

/* ---- conditions ---- */

struct condition {
    const char *type, *status, *reason;
    struct str message;
};

static const struct apps_v1_deployment_condition *find_condition(const struct rollout *r, const char *type)
{
    for (size_t i = 0; i < r->deployment->status->conditions.len; i++) {
        if (str_eqz(r->deployment->status->conditions.items[i].type, type))
            return &r->deployment->status->conditions.items[i];
    }
    return NULL;
}

static struct value *render(struct arena *a, const struct condition *c, const struct apps_v1_deployment_condition *before,
                            bool progressed, int64_t now_ms)
{
    int64_t now_us = now_ms * 1000, transition = now_us, update = now_us;
    if (before && str_eqz(before->status, c->status))
        transition = before->last_transition_time;
    if (before && str_eqz(before->status, c->status) && str_eqz(before->reason, c->reason) && !progressed)
        update = before->last_update_time;
    struct value *v = value_map(a);
    value_setz(a, v, "type", value_stringz(a, c->type));
    value_setz(a, v, "status", value_stringz(a, c->status));
    value_setz(a, v, "lastUpdateTime", value_string(a, time_format(a, update)));
    value_setz(a, v, "lastTransitionTime", value_string(a, time_format(a, transition)));
    value_setz(a, v, "reason", value_stringz(a, c->reason));
    value_setz(a, v, "message", value_string(a, c->message));
    return v;
}

static struct condition available_condition(const struct rollout *r, const struct counts *c)
{
    if (c->available >= r->replicas - rollout_max_unavailable(r))
        return (struct condition){"Available", "True", "MinimumReplicasAvailable",
                                  STR("Deployment has minimum availability.")};
    return (struct condition){"Available", "False", "MinimumReplicasUnavailable",
                              STR("Deployment does not have minimum availability.")};
}

static bool has_progressed(const struct rollout *r, const struct counts *c)
{
    const struct apps_v1_deployment_status *s = r->deployment->status;
    int64_t old_now = c->replicas - c->updated, old_before = s->replicas - s->updated_replicas;
    return c->updated > s->updated_replicas || old_now < old_before || c->ready > s->ready_replicas ||
           c->available > s->available_replicas;
}

static int64_t deadline_s(const struct rollout *r)
{
    return r->deployment->spec->has_progress_deadline_seconds ? r->deployment->spec->progress_deadline_seconds
                                                              : DEFAULT_DEADLINE_S;
}

/* Answers false when there is nothing to say (no deadline and nothing known). */
static bool progressing_condition(const struct rollout *r, const struct counts *c, int64_t now_ms, struct arena *a,
                                  struct outcome *out, struct condition *ret, bool *ret_progressed)
{
    const struct apps_v1_deployment_condition *before = find_condition(r, "Progressing");
    struct str name = r->current ? r->current->object->name : r->created;
    const char *kind = r->current ? "ReplicaSet" : "Deployment";
    *ret_progressed = false;
    if (r->deployment->spec->paused) {
        *ret = (struct condition){"Progressing", "Unknown", "DeploymentPaused", STR("Deployment is paused")};
        return true;
    }
    if (r->created.p) {
        *ret = (struct condition){"Progressing", "True", "NewReplicaSetCreated",
                                  arena_printf(a, "Created new replica set \"" STR_FMT "\"", STR_ARG(name))};
        *ret_progressed = true;
        return true;
    }
    if (!name.p)
        name = r->object->name;
    if (r->current && complete(r, c)) {
        *ret = (struct condition){"Progressing", "True", "NewReplicaSetAvailable",
                                  arena_printf(a, "%s \"" STR_FMT "\" has successfully progressed.", kind, STR_ARG(name))};
        return true;
    }
    bool was_complete = before && str_eqz(before->reason, "NewReplicaSetAvailable");
    if (has_progressed(r, c) || !before || was_complete || str_eqz(before->reason, "DeploymentPaused")) {
        *ret = (struct condition){"Progressing", "True", before ? "ReplicaSetUpdated" : "FoundNewReplicaSet",
                                  before ? arena_printf(a, "%s \"" STR_FMT "\" is progressing.", kind, STR_ARG(name))
                                         : arena_printf(a, "Found new replica set \"" STR_FMT "\"", STR_ARG(name))};
        *ret_progressed = true;
        return true;
    }
    int64_t due_ms = before->last_update_time / 1000 + deadline_s(r) * 1000;
    bool timed_out = str_eqz(before->reason, "ProgressDeadlineExceeded") || now_ms >= due_ms;
    if (timed_out) {
        *ret = (struct condition){"Progressing", "False", "ProgressDeadlineExceeded",
                                  arena_printf(a, "%s \"" STR_FMT "\" has timed out progressing.", kind, STR_ARG(name))};
        return true;
    }
    outcome_requeue_at(out, due_ms + 1);
    *ret = (struct condition){"Progressing", "True", arena_str(a, before->reason).p, before->message};
    return true;
}

/* ---- writing ---- */

static bool same_conditions(const struct rollout *r, const struct condition *c)
{
    const struct apps_v1_deployment_condition *before = find_condition(r, c->type);
    return before && str_eqz(before->status, c->status) && str_eqz(before->reason, c->reason) &&
           str_eq(before->message, c->message);
}

static void write_revision(const struct rollout *r, struct outcome *out)
{
    int64_t newest = revisions_max_old(r) + 1, revision = r->current && r->current->revision > newest ? r->current->revision : newest;
    struct str text = arena_printf(out->arena, "%lld", (long long)revision);
    if ((!r->current && !r->created.p) || r->object->deletion_s ||
        str_eq(annotation_of(r->deployment->metadata, REVISION_ANNOTATION), text))
        return;
    struct value *patch = value_map(out->arena), *map = value_map(out->arena);
    value_setz(out->arena, map, REVISION_ANNOTATION, value_string(out->arena, text));
    value_set_path(out->arena, patch, "metadata.annotations", map);
    outcome_patch(out, r->object, NULL, patch);
}

static struct value *count_value(struct arena *a, int64_t n)
{
    return n ? value_int(a, n) : value_null(a); /* zero is absent on the wire */
}

void status_write(const struct rollout *r, int64_t now_ms, struct outcome *out)
{
    struct arena *a = out->arena;
    const struct apps_v1_deployment_status *s = r->deployment->status;
    struct counts c = count(r);
    struct condition available = available_condition(r, &c), progressing;
    bool progressed = false;
    bool has_progressing = progressing_condition(r, &c, now_ms, a, out, &progressing, &progressed);
    write_revision(r, out);
    if (s->observed_generation >= r->object->generation && s->replicas == c.replicas && s->updated_replicas == c.updated &&
        s->ready_replicas == c.ready && s->available_replicas == c.available && s->unavailable_replicas == c.unavailable &&
        same_conditions(r, &available) && has_progressing && same_conditions(r, &progressing))
        return;
    struct value *patch = value_map(a), *status = value_ensure_map(a, patch, "status"), *conditions = value_list(a);
    value_setz(a, status, "observedGeneration", value_int(a, r->object->generation));
    value_setz(a, status, "replicas", count_value(a, c.replicas));
    value_setz(a, status, "updatedReplicas", count_value(a, c.updated));
    value_setz(a, status, "readyReplicas", count_value(a, c.ready));
    value_setz(a, status, "availableReplicas", count_value(a, c.available));
    value_setz(a, status, "unavailableReplicas", count_value(a, c.unavailable));
    value_append(a, conditions, render(a, &available, find_condition(r, "Available"), false, now_ms));
    if (has_progressing)
        value_append(a, conditions, render(a, &progressing, find_condition(r, "Progressing"), progressed, now_ms));
    value_setz(a, status, "conditions", conditions);
    outcome_modify(out, r->object, "status", patch);
}
