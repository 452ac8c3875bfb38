#include "node/node_object.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/cri/api.pb-c.h"
#include "node/images.h"
#include "node/network/network.h"
#include "node/recorder.h"
#include "node/server/server.h"
#include "openapi/json.h"

#include <stdio.h>
#include <stdlib.h>

#define LEASE_EVERY_MS 10000
#define LOOK_EVERY_MS 10000
#define REPORT_EVERY_MS (5 * 60 * 1000)
#define RETRY_MS 500
#define STARTING_LOOK_MS 50 /* until the node is ready for the first time */

struct node_object {
    struct agent *agent;
    void (*registered)(struct agent *a);
    bool is_registered, lease_made, status_in_flight, lease_in_flight;
    bool runtime_ready, network_ready;
    char network_message[300];
    struct timer register_timer, lease_timer, status_timer, runtime_timer;
    char uid[80];
    struct buf last; /* what was reported, without heartbeat times */
    int64_t reported_ms;
    bool was_ready;
    struct arena *status_arena; /* the conditions last accepted, for their transition times */
    struct value *status;
};

static void renew(void *arg);
static void look(void *arg);
static void enrol(void *arg);
static void ask_runtime(void *arg);

static void facts(struct node_object *n, struct arena *a, struct node_facts *f)
{
    struct agent *ag = n->agent;
    *f = (struct node_facts){.name = ag->opt.node_name,
                             .hostname = ag->opt.hostname,
                             .address = ag->node_ip,
                             .labels = ag->opt.labels,
                             .pod_cidr = ag->opt.pod_cidr,
                             .runtime_version = ag->runtime_version,
                             .port = agent_server_port(ag->server),
                             .images = images_value(ag->images, a),
                             .now_us = clock_wall_us()};
    node_facts_read(a, f);
    f->not_ready_reason = "KubeletNotReady";
    if (!ag->runtime_ok) {
        f->not_ready_message = "container runtime is down";
    } else if (!n->runtime_ready) {
        f->not_ready_message = "container runtime status check may not have completed yet";
    } else if (!n->network_ready || (ag->network && !network_ready(ag->network))) {
        f->not_ready_message = arena_printf(a,
                                            "container runtime network not ready: NetworkReady=false "
                                            "reason:NetworkPluginNotReady message:%s",
                                            *n->network_message ? n->network_message : "cni plugin not initialized")
                                   .p;
    } else {
        f->ready = true;
    }
}

/* ---- the runtime's own view ---- */

static void runtime_status(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct node_object *n = arg;
    const Runtime__V1__StatusResponse *answer = (const void *)response;
    bool runtime = false, network = false, changed;
    (void)err;
    n->network_message[0] = 0;
    for (size_t i = 0; answer && answer->status && i < answer->status->n_conditions; i++) {
        const Runtime__V1__RuntimeCondition *c = answer->status->conditions[i];
        if (strcmp(c->type, "RuntimeReady") == 0)
            runtime = c->status;
        if (strcmp(c->type, "NetworkReady") == 0) {
            network = c->status;
            if (!c->status)
                snprintf(n->network_message, sizeof n->network_message, "%s", c->message);
        }
    }
    changed = runtime != n->runtime_ready || network != n->network_ready;
    n->runtime_ready = runtime;
    n->network_ready = network;
    timer_start(&n->runtime_timer, n->agent->loop, runtime && network ? LOOK_EVERY_MS : STARTING_LOOK_MS, ask_runtime,
                n);
    if (changed)
        node_object_touch(n);
}

static void ask_runtime(void *arg)
{
    struct node_object *n = arg;
    Runtime__V1__StatusRequest req = RUNTIME__V1__STATUS_REQUEST__INIT;
    cri_call(n->agent->cri, RUNTIME_SERVICE, "Status", &req.base, &runtime__v1__status_response__descriptor, 10000,
             runtime_status, n);
}

/* ---- status ---- */

static void status_done(void *arg, const struct client_answer *answer)
{
    struct node_object *n = arg;
    n->status_in_flight = false;
    if (answer->rc == ERR_NOT_FOUND) { /* somebody removed the Node: come back */
        n->is_registered = false;
        n->lease_made = false;
        enrol(n);
        return;
    }
    if (answer->rc < 0) {
        log_warn("node", "status of node %s: %s", n->agent->opt.node_name, answer->err->message);
        n->last.len = 0;
        timer_start(&n->status_timer, n->agent->loop, RETRY_MS, look, n);
    }
}

static void node_events(struct node_object *n, bool ready)
{
    if (ready && !n->was_ready)
        recorder_node_event(n->agent->recorder, n->agent->opt.node_name, "Normal", "NodeReady",
                            "Node %s status is now: NodeReady", n->agent->opt.node_name);
    if (!ready && n->was_ready)
        recorder_node_event(n->agent->recorder, n->agent->opt.node_name, "Normal", "NodeNotReady",
                            "Node %s status is now: NodeNotReady", n->agent->opt.node_name);
    n->was_ready = ready;
}

/* The text that decides whether there is news: the status as if it were always the same moment. */
static void news_text(struct buf *out, const struct node_facts *f)
{
    struct arena *a = arena_create(0);
    struct node_facts still = *f;
    still.now_us = 1000000;
    json_encode(out, node_build_status(a, &still, NULL));
    arena_destroy(a);
}

/* A copy of its own: the status came from the one remembered before. */
static void remember_conditions(struct node_object *n, const struct value *status)
{
    struct arena *fresh = arena_create(0);
    struct buf text = {0};
    struct json_options opt = {0};
    struct err err = ERR_INIT;
    struct value *conditions = NULL, *kept = value_map(fresh);
    json_encode(&text, value_getz(status, "conditions"));
    if (json_decode(fresh, arena_str(fresh, buf_str(&text)), &opt, &conditions, &err) == 0)
        value_setz(fresh, kept, "conditions", conditions);
    buf_free(&text);
    arena_destroy(n->status_arena);
    n->status_arena = fresh;
    n->status = kept;
}

static void look(void *arg)
{
    struct node_object *n = arg;
    struct arena *a = arena_create(0);
    struct node_facts f;
    struct buf news = {0};
    int64_t now_ms = clock_mono_ms();
    facts(n, a, &f);
    news_text(&news, &f);
    timer_start(&n->status_timer, n->agent->loop, f.ready ? LOOK_EVERY_MS : STARTING_LOOK_MS, look, n);
    if (!n->is_registered || n->status_in_flight ||
        (str_eq(buf_str(&news), buf_str(&n->last)) && now_ms - n->reported_ms < REPORT_EVERY_MS)) {
        buf_free(&news);
        arena_destroy(a);
        return;
    }
    buf_free(&n->last);
    n->last = news;
    n->reported_ms = now_ms;
    struct arena *keep = arena_create(0);
    struct value *status = node_build_status(keep, &f, n->status), *patch = value_map(a);
    struct client_call call = {.verb = VERB_PATCH,
                               .resource = resource_find(STR(""), STR("nodes")),
                               .subresource = STR("status"),
                               .name = str_from(n->agent->opt.node_name),
                               .body = patch,
                               .patch_type = PATCH_TYPE_STRATEGIC,
                               .grace_period_s = -1};
    value_setz(a, patch, "status", status);
    n->status_in_flight = true;
    client_send(n->agent->client, &call, status_done, n);
    node_events(n, f.ready);
    remember_conditions(n, status);
    arena_destroy(keep);
    arena_destroy(a);
}

void node_object_touch(struct node_object *n)
{
    if (n && n->is_registered)
        timer_start(&n->status_timer, n->agent->loop, 0, look, n);
}

/* ---- lease ---- */

static void lease_done(void *arg, const struct client_answer *answer)
{
    struct node_object *n = arg;
    n->lease_in_flight = false;
    if (answer->rc == 0 || answer->rc == ERR_ALREADY_EXISTS) {
        bool first = !n->lease_made;
        n->lease_made = true;
        if (answer->rc == ERR_ALREADY_EXISTS && first)
            timer_start(&n->lease_timer, n->agent->loop, 0, renew, n);
        return;
    }
    if (answer->rc == ERR_NOT_FOUND)
        n->lease_made = false;
    else
        log_warn("node", "lease of node %s: %s", n->agent->opt.node_name, answer->err->message);
    timer_start(&n->lease_timer, n->agent->loop, RETRY_MS, renew, n);
}

static void renew(void *arg)
{
    struct node_object *n = arg;
    struct arena *a;
    struct value *lease, *patch;
    struct client_call call = {.verb = n->lease_made ? VERB_PATCH : VERB_CREATE,
                               .resource = resource_find(STR("coordination.k8s.io"), STR("leases")),
                               .namespace_ = STR("kube-node-lease"),
                               .grace_period_s = -1,
                               .patch_type = PATCH_TYPE_MERGE};
    timer_start(&n->lease_timer, n->agent->loop, LEASE_EVERY_MS, renew, n);
    if (n->lease_in_flight)
        return;
    a = arena_create(0);
    lease = node_build_lease(a, n->agent->opt.node_name, n->uid, clock_wall_us());
    patch = value_map(a);
    value_set_path(a, patch, "spec.renewTime", value_path(lease, "spec.renewTime"));
    call.body = n->lease_made ? patch : lease;
    if (n->lease_made)
        call.name = str_from(n->agent->opt.node_name);
    n->lease_in_flight = true;
    client_send(n->agent->client, &call, lease_done, n);
    arena_destroy(a);
}

/* ---- registration ---- */

static void say_started(struct node_object *n)
{
    static const char *const reasons[] = {"NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"};
    const char *name = n->agent->opt.node_name;
    recorder_node_event(n->agent->recorder, name, "Normal", "Starting", "Starting kubelet.");
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        recorder_node_event(n->agent->recorder, name, "Normal", reasons[i], "Node %s status is now: %s", name,
                            reasons[i]);
    recorder_node_event(n->agent->recorder, name, "Normal", "NodeAllocatableEnforced",
                        "Updated Node Allocatable limit across pods");
}

static void is_registered(struct node_object *n, const struct object *o)
{
    bool first = !n->uid[0];
    snprintf(n->uid, sizeof n->uid, STR_FMT, STR_ARG(o->uid));
    n->is_registered = true;
    n->last.len = 0;
    timer_start(&n->lease_timer, n->agent->loop, 0, renew, n);
    timer_start(&n->status_timer, n->agent->loop, 0, look, n);
    if (first) {
        say_started(n);
        n->registered(n->agent);
    }
}

static void found(void *arg, const struct client_answer *answer)
{
    struct node_object *n = arg;
    if (answer->rc == 0)
        is_registered(n, answer->object);
    else
        timer_start(&n->register_timer, n->agent->loop, RETRY_MS, enrol, n);
}

static void created(void *arg, const struct client_answer *answer)
{
    struct node_object *n = arg;
    if (answer->rc == 0) {
        is_registered(n, answer->object);
    } else if (answer->rc == ERR_ALREADY_EXISTS) {
        struct client_call call = {.verb = VERB_GET,
                                   .resource = resource_find(STR(""), STR("nodes")),
                                   .name = str_from(n->agent->opt.node_name),
                                   .grace_period_s = -1};
        client_send(n->agent->client, &call, found, n);
    } else {
        log_warn("node", "register node %s: %s", n->agent->opt.node_name, answer->err->message);
        timer_start(&n->register_timer, n->agent->loop, RETRY_MS, enrol, n);
    }
}

static void enrol(void *arg)
{
    struct node_object *n = arg;
    struct arena *a = arena_create(0);
    struct node_facts f;
    struct client_call call = {
        .verb = VERB_CREATE, .resource = resource_find(STR(""), STR("nodes")), .grace_period_s = -1};
    facts(n, a, &f);
    call.body = node_build(a, &f);
    n->was_ready = n->was_ready || f.ready;
    client_send(n->agent->client, &call, created, n);
    arena_destroy(a);
}

static void version_known(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct node_object *n = arg;
    const Runtime__V1__VersionResponse *answer = (const void *)response;
    (void)err;
    if (answer) {
        snprintf(n->agent->runtime_version, sizeof n->agent->runtime_version, "%s://%s", answer->runtime_name,
                 answer->runtime_version);
        snprintf(n->agent->runtime_scheme, sizeof n->agent->runtime_scheme, "%s", answer->runtime_name);
    }
    enrol(n);
}

struct node_object *node_object_create(struct agent *a, void (*registered)(struct agent *a))
{
    struct node_object *n = calloc(1, sizeof *n);
    Runtime__V1__VersionRequest req = RUNTIME__V1__VERSION_REQUEST__INIT;
    n->agent = a;
    n->registered = registered;
    cri_call(a->cri, RUNTIME_SERVICE, "Version", &req.base, &runtime__v1__version_response__descriptor, 10000,
             version_known, n);
    ask_runtime(n);
    return n;
}

void node_object_destroy(struct node_object *n)
{
    if (!n)
        return;
    timer_stop(&n->register_timer);
    timer_stop(&n->lease_timer);
    timer_stop(&n->status_timer);
    timer_stop(&n->runtime_timer);
    arena_destroy(n->status_arena);
    buf_free(&n->last);
    free(n);
}
