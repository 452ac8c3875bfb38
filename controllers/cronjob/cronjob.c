/* CronJob: a Job at each time of a schedule (in UTC). */
#include "controllers/controllers.h"
#include "controllers/cronjob/schedule.h"
#include "controllers/pods/pod_control.h"
#include "openapi/meta/time.h"

#include <inttypes.h>
#include <stdlib.h>

#define MISSED_MAX 100

enum { WATCH_CRONJOBS, WATCH_JOBS };

static void keys_of_job(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    keys_of_controller("CronJob", old, now, add, arg);
}

struct past_job {
    const struct object *object;
    const struct batch_v1_job *view;
    const char *ended; /* "Complete", "Failed", NULL = runs */
};

struct cron {
    const struct object *object;
    const struct batch_v1_cron_job *view;
    struct past_job *jobs; /* oldest first */
    size_t n_jobs;
    struct value *status;
    struct outcome *out;
};

static const char *ended(const struct batch_v1_job *job)
{
    for (size_t i = 0; i < job->status->conditions.len; i++) {
        const struct batch_v1_job_condition *c = &job->status->conditions.items[i];
        if (str_eqz(c->status, "True") && (str_eqz(c->type, "Complete") || str_eqz(c->type, "Failed")))
            return str_eqz(c->type, "Complete") ? "Complete" : "Failed";
    }
    return NULL;
}

static int by_age(const void *x, const void *y)
{
    const struct past_job *a = x, *b = y;
    int64_t s = a->view->status->start_time, t = b->view->status->start_time;
    return s != t ? (s < t ? -1 : 1) : str_cmp(a->object->name, b->object->name);
}

static void collect(const struct view *v, struct cron *c)
{
    const struct object **owned;
    size_t n = view_owned(v, c->out->arena, WATCH_JOBS, c->object->uid, &owned);
    c->jobs = ARENA_ARRAY(c->out->arena, struct past_job, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct batch_v1_job *job = view_object(c->out->arena, owned[i]);
        c->jobs[c->n_jobs++] = (struct past_job){owned[i], job, ended(job)};
    }
    qsort(c->jobs, c->n_jobs, sizeof *c->jobs, by_age);
}

/* status.active as it should be, and a word about each that has ended since. */
static void note_ends(struct cron *c)
{
    struct arena *a = c->out->arena;
    struct value *before = value_getz(c->status, "active"), *active = value_list(a);
    int64_t last_us = c->view->status->last_successful_time;
    for (size_t i = 0; i < c->n_jobs; i++) {
        const struct past_job *job = &c->jobs[i];
        bool was_active = false;
        for (size_t k = 0; k < value_len(before); k++)
            was_active = was_active || str_eq(value_path_str(value_at(before, k), "uid"), job->object->uid);
        if (job->ended && was_active)
            outcome_event(c->out, c->object, "Normal", "SawCompletedJob",
                          "Saw completed job: " STR_FMT ", condition: %s", STR_ARG(job->object->name), job->ended);
        if (job->ended && strcmp(job->ended, "Complete") == 0 && job->view->status->completion_time > last_us)
            last_us = job->view->status->completion_time;
        if (job->ended)
            continue;
        struct value *ref = value_map(a);
        value_setz(a, ref, "kind", value_stringz(a, "Job"));
        value_setz(a, ref, "namespace", value_string(a, job->object->namespace_));
        value_setz(a, ref, "name", value_string(a, job->object->name));
        value_setz(a, ref, "uid", value_string(a, job->object->uid));
        value_setz(a, ref, "apiVersion", value_stringz(a, "batch/v1"));
        value_setz(a, ref, "resourceVersion",
                   value_string(a, arena_printf(a, "%" PRId64, job->object->create_revision)));
        value_append(a, active, ref);
    }
    value_setz(a, c->status, "active", active);
    if (last_us > c->view->status->last_successful_time)
        value_setz(a, c->status, "lastSuccessfulTime", value_string(a, time_format(a, last_us)));
}

static void delete_job(struct cron *c, const struct object *job)
{
    struct write *w = outcome_delete(c->out, job);
    w->call.propagation_policy = STR("Background");
    w->on_success = (struct reconcile_event){c->object, "Normal", "SuccessfulDelete",
                                             arena_printf(c->out->arena, "Deleted job " STR_FMT, STR_ARG(job->name))};
}

static void clean_up(struct cron *c, const char *how, int64_t keep)
{
    int64_t n = 0;
    for (size_t i = 0; i < c->n_jobs; i++)
        n += c->jobs[i].ended && strcmp(c->jobs[i].ended, how) == 0;
    for (size_t i = 0; i < c->n_jobs && n > keep; i++) {
        if (!c->jobs[i].ended || strcmp(c->jobs[i].ended, how) != 0)
            continue;
        if (!c->jobs[i].object->deletion_s)
            delete_job(c, c->jobs[i].object);
        n--;
    }
}

/* The newest time that has come since the last Job; 0 = none. */
static int64_t due_s(struct cron *c, const struct schedule *schedule, int64_t now_s)
{
    int64_t from_s = c->view->status->last_schedule_time / 1000000, due = 0, missed = 0;
    if (!from_s)
        from_s = c->object->creation_s;
    if (c->view->spec->has_starting_deadline_seconds && from_s < now_s - c->view->spec->starting_deadline_seconds)
        from_s = now_s - c->view->spec->starting_deadline_seconds;
    for (int64_t at = schedule_next(schedule, from_s); at && at <= now_s; at = schedule_next(schedule, at)) {
        due = at;
        if (++missed == MISSED_MAX + 1) {
            outcome_event(
                c->out, c->object, "Warning", "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
            from_s = now_s - 86400 > at ? now_s - 86400 : at; /* what is long past is not counted out */
            at = from_s;
        }
    }
    return due;
}

static void start_job(struct cron *c, int64_t at_s)
{
    struct arena *a = c->out->arena;
    struct value *source = object_value(a, c->object), *template = value_path(source, "spec.jobTemplate");
    struct value *body = value_map(a), *owners = value_list(a), *spec = value_getz(template, "spec");
    struct str name = arena_printf(a, STR_FMT "-%" PRId64, STR_ARG(c->object->name), at_s / 60);
    static const char *const kept[] = {"labels", "annotations"};
    value_setz(a, body, "apiVersion", value_stringz(a, "batch/v1"));
    value_setz(a, body, "kind", value_stringz(a, "Job"));
    value_set_path(a, body, "metadata.name", value_string(a, name));
    value_set_path(a, body, "metadata.namespace", value_string(a, c->object->namespace_));
    struct value *meta = value_getz(body, "metadata");
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct value *v = value_getz(value_getz(template, "metadata"), kept[i]);
        if (v)
            value_setz(a, meta, kept[i], v);
    }
    value_setz(a, value_ensure_map(a, meta, "annotations"), "batch.kubernetes.io/cronjob-scheduled-timestamp",
               value_string(a, time_format(a, at_s * 1000000)));
    value_append(a, owners, controller_reference(a, c->object));
    value_setz(a, meta, "ownerReferences", owners);
    value_setz(a, body, "spec", spec ? spec : value_map(a));
    struct write *w = outcome_create(c->out, resource_find(STR("batch"), STR("jobs")), c->object->namespace_, body);
    w->accept = 1u << -ERR_ALREADY_EXISTS;
    w->on_success = (struct reconcile_event){c->object, "Normal", "SuccessfulCreate",
                                             arena_printf(a, "Created job " STR_FMT, STR_ARG(name))};
    w->on_failure = (struct reconcile_event){c->object, "Warning", "FailedCreate", STR("Error creating job: ")};
    value_setz(a, c->status, "lastScheduleTime", value_string(a, time_format(a, at_s * 1000000)));
}

static void follow_schedule(struct cron *c, int64_t now_ms)
{
    struct schedule schedule;
    size_t n_active = value_len(value_getz(c->status, "active"));
    if (c->view->spec->suspend)
        return;
    if (!schedule_parse(c->view->spec->schedule, &schedule)) {
        outcome_event(c->out, c->object, "Warning", "UnparseableSchedule", "unparseable schedule: \"" STR_FMT "\"",
                      STR_ARG(c->view->spec->schedule));
        return;
    }
    int64_t due = due_s(c, &schedule, now_ms / 1000), next = schedule_next(&schedule, now_ms / 1000);
    if (next)
        outcome_requeue_at(c->out, next * 1000 + 100);
    if (!due)
        return;
    if (n_active && str_eqz(c->view->spec->concurrency_policy, "Forbid")) {
        outcome_event(c->out, c->object, "Normal", "JobAlreadyActive",
                      "Not starting job because prior execution is running and concurrency policy is Forbid");
        return;
    }
    for (size_t i = 0; i < c->n_jobs && str_eqz(c->view->spec->concurrency_policy, "Replace"); i++) {
        if (!c->jobs[i].ended && !c->jobs[i].object->deletion_s)
            delete_job(c, c->jobs[i].object);
    }
    start_job(c, due);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)facts;
    const struct object *o = view_find(v, WATCH_CRONJOBS, key.namespace_, key.name);
    if (!o || o->deletion_s)
        return;
    struct cron c = {.object = o, .view = view_object(out->arena, o), .out = out};
    const struct batch_v1_cron_job_spec *spec = c.view->spec;
    struct value *body = object_value(out->arena, o), *have = value_getz(body, "status");
    c.status = have ? value_copy(out->arena, have) : value_map(out->arena);
    collect(v, &c);
    note_ends(&c);
    clean_up(&c, "Complete", spec->has_successful_jobs_history_limit ? spec->successful_jobs_history_limit : 3);
    clean_up(&c, "Failed", spec->has_failed_jobs_history_limit ? spec->failed_jobs_history_limit : 1);
    follow_schedule(&c, now_ms);
    if (value_semantic_equal(have, c.status))
        return;
    value_setz(out->arena, body, "status", c.status);
    outcome_update(out, o, "status", body)->accept = 1u << -ERR_NOT_FOUND;
}

const struct controller cronjob_controller = {
    .name = "cronjob",
    .user = "system:serviceaccount:kube-system:cronjob-controller",
    .component = "cronjob-controller",
    .watches = {{"batch", "cronjobs", NULL}, {"batch", "jobs", keys_of_job}},
    .concurrency = 5,
    .reconcile = reconcile,
};
