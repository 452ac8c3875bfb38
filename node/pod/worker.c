/* The life of each pod on this node: from the API's object and the runtime's picture to actions, and what follows when
 * they are all done.
 *
 *   LIVE     volumes, sandbox, containers as actions.c says
 *   ENDING   deleted, finished, evicted or past its deadline: containers and sandbox are stopped
 *   ENDED    nothing runs: volumes and control groups go
 *   CLEAN    the last status is sent; a deleted pod's object is removed, and with it what the runtime keeps
 */
#include "node/pod/cgroup.h"
#include "node/pod/config.h"
#include "node/pod/probes.h"
#include "node/recorder.h"
#include "node/sources.h"
#include "node/state.h"
#include "node/volumes/plan.h"
#include "node/volumes/volumes.h"

#include "base/clock.h"
#include "base/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKOFF_EVENT_EVERY_MS 10000

static void go_on(struct pod *p);

/* ---- lives of the structs ---- */

static void free_version(struct ref *r)
{
    struct pod_version *v = (struct pod_version *)r;
    object_put(v->object);
    arena_destroy(v->arena);
    free(v);
}

struct pod_version *pod_version_get(struct pod_version *v)
{
    if (v)
        ref_get(&v->ref);
    return v;
}

void pod_version_put(struct pod_version *v)
{
    ref_put(&v->ref);
}

static struct pod_version *make_version(const struct object *o)
{
    struct pod_version *v = calloc(1, sizeof *v);
    ref_init(&v->ref, free_version);
    v->object = object_get(o);
    v->arena = arena_create(0);
    v->pod = view_object(v->arena, o);
    return v;
}

static void free_pod(struct pod *p)
{
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        struct pod_container *c = &p->containers[i];
        probes_stop(c);
        free(c->name);
        free(c->waiting_reason);
        free(c->waiting_message);
        free(c->pull_error);
    }
    free(p->containers);
    pod_volumes_destroy(p->volumes);
    for (size_t i = 0; i < p->sources.len; i++)
        source_put(p->sources.items[i]);
    vec_free(&p->sources);
    timer_stop(&p->timer);
    timer_stop(&p->status_retry);
    if (p->version)
        pod_version_put(p->version);
    free(p->uid);
    free(p->namespace_);
    free(p->name);
    free(p->end_reason);
    free(p->end_message);
    free(p->status_sent);
    free(p);
}

struct pod *pod_hold(struct pod *p)
{
    p->holds++;
    return p;
}

void pod_release(struct pod *p)
{
    if (--p->holds == 0 && p->gone)
        free_pod(p);
    else if (!p->gone)
        pod_poke(p);
}

static void let_go(struct pod *p)
{
    map_remove(&p->agent->pods, str_from(p->uid));
    timer_stop(&p->timer);
    timer_stop(&p->status_retry);
    p->gone = true;
    if (!p->holds)
        free_pod(p);
}

struct pod *pod_find(struct agent *a, struct str uid)
{
    return map_get(&a->pods, uid);
}

struct pod *pod_find_name(struct agent *a, struct str namespace_, struct str name)
{
    struct map_iter it;
    struct str key;
    void *v;
    struct pod *found = NULL;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct pod *p = v;
        if (str_eqz(namespace_, p->namespace_) && str_eqz(name, p->name) && (!found || !p->deleted))
            found = p;
    }
    return found;
}

struct pod_container *pod_container_find(struct pod *p, struct str name)
{
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        if (str_eqz(name, p->containers[i].name))
            return &p->containers[i];
    }
    return NULL;
}

const struct core_v1_container *pod_container_spec(const struct pod_version *v, const struct pod_container *c)
{
    return c->init ? &v->pod->spec->init_containers.items[c->index] : &v->pod->spec->containers.items[c->index];
}

const struct observed_pod *pod_observed(const struct pod *p)
{
    return relist_find(p->agent->relist, str_from(p->uid));
}

void pod_dir(const struct pod *p, char *out, size_t size)
{
    snprintf(out, size, "%s/pods/%s", p->agent->opt.root_dir, p->uid);
}

void pod_log_dir(const struct pod *p, char *out, size_t size)
{
    snprintf(out, size, "%s/%s_%s_%s", p->agent->opt.log_dir, p->namespace_, p->name, p->uid);
}

const char *pod_ip(const struct pod *p)
{
    const struct observed_sandbox *s = observed_newest_sandbox(pod_observed(p));
    if (p->version && p->version->pod->spec->host_network)
        return p->agent->node_ip;
    return s && s->ready ? s->ips[0] : "";
}

void container_set_waiting(struct pod_container *c, const char *reason, const char *message)
{
    free(c->waiting_reason);
    free(c->waiting_message);
    c->waiting_reason = reason ? strdup(reason) : NULL;
    c->waiting_message = message ? strdup(message) : NULL;
}

void container_settle(struct pod_container *c)
{
    c->operating = false;
    c->settled_pass = relist_ticket(c->owner->agent->relist);
}

static void fire(void *arg)
{
    struct pod *p = arg;
    p->queued = false;
    go_on(p);
}

void pod_poke(struct pod *p)
{
    if (p->queued || p->gone || p->agent->stopping)
        return;
    p->queued = true;
    timer_start(&p->timer, p->agent->loop, 0, fire, p);
}

/* ---- what the pure functions see ---- */

void pod_input_fill(struct pod *p, struct arena *a, struct pod_input *ret)
{
    int64_t completed = relist_completed(p->agent->relist);
    struct container_memory *all = ARENA_ARRAY(a, struct container_memory, p->n_init + p->n_main + 1);
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        all[i] = p->containers[i].m;
        all[i].busy = p->containers[i].operating || completed < p->containers[i].settled_pass;
        all[i].hook_running = p->containers[i].hook_running;
        all[i].hash = config_hash(pod_container_spec(p->version, &p->containers[i]));
    }
    *ret = (struct pod_input){.pod = p->version->pod,
                              .observed = pod_observed(p),
                              .init = all,
                              .main = all + p->n_init,
                              .sandbox_busy = p->sandbox_operating || completed < p->sandbox_settled_pass,
                              .sandbox_stopped = p->sandbox_stopped,
                              .sandbox_retry_at_ms = p->sandbox_retry_at_ms,
                              .terminating = p->stage != POD_LIVE,
                              .grace_s = p->grace_s,
                              .now_ms = clock_wall_ms()};
}

static void say_back_off(struct pod *p, struct pod_container *c, const struct backoff *b)
{
    char message[900], field[400];
    int64_t now_ms = clock_wall_ms(), s = b->wait_ms / 1000;
    char wait[32];
    if (s >= 60)
        snprintf(wait, sizeof wait, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    else
        snprintf(wait, sizeof wait, "%llds", (long long)s);
    snprintf(message, sizeof message, "back-off %s restarting failed container=%s pod=%s_%s(%s)", wait, c->name,
             p->name, p->namespace_, p->uid);
    container_set_waiting(c, "CrashLoopBackOff", message);
    if (now_ms < c->next_backoff_event_ms)
        return;
    c->next_backoff_event_ms = now_ms + BACKOFF_EVENT_EVERY_MS;
    snprintf(field, sizeof field, "spec.%s{%s}", c->init ? "initContainers" : "containers", c->name);
    recorder_event(p->agent->recorder, p->version->object, field, "Warning", "BackOff",
                   "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, p->name, p->namespace_, p->uid);
}

static void wake(int64_t *at_ms, int64_t candidate_ms)
{
    if (candidate_ms && (!*at_ms || candidate_ms < *at_ms))
        *at_ms = candidate_ms;
}

static void begin_end(struct pod *p, int64_t grace_s)
{
    p->stage = POD_ENDING;
    p->grace_s = grace_s;
}

static void execute(struct pod *p, const struct pod_action *action, int64_t *wake_ms)
{
    struct pod_container *c =
        action->index == SIZE_MAX ? NULL : &p->containers[action->init ? action->index : p->n_init + action->index];
    bool may_start = p->volumes && pod_volumes_ready(p->volumes);
    switch (action->kind) {
    case POD_CREATE_SANDBOX:
        if (!may_start)
            break;
        if (action->attempt)
            recorder_event(p->agent->recorder, p->version->object, NULL, "Normal", "SandboxChanged",
                           "Pod sandbox changed, it will be killed and re-created.");
        sandbox_create(p, action->attempt);
        break;
    case POD_STOP_SANDBOX:
        sandbox_stop(p, action->id);
        break;
    case POD_START_CONTAINER:
        if (may_start)
            container_start(c, action);
        break;
    case POD_KILL_CONTAINER:
        container_kill(p, c, action);
        break;
    case POD_BACK_OFF:
        say_back_off(p, c, &action->backoff);
        wake(wake_ms, clock_wall_ms() + BACKOFF_EVENT_EVERY_MS);
        break;
    case POD_FINISHED:
        begin_end(p, p->version->pod->spec->termination_grace_period_seconds);
        pod_poke(p);
        break;
    case POD_TERMINATED:
        p->stage = POD_ENDED;
        break;
    }
}

static void act(struct pod *p, int64_t *wake_ms)
{
    struct arena *a = arena_create(0);
    struct pod_input in;
    struct pod_actions actions;
    pod_input_fill(p, a, &in);
    pod_actions_compute(a, &in, &actions);
    wake(wake_ms, actions.wake_at_ms);
    for (size_t i = 0; i < actions.len; i++)
        execute(p, &actions.items[i], wake_ms);
    arena_destroy(a);
}

/* ---- the end ---- */

struct cleaning {
    struct pod *p;
    char cgroup[PATH_MAX];
};

static void remove_cgroup(void *arg)
{
    struct cleaning *c = arg;
    cgroup_remove(c->cgroup);
}

static void cgroup_removed(void *arg)
{
    struct cleaning *c = arg;
    c->p->cleaning = false;
    c->p->stage = POD_CLEAN;
    pod_release(c->p);
    free(c);
}

static void volumes_gone(void *arg, const struct err *err)
{
    struct cleaning *c = arg;
    if (err)
        log_warn("node", "volumes of %s/%s: %s", c->p->namespace_, c->p->name, err->message);
    loop_work(c->p->agent->loop, remove_cgroup, cgroup_removed, c);
}

static void clean(struct pod *p)
{
    struct cleaning *c;
    if (p->cleaning)
        return;
    p->cleaning = true;
    c = calloc(1, sizeof *c);
    c->p = pod_hold(p);
    cgroup_pod_path(c->cgroup, sizeof c->cgroup, p->agent->opt.cgroup_root, qos_of(p->version->pod), p->uid);
    if (!p->volumes)
        p->volumes = pod_volumes_create(p);
    pod_volumes_teardown(p->volumes, volumes_gone, c);
}

struct log_removal {
    char path[PATH_MAX];
};

static void remove_logs(void *arg)
{
    struct err err = ERR_INIT;
    volumes_remove(((struct log_removal *)arg)->path, &err);
}

static void forget(struct pod *p)
{
    struct log_removal *r;
    if (pod_observed(p)) {
        if (!p->sandbox_operating && relist_completed(p->agent->relist) >= p->sandbox_settled_pass)
            sandbox_remove_all(p);
        return;
    }
    r = calloc(1, sizeof *r);
    pod_log_dir(p, r->path, sizeof r->path);
    loop_work(p->agent->loop, remove_logs, free, r);
    let_go(p);
}

/* ---- old containers: one dead one of each name is kept for its logs ---- */

static void dead_dropped(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    (void)arg;
    if (!response && err->code != ERR_NOT_FOUND)
        log_debug("node", "remove an old container: %s", err->message);
}

static void drop_dead(struct pod *p)
{
    const struct observed_pod *o = pod_observed(p);
    for (size_t i = 0; o && i < o->containers.len; i++) {
        struct observed_container *c = o->containers.items[i];
        Runtime__V1__RemoveContainerRequest req = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
        size_t newer = 0;
        if (c->state != OBSERVED_EXITED && c->state != OBSERVED_CREATED)
            continue;
        for (size_t j = 0; j < i; j++)
            newer += strcmp(o->containers.items[j]->name, c->name) == 0;
        if (newer < 2)
            continue;
        if (*c->log_path)
            unlink(c->log_path);
        req.container_id = c->id;
        cri_call(p->agent->cri, RUNTIME_SERVICE, "RemoveContainer", &req.base,
                 &runtime__v1__remove_container_response__descriptor, RUNTIME_TIMEOUT_MS, dead_dropped, NULL);
    }
}

/* ---- the round ---- */

static void judge(struct pod *p, int64_t *wake_ms)
{
    const struct core_v1_pod *pod = p->version->pod;
    const struct object *o = p->version->object;
    int64_t grace = pod->metadata->has_deletion_grace_period_seconds  ? pod->metadata->deletion_grace_period_seconds
                    : pod->spec->has_termination_grace_period_seconds ? pod->spec->termination_grace_period_seconds
                                                                      : 30;
    struct str phase = pod->status->phase;
    if (p->stage == POD_ENDING && (o->deletion_s || p->deleted)) {
        if (p->deleted)
            grace = 0; /* the API has let it go: no reason to wait */
        if (grace < p->grace_s) {
            p->grace_s = grace;
            containers_hurry(p, grace);
        }
    }
    if (p->stage != POD_LIVE)
        return;
    if (o->deletion_s || p->deleted) {
        begin_end(p, p->deleted && !o->deletion_s ? 0 : grace);
    } else if (str_eqz(phase, "Succeeded") || str_eqz(phase, "Failed")) {
        begin_end(p, grace);
    } else if (pod->spec->has_active_deadline_seconds) {
        int64_t at_ms = p->start_time_us / 1000 + pod->spec->active_deadline_seconds * 1000;
        if (clock_wall_ms() < at_ms) {
            wake(wake_ms, at_ms);
            return;
        }
        p->end_reason = strdup("DeadlineExceeded");
        p->end_message = strdup("Pod was active on the node longer than the specified deadline");
        recorder_event(p->agent->recorder, o, NULL, "Normal", "DeadlineExceeded", "%s", p->end_message);
        begin_end(p, grace);
    }
}

static void go_on(struct pod *p)
{
    struct agent *a = p->agent;
    int64_t wake_ms = 0;
    if (a->stopping || !relist_synced(a->relist) || !a->pods_synced || p->gone)
        return;
    if (!p->version) {
        orphan_sync(p);
        return;
    }
    judge(p, &wake_ms);
    if (p->stage == POD_LIVE) {
        if (!p->volumes)
            p->volumes = pod_volumes_create(p);
        if (pod_sources_collect(p))
            pod_volumes_sync(p->volumes);
        drop_dead(p);
    }
    if (p->stage <= POD_ENDING)
        act(p, &wake_ms);
    if (p->stage == POD_ENDED)
        clean(p);
    probes_update(p);
    pod_report(p);
    if (p->stage == POD_CLEAN && p->deleted) {
        forget(p);
        return;
    }
    if (wake_ms && !p->queued) {
        int64_t after = wake_ms - clock_wall_ms();
        timer_start(&p->timer, a->loop, after > 0 ? after + 1 : 1, fire, p);
    }
}

/* ---- what comes from outside ---- */

static void make_containers(struct pod *p)
{
    const struct core_v1_pod_spec *spec = p->version->pod->spec;
    p->n_init = spec->init_containers.len;
    p->n_main = spec->containers.len;
    p->containers = calloc(p->n_init + p->n_main + 1, sizeof *p->containers);
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        struct pod_container *c = &p->containers[i];
        struct str name;
        c->owner = p;
        c->init = i < p->n_init;
        c->index = c->init ? i : i - p->n_init;
        name = pod_container_spec(p->version, c)->name;
        c->name = strndup(name.p, name.len);
    }
}

static struct pod *make_pod(struct agent *a, struct str uid, struct str namespace_, struct str name)
{
    struct pod *p = calloc(1, sizeof *p);
    p->agent = a;
    p->uid = strndup(uid.p, uid.len);
    p->namespace_ = strndup(namespace_.p ? namespace_.p : "", namespace_.len);
    p->name = strndup(name.p, name.len);
    p->first_seen_ms = clock_mono_ms();
    map_put(&a->pods, uid, p);
    return p;
}

static void take_version(struct pod *p, const struct object *now)
{
    struct pod_version *old = p->version;
    p->version = make_version(now);
    if (!p->containers)
        make_containers(p);
    if (!p->start_time_us)
        p->start_time_us = p->version->pod->status->start_time ? p->version->pod->status->start_time
                                                               : clock_wall_ms() / 1000 * 1000000;
    if (old)
        pod_version_put(old);
    if (p->volumes)
        pod_volumes_touch(p->volumes);
}

static void pod_went(struct agent *a, const struct object *o)
{
    struct pod *p = pod_find(a, o->uid);
    if (!p)
        return;
    p->deleted = true;
    pod_poke(p);
}

void agent_pod_changed(struct agent *a, const struct object *old, const struct object *now)
{
    struct pod *p;
    if (old && (!now || !str_eq(old->uid, now->uid)))
        pod_went(a, old);
    if (!now)
        return;
    p = pod_find(a, now->uid);
    if (!p)
        p = make_pod(a, now->uid, now->namespace_, now->name);
    take_version(p, now);
    pod_poke(p);
}

static void poke_all(struct agent *a)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v))
        pod_poke(v);
}

void agent_pods_synced(struct agent *a)
{
    if (a->pods_synced)
        return;
    a->pods_synced = true;
    poke_all(a);
}

void agent_runtime_changed(void *arg, const struct observed_pod *o, bool gone)
{
    struct agent *a = arg;
    struct pod *p = pod_find(a, str_from(o->uid));
    if (!p && !gone)
        p = make_pod(a, str_from(o->uid), str_from(o->namespace_), str_from(o->name));
    if (p)
        pod_poke(p);
}

/* Pods that wait for their own deeds to be seen. */
void agent_runtime_pass(void *arg, bool ok, const char *error)
{
    struct agent *a = arg;
    struct map_iter it;
    struct str key;
    void *v;
    if (!ok && a->runtime_ok)
        log_warn("node", "the container runtime does not answer: %s", error);
    a->runtime_ok = ok;
    snprintf(a->runtime_error, sizeof a->runtime_error, "%s", error);
    if (!ok)
        return;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct pod *p = v;
        bool waits = p->sandbox_settled_pass > 0;
        p->sandbox_settled_pass = p->sandbox_settled_pass <= relist_completed(a->relist) ? 0 : p->sandbox_settled_pass;
        for (size_t i = 0; i < p->n_init + p->n_main; i++) {
            struct pod_container *c = &p->containers[i];
            waits = waits || c->settled_pass > 0;
            c->settled_pass = c->settled_pass <= relist_completed(a->relist) ? 0 : c->settled_pass;
        }
        if (waits || (!a->swept && a->pods_synced))
            pod_poke(p);
    }
}

void agent_pods_finish(struct agent *a)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct pod *p = v;
        timer_stop(&p->timer);
        timer_stop(&p->status_retry);
        for (size_t i = 0; i < p->n_init + p->n_main; i++)
            probes_stop(&p->containers[i]);
    }
}
