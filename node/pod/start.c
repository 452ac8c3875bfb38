/* Starting a container: image, configuration, create, start, postStart hook. What goes wrong on the way is why it
 * waits. */
#include "node/images.h"
#include "node/pod/config.h"
#include "node/pod/handlers.h"
#include "node/recorder.h"
#include "node/state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RETRY_MS 10000

struct start_operation {
    struct pod_container *c;
    struct pod *p;
    struct pod_version *v;
    int32_t restart_count;
    char *sandbox_id, *container_id;
    char field[400];
};

static void finish(struct start_operation *s)
{
    struct pod *p = s->p;
    s->c->hook_running = false;
    container_settle(s->c);
    pod_version_put(s->v);
    free(s->sandbox_id);
    free(s->container_id);
    free(s);
    pod_release(p);
}

static void fail(struct start_operation *s, const char *reason, const char *message, bool event)
{
    if (event)
        recorder_event(s->p->agent->recorder, s->v->object, s->field, "Warning", "Failed", "Error: %s", message);
    container_set_waiting(s->c, reason, message);
    s->c->m.retry_at_ms = clock_wall_ms() + RETRY_MS;
    finish(s);
}

static void hooked(void *arg, enum handler_outcome outcome, const char *text)
{
    struct start_operation *s = arg;
    if (outcome != HANDLER_SUCCESS) {
        recorder_event(s->p->agent->recorder, s->v->object, s->field, "Warning", "FailedPostStartHook",
                       "PostStartHook failed");
        log_debug("node", "postStart of %s/%s %s: %s", s->p->namespace_, s->p->name, s->c->name, text);
        container_set_waiting(s->c, "PostStartHookError", "PostStartHook failed");
        s->c->m.kill_message = "FailedPostStartHook";
    }
    finish(s);
}

static void post_start(struct start_operation *s)
{
    const struct core_v1_container *spec = pod_container_spec(s->v, s->c);
    const struct core_v1_lifecycle_handler *hook = spec->lifecycle ? spec->lifecycle->post_start : NULL;
    struct handler h;
    struct handler_target t = {
        .agent = s->p->agent, .container_id = s->container_id, .host = pod_ip(s->p), .container = spec, .hook = true};
    if (!hook) {
        finish(s);
        return;
    }
    h = (struct handler){.exec = hook->exec,
                         .http_get = hook->http_get,
                         .tcp_socket = hook->tcp_socket,
                         .sleep_s = hook->sleep ? hook->sleep->seconds : 0};
    s->c->hook_running = true;
    relist_now(s->p->agent->relist); /* it shows as running meanwhile */
    handler_start(&h, &t, hooked, s);
}

static void started(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct start_operation *s = arg;
    if (!response) {
        fail(s, "RunContainerError", err->message, true);
        return;
    }
    recorder_event(s->p->agent->recorder, s->v->object, s->field, "Normal", "Started", "Container started");
    container_set_waiting(s->c, NULL, NULL);
    post_start(s);
}

static void created(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct start_operation *s = arg;
    const Runtime__V1__CreateContainerResponse *answer = (const void *)response;
    Runtime__V1__StartContainerRequest req = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    if (!answer) {
        fail(s, "CreateContainerError", err->message, true);
        return;
    }
    s->container_id = strdup(answer->container_id);
    recorder_event(s->p->agent->recorder, s->v->object, s->field, "Normal", "Created", "Container created");
    req.container_id = s->container_id;
    cri_call(s->p->agent->cri, RUNTIME_SERVICE, "StartContainer", &req.base,
             &runtime__v1__start_container_response__descriptor, RUNTIME_TIMEOUT_MS, started, s);
}

static void make_log_dir(struct start_operation *s)
{
    char path[PATH_MAX];
    pod_log_dir(s->p, path, sizeof path);
    mkdir(path, 0755);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", s->c->name);
    mkdir(path, 0755);
}

static void have_image(void *arg, const struct image_facts *facts, const char *reason, const char *message)
{
    struct start_operation *s = arg;
    struct err err = ERR_INIT;
    struct arena *a;
    Runtime__V1__CreateContainerRequest req = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    Runtime__V1__ContainerConfig *config;
    const struct observed_sandbox *sandbox = observed_newest_sandbox(pod_observed(s->p));
    if (!facts) {
        fail(s, reason, message, false);
        return;
    }
    if (s->p->stage != POD_LIVE || !sandbox || strcmp(sandbox->id, s->sandbox_id) != 0) {
        finish(s); /* the pod has moved on */
        return;
    }
    a = arena_create(0);
    if (config_container(a, s->c, s->v, facts, s->restart_count, &config, &err) < 0) {
        arena_destroy(a);
        fail(s, "CreateContainerConfigError", err.message, true);
        return;
    }
    make_log_dir(s);
    req.pod_sandbox_id = s->sandbox_id;
    req.config = config;
    req.sandbox_config = config_sandbox(a, s->p, s->v, sandbox->attempt);
    cri_call(s->p->agent->cri, RUNTIME_SERVICE, "CreateContainer", &req.base,
             &runtime__v1__create_container_response__descriptor, RUNTIME_TIMEOUT_MS, created, s);
    arena_destroy(a);
}

void container_start(struct pod_container *c, const struct pod_action *action)
{
    struct start_operation *s = calloc(1, sizeof *s);
    const struct observed_sandbox *sandbox = observed_newest_sandbox(pod_observed(c->owner));
    *s = (struct start_operation){.c = c,
                                  .p = pod_hold(c->owner),
                                  .v = pod_version_get(c->owner->version),
                                  .restart_count = action->restart_count,
                                  .sandbox_id = strdup(sandbox->id)};
    snprintf(s->field, sizeof s->field, "spec.%s{%s}", c->init ? "initContainers" : "containers", c->name);
    c->operating = true;
    c->m.backoff = action->backoff;
    c->m.retry_at_ms = 0;
    c->m.kill_message = NULL;
    image_ensure(c, s->v, have_image, s);
}
