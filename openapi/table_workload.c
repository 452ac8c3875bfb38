/* Rows of the kinds that make pods, and of autoscalers. */
#include "openapi/meta/time.h"
#include "openapi/table_printers.h"

static void print_deployment(struct row *r)
{
    cell_name(r);
    cellf(r, "%lld/%lld", (long long)value_path_int(r->obj, "status.readyReplicas", 0),
          (long long)value_path_int(r->obj, "spec.replicas", 0));
    cell_number(r, "status.updatedReplicas");
    cell_number(r, "status.availableReplicas");
    cell_age(r);
    cell_containers(r, value_path(r->obj, "spec.template.spec"));
    cell_selector(r, value_path(r->obj, "spec.selector"));
}

static void print_replicas(struct row *r)
{
    cell_name(r);
    cell_number(r, "spec.replicas");
    cell_number(r, "status.replicas");
    cell_number(r, "status.readyReplicas");
    cell_age(r);
    cell_containers(r, value_path(r->obj, "spec.template.spec"));
}

static void print_replica_set(struct row *r)
{
    print_replicas(r);
    cell_selector(r, value_path(r->obj, "spec.selector"));
}

static void print_replication_controller(struct row *r)
{
    print_replicas(r);
    cell_labels(r, value_path(r->obj, "spec.selector"));
}

static void print_daemon_set(struct row *r)
{
    cell_name(r);
    cell_number(r, "status.desiredNumberScheduled");
    cell_number(r, "status.currentNumberScheduled");
    cell_number(r, "status.numberReady");
    cell_number(r, "status.updatedNumberScheduled");
    cell_number(r, "status.numberAvailable");
    cell_labels(r, value_path(r->obj, "spec.template.spec.nodeSelector"));
    cell_age(r);
    cell_containers(r, value_path(r->obj, "spec.template.spec"));
    cell_selector(r, value_path(r->obj, "spec.selector"));
}

static void print_stateful_set(struct row *r)
{
    cell_name(r);
    cellf(r, "%lld/%lld", (long long)value_path_int(r->obj, "status.readyReplicas", 0),
          (long long)value_path_int(r->obj, "spec.replicas", 0));
    cell_age(r);
    cell_containers(r, value_path(r->obj, "spec.template.spec"));
}

static const char *job_status(const struct value *job)
{
    if (condition_is(job, "Complete", "True"))
        return "Complete";
    if (condition_is(job, "Failed", "True"))
        return "Failed";
    if (value_path_str(job, "metadata.deletionTimestamp").len)
        return "Terminating";
    if (condition_is(job, "Suspended", "True"))
        return "Suspended";
    if (condition_is(job, "FailureTarget", "True"))
        return "FailureTarget";
    return condition_is(job, "SuccessCriteriaMet", "True") ? "SuccessCriteriaMet" : "Running";
}

static void print_job(struct row *r)
{
    const struct value *job = r->obj, *completions = value_path(job, "spec.completions");
    long long succeeded = (long long)value_path_int(job, "status.succeeded", 0);
    long long parallelism = (long long)value_path_int(job, "spec.parallelism", 0);
    int64_t start = time_from(value_path_str(job, "status.startTime"));
    int64_t end = time_from(value_path_str(job, "status.completionTime"));
    cell_name(r);
    cell(r, str_from(job_status(job)));
    if (value_is(completions, VALUE_INT))
        cellf(r, "%lld/%lld", succeeded, (long long)completions->integer);
    else if (parallelism > 1)
        cellf(r, "%lld/1 of %lld", succeeded, parallelism);
    else
        cellf(r, "%lld/1", succeeded);
    cell(r, start ? duration_human(r->a, (end ? end : r->now_us) - start) : STR(""));
    cell_age(r);
    cell_containers(r, value_path(job, "spec.template.spec"));
    cell_selector(r, value_path(job, "spec.selector"));
}

static void print_cron_job(struct row *r)
{
    struct str last = value_path_str(r->obj, "status.lastScheduleTime");
    const struct value *suspend = value_path(r->obj, "spec.suspend");
    cell_name(r);
    cell_text(r, "spec.schedule");
    cell_or(r, value_path_str(r->obj, "spec.timeZone"), "<none>");
    cell(r, !value_is(suspend, VALUE_BOOL) ? STR("<unset>") : suspend->boolean ? STR("True") : STR("False"));
    cell_int(r, (int64_t)value_len(value_path(r->obj, "status.active")));
    cell(r, last.len ? since(r, last) : STR("<none>"));
    cell_age(r);
    cell_containers(r, value_path(r->obj, "spec.jobTemplate.spec.template.spec"));
    cell_selector(r, value_path(r->obj, "spec.jobTemplate.spec.selector"));
}

static struct str amount(struct row *r, const struct value *amounts)
{
    const struct value *percent = value_getz(amounts, "averageUtilization");
    if (value_is(percent, VALUE_INT))
        return arena_printf(r->a, "%lld%%", (long long)percent->integer);
    struct str average = value_path_str(amounts, "averageValue"), value = value_path_str(amounts, "value");
    return average.len ? average : value.len ? value : STR("<unknown>");
}

static struct str metric_text(struct row *r, const struct value *metric, const struct value *status)
{
    static const struct {
        const char *type, *source;
    } sources[] = {{"Resource", "resource"},
                   {"ContainerResource", "containerResource"},
                   {"Pods", "pods"},
                   {"Object", "object"},
                   {"External", "external"}};
    struct str type = value_path_str(metric, "type");
    for (size_t i = 0; i < 5; i++) {
        if (!str_eqz(type, sources[i].type))
            continue;
        const struct value *m = value_getz(metric, sources[i].source), *s = value_getz(status, sources[i].source);
        struct str now = amount(r, value_getz(s, "current")), want = amount(r, value_getz(m, "target"));
        bool average = value_path_str(m, "target.averageValue").len && i >= 3;
        if (i < 2)
            return arena_printf(r->a, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(value_path_str(m, "name")),
                                STR_ARG(now), STR_ARG(want));
        return arena_printf(r->a, STR_FMT "/" STR_FMT "%s", STR_ARG(now), STR_ARG(want), average ? " (avg)" : "");
    }
    return STR("<unknown type>");
}

static void print_autoscaler(struct row *r)
{
    const struct value *metrics = value_path(r->obj, "spec.metrics"),
                       *current = value_path(r->obj, "status.currentMetrics");
    const struct value *min = value_path(r->obj, "spec.minReplicas");
    struct str targets = STR("");
    size_t n = value_len(metrics);
    cell_name(r);
    cellf(r, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(r->obj, "spec.scaleTargetRef.kind")),
          STR_ARG(value_path_str(r->obj, "spec.scaleTargetRef.name")));
    for (size_t i = 0; i < n && i < 2; i++)
        targets = append(r, targets, ", ", metric_text(r, value_at(metrics, i), value_at(current, i)));
    if (n > 2)
        targets = arena_printf(r->a, STR_FMT " + %zu more...", STR_ARG(targets), n - 2);
    cell_or(r, targets, "<none>");
    if (value_is(min, VALUE_INT))
        cellf(r, "%lld", (long long)min->integer);
    else
        cell(r, STR("<unset>"));
    cell_number(r, "spec.maxReplicas");
    cell_number(r, "status.currentReplicas");
    cell_age(r);
}

static void print_controller_revision(struct row *r)
{
    const struct value *owners = value_path(r->obj, "metadata.ownerReferences");
    struct str controller = STR("<none>");
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *o = value_at(owners, i);
        struct str version = value_path_str(o, "apiVersion"), kind = value_path_str(o, "kind"), group = version;
        size_t slash = 0;
        if (!value_path_bool(o, "controller", false))
            continue;
        group = str_index(version, '/', &slash) ? str_sub(version, 0, slash) : STR("");
        char *lower = arena_memdup(r->a, kind.p ? kind.p : "", kind.len + 1);
        for (size_t j = 0; j < kind.len; j++)
            lower[j] = (char)(lower[j] >= 'A' && lower[j] <= 'Z' ? lower[j] + 32 : lower[j]);
        controller = arena_printf(r->a, "%.*s%s" STR_FMT "/" STR_FMT, (int)kind.len, lower, group.len ? "." : "",
                                  STR_ARG(group), STR_ARG(value_path_str(o, "name")));
    }
    cell_name(r);
    cell(r, controller);
    cell_number(r, "revision");
    cell_age(r);
}

const struct table_printer workload_printers[] = {
    {"deployment", print_deployment},
    {"replicaSet", print_replica_set},
    {"replicationController", print_replication_controller},
    {"daemonSet", print_daemon_set},
    {"statefulSet", print_stateful_set},
    {"job", print_job},
    {"cronJob", print_cron_job},
    {"horizontalPodAutoscaler", print_autoscaler},
    {"controllerRevision", print_controller_revision},
    {NULL, NULL},
};
