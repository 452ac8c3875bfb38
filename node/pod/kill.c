/* Ending a container: preStop hook, then the runtime's stop with what is left of the grace. */
#include "node/pod/config.h"
#include "node/pod/handlers.h"
#include "node/recorder.h"
#include "node/state.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define LEAST_GRACE_S 2

struct kill_operation {
    struct pod *p;
    struct pod_container *c;
    struct pod_version *v;
    char *id;
    int64_t grace_s, began_ms;
    struct handler_run *hook;
    struct timer hook_limit;
    bool stopping;
    int stops;                   /* calls of the runtime in flight: a shortened grace makes a second one */
    struct kill_operation *next; /* of the pod */
    char field[400];
};

static void stopped(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct kill_operation *k = arg;
    struct pod *p = k->p;
    struct kill_operation **at = &p->kills;
    if (!response && err->code != ERR_NOT_FOUND)
        log_warn("node", "stop container %s of %s/%s: %s", k->id, p->namespace_, p->name, err->message);
    if (--k->stops > 0)
        return;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    if (k->c)
        container_settle(k->c);
    else
        relist_now(p->agent->relist);
    pod_version_put(k->v);
    free(k->id);
    free(k);
    pod_release(p);
}

static void stop(struct kill_operation *k)
{
    Runtime__V1__StopContainerRequest req = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
    int64_t left = k->grace_s - (clock_mono_ms() - k->began_ms) / 1000;
    if (k->grace_s > 0 && left < LEAST_GRACE_S)
        left = LEAST_GRACE_S < k->grace_s ? LEAST_GRACE_S : k->grace_s;
    if (left < 0)
        left = 0;
    k->stopping = true;
    k->stops++;
    req.container_id = k->id;
    req.timeout = left;
    cri_call(k->p->agent->cri, RUNTIME_SERVICE, "StopContainer", &req.base,
             &runtime__v1__stop_container_response__descriptor, (left + 60) * 1000, stopped, k);
}

static void hook_over(void *arg)
{
    struct kill_operation *k = arg;
    handler_cancel(k->hook);
    k->hook = NULL;
    stop(k);
}

static void hooked(void *arg, enum handler_outcome outcome, const char *text)
{
    struct kill_operation *k = arg;
    k->hook = NULL;
    timer_stop(&k->hook_limit);
    if (outcome != HANDLER_SUCCESS) {
        log_debug("node", "preStop of %s/%s: %s", k->p->namespace_, k->p->name, text);
        recorder_event(k->p->agent->recorder, k->v->object, k->field, "Warning", "FailedPreStopHook",
                       "PreStopHook failed");
    }
    stop(k);
}

/* A probe may bring its own grace; else the pod's. */
static int64_t grace_of(const struct pod *p, const struct pod_container *c, const struct pod_version *v)
{
    const struct core_v1_container *spec = pod_container_spec(v, c);
    if (spec && c->m.startup == PROBE_FAILURE && spec->startup_probe &&
        spec->startup_probe->has_termination_grace_period_seconds)
        return spec->startup_probe->termination_grace_period_seconds;
    if (spec && c->m.liveness == PROBE_FAILURE && spec->liveness_probe &&
        spec->liveness_probe->has_termination_grace_period_seconds)
        return spec->liveness_probe->termination_grace_period_seconds;
    (void)p;
    return v->pod->spec->has_termination_grace_period_seconds ? v->pod->spec->termination_grace_period_seconds : 30;
}

void container_kill(struct pod *p, struct pod_container *c, const struct pod_action *action)
{
    struct kill_operation *k = calloc(1, sizeof *k);
    const struct core_v1_container *spec = c ? pod_container_spec(p->version, c) : NULL;
    const struct core_v1_lifecycle_handler *hook = spec && spec->lifecycle ? spec->lifecycle->pre_stop : NULL;
    *k = (struct kill_operation){.p = pod_hold(p),
                                 .c = c,
                                 .v = pod_version_get(p->version),
                                 .id = strdup(action->id),
                                 .grace_s = action->grace_s,
                                 .began_ms = clock_mono_ms(),
                                 .next = p->kills};
    p->kills = k;
    snprintf(k->field, sizeof k->field, "spec.%s{%s}", c && c->init ? "initContainers" : "containers", action->name);
    if (k->grace_s < 0)
        k->grace_s = c ? grace_of(p, c, p->version) : 30;
    if (c) {
        c->operating = true;
        c->m.kill_message = NULL;
    }
    recorder_event(p->agent->recorder, p->version->object, k->field, "Normal", "Killing", "%s", action->message);
    if (hook && k->grace_s > 0) {
        struct handler h = {.exec = hook->exec,
                            .http_get = hook->http_get,
                            .tcp_socket = hook->tcp_socket,
                            .sleep_s = hook->sleep ? hook->sleep->seconds : 0};
        struct handler_target t = {.agent = p->agent,
                                   .container_id = k->id,
                                   .host = pod_ip(p),
                                   .container = spec,
                                   .timeout_ms = k->grace_s * 1000,
                                   .hook = true};
        timer_start(&k->hook_limit, p->agent->loop, k->grace_s * 1000, hook_over, k);
        k->hook = handler_start(&h, &t, hooked, k);
    } else {
        stop(k);
    }
}

/* A second, more impatient deletion: what is under way ends sooner. */
void containers_hurry(struct pod *p, int64_t grace_s)
{
    for (struct kill_operation *k = p->kills, *next; k; k = next) {
        next = k->next;
        if (k->grace_s <= grace_s)
            continue;
        k->grace_s = grace_s;
        k->began_ms = clock_mono_ms();
        if (k->stopping)
            stop(k);
        else
            timer_start(&k->hook_limit, p->agent->loop, grace_s * 1000, hook_over, k);
    }
}
