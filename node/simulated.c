/* Nodes renew their leases spread over the interval: one timer goes round. Pods' deeds are a small queue of due times.
 */
#include "node/simulated.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/node_object.h"
#include "openapi/meta/time.h"

#include <stdio.h>
#include <stdlib.h>

#define LEASE_EVERY_MS 10000
#define IN_FLIGHT_MAX 64
#define START_DELAY_MS 50
#define STOP_DELAY_MS 50
#define RETRY_MS 1000

struct sim_node {
    struct simulation *s;
    char name[300], uid[80];
    bool registered, leased, busy;
};

struct sim_pod { /* one deed at a time: started, then ended */
    struct simulation *s;
    char *namespace_, *name, *uid;
    const struct object *object;
    struct timer timer;
    bool started, ending, in_flight, gone;
};

struct simulation {
    struct agent *agent;
    struct arena *arena;
    struct node_facts facts;
    struct sim_node *nodes;
    size_t n_nodes, next, enrolling;
    int in_flight;
    struct timer round;
    struct map by_name; /* → struct sim_node */
    struct map pods;    /* uid → struct sim_pod */
    uint32_t next_ip;
};

static void act(void *arg);

/* ---- nodes ---- */

static void lease_done(void *arg, const struct client_answer *answer)
{
    struct sim_node *n = arg;
    n->busy = false;
    if (answer->rc == 0 || answer->rc == ERR_ALREADY_EXISTS)
        n->leased = true;
    else if (answer->rc == ERR_NOT_FOUND)
        n->leased = false;
}

static void renew(struct sim_node *n)
{
    struct arena *a = arena_create(0);
    struct value *lease = node_build_lease(a, n->name, n->uid, clock_wall_us()), *patch = value_map(a);
    struct client_call call = {.verb = n->leased ? VERB_PATCH : VERB_CREATE,
                               .grace_period_s = -1,
                               .resource = resource_find(STR("coordination.k8s.io"), STR("leases")),
                               .namespace_ = STR("kube-node-lease"),
                               .patch_type = PATCH_TYPE_MERGE};
    value_set_path(a, patch, "spec.renewTime", value_path(lease, "spec.renewTime"));
    call.body = n->leased ? patch : lease;
    if (n->leased)
        call.name = str_from(n->name);
    n->busy = true;
    client_send(n->s->agent->client, &call, lease_done, n);
    arena_destroy(a);
}

static void enrol_more(struct simulation *s);

static void enrolled(struct sim_node *n, const struct client_answer *answer)
{
    struct simulation *s = n->s;
    s->in_flight--;
    n->busy = false;
    if (answer->object && answer->rc == 0) {
        snprintf(n->uid, sizeof n->uid, STR_FMT, STR_ARG(answer->object->uid));
        n->registered = true;
        renew(n);
    } else {
        log_warn("node", "register %s: %s", n->name, answer->err ? answer->err->message : "no answer");
    }
    enrol_more(s);
}

static void got(void *arg, const struct client_answer *answer)
{
    enrolled(arg, answer);
}

static void created(void *arg, const struct client_answer *answer)
{
    struct sim_node *n = arg;
    struct client_call call = {.verb = VERB_GET,
                               .resource = resource_find(STR(""), STR("nodes")),
                               .grace_period_s = -1,
                               .name = str_from(n->name)};
    if (answer->rc == ERR_ALREADY_EXISTS)
        client_send(n->s->agent->client, &call, got, n);
    else
        enrolled(n, answer);
}

static void enrol(struct sim_node *n)
{
    struct simulation *s = n->s;
    struct arena *a = arena_create(0);
    struct node_facts f = s->facts;
    struct client_call call = {
        .verb = VERB_CREATE, .resource = resource_find(STR(""), STR("nodes")), .grace_period_s = -1};
    size_t i = (size_t)(n - s->nodes);
    f.name = f.hostname = n->name;
    f.address =
        arena_printf(a, "10.%u.%u.%u", 128 + (unsigned)(i >> 16), (unsigned)(i >> 8) & 255, (unsigned)i & 255).p;
    f.now_us = clock_wall_us();
    call.body = node_build(a, &f);
    n->busy = true;
    s->in_flight++;
    client_send(s->agent->client, &call, created, n);
    arena_destroy(a);
}

static void enrol_more(struct simulation *s)
{
    while (s->enrolling < s->n_nodes && s->in_flight < IN_FLIGHT_MAX)
        enrol(&s->nodes[s->enrolling++]);
}

/* A slice of the nodes every hundredth of the interval. */
static void go_round(void *arg)
{
    struct simulation *s = arg;
    size_t share = s->n_nodes / 100 + 1;
    for (size_t i = 0; i < share && i < s->n_nodes; i++) {
        struct sim_node *n = &s->nodes[s->next];
        s->next = (s->next + 1) % s->n_nodes;
        if (n->busy)
            continue;
        if (n->registered)
            renew(n);
        else if (s->enrolling == s->n_nodes)
            enrol(n);
    }
    timer_start(&s->round, s->agent->loop, (int64_t)(LEASE_EVERY_MS * share / s->n_nodes), go_round, s);
}

/* ---- pods ---- */

static void free_pod(struct sim_pod *p)
{
    timer_stop(&p->timer);
    object_put(p->object);
    free(p->namespace_);
    free(p->name);
    free(p->uid);
    free(p);
}

static void acted(void *arg, const struct client_answer *answer)
{
    struct sim_pod *p = arg;
    p->in_flight = false;
    if (p->gone) {
        free_pod(p);
        return;
    }
    if (answer->rc < 0 && answer->rc != ERR_NOT_FOUND && answer->rc != ERR_CONFLICT) {
        if (p->ending)
            p->ending = false;
        else
            p->started = false;
        timer_start(&p->timer, p->s->agent->loop, RETRY_MS, act, p);
    } else if (p->object->deletion_s && !p->ending) {
        timer_start(&p->timer, p->s->agent->loop, STOP_DELAY_MS, act, p);
    }
}

static struct value *condition(struct arena *a, const char *type, struct str now)
{
    struct value *c = value_map(a);
    value_setz(a, c, "type", value_stringz(a, type));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "lastProbeTime", value_null(a));
    value_setz(a, c, "lastTransitionTime", value_string(a, now));
    return c;
}

static struct value *running_status(struct arena *a, struct sim_pod *p, const struct core_v1_pod *pod)
{
    static const char *const types[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                                        "PodScheduled"};
    struct value *v = value_map(a), *list = value_list(a), *ip = value_map(a);
    struct str now = time_format(a, clock_wall_us());
    uint32_t n = ++p->s->next_ip;
    struct str address = arena_printf(a, "10.%u.%u.%u", 64 + ((n >> 16) & 63), (n >> 8) & 255, n & 255);
    value_setz(a, v, "phase", value_stringz(a, "Running"));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        value_append(a, list, condition(a, types[i], now));
    value_setz(a, v, "conditions", list);
    value_setz(a, v, "hostIP", value_stringz(a, "10.128.0.1"));
    value_setz(a, v, "podIP", value_string(a, address));
    list = value_list(a);
    value_setz(a, ip, "ip", value_string(a, address));
    value_append(a, list, ip);
    value_setz(a, v, "podIPs", list);
    value_setz(a, v, "startTime", value_string(a, now));
    list = value_list(a);
    for (size_t i = 0; i < pod->spec->containers.len; i++) {
        struct value *c = value_map(a);
        value_setz(a, c, "name", value_string(a, pod->spec->containers.items[i].name));
        value_set_path(a, c, "state.running.startedAt", value_string(a, now));
        value_setz(a, c, "lastState", value_map(a));
        value_setz(a, c, "ready", value_bool(a, true));
        value_setz(a, c, "restartCount", value_int(a, 0));
        value_setz(a, c, "image", value_string(a, pod->spec->containers.items[i].image));
        value_setz(a, c, "imageID", value_stringz(a, ""));
        value_setz(a, c, "containerID", value_string(a, arena_printf(a, "simulated://%s-%zu", p->uid, i)));
        value_setz(a, c, "started", value_bool(a, true));
        value_append(a, list, c);
    }
    value_setz(a, v, "containerStatuses", list);
    return v;
}

static void act(void *arg)
{
    struct sim_pod *p = arg;
    struct client_call call = {.resource = resource_find(STR(""), STR("pods")),
                               .namespace_ = str_from(p->namespace_),
                               .name = str_from(p->name),
                               .precondition_uid = str_from(p->uid)};
    struct arena *a;
    if (p->in_flight)
        return;
    a = arena_create(0);
    if (p->object->deletion_s) {
        call.verb = VERB_DELETE;
        p->ending = true;
    } else {
        const struct core_v1_pod *pod = view_object(a, p->object);
        struct value *patch = value_map(a);
        value_set_path(a, patch, "metadata.uid", value_stringz(a, p->uid));
        value_setz(a, patch, "status", running_status(a, p, pod));
        call.verb = VERB_PATCH;
        call.patch_type = PATCH_TYPE_MERGE;
        call.subresource = STR("status");
        call.body = patch;
        call.precondition_uid = STR_NULL;
        call.grace_period_s = -1;
        p->started = true;
    }
    p->in_flight = true;
    client_send(p->s->agent->client, &call, acted, p);
    arena_destroy(a);
}

/* The first selectable field of pods that holds a node's name. */
static struct str node_of(const struct object *o)
{
    const struct resource_version *v = resource_storage_version(o->resource);
    for (size_t i = 0; i < o->n_fields && v->selectable[i]; i++) {
        if (strcmp(v->selectable[i], "spec.nodeName") == 0)
            return o->fields[i];
    }
    return STR_NULL;
}

static bool is_running(const struct object *o)
{
    const struct resource_version *v = resource_storage_version(o->resource);
    for (size_t i = 0; i < o->n_fields && v->selectable[i]; i++) {
        if (strcmp(v->selectable[i], "status.phase") == 0)
            return !str_eqz(o->fields[i], "Pending") && o->fields[i].len;
    }
    return false;
}

static void pod_gone(struct simulation *s, const struct object *o)
{
    struct sim_pod *p = map_remove(&s->pods, o->uid);
    if (!p)
        return;
    p->gone = true;
    timer_stop(&p->timer);
    if (!p->in_flight)
        free_pod(p);
}

static void pod_changed(void *arg, const struct object *old, const struct object *now)
{
    struct simulation *s = arg;
    struct sim_pod *p;
    struct str node = now ? node_of(now) : STR_NULL;
    if (old && (!now || !str_eq(old->uid, now->uid)))
        pod_gone(s, old);
    if (!now || !node.len || !map_get(&s->by_name, node))
        return;
    p = map_get(&s->pods, now->uid);
    if (!p) {
        p = calloc(1, sizeof *p);
        *p = (struct sim_pod){.s = s,
                              .namespace_ = strndup(now->namespace_.p, now->namespace_.len),
                              .name = strndup(now->name.p, now->name.len),
                              .uid = strndup(now->uid.p, now->uid.len),
                              .started = is_running(now)};
        map_put(&s->pods, now->uid, p);
    }
    object_put(p->object);
    p->object = object_get(now);
    if (now->deletion_s ? !p->ending : !p->started)
        timer_start(&p->timer, s->agent->loop, now->deletion_s ? STOP_DELAY_MS : START_DELAY_MS, act, p);
}

struct simulation *simulation_start(struct agent *a)
{
    struct simulation *s = calloc(1, sizeof *s);
    struct informer_options pods = {
        .resource = resource_find(STR(""), STR("pods")), .on_change = pod_changed, .arg = s};
    s->agent = a;
    s->arena = arena_create(0);
    node_facts_read(s->arena, &s->facts);
    s->facts.cpu_milli = 32000;
    s->facts.memory = (int64_t)256 << 30;
    s->facts.runtime_version = "simulated://0.1.0";
    s->facts.ready = true;
    s->facts.labels = a->opt.labels;
    s->n_nodes = (size_t)a->opt.simulated;
    s->nodes = calloc(s->n_nodes, sizeof *s->nodes);
    for (size_t i = 0; i < s->n_nodes; i++) {
        s->nodes[i].s = s;
        snprintf(s->nodes[i].name, sizeof s->nodes[i].name, "%s-%zu", a->opt.node_name,
                 (size_t)a->opt.simulated_first + i + 1);
        map_put(&s->by_name, str_from(s->nodes[i].name), &s->nodes[i]);
    }
    enrol_more(s);
    timer_start(&s->round, a->loop, LEASE_EVERY_MS / 2, go_round, s);
    a->pod_informer = client_informer(a->client, &pods);
    return s;
}

void simulation_stop(struct simulation *s)
{
    struct map_iter it;
    struct str key;
    void *v;
    if (!s)
        return;
    timer_stop(&s->round);
    map_iter_init(&it, &s->pods);
    while (map_iter_next(&it, &key, &v))
        timer_stop(&((struct sim_pod *)v)->timer);
}
