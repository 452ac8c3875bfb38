/* Container states first, the phase from them, conditions from both. */
#include "node/pod/status.h"

#include "node/pod/resources.h"
#include "openapi/meta/time.h"
#include "openapi/view.h"

#include <limits.h>

struct building {
    struct arena *a;
    const struct status_input *in;
    const struct core_v1_pod *pod;
    bool initialized;
};

static struct value *str_value(struct building *b, const char *text)
{
    return value_stringz(b->a, arena_strdup(b->a, text));
}

static struct value *time_value(struct building *b, int64_t ns)
{
    return value_string(b->a, time_format(b->a, ns / 1000));
}

static const char *container_id(struct building *b, const struct observed_container *o)
{
    return arena_printf(b->a, "%s://%s", b->in->runtime, o->id).p;
}

static struct value *terminated(struct building *b, const struct observed_container *o)
{
    struct value *t = value_map(b->a), *state = value_map(b->a);
    const char *message = b->in->termination_message ? b->in->termination_message(b->in->arg, b->a, o) : NULL;
    value_setz(b->a, t, "exitCode", value_int(b->a, o->exit_code));
    if (*o->reason)
        value_setz(b->a, t, "reason", str_value(b, o->reason));
    if (message && *message)
        value_setz(b->a, t, "message", str_value(b, message));
    else if (*o->message)
        value_setz(b->a, t, "message", str_value(b, o->message));
    value_setz(b->a, t, "startedAt", o->started_ns ? time_value(b, o->started_ns) : value_null(b->a));
    value_setz(b->a, t, "finishedAt", o->finished_ns ? time_value(b, o->finished_ns) : value_null(b->a));
    value_setz(b->a, t, "containerID", str_value(b, container_id(b, o)));
    value_setz(b->a, state, "terminated", t);
    return state;
}

static struct value *waiting(struct building *b, const char *reason, const char *message)
{
    struct value *w = value_map(b->a), *state = value_map(b->a);
    value_setz(b->a, w, "reason", str_value(b, reason));
    if (message && *message)
        value_setz(b->a, w, "message", str_value(b, message));
    value_setz(b->a, state, "waiting", w);
    return state;
}

static struct value *running(struct building *b, const struct observed_container *o)
{
    struct value *r = value_map(b->a), *state = value_map(b->a);
    value_setz(b->a, r, "startedAt", time_value(b, o->started_ns));
    value_setz(b->a, state, "running", r);
    return state;
}

static bool restarts(struct building *b, const struct core_v1_container *c, bool init, int exit_code)
{
    struct str policy = c->restart_policy.len ? c->restart_policy : b->pod->spec->restart_policy;
    if (init && !pod_is_sidecar(c) && exit_code == 0)
        return false;
    if (b->in->input->terminating || b->in->ended)
        return false;
    if (str_eqz(policy, "Never"))
        return false;
    return !str_eqz(policy, "OnFailure") || exit_code != 0;
}

static bool is_ready(const struct core_v1_container *c, const struct container_memory *m,
                     const struct observed_container *o, bool init)
{
    if (!o)
        return false;
    if (init && !pod_is_sidecar(c))
        return o->state == OBSERVED_EXITED && o->exit_code == 0;
    if (o->state != OBSERVED_RUNNING || !container_started(c, m, o))
        return false;
    return !c->readiness_probe || (strcmp(m->probed_id, o->id) == 0 && m->readiness == PROBE_SUCCESS);
}

static void add_resources(struct building *b, struct value *v, const struct core_v1_container *c)
{
    const struct schema_message *m = schema_message_find(STR("io.k8s.api.core.v1.ResourceRequirements"));
    struct value *whole, *requests;
    if (!m || !c->resources)
        return;
    whole = view_to_value(b->a, m, c->resources);
    requests = value_getz(whole, "requests");
    if (value_len(requests))
        value_setz(b->a, v, "allocatedResources", value_copy(b->a, requests));
    value_setz(b->a, v, "resources", whole);
}

static void add_mounts(struct building *b, struct value *v, const struct core_v1_container *c)
{
    struct value *list = value_list(b->a);
    for (size_t i = 0; i < c->volume_mounts.len; i++) {
        const struct core_v1_volume_mount *m = &c->volume_mounts.items[i];
        struct value *one = value_map(b->a);
        value_setz(b->a, one, "name", value_string(b->a, m->name));
        value_setz(b->a, one, "mountPath", value_string(b->a, m->mount_path));
        if (m->read_only) {
            value_setz(b->a, one, "readOnly", value_bool(b->a, true));
            value_setz(b->a, one, "recursiveReadOnly", value_stringz(b->a, "Disabled"));
        }
        value_append(b->a, list, one);
    }
    if (list->list.len)
        value_setz(b->a, v, "volumeMounts", list);
}

/* The state to show, with what it was before: a container that ended and will run again waits. */
static void add_states(struct building *b, struct value *v, const struct core_v1_container *c, bool init,
                       const struct waiting *w, const struct observed_container *o)
{
    const struct observed_container *before = observed_previous(b->in->input->observed, c->name);
    struct value *last = before && before->state == OBSERVED_EXITED ? terminated(b, before) : value_map(b->a), *state;
    const char *starting =
        b->pod->spec->init_containers.len && !(b->initialized && !init) ? "PodInitializing" : "ContainerCreating";
    if (!o || o->state == OBSERVED_CREATED) {
        state = w->reason ? waiting(b, w->reason, w->message) : waiting(b, starting, NULL);
    } else if (o->state == OBSERVED_RUNNING) {
        state = running(b, o);
    } else if (o->state == OBSERVED_UNKNOWN) {
        state = waiting(b, "ContainerStatusUnknown", "The container could not be located when the pod was terminated");
    } else if (w->reason && restarts(b, c, init, o->exit_code)) {
        last = terminated(b, o);
        state = waiting(b, w->reason, w->message);
    } else {
        state = terminated(b, o);
    }
    value_setz(b->a, v, "state", state);
    value_setz(b->a, v, "lastState", last);
}

static struct value *container(struct building *b, const struct core_v1_container *c, bool init,
                               const struct container_memory *m, const struct waiting *w)
{
    const struct observed_container *o = observed_find(b->in->input->observed, c->name, NULL);
    struct value *v = value_map(b->a);
    bool started;
    value_setz(b->a, v, "name", value_string(b->a, c->name));
    add_states(b, v, c, init, w, o);
    value_setz(b->a, v, "ready", value_bool(b->a, is_ready(c, m, o, init)));
    value_setz(b->a, v, "restartCount", value_int(b->a, o ? o->restart_count : 0));
    value_setz(b->a, v, "image", o && *o->image ? str_value(b, o->image) : value_string(b->a, c->image));
    value_setz(b->a, v, "imageID", str_value(b, o ? o->image_id : ""));
    if (o)
        value_setz(b->a, v, "containerID", str_value(b, container_id(b, o)));
    started = container_started(c, m, o);
    value_setz(b->a, v, "started", value_bool(b->a, started));
    if (!init || pod_is_sidecar(c) || o)
        add_resources(b, v, c);
    add_mounts(b, v, c);
    return v;
}

/* ---- phase ---- */

struct counts {
    int unknown, running, waiting, stopped, succeeded, pending_init, failed_init;
};

static void count_init(const struct core_v1_container *c, const struct value *v, struct counts *n)
{
    const struct value *state = value_getz(v, "state");
    if (pod_is_sidecar(c)) {
        bool up = value_getz(state, "running") && value_path_bool(v, "started", false);
        if (!up && !value_getz(state, "terminated"))
            n->pending_init++;
        return;
    }
    if (value_getz(state, "terminated")) {
        if (value_path_int(state, "terminated.exitCode", 0) != 0)
            n->failed_init++;
    } else if (value_getz(state, "waiting") && value_path(v, "lastState.terminated")) {
        if (value_path_int(v, "lastState.terminated.exitCode", 0) != 0)
            n->failed_init++;
        else
            n->pending_init++;
    } else {
        n->pending_init++;
    }
}

static void count_main(const struct value *v, struct counts *n)
{
    const struct value *state = value_getz(v, "state");
    if (value_getz(state, "running")) {
        n->running++;
    } else if (value_getz(state, "terminated")) {
        n->stopped++;
        n->succeeded += value_path_int(state, "terminated.exitCode", 1) == 0;
    } else if (value_path(v, "lastState.terminated")) {
        n->stopped++;
    } else {
        n->waiting++;
    }
}

static const char *phase_of(struct building *b, const struct value *init, const struct value *mains)
{
    const struct core_v1_pod_spec *spec = b->pod->spec;
    struct counts n = {0};
    bool never = str_eqz(spec->restart_policy, "Never");
    for (size_t i = 0; i < spec->init_containers.len; i++)
        count_init(&spec->init_containers.items[i], value_at(init, i), &n);
    for (size_t i = 0; i < spec->containers.len; i++)
        count_main(value_at(mains, i), &n);
    if (n.failed_init && never)
        return "Failed";
    if (!b->initialized && (n.pending_init || n.failed_init) && !(b->in->ended && n.stopped))
        return "Pending";
    if (n.waiting)
        return "Pending";
    if (n.running)
        return "Running";
    if (n.stopped) {
        if (b->in->ended || b->in->input->terminating)
            return n.stopped == n.succeeded ? "Succeeded" : "Failed";
        if (!never && !str_eqz(spec->restart_policy, "OnFailure"))
            return "Running";
        if (n.stopped == n.succeeded)
            return "Succeeded";
        return never ? "Failed" : "Running";
    }
    return "Pending";
}

/* ---- conditions ---- */

static const struct value *condition_now(const struct value *status, struct str type)
{
    const struct value *list = value_getz(status, "conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eq(value_path_str(value_at(list, i), "type"), type))
            return value_at(list, i);
    }
    return NULL;
}

static void condition(struct building *b, struct value *list, const char *type, bool is, const char *reason,
                      const char *message)
{
    struct value *c = value_map(b->a);
    const struct value *old = condition_now(b->in->current, str_from(type));
    struct str status = is ? STR("True") : STR("False"), since = value_path_str(old, "lastTransitionTime");
    value_setz(b->a, c, "type", value_stringz(b->a, type));
    if (b->pod->metadata->generation)
        value_setz(b->a, c, "observedGeneration", value_int(b->a, b->pod->metadata->generation));
    value_setz(b->a, c, "status", value_string(b->a, status));
    value_setz(b->a, c, "lastProbeTime", value_null(b->a));
    value_setz(b->a, c, "lastTransitionTime",
               value_string(b->a, since.len && str_eq(value_path_str(old, "status"), status)
                                      ? since
                                      : time_format(b->a, b->in->now_us)));
    if (reason)
        value_setz(b->a, c, "reason", value_stringz(b->a, reason));
    if (message)
        value_setz(b->a, c, "message", value_stringz(b->a, message));
    value_append(b->a, list, c);
}

static const char *not_ready_names(struct building *b, const char *what, const struct core_v1_container_array *specs,
                                   const struct value *statuses, bool sidecars)
{
    struct buf text = {0};
    struct str copy;
    size_t n = 0;
    buf_printf(&text, "containers with %s status: [", what);
    for (size_t i = 0; i < specs->len; i++) {
        const struct value *v = value_at(statuses, i);
        bool ok = value_path_bool(v, "ready", false);
        if (sidecars && pod_is_sidecar(&specs->items[i]))
            ok = value_path_bool(v, "started", false);
        if (ok)
            continue;
        if (n++)
            buf_add_char(&text, ' ');
        buf_add_str(&text, specs->items[i].name);
    }
    buf_add_char(&text, ']');
    copy = arena_str(b->a, buf_str(&text));
    buf_free(&text);
    return n ? copy.p : NULL;
}

static const char *gates_fault(struct building *b)
{
    for (size_t i = 0; i < b->pod->spec->readiness_gates.len; i++) {
        struct str type = b->pod->spec->readiness_gates.items[i].condition_type;
        const struct value *c = condition_now(b->in->current, type);
        if (!c)
            return arena_printf(b->a, "corresponding condition of pod readiness gate \"" STR_FMT "\" does not exist.",
                                STR_ARG(type))
                .p;
        if (!str_eqz(value_path_str(c, "status"), "True"))
            return arena_printf(b->a, "the status of pod readiness gate \"" STR_FMT "\" is not \"True\", but " STR_FMT,
                                STR_ARG(type), STR_ARG(value_path_str(c, "status")))
                .p;
    }
    return NULL;
}

static bool ours(struct str type)
{
    static const char *const types[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                        "PodScheduled"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (str_eqz(type, types[i]))
            return true;
    }
    return false;
}

static struct value *conditions(struct building *b, const char *phase, const struct value *init,
                                const struct value *mains)
{
    const struct core_v1_pod_spec *spec = b->pod->spec;
    const struct observed_sandbox *sandbox = observed_newest_sandbox(b->in->input->observed);
    struct value *list = value_list(b->a);
    const struct value *current = value_getz(b->in->current, "conditions");
    bool up = sandbox && sandbox->ready && (spec->host_network || *sandbox->ips[0]);
    const char *unready = not_ready_names(b, "unready", &spec->containers, mains, false), *gates = gates_fault(b);
    const char *uninit = not_ready_names(b, "incomplete", &spec->init_containers, init, true);
    bool succeeded = strcmp(phase, "Succeeded") == 0, failed = strcmp(phase, "Failed") == 0;
    condition(b, list, "PodReadyToStartContainers", up, NULL, NULL);
    if (succeeded)
        condition(b, list, "Initialized", true, "PodCompleted", NULL);
    else if (uninit && !b->initialized)
        condition(b, list, "Initialized", false, "ContainersNotInitialized", uninit);
    else
        condition(b, list, "Initialized", true, NULL, NULL);
    if (succeeded || failed) {
        condition(b, list, "Ready", false, succeeded ? "PodCompleted" : "PodFailed", NULL);
        condition(b, list, "ContainersReady", false, succeeded ? "PodCompleted" : "PodFailed", NULL);
    } else {
        if (unready)
            condition(b, list, "Ready", false, "ContainersNotReady", unready);
        else if (gates)
            condition(b, list, "Ready", false, "ReadinessGatesNotReady", gates);
        else
            condition(b, list, "Ready", true, NULL, NULL);
        condition(b, list, "ContainersReady", !unready, unready ? "ContainersNotReady" : NULL, unready);
    }
    condition(b, list, "PodScheduled", true, NULL, NULL);
    for (size_t i = 0; i < value_len(current); i++) { /* other people's */
        if (!ours(value_path_str(value_at(current, i), "type")))
            value_append(b->a, list, value_copy(b->a, value_at(current, i)));
    }
    return list;
}

/* ---- the whole ---- */

static void addresses(struct building *b, struct value *v)
{
    const struct observed_sandbox *sandbox = observed_newest_sandbox(b->in->input->observed);
    const char *ips[2] = {"", ""};
    struct value *list = value_list(b->a), *host = value_map(b->a), *hosts = value_list(b->a);
    if (*b->in->host_ip) {
        value_setz(b->a, v, "hostIP", str_value(b, b->in->host_ip));
        value_setz(b->a, host, "ip", str_value(b, b->in->host_ip));
        value_append(b->a, hosts, host);
        value_setz(b->a, v, "hostIPs", hosts);
    }
    if (b->pod->spec->host_network && sandbox) {
        ips[0] = b->in->host_ip;
    } else if (sandbox && sandbox->ready) {
        ips[0] = sandbox->ips[0];
        ips[1] = sandbox->ips[1];
    } else if (b->in->ended || b->in->input->terminating) { /* what it had stays */
        ips[0] = arena_str(b->a, value_path_str(b->in->current, "podIP")).p;
        ips[0] = ips[0] ? ips[0] : "";
    }
    for (int i = 0; i < 2 && *ips[i]; i++) {
        struct value *one = value_map(b->a);
        if (i == 0)
            value_setz(b->a, v, "podIP", str_value(b, ips[i]));
        value_setz(b->a, one, "ip", str_value(b, ips[i]));
        value_append(b->a, list, one);
    }
    if (list->list.len)
        value_setz(b->a, v, "podIPs", list);
}

struct value *pod_status_build(struct arena *a, const struct status_input *in)
{
    struct building b = {.a = a, .in = in, .pod = in->input->pod, .initialized = pod_initialized(in->input)};
    const struct core_v1_pod_spec *spec = b.pod->spec;
    struct value *v = value_map(a), *init = value_list(a), *mains = value_list(a);
    struct str had = value_path_str(in->current, "phase");
    const char *phase;
    for (size_t i = 0; i < spec->init_containers.len; i++)
        value_append(a, init,
                     container(&b, &spec->init_containers.items[i], true, &in->input->init[i], &in->init_waiting[i]));
    for (size_t i = 0; i < spec->containers.len; i++)
        value_append(a, mains,
                     container(&b, &spec->containers.items[i], false, &in->input->main[i], &in->main_waiting[i]));
    phase = in->end_reason ? "Failed" : phase_of(&b, init, mains);
    if (str_eqz(had, "Succeeded") || str_eqz(had, "Failed"))
        phase = arena_str(a, had).p; /* final */
    if (b.pod->metadata->generation)
        value_setz(a, v, "observedGeneration", value_int(a, b.pod->metadata->generation));
    value_setz(a, v, "phase", value_stringz(a, phase));
    value_setz(a, v, "conditions", conditions(&b, phase, init, mains));
    if (in->end_message)
        value_setz(a, v, "message", str_value(&b, in->end_message));
    if (in->end_reason)
        value_setz(a, v, "reason", str_value(&b, in->end_reason));
    addresses(&b, v);
    if (in->start_time_us)
        value_setz(a, v, "startTime", value_string(a, time_format(a, in->start_time_us)));
    if (init->list.len)
        value_setz(a, v, "initContainerStatuses", init);
    value_setz(a, v, "containerStatuses", mains);
    value_setz(a, v, "qosClass", value_stringz(a, qos_name(qos_of(b.pod))));
    return v;
}

struct str pod_status_phase(const struct value *status)
{
    return value_path_str(status, "phase");
}
