/* Sandboxes: made with the pod's control group and log directory, stopped, removed. */
#include "node/pod/cgroup.h"
#include "node/pod/config.h"
#include "node/recorder.h"
#include "node/state.h"

#include "base/clock.h"
#include "base/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RETRY_MS 2000

struct sandbox_operation {
    struct pod *p;
    struct pod_version *v;
    uint32_t attempt;
    struct amounts amounts;
    char cgroup[PATH_MAX], log_dir[PATH_MAX], dir[PATH_MAX];
    struct err error;
};

static void settle(struct pod *p)
{
    p->sandbox_operating = false;
    p->sandbox_settled_pass = relist_ticket(p->agent->relist);
}

static void ran(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct sandbox_operation *s = arg;
    struct pod *p = s->p;
    if (!response) {
        recorder_event(p->agent->recorder, s->v->object, NULL, "Warning", "FailedCreatePodSandBox",
                       "Failed to create pod sandbox: rpc error: code = Unknown desc = %s", err->message);
        p->sandbox_retry_at_ms = clock_wall_ms() + RETRY_MS;
        p->next_attempt = s->attempt + 1;
    } else {
        p->sandbox_retry_at_ms = 0;
    }
    settle(p);
    pod_version_put(s->v);
    free(s);
    pod_release(p);
}

static void prepare(void *arg)
{
    struct sandbox_operation *s = arg;
    char *slash = strrchr(s->log_dir, '/');
    *slash = 0;
    mkdir(s->log_dir, 0755);
    *slash = '/';
    mkdir(s->log_dir, 0755);
    mkdir(s->dir, 0750);
    cgroup_pod_create(s->cgroup, &s->amounts, &s->error);
}

static void prepared(void *arg)
{
    struct sandbox_operation *s = arg;
    struct pod *p = s->p;
    Runtime__V1__RunPodSandboxRequest req = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    struct arena *a = arena_create(0);
    p->cgroup_made = s->error.code == 0;
    if (s->error.code)
        log_warn("node", "%s/%s runs without a control group of its own: %s", p->namespace_, p->name, s->error.message);
    req.config = config_sandbox(a, p, s->v, s->attempt);
    cri_call(p->agent->cri, RUNTIME_SERVICE, "RunPodSandbox", &req.base,
             &runtime__v1__run_pod_sandbox_response__descriptor, 240000, ran, s);
    arena_destroy(a);
}

void sandbox_create(struct pod *p, uint32_t attempt)
{
    struct sandbox_operation *s = calloc(1, sizeof *s);
    s->p = pod_hold(p);
    s->v = pod_version_get(p->version);
    s->attempt = attempt > p->next_attempt ? attempt : p->next_attempt;
    s->amounts = pod_amounts(p->version->pod);
    cgroup_pod_path(s->cgroup, sizeof s->cgroup, p->agent->opt.cgroup_root, qos_of(p->version->pod), p->uid);
    pod_log_dir(p, s->log_dir, sizeof s->log_dir);
    pod_dir(p, s->dir, sizeof s->dir);
    p->sandbox_operating = true;
    loop_work(p->agent->loop, prepare, prepared, s);
}

static void stopped(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct pod *p = arg;
    if (response || err->code == ERR_NOT_FOUND)
        p->sandbox_stopped = true;
    else
        log_warn("node", "stop the sandbox of %s/%s: %s", p->namespace_, p->name, err->message);
    settle(p);
    pod_release(p);
}

void sandbox_stop(struct pod *p, const char *id)
{
    Runtime__V1__StopPodSandboxRequest req = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    req.pod_sandbox_id = (char *)id;
    p->sandbox_operating = true;
    cri_call(p->agent->cri, RUNTIME_SERVICE, "StopPodSandbox", &req.base,
             &runtime__v1__stop_pod_sandbox_response__descriptor, RUNTIME_TIMEOUT_MS, stopped, pod_hold(p));
}

static void removed(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct pod *p = arg;
    if (!response && err->code != ERR_NOT_FOUND)
        log_warn("node", "remove a sandbox of %s/%s: %s", p->namespace_, p->name, err->message);
    settle(p);
    pod_release(p);
}

void sandbox_remove_all(struct pod *p)
{
    const struct observed_pod *o = pod_observed(p);
    for (size_t i = 0; o && i < o->sandboxes.len; i++) {
        Runtime__V1__RemovePodSandboxRequest req = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
        req.pod_sandbox_id = o->sandboxes.items[i]->id;
        p->sandbox_operating = true;
        cri_call(p->agent->cri, RUNTIME_SERVICE, "RemovePodSandbox", &req.base,
                 &runtime__v1__remove_pod_sandbox_response__descriptor, RUNTIME_TIMEOUT_MS, removed, pod_hold(p));
    }
}
