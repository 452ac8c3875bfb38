/* The row of a pod: how far it is, said in one word. */
#include "openapi/meta/time.h"
#include "openapi/table_printers.h"

struct progress {
    struct row *r;
    const struct value *init_containers;
    struct str reason;
    int64_t restarts, last_restart_us;
    int64_t sidecar_restarts, sidecar_last_us;
    int ready, total;
};

static bool is_sidecar(const struct value *init_containers, struct str name)
{
    for (size_t i = 0; i < value_len(init_containers); i++) {
        const struct value *c = value_at(init_containers, i);
        if (str_eq(value_path_str(c, "name"), name))
            return str_eqz(value_path_str(c, "restartPolicy"), "Always");
    }
    return false;
}

static void count_restart(const struct value *status, int64_t *restarts, int64_t *last_us)
{
    int64_t us = time_from(value_path_str(status, "lastState.terminated.finishedAt"));
    *restarts += value_path_int(status, "restartCount", 0);
    *last_us = us > *last_us ? us : *last_us;
}

static struct str terminated_text(struct progress *p, const struct value *terminated, const char *prefix)
{
    struct str reason = value_path_str(terminated, "reason");
    int64_t signal = value_path_int(terminated, "signal", 0);
    if (reason.len)
        return arena_printf(p->r->a, "%s" STR_FMT, prefix, STR_ARG(reason));
    return arena_printf(p->r->a, "%s%s:%lld", prefix, signal ? "Signal" : "ExitCode",
                        (long long)(signal ? signal : value_path_int(terminated, "exitCode", 0)));
}

/* True while an init container holds the pod up. */
static bool read_init(struct progress *p, const struct value *statuses)
{
    for (size_t i = 0; i < value_len(statuses); i++) {
        const struct value *s = value_at(statuses, i);
        const struct value *terminated = value_path(s, "state.terminated");
        struct str waiting = value_path_str(s, "state.waiting.reason");
        bool sidecar = is_sidecar(p->init_containers, value_path_str(s, "name"));
        count_restart(s, &p->restarts, &p->last_restart_us);
        if (sidecar)
            count_restart(s, &p->sidecar_restarts, &p->sidecar_last_us);
        if (value_is(terminated, VALUE_MAP) && value_path_int(terminated, "exitCode", 0) == 0)
            continue;
        if (sidecar && value_path_bool(s, "started", false)) {
            p->ready += value_path_bool(s, "ready", false);
            continue;
        }
        if (value_is(terminated, VALUE_MAP))
            p->reason = terminated_text(p, terminated, "Init:");
        else if (waiting.len && !str_eqz(waiting, "PodInitializing"))
            p->reason = arena_printf(p->r->a, "Init:" STR_FMT, STR_ARG(waiting));
        else
            p->reason = arena_printf(p->r->a, "Init:%zu/%zu", i, value_len(p->init_containers));
        return true;
    }
    return false;
}

static void read_containers(struct progress *p, const struct value *statuses)
{
    bool running = false;
    p->restarts = p->sidecar_restarts;
    p->last_restart_us = p->sidecar_last_us;
    for (size_t i = value_len(statuses); i-- > 0;) {
        const struct value *s = value_at(statuses, i), *terminated = value_path(s, "state.terminated");
        struct str waiting = value_path_str(s, "state.waiting.reason");
        count_restart(s, &p->restarts, &p->last_restart_us);
        if (waiting.len) {
            p->reason = waiting;
        } else if (value_is(terminated, VALUE_MAP)) {
            p->reason = terminated_text(p, terminated, "");
        } else if (value_path_bool(s, "ready", false) && value_path(s, "state.running")) {
            running = true;
            p->ready++;
        }
    }
    if (str_eqz(p->reason, "Completed") && running)
        p->reason = condition_is(p->r->obj, "Ready", "True") ? STR("Running") : STR("NotReady");
}

static void cell_readiness_gates(struct row *r)
{
    const struct value *gates = value_path(r->obj, "spec.readinessGates");
    size_t met = 0;
    for (size_t i = 0; i < value_len(gates); i++) {
        struct str type = value_path_str(value_at(gates, i), "conditionType");
        met += condition_is(r->obj, arena_str(r->a, type).p, "True");
    }
    if (value_len(gates) == 0)
        cell(r, STR("<none>"));
    else
        cellf(r, "%zu/%zu", met, value_len(gates));
}

static void print_pod(struct row *r)
{
    const struct value *pod = r->obj;
    struct str phase = value_path_str(pod, "status.phase"), reason = value_path_str(pod, "status.reason");
    struct progress p = {.r = r, .init_containers = value_path(pod, "spec.initContainers")};
    p.reason = reason.len ? reason : phase;
    if (str_eqz(value_path_str(condition(pod, "PodScheduled"), "reason"), "SchedulingGated"))
        p.reason = STR("SchedulingGated");
    p.total = (int)value_len(value_path(pod, "spec.containers"));
    for (size_t i = 0; i < value_len(p.init_containers); i++)
        p.total += is_sidecar(p.init_containers, value_path_str(value_at(p.init_containers, i), "name"));
    bool initializing = read_init(&p, value_path(pod, "status.initContainerStatuses"));
    if (!initializing || condition_is(pod, "Initialized", "True"))
        read_containers(&p, value_path(pod, "status.containerStatuses"));
    bool over = str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed");
    if (value_path_str(pod, "metadata.deletionTimestamp").len) {
        if (str_eqz(reason, "NodeLost"))
            p.reason = STR("Unknown");
        else if (!over)
            p.reason = STR("Terminating");
    }
    cell_name(r);
    cellf(r, "%d/%d", p.ready, p.total);
    cell(r, p.reason);
    if (p.restarts && p.last_restart_us)
        cellf(r, "%lld (" STR_FMT " ago)", (long long)p.restarts,
              STR_ARG(duration_human(r->a, r->now_us - p.last_restart_us)));
    else
        cellf(r, "%lld", (long long)p.restarts);
    cell_age(r);
    struct str ip = value_path_str(pod, "status.podIP");
    cell_or(r, ip, "<none>");
    cell_or(r, value_path_str(pod, "spec.nodeName"), "<none>");
    cell_or(r, value_path_str(pod, "status.nominatedNodeName"), "<none>");
    cell_readiness_gates(r);
}

static void print_pod_template(struct row *r)
{
    cell_name(r);
    cell_containers(r, value_path(r->obj, "template.spec"));
    cell_labels(r, value_path(r->obj, "template.metadata.labels"));
}

const struct table_printer pod_printers[] = {{"pod", print_pod}, {"podTemplate", print_pod_template}, {NULL, NULL}};
