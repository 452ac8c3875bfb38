#include "node/pod/probes.h"

#include "base/clock.h"
#include "node/pod/handlers.h"
#include "node/recorder.h"

#include <stdio.h>
#include <stdlib.h>

enum probe_type { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_TYPES };

static const char *const type_names[] = {"Startup", "Liveness", "Readiness"};

struct probe_worker {
    struct probe_set *set;
    enum probe_type type;
    const struct core_v1_probe *spec; /* NULL: none of this type */
    struct timer timer;
    struct handler_run *run;
    int successes, failures; /* in a row */
};

struct probe_set {
    struct pod_container *c;
    struct pod_version *version; /* the specs point into it */
    char id[80];
    struct probe_worker workers[PROBE_TYPES];
};

static void tick(void *arg);

static int or_default(bool has, int value, int otherwise)
{
    return has && value > 0 ? value : otherwise;
}

static int64_t period_ms(const struct probe_worker *w)
{
    return (int64_t)or_default(w->spec->has_period_seconds, w->spec->period_seconds, 10) * 1000;
}

static enum probe_verdict *verdict(struct probe_worker *w)
{
    struct container_memory *m = &w->set->c->m;
    return w->type == PROBE_STARTUP ? &m->startup : w->type == PROBE_LIVENESS ? &m->liveness : &m->readiness;
}

static void probed(void *arg, enum handler_outcome outcome, const char *text)
{
    struct probe_worker *w = arg;
    struct pod_container *c = w->set->c;
    struct pod *p = c->owner;
    enum probe_verdict *v = verdict(w), before = *v;
    char field[400];
    w->run = NULL;
    timer_start(&w->timer, p->agent->loop, period_ms(w), tick, w);
    if (outcome != HANDLER_SUCCESS && p->version) {
        snprintf(field, sizeof field, "spec.%s{%s}", c->init ? "initContainers" : "containers", c->name);
        recorder_event(p->agent->recorder, p->version->object, field, "Warning", "Unhealthy", "%s probe %s: %s",
                       type_names[w->type], outcome == HANDLER_ERROR ? "errored" : "failed", text);
    }
    if (outcome == HANDLER_ERROR)
        return; /* says nothing about the container */
    w->successes = outcome == HANDLER_SUCCESS ? w->successes + 1 : 0;
    w->failures = outcome == HANDLER_SUCCESS ? 0 : w->failures + 1;
    if (w->successes >= or_default(w->spec->has_success_threshold, w->spec->success_threshold, 1))
        *v = PROBE_SUCCESS;
    else if (w->failures >= or_default(w->spec->has_failure_threshold, w->spec->failure_threshold, 3))
        *v = PROBE_FAILURE;
    if (*v == before)
        return;
    if (w->type == PROBE_STARTUP && *v == PROBE_SUCCESS) {
        timer_stop(&w->timer);
        for (int i = PROBE_LIVENESS; i < PROBE_TYPES; i++) { /* they were waiting for this */
            if (w->set->workers[i].spec && !w->set->workers[i].run)
                timer_start(&w->set->workers[i].timer, p->agent->loop, 0, tick, &w->set->workers[i]);
        }
    }
    if (w->type != PROBE_READINESS && *v == PROBE_FAILURE)
        timer_stop(&w->timer); /* it is going to be restarted */
    pod_poke(p);
}

static void tick(void *arg)
{
    struct probe_worker *w = arg;
    struct pod_container *c = w->set->c;
    struct pod *p = c->owner;
    const struct core_v1_container *spec = pod_container_spec(w->set->version, c);
    struct handler h = {
        .exec = w->spec->exec, .http_get = w->spec->http_get, .tcp_socket = w->spec->tcp_socket, .grpc = w->spec->grpc};
    struct handler_target t = {
        .agent = p->agent,
        .container_id = w->set->id,
        .container = spec,
        .host = *pod_ip(p) ? pod_ip(p) : "127.0.0.1",
        .timeout_ms = (int64_t)or_default(w->spec->has_timeout_seconds, w->spec->timeout_seconds, 1) * 1000};
    if (w->type != PROBE_STARTUP && spec->startup_probe && c->m.startup != PROBE_SUCCESS) {
        timer_start(&w->timer, p->agent->loop, period_ms(w), tick, w);
        return;
    }
    w->run = handler_start(&h, &t, probed, w);
}

static void start(struct pod_container *c, const struct observed_container *o)
{
    struct pod *p = c->owner;
    const struct core_v1_container *spec = pod_container_spec(p->version, c);
    const struct core_v1_probe *specs[] = {spec->startup_probe, spec->liveness_probe, spec->readiness_probe};
    struct probe_set *set;
    snprintf(c->m.probed_id, sizeof c->m.probed_id, "%s", o->id);
    c->m.startup = c->m.liveness = c->m.readiness = PROBE_UNKNOWN;
    if (!specs[0] && !specs[1] && !specs[2])
        return;
    set = calloc(1, sizeof *set);
    set->c = c;
    set->version = pod_version_get(p->version);
    snprintf(set->id, sizeof set->id, "%s", o->id);
    c->probes = set;
    for (int i = 0; i < PROBE_TYPES; i++) {
        struct probe_worker *w = &set->workers[i];
        int64_t delay;
        *w = (struct probe_worker){.set = set, .type = (enum probe_type)i, .spec = specs[i]};
        if (!specs[i])
            continue;
        delay = (int64_t)specs[i]->initial_delay_seconds * 1000 - (clock_wall_ms() - o->started_ns / 1000000);
        timer_start(&w->timer, p->agent->loop, delay > 0 ? delay : 0, tick, w);
    }
}

void probes_stop(struct pod_container *c)
{
    if (!c->probes)
        return;
    for (int i = 0; i < PROBE_TYPES; i++) {
        timer_stop(&c->probes->workers[i].timer);
        handler_cancel(c->probes->workers[i].run);
    }
    pod_version_put(c->probes->version);
    free(c->probes);
    c->probes = NULL;
}

void probes_update(struct pod *p)
{
    const struct observed_sandbox *sandbox = observed_newest_sandbox(pod_observed(p));
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        struct pod_container *c = &p->containers[i];
        const struct observed_container *o =
            observed_find(pod_observed(p), str_from(c->name), sandbox ? sandbox->id : "");
        bool runs = o && o->state == OBSERVED_RUNNING && p->version;
        if (c->probes && (!runs || strcmp(c->probes->id, o->id) != 0))
            probes_stop(c);
        if (runs && strcmp(c->m.probed_id, o->id) != 0 && !c->hook_running && p->stage == POD_LIVE)
            start(c, o);
        if (c->probes && p->stage != POD_LIVE) {
            for (int j = PROBE_STARTUP; j <= PROBE_LIVENESS; j++) {
                timer_stop(&c->probes->workers[j].timer);
                handler_cancel(c->probes->workers[j].run);
                c->probes->workers[j].run = NULL;
            }
        }
    }
}
