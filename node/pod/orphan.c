/* A pod that the runtime has and the API has not: deleted while the agent was away. It ends as gracefully as what is
 * stored with its containers allows, and everything of it goes. */
#include "node/cri/api.pb-c.h"
#include "node/pod/cgroup.h"
#include "node/state.h"
#include "node/volumes/plan.h"

#include "base/log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct removal {
    struct agent *agent;
    struct pod *p;
    char dir[PATH_MAX], logs[PATH_MAX], cgroups[3][PATH_MAX];
};

static void remove_files(void *arg)
{
    struct removal *r = arg;
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 3; i++)
        cgroup_remove(r->cgroups[i]);
    if (volumes_remove(r->dir, &err) < 0)
        log_warn("node", "%s", err.message);
    volumes_remove(r->logs, &err);
}

static void files_removed(void *arg)
{
    struct removal *r = arg;
    struct pod *p = r->p;
    p->gone = true;
    if (map_get(&p->agent->pods, str_from(p->uid)) == p)
        map_remove(&p->agent->pods, str_from(p->uid));
    free(r);
    pod_release(p);
}

static void stopped(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct pod *p = arg;
    if (!response && err->code != ERR_NOT_FOUND)
        log_warn("node", "stop what is left of %s/%s: %s", p->namespace_, p->name, err->message);
    p->sandbox_operating = false;
    p->sandbox_settled_pass = relist_ticket(p->agent->relist);
    pod_release(p);
}

static void remove_rest(struct pod *p)
{
    struct removal *r;
    if (p->cleaning)
        return;
    p->cleaning = true;
    r = calloc(1, sizeof *r);
    r->p = pod_hold(p);
    pod_dir(p, r->dir, sizeof r->dir);
    pod_log_dir(p, r->logs, sizeof r->logs);
    for (size_t i = 0; i < 3; i++)
        cgroup_pod_path(r->cgroups[i], sizeof r->cgroups[i], p->agent->opt.cgroup_root, (enum qos)i, p->uid);
    loop_work(p->agent->loop, remove_files, files_removed, r);
}

void orphan_sync(struct pod *p)
{
    const struct observed_pod *o = pod_observed(p);
    if (p->sandbox_operating || relist_completed(p->agent->relist) < p->sandbox_settled_pass)
        return;
    if (!o) {
        remove_rest(p);
        return;
    }
    for (size_t i = 0; i < o->containers.len; i++) {
        Runtime__V1__StopContainerRequest req = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
        struct observed_container *c = o->containers.items[i];
        if (c->state != OBSERVED_RUNNING)
            continue;
        req.container_id = c->id;
        req.timeout = c->grace_s >= 0 ? c->grace_s : 30;
        p->sandbox_operating = true;
        cri_call(p->agent->cri, RUNTIME_SERVICE, "StopContainer", &req.base,
                 &runtime__v1__stop_container_response__descriptor, (req.timeout + 60) * 1000, stopped, pod_hold(p));
    }
    if (p->sandbox_operating)
        return;
    for (size_t i = 0; !p->sandbox_stopped && i < o->sandboxes.len; i++)
        sandbox_stop(p, o->sandboxes.items[i]->id);
    if (!p->sandbox_operating)
        sandbox_remove_all(p);
    if (!p->sandbox_operating && !o->sandboxes.len) { /* containers without a sandbox */
        for (size_t i = 0; i < o->containers.len; i++) {
            Runtime__V1__RemoveContainerRequest req = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
            req.container_id = o->containers.items[i]->id;
            p->sandbox_operating = true;
            cri_call(p->agent->cri, RUNTIME_SERVICE, "RemoveContainer", &req.base,
                     &runtime__v1__remove_container_response__descriptor, RUNTIME_TIMEOUT_MS, stopped, pod_hold(p));
        }
    }
}
