/* Job: runs pods until enough of them have succeeded. */
#include "controllers/job/job.h"

#include "controllers/controllers.h"
#include "openapi/meta/time.h"

#include <inttypes.h>

#define BACKOFF_FIRST_MS 10000
#define BACKOFF_MAX_MS 600000
#define BURST 500

enum { WATCH_JOBS, WATCH_PODS };

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    keys_of_controller("Job", old, now, add, arg);
}

/* ---- conditions ---- */

struct verdict { /* how it ended, or is about to */
    bool failed;
    const char *reason;
    struct str message;
};

static struct value *find_condition(const struct value *status, const char *type)
{
    const struct value *list = value_getz(status, "conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eqz(value_path_str(value_at(list, i), "type"), type))
            return value_at(list, i);
    }
    return NULL;
}

static bool is_true(const struct value *status, const char *type)
{
    return str_eqz(value_path_str(find_condition(status, type), "status"), "True");
}

/* Answers whether it changed. */
static bool set_condition(struct job *j, const char *type, const char *status, const char *reason, struct str message,
                          int64_t now_ms)
{
    struct arena *a = j->out->arena;
    struct value *c = find_condition(j->status, type);
    struct str now = time_format(a, now_ms * 1000);
    if (c && str_eqz(value_path_str(c, "status"), status) && str_eqz(value_path_str(c, "reason"), reason))
        return false;
    if (!c) {
        c = value_map(a);
        value_append(a, value_ensure_list(a, j->status, "conditions"), c);
    }
    value_setz(a, c, "type", value_stringz(a, type));
    value_setz(a, c, "status", value_stringz(a, status));
    value_setz(a, c, "lastProbeTime", value_string(a, now));
    value_setz(a, c, "lastTransitionTime", value_string(a, now));
    value_setz(a, c, "reason", value_stringz(a, reason));
    value_setz(a, c, "message", value_string(a, message));
    return true;
}

static int64_t restarts(const struct job *j)
{
    int64_t n = 0;
    for (size_t i = 0; i < j->n_pods; i++) {
        const struct core_v1_pod_status *s = j->pods[i].pod->status;
        for (size_t c = 0; j->pods[i].active && c < s->container_statuses.len; c++)
            n += s->container_statuses.items[c].restart_count;
        for (size_t c = 0; j->pods[i].active && c < s->init_container_statuses.len; c++)
            n += s->init_container_statuses.items[c].restart_count;
    }
    return n;
}

/* Answers false while nothing is decided. */
static bool decide(const struct job *j, int64_t now_ms, struct verdict *ret)
{
    const struct batch_v1_job_spec *spec = j->view->spec;
    const struct value *doomed = find_condition(j->status, "FailureTarget");
    int64_t limit = spec->has_backoff_limit ? spec->backoff_limit : 6, started_ms = j->view->status->start_time / 1000;
    bool restarted = spec->template_ && spec->template_->spec &&
                     str_eqz(spec->template_->spec->restart_policy, "OnFailure") &&
                     restarts(j) > (limit ? limit - 1 : 0);
    if (doomed && str_eqz(value_path_str(doomed, "status"), "True")) {
        *ret = (struct verdict){true, arena_str(j->out->arena, value_path_str(doomed, "reason")).p,
                                value_path_str(doomed, "message")};
    } else if (j->failed > limit || restarted) {
        *ret = (struct verdict){true, "BackoffLimitExceeded", STR("Job has reached the specified backoff limit")};
    } else if (spec->has_active_deadline_seconds && started_ms && !spec->suspend &&
               now_ms >= started_ms + spec->active_deadline_seconds * 1000) {
        *ret = (struct verdict){true, "DeadlineExceeded", STR("Job was active longer than specified deadline")};
    } else if (is_true(j->status, "SuccessCriteriaMet") ||
               (j->completions < 0 ? j->succeeded > 0 && !j->active : j->succeeded >= j->completions)) {
        *ret = (struct verdict){false, "CompletionsReached", STR("Reached expected number of succeeded pods")};
    } else {
        return false;
    }
    return true;
}

static void finish(struct job *j, const struct verdict *v, int64_t now_ms)
{
    struct arena *a = j->out->arena;
    set_condition(j, v->failed ? "FailureTarget" : "SuccessCriteriaMet", "True", v->reason, v->message, now_ms);
    if (j->uncounted || j->active || j->terminating)
        return; /* its pods first */
    set_condition(j, v->failed ? "Failed" : "Complete", "True", v->reason, v->message, now_ms);
    if (v->failed) {
        outcome_event(j->out, j->object, "Warning", v->reason, STR_FMT, STR_ARG(v->message));
        return;
    }
    value_setz(a, j->status, "completionTime", value_string(a, time_format(a, now_ms * 1000)));
    outcome_event(j->out, j->object, "Normal", "Completed", "Job completed");
}

/* ---- pods ---- */

static void delete_pods(struct job *j, int64_t n)
{
    struct pod_state *active = ARENA_ARRAY(j->out->arena, struct pod_state, j->n_pods + 1);
    size_t len = 0;
    for (size_t i = 0; i < j->n_pods; i++) {
        if (j->pods[i].active)
            active[len++] = j->pods[i];
    }
    pods_rank_for_deletion(j->out->arena, active, len);
    for (size_t i = 0; i < len && (int64_t)i < n && i < BURST; i++) {
        struct write *w = outcome_delete(j->out, active[i].object);
        w->on_success = (struct reconcile_event){
            j->object, "Normal", "SuccessfulDelete",
            arena_printf(j->out->arena, "Deleted pod: " STR_FMT, STR_ARG(active[i].object->name))};
        w->on_failure = (struct reconcile_event){j->object, "Warning", "FailedDelete", STR("Error deleting: ")};
    }
}

static void tell_index(struct arena *a, struct value *containers)
{
    for (size_t i = 0; i < value_len(containers); i++) {
        struct value *env = value_ensure_list(a, value_at(containers, i), "env"), *v = value_map(a);
        value_setz(a, v, "name", value_stringz(a, "JOB_COMPLETION_INDEX"));
        value_set_path(a, v, "valueFrom.fieldRef.fieldPath", value_stringz(a, "metadata.annotations['" JOB_INDEX "']"));
        value_append(a, env, v);
    }
}

static void create_pod(struct job *j, int64_t index, uint64_t random, size_t nth)
{
    struct arena *a = j->out->arena;
    struct value *template = value_path(object_value(a, j->object), "spec.template");
    struct str name = j->object->name;
    struct str prefix = j->indexed ? arena_printf(a, STR_FMT "-%" PRId64 "-", STR_ARG(name), index)
                                   : arena_printf(a, STR_FMT "-", STR_ARG(name));
    struct value *pod = pod_from_template(a, template, j->object, prefix, random, nth),
                 *meta = value_getz(pod, "metadata");
    value_append(a, value_ensure_list(a, meta, "finalizers"), value_stringz(a, JOB_FINALIZER));
    if (j->indexed) {
        struct str text = arena_printf(a, "%" PRId64, index);
        struct value *spec = value_getz(pod, "spec");
        value_setz(a, value_ensure_map(a, meta, "annotations"), JOB_INDEX, value_string(a, text));
        value_setz(a, value_ensure_map(a, meta, "labels"), JOB_INDEX, value_string(a, text));
        tell_index(a, value_getz(spec, "containers"));
        tell_index(a, value_getz(spec, "initContainers"));
        value_setz(a, spec, "hostname", value_string(a, str_sub(prefix, 0, prefix.len - 1)));
    }
    struct write *w = outcome_create(j->out, resource_find(STR(""), STR("pods")), j->object->namespace_, pod);
    w->on_success = (struct reconcile_event){j->object, "Normal", "SuccessfulCreate",
                                             arena_printf(a, "Created pod: " STR_FMT, STR_ARG(w->call.name))};
    w->on_failure = (struct reconcile_event){j->object, "Warning", "FailedCreate", STR("Error creating: ")};
}

static void create_pods(struct job *j, int64_t n, uint64_t random)
{
    bool *taken = ARENA_ARRAY(j->out->arena, bool, (size_t)(j->indexed ? j->completions : 0) + 1);
    int64_t index = 0;
    for (size_t i = 0; j->indexed && i < j->n_pods; i++) {
        int64_t at = job_pod_index(&j->pods[i]);
        if (at >= 0 && at < j->completions && j->pods[i].active)
            taken[at] = true;
    }
    for (int64_t i = 0; i < n && i < BURST; i++) {
        while (j->indexed && index < j->completions && (taken[index] || j->done[index]))
            index++;
        if (j->indexed && index >= j->completions)
            return;
        create_pod(j, index++, random, (size_t)i);
    }
}

static int64_t ended_ms(const struct pod_state *p)
{
    int64_t last = 0;
    for (size_t i = 0; i < p->pod->status->container_statuses.len; i++) {
        const struct core_v1_container_state *s = p->pod->status->container_statuses.items[i].state;
        if (s && s->terminated && s->terminated->finished_at / 1000 > last)
            last = s->terminated->finished_at / 1000;
    }
    return last ? last : p->object->creation_s * 1000;
}

/* After failures the next pod waits: 10 s, 20 s, … since the last of them. 0 = now. */
static int64_t next_pod_ms(const struct job *j)
{
    int64_t last_failure = 0, last_success = 0, failures = 0;
    for (size_t i = 0; i < j->n_pods; i++) {
        int64_t at = j->pods[i].finished ? ended_ms(&j->pods[i]) : 0;
        if (str_eqz(j->pods[i].pod->status->phase, "Succeeded") && at > last_success)
            last_success = at;
    }
    for (size_t i = 0; i < j->n_pods; i++) {
        int64_t at = j->pods[i].finished ? ended_ms(&j->pods[i]) : 0;
        if (!str_eqz(j->pods[i].pod->status->phase, "Failed") || at <= last_success)
            continue;
        failures++;
        last_failure = at > last_failure ? at : last_failure;
    }
    if (!failures)
        return 0;
    int64_t wait_ms = BACKOFF_FIRST_MS << (failures < 10 ? failures - 1 : 9);
    return last_failure + (wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS);
}

static void manage(struct job *j, int64_t now_ms, const struct facts *facts)
{
    const struct batch_v1_job_spec *spec = j->view->spec;
    int64_t parallelism = spec->has_parallelism ? spec->parallelism : 1, wanted = parallelism;
    if (j->completions >= 0 && j->completions - j->succeeded < wanted)
        wanted = j->completions - j->succeeded;
    else if (j->completions < 0 && j->succeeded > 0)
        wanted = j->active < wanted ? j->active : wanted;
    if (spec->suspend)
        wanted = 0;
    if (j->active > wanted) {
        delete_pods(j, j->active - wanted);
        return;
    }
    int64_t missing = wanted - j->active - (str_eqz(spec->pod_replacement_policy, "Failed") ? j->terminating : 0);
    int64_t next_ms = missing > 0 ? next_pod_ms(j) : 0;
    if (next_ms > now_ms)
        outcome_requeue_at(j->out, next_ms);
    else if (missing > 0)
        create_pods(j, facts->failure.len ? 1 : missing, facts->random);
}

static void note_suspension(struct job *j, int64_t now_ms)
{
    struct arena *a = j->out->arena;
    bool was = is_true(j->status, "Suspended");
    if (j->view->spec->suspend) {
        if (set_condition(j, "Suspended", "True", "JobSuspended", STR("Job suspended"), now_ms))
            outcome_event(j->out, j->object, "Normal", "Suspended", "Job suspended");
        value_removez(j->status, "startTime");
        return;
    }
    if (was) {
        set_condition(j, "Suspended", "False", "JobResumed", STR("Job resumed"), now_ms);
        outcome_event(j->out, j->object, "Normal", "Resumed", "Job resumed");
    }
    if (!value_getz(j->status, "startTime"))
        value_setz(a, j->status, "startTime", value_string(a, time_format(a, now_ms * 1000)));
    if (j->view->spec->has_active_deadline_seconds && j->view->status->start_time)
        outcome_requeue_at(j->out, j->view->status->start_time / 1000 + j->view->spec->active_deadline_seconds * 1000);
}

/* ---- one run ---- */

/* The Job is gone: nobody counts its pods any more. */
static void release_pods(const struct view *v, struct key key, struct outcome *out)
{
    const struct object **pods;
    size_t n = view_list(v, out->arena, WATCH_PODS, key.namespace_, &pods);
    for (size_t i = 0; i < n; i++) {
        const struct object_owner *c = object_controller(pods[i]);
        if (c && pods[i]->has_finalizers && str_eqz(c->kind, "Job") && str_eq(c->name, key.name))
            job_release_pod(pods[i], out);
    }
}

static void release_all(struct job *j)
{
    for (size_t i = 0; i < j->n_pods; i++)
        job_release_pod(j->pods[i].object, j->out);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    struct arena *a = out->arena;
    const struct object *o = view_find(v, WATCH_JOBS, key.namespace_, key.name);
    struct label_selector selector;
    struct verdict verdict;
    struct err err = ERR_INIT;
    if (!o) {
        release_pods(v, key, out);
        return;
    }
    struct job j = {.object = o, .view = view_object(a, o), .out = out};
    const struct batch_v1_job_spec *spec = j.view->spec;
    if ((spec->managed_by.len && !str_eqz(spec->managed_by, "kubernetes.io/job-controller")) ||
        label_selector_from_view(a, spec->selector, &selector, &err) < 0)
        return;
    j.n_pods = pods_claim(v, WATCH_PODS, o, &selector, 0, now_ms, out, &j.pods);
    struct value *have = value_getz(object_value(a, o), "status");
    j.status = have ? value_copy(a, have) : value_map(a);
    if (o->deletion_s || is_true(j.status, "Complete") || is_true(j.status, "Failed")) {
        release_all(&j);
        return;
    }
    j.indexed = str_eqz(spec->completion_mode, "Indexed");
    j.completions = spec->has_completions ? spec->completions : -1;
    bool over = is_true(j.status, "FailureTarget") || is_true(j.status, "SuccessCriteriaMet") || spec->suspend;
    job_count(&j, over);
    if (decide(&j, now_ms, &verdict)) {
        finish(&j, &verdict, now_ms);
        delete_pods(&j, j.active);
    } else {
        note_suspension(&j, now_ms);
        manage(&j, now_ms, facts);
    }
    if (value_semantic_equal(have, j.status))
        return;
    struct value *body = object_value(a, o);
    value_setz(a, body, "status", j.status);
    outcome_update(out, o, "status", body)->accept = 1u << -ERR_NOT_FOUND;
}

const struct controller job_controller = {
    .name = "job",
    .user = "system:serviceaccount:kube-system:job-controller",
    .component = "job-controller",
    .watches = {{"batch", "jobs", NULL}, {"", "pods", keys_of_pod}},
    .concurrency = 8,
    .reconcile = reconcile,
};
