/* The order of decisions: an ending pod only loses things; a pod without a usable sandbox gets one (unless it is done);
 * then its init containers run one after the other, sidecars among them stay up; then the main containers run, each by
 * its restart policy. A container that came up is left alone unless its spec changed or a probe gave it up. */
#include "node/pod/actions.h"

#include <stdint.h>

static void push(struct arena *a, struct pod_actions *out, struct pod_action action)
{
    ARENA_PUSH(a, out->items, out->len, out->cap, action);
}

static void wake_at(struct pod_actions *out, int64_t at_ms)
{
    if (!out->wake_at_ms || at_ms < out->wake_at_ms)
        out->wake_at_ms = at_ms;
}

bool pod_is_sidecar(const struct core_v1_container *c)
{
    return str_eqz(c->restart_policy, "Always");
}

static bool restarts(const struct core_v1_pod *pod, const struct core_v1_container *c, bool failed)
{
    struct str policy = c->restart_policy.len ? c->restart_policy : pod->spec->restart_policy;
    if (str_eqz(policy, "Never"))
        return false;
    if (str_eqz(policy, "OnFailure"))
        return failed;
    return true;
}

bool container_started(const struct core_v1_container *c, const struct container_memory *m,
                       const struct observed_container *o)
{
    if (!o || o->state != OBSERVED_RUNNING || m->hook_running)
        return false;
    if (!c->startup_probe)
        return true;
    return strcmp(m->probed_id, o->id) == 0 && m->startup == PROBE_SUCCESS;
}

/* Main containers only run once initialization is over; one that exists in this sandbox proves it. */
static bool any_main(const struct pod_input *in, const char *sandbox_id)
{
    for (size_t i = 0; i < in->pod->spec->containers.len; i++) {
        if (observed_find(in->observed, in->pod->spec->containers.items[i].name, sandbox_id))
            return true;
    }
    return false;
}

bool pod_initialized(const struct pod_input *in)
{
    const struct observed_sandbox *sandbox = observed_newest_sandbox(in->observed);
    const struct core_v1_pod_spec *spec = in->pod->spec;
    if (!spec->init_containers.len || any_main(in, sandbox ? sandbox->id : NULL))
        return true;
    for (size_t i = 0; i < spec->init_containers.len; i++) {
        const struct core_v1_container *c = &spec->init_containers.items[i];
        const struct observed_container *o = observed_find(in->observed, c->name, sandbox ? sandbox->id : NULL);
        if (pod_is_sidecar(c)) {
            if (!container_started(c, &in->init[i], o))
                return false;
        } else if (!o || o->state != OBSERVED_EXITED || o->exit_code != 0) {
            return false;
        }
    }
    return true;
}

static const char *kill_reason(struct arena *a, const struct core_v1_container *c, const struct container_memory *m,
                               const struct observed_container *o, bool *ret_restart)
{
    *ret_restart = true;
    if (m->kill_message)
        return m->kill_message;
    if (o->hash && m->hash && o->hash != m->hash)
        return arena_printf(a, "Container " STR_FMT " definition changed, will be restarted", STR_ARG(c->name)).p;
    if (strcmp(m->probed_id, o->id) != 0)
        return NULL;
    if (m->liveness == PROBE_FAILURE)
        return arena_printf(a, "Container " STR_FMT " failed liveness probe, will be restarted", STR_ARG(c->name)).p;
    if (m->startup == PROBE_FAILURE)
        return arena_printf(a, "Container " STR_FMT " failed startup probe, will be restarted", STR_ARG(c->name)).p;
    return NULL;
}

/* Start (again) what does not run, as far as back-off allows. */
static void start(struct arena *a, const struct pod_input *in, struct pod_actions *out, bool init, size_t index,
                  const struct core_v1_container *c, const struct container_memory *m)
{
    const struct observed_container *last = observed_find(in->observed, c->name, NULL);
    struct pod_action action = {.kind = POD_START_CONTAINER, .init = init, .index = index, .backoff = m->backoff};
    if (m->busy)
        return;
    if (m->retry_at_ms > in->now_ms) {
        wake_at(out, m->retry_at_ms);
        return;
    }
    if (last) {
        action.restart_count = last->restart_count + 1;
        if (last->state == OBSERVED_EXITED) {
            int64_t finished_ms = last->finished_ns / 1000000, until_ms;
            if (backoff_waits(&m->backoff, finished_ms, in->now_ms, &until_ms)) {
                wake_at(out, until_ms);
                push(a, out,
                     (struct pod_action){.kind = POD_BACK_OFF, .init = init, .index = index, .backoff = m->backoff});
                return;
            }
            action.backoff = backoff_next(&m->backoff, finished_ms, in->now_ms);
        }
    }
    push(a, out, action);
}

static void kill_one(struct arena *a, struct pod_actions *out, const struct observed_container *o, bool init,
                     size_t index, const char *message, int64_t grace_s)
{
    push(a, out,
         (struct pod_action){.kind = POD_KILL_CONTAINER,
                             .init = init,
                             .index = index,
                             .id = o->id,
                             .name = o->name,
                             .message = message,
                             .grace_s = grace_s});
}

static bool find_spec(const struct pod_input *in, const char *name, bool *ret_init, size_t *ret_index)
{
    const struct core_v1_pod_spec *spec = in->pod->spec;
    for (size_t i = 0; i < spec->containers.len; i++) {
        if (str_eqz(spec->containers.items[i].name, name)) {
            *ret_init = false;
            *ret_index = i;
            return true;
        }
    }
    for (size_t i = 0; i < spec->init_containers.len; i++) {
        if (str_eqz(spec->init_containers.items[i].name, name)) {
            *ret_init = true;
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static bool any_busy(const struct pod_input *in)
{
    for (size_t i = 0; i < in->pod->spec->containers.len; i++) {
        if (in->main[i].busy)
            return true;
    }
    for (size_t i = 0; i < in->pod->spec->init_containers.len; i++) {
        if (in->init[i].busy)
            return true;
    }
    return false;
}

static bool live(const struct observed_container *o)
{
    return o->state == OBSERVED_RUNNING || o->state == OBSERVED_UNKNOWN;
}

/* Sidecars outlive the main containers and go in reverse order, one after the other. */
static void end_containers(struct arena *a, const struct pod_input *in, struct pod_actions *out, bool *ret_any)
{
    const struct observed_container *sidecar = NULL;
    size_t sidecar_at = 0;
    *ret_any = false;
    for (size_t i = 0; in->observed && i < in->observed->containers.len; i++) {
        const struct observed_container *o = in->observed->containers.items[i];
        bool init = false, known;
        size_t index = SIZE_MAX;
        if (!live(o))
            continue;
        known = find_spec(in, o->name, &init, &index);
        if (known && init && pod_is_sidecar(&in->pod->spec->init_containers.items[index])) {
            if (!sidecar || index > sidecar_at) {
                sidecar = o;
                sidecar_at = index;
            }
            continue;
        }
        *ret_any = true;
        if (known && (init ? in->init[index].busy : in->main[index].busy))
            continue;
        kill_one(a, out, o, init, index, arena_printf(a, "Stopping container %s", o->name).p, in->grace_s);
    }
    if (sidecar && !*ret_any && !in->init[sidecar_at].busy)
        kill_one(a, out, sidecar, true, sidecar_at, arena_printf(a, "Stopping container %s", sidecar->name).p,
                 in->grace_s);
    *ret_any = *ret_any || sidecar;
}

static void end_pod(struct arena *a, const struct pod_input *in, struct pod_actions *out)
{
    bool any;
    end_containers(a, in, out, &any);
    if (any || any_busy(in) || in->sandbox_busy)
        return;
    if (!in->sandbox_stopped) {
        for (size_t i = 0; in->observed && i < in->observed->sandboxes.len; i++)
            push(a, out, (struct pod_action){.kind = POD_STOP_SANDBOX, .id = in->observed->sandboxes.items[i]->id});
        if (out->len)
            return;
    }
    push(a, out, (struct pod_action){.kind = POD_TERMINATED});
}

/* Nothing will ever start in it again: every main container ended and stays so, or an init container failed for good.
 */
static bool finished(const struct pod_input *in)
{
    const struct core_v1_pod_spec *spec = in->pod->spec;
    const struct observed_sandbox *sandbox = observed_newest_sandbox(in->observed);
    for (size_t i = 0; i < spec->init_containers.len && !any_main(in, NULL); i++) {
        const struct core_v1_container *c = &spec->init_containers.items[i];
        const struct observed_container *o = observed_find(in->observed, c->name, sandbox ? sandbox->id : NULL);
        if (pod_is_sidecar(c) || !o || in->init[i].busy)
            continue;
        if (o->state == OBSERVED_EXITED && o->exit_code != 0 && !restarts(in->pod, c, true))
            return true;
    }
    for (size_t i = 0; i < spec->containers.len; i++) {
        const struct core_v1_container *c = &spec->containers.items[i];
        const struct observed_container *o = observed_find(in->observed, c->name, NULL);
        if (!o || o->state != OBSERVED_EXITED || in->main[i].busy || restarts(in->pod, c, o->exit_code != 0))
            return false;
    }
    return spec->containers.len > 0;
}

static void replace_sandbox(struct arena *a, const struct pod_input *in, struct pod_actions *out)
{
    const struct observed_sandbox *newest = observed_newest_sandbox(in->observed);
    bool waits = false;
    for (size_t i = 0; in->observed && i < in->observed->containers.len; i++) {
        const struct observed_container *o = in->observed->containers.items[i];
        bool init = false, known;
        size_t index = SIZE_MAX;
        if (!live(o))
            continue;
        waits = true;
        known = find_spec(in, o->name, &init, &index);
        if (!known || !(init ? in->init[index].busy : in->main[index].busy))
            kill_one(a, out, o, init, index, "Pod sandbox changed, it will be killed and re-created.", -1);
    }
    if (waits || any_busy(in) || in->sandbox_busy)
        return;
    for (size_t i = 0; in->observed && i < in->observed->sandboxes.len; i++) {
        if (in->observed->sandboxes.items[i]->ready) {
            push(a, out, (struct pod_action){.kind = POD_STOP_SANDBOX, .id = in->observed->sandboxes.items[i]->id});
            return;
        }
    }
    if (in->sandbox_retry_at_ms > in->now_ms) {
        wake_at(out, in->sandbox_retry_at_ms);
        return;
    }
    push(a, out, (struct pod_action){.kind = POD_CREATE_SANDBOX, .attempt = newest ? newest->attempt + 1 : 0});
}

/* Answers whether the main containers may run. */
static bool run_init(struct arena *a, const struct pod_input *in, struct pod_actions *out, const char *sandbox_id)
{
    const struct core_v1_pod_spec *spec = in->pod->spec;
    bool initialized = any_main(in, sandbox_id);
    for (size_t i = 0; i < spec->init_containers.len; i++) {
        const struct core_v1_container *c = &spec->init_containers.items[i];
        const struct container_memory *m = &in->init[i];
        const struct observed_container *o = observed_find(in->observed, c->name, sandbox_id);
        bool restart;
        const char *why;
        if (o && live(o)) {
            why = m->busy ? NULL : kill_reason(a, c, m, o, &restart);
            if (why)
                kill_one(a, out, o, true, i, why, -1);
            if (initialized || (pod_is_sidecar(c) && container_started(c, m, o)))
                continue;
            return false;
        }
        if (pod_is_sidecar(c)) {
            start(a, in, out, true, i, c, m);
            if (!initialized)
                return false;
        } else if (!initialized && (!o || o->state != OBSERVED_EXITED || o->exit_code != 0)) {
            if (!o || o->state != OBSERVED_EXITED || restarts(in->pod, c, true))
                start(a, in, out, true, i, c, m);
            return false;
        }
    }
    return true;
}

static void run_main(struct arena *a, const struct pod_input *in, struct pod_actions *out, const char *sandbox_id)
{
    const struct core_v1_pod_spec *spec = in->pod->spec;
    for (size_t i = 0; i < spec->containers.len; i++) {
        const struct core_v1_container *c = &spec->containers.items[i];
        const struct container_memory *m = &in->main[i];
        const struct observed_container *o = observed_find(in->observed, c->name, NULL);
        bool restart;
        const char *why;
        if (m->busy)
            continue;
        if (o && live(o) && strcmp(o->sandbox_id, sandbox_id) == 0) {
            why = kill_reason(a, c, m, o, &restart);
            if (why)
                kill_one(a, out, o, false, i, why, -1);
            continue;
        }
        if (o && o->state == OBSERVED_EXITED && !restarts(in->pod, c, o->exit_code != 0))
            continue;
        start(a, in, out, false, i, c, m);
    }
}

void pod_actions_compute(struct arena *a, const struct pod_input *in, struct pod_actions *ret)
{
    const struct observed_sandbox *sandbox = observed_newest_sandbox(in->observed);
    bool host_network = in->pod->spec->host_network;
    *ret = (struct pod_actions){0};
    if (in->terminating) {
        end_pod(a, in, ret);
        return;
    }
    if (finished(in)) {
        push(a, ret, (struct pod_action){.kind = POD_FINISHED});
        return;
    }
    if (in->sandbox_busy)
        return;
    if (!sandbox || !sandbox->ready || (!host_network && !sandbox->ips[0][0])) {
        replace_sandbox(a, in, ret);
        return;
    }
    if (run_init(a, in, ret, sandbox->id))
        run_main(a, in, ret, sandbox->id);
}
