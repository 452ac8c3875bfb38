/* Decisions carried out: the pod is assumed on its node at once, so that the next decision counts it, and bound by a
 * request whose answer comes later. A pod may be gone by then: the answer finds it by uid. */
#include "scheduler/scheduler_internal.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

struct binding {
    struct binding *next, **at; /* among those in flight */
    struct scheduler *scheduler;
    const struct object *pod;
    struct str node_name;
};

static void failed(struct binding *b, struct sched_pod *p, const struct client_answer *answer)
{
    struct scheduler *s = b->scheduler;
    if (!p || p->state != POD_BINDING)
        return;
    snapshot_unplace(&s->snapshot, p);
    p->state = POD_IDLE;
    scheduler_note_event(s, EVENT_POD_DELETE, b->node_name);
    if (answer->rc == ERR_NOT_FOUND)
        return; /* the informer will say so */
    char message[ERR_MESSAGE_MAX + 64];
    int n = snprintf(message, sizeof message, "running Bind plugin \"DefaultBinder\": %s",
                     answer->err ? answer->err->message : err_code_name((enum err_code)answer->rc));
    pod_queue_retry(&s->queue, p, clock_mono_ms());
    scheduler_report_failure(s, p->object, "SchedulerError", (struct str){message, (size_t)n}, STR_NULL);
    scheduler_take_turn(s);
}

static void binding_free(struct binding *b)
{
    *b->at = b->next;
    if (b->next)
        b->next->at = b->at;
    object_put(b->pod);
    free((void *)b->node_name.p);
    free(b);
}

void scheduler_drop_bindings(struct scheduler *s)
{
    while (s->bindings)
        binding_free(s->bindings);
}

static void on_bound(void *arg, const struct client_answer *answer)
{
    struct binding *b = arg;
    struct scheduler *s = b->scheduler;
    struct sched_pod *p = scheduler_find(s, b->pod->uid);
    s->n_binding--;
    if (answer->rc < 0)
        failed(b, p, answer);
    else
        client_event(s->client, SCHEDULER_NAME, "", b->pod, "Normal", "Scheduled",
                     "Successfully assigned " STR_FMT "/" STR_FMT " to " STR_FMT, STR_ARG(b->pod->namespace_),
                     STR_ARG(b->pod->name), STR_ARG(b->node_name));
    binding_free(b);
    scheduler_take_turn(s);
}

void scheduler_bind(struct scheduler *s, struct sched_pod *p, struct sched_node *n)
{
    struct arena *a = s->cycle.arena; /* the cycle is over, its arena is free to use */
    struct binding *b = MEM_NEW(struct binding);
    *b = (struct binding){.next = s->bindings,
                          .at = &s->bindings,
                          .scheduler = s,
                          .pod = object_get(p->object),
                          .node_name = {mem_dup(n->name.p, n->name.len), n->name.len}};
    if (b->next)
        b->next->at = &b->next;
    s->bindings = b;
    if (p->nominated.len)
        snapshot_nominate(&s->snapshot, p, STR_NULL);
    snapshot_place(&s->snapshot, p, n->name);
    p->state = POD_BINDING;
    struct value *body = value_map(a), *meta = value_map(a), *target = value_map(a);
    value_setz(a, meta, "name", value_string(a, p->object->name));
    value_setz(a, meta, "namespace", value_string(a, p->object->namespace_));
    value_setz(a, meta, "uid", value_string(a, p->object->uid));
    value_setz(a, target, "kind", value_stringz(a, "Node"));
    value_setz(a, target, "name", value_string(a, n->name));
    value_setz(a, body, "kind", value_stringz(a, "Binding"));
    value_setz(a, body, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, body, "metadata", meta);
    value_setz(a, body, "target", target);
    struct client_call call = {.verb = VERB_CREATE,
                               .resource = s->pod_resource,
                               .subresource = STR("binding"),
                               .namespace_ = p->object->namespace_,
                               .name = p->object->name,
                               .body = body,
                               .grace_period_s = -1};
    s->n_binding++;
    client_send(s->client, &call, on_bound, b);
}
