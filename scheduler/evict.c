/* Preemption carried out: victims are marked and deleted, and the node is kept free for the pod they went for. */
#include "scheduler/preemption.h"
#include "scheduler/scheduler_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "openapi/meta/time.h"

#include <stdlib.h>

/* ---- budgets ---- */

static struct disruption_budget *read_budgets(struct scheduler *s, struct arena *a, size_t *ret_n)
{
    struct object_tree *t = informer_snapshot(s->informers[WATCH_BUDGETS]);
    struct disruption_budget *out = ARENA_ARRAY(a, struct disruption_budget, object_tree_len(t));
    struct object_tree_iter it;
    const struct object *o;
    size_t n = 0;
    object_tree_iter_init(&it, t, STR(""));
    while ((o = object_tree_next(&it))) {
        const struct policy_v1_pod_disruption_budget *b = view_object(a, o);
        struct err err = ERR_INIT;
        struct disruption_budget *d = &out[n];
        if (label_selector_from_view(a, b->spec->selector, &d->selector, &err) < 0)
            continue;
        d->namespace_ = o->namespace_;
        d->allowed = b->status->disruptions_allowed;
        struct str *names = ARENA_ARRAY(a, struct str, b->status->disrupted_pods.len);
        for (size_t i = 0; i < b->status->disrupted_pods.len; i++)
            names[i] = b->status->disrupted_pods.items[i].key;
        d->disrupted = (struct str_array){names, b->status->disrupted_pods.len};
        n++;
    }
    arena_defer(a, (void (*)(void *))object_tree_put, t);
    *ret_n = n;
    return out;
}

/* ---- victims ---- */

struct eviction {
    struct eviction *next, **at; /* among those in flight */
    struct scheduler *scheduler;
    const struct object *victim;
    char *for_uid, *node_name;
    bool marked;
};

static void eviction_free(struct eviction *e)
{
    *e->at = e->next;
    if (e->next)
        e->next->at = e->at;
    object_put(e->victim);
    free(e->for_uid);
    free(e->node_name);
    free(e);
}

void scheduler_drop_evictions(struct scheduler *s)
{
    while (s->evictions)
        eviction_free(s->evictions);
}

static void on_evicted(void *arg, const struct client_answer *answer);

static void delete_victim(struct eviction *e)
{
    struct client_call call = {.verb = VERB_DELETE,
                               .resource = e->victim->resource,
                               .namespace_ = e->victim->namespace_,
                               .name = e->victim->name,
                               .precondition_uid = e->victim->uid,
                               .grace_period_s = -1};
    e->marked = true;
    client_send(e->scheduler->client, &call, on_evicted, e);
}

static void on_evicted(void *arg, const struct client_answer *answer)
{
    struct eviction *e = arg;
    struct scheduler *s = e->scheduler;
    if (answer->rc == 0 && !e->marked) {
        delete_victim(e);
        return;
    }
    struct sched_pod *p = scheduler_find(s, str_from(e->for_uid));
    if (answer->rc == 0) {
        client_event(s->client, SCHEDULER_NAME, "", e->victim, "Normal", "Preempted", "Preempted by pod %s on node %s",
                     e->for_uid, e->node_name);
    } else if (answer->rc != ERR_NOT_FOUND) {
        log_warn("scheduler", "preempting " STR_FMT "/" STR_FMT ": %s", STR_ARG(e->victim->namespace_),
                 STR_ARG(e->victim->name), answer->err ? answer->err->message : "");
        if (p)
            pod_queue_activate(&s->queue, p, clock_mono_ms());
    }
    eviction_free(e);
    scheduler_take_turn(s);
}

static void evict(struct scheduler *s, const struct object *victim, const struct sched_pod *p, struct str node_name)
{
    struct arena *a = s->cycle.arena;
    struct eviction *e = MEM_NEW(struct eviction);
    *e = (struct eviction){.next = s->evictions,
                           .at = &s->evictions,
                           .scheduler = s,
                           .victim = object_get(victim),
                           .for_uid = mem_dup(p->object->uid.p, p->object->uid.len),
                           .node_name = mem_dup(node_name.p, node_name.len)};
    if (e->next)
        e->next->at = &e->next;
    s->evictions = e;
    struct value *condition = value_map(a), *list = value_list(a), *body = value_map(a);
    value_setz(a, condition, "type", value_stringz(a, "DisruptionTarget"));
    if (victim->generation)
        value_setz(a, condition, "observedGeneration", value_int(a, victim->generation));
    value_setz(a, condition, "status", value_stringz(a, "True"));
    value_setz(a, condition, "lastProbeTime", value_null(a));
    value_setz(a, condition, "lastTransitionTime", value_string(a, time_format(a, clock_wall_us())));
    value_setz(a, condition, "reason", value_stringz(a, "PreemptionByScheduler"));
    value_setz(a, condition, "message",
               value_stringz(a, SCHEDULER_NAME ": preempting to accommodate a higher priority pod"));
    value_append(a, list, condition);
    value_set_path(a, body, "metadata.uid", value_string(a, victim->uid));
    value_set_path(a, body, "status.conditions", list);
    struct client_call call = {.verb = VERB_PATCH,
                               .resource = victim->resource,
                               .subresource = STR("status"),
                               .namespace_ = victim->namespace_,
                               .name = victim->name,
                               .body = body,
                               .patch_type = PATCH_TYPE_STRATEGIC,
                               .grace_period_s = -1};
    client_send(s->client, &call, on_evicted, e);
}

/* Pods of lower priority that were to go there look for another place. */
static void dislodge_nominated(struct scheduler *s, struct sched_node *n, const struct sched_pod *p)
{
    for (size_t i = n->nominated.len; i-- > 0;) {
        struct sched_pod *other = n->nominated.items[i];
        if (other == p || other->priority >= p->priority)
            continue;
        snapshot_nominate(&s->snapshot, other, STR_NULL);
        scheduler_report_nominated(s, other->object, STR(""));
        pod_queue_activate(&s->queue, other, clock_mono_ms());
    }
}

struct str scheduler_preempt(struct scheduler *s, struct sched_pod *p, struct str *ret_nominated)
{
    struct arena *a = s->cycle.arena;
    struct preemption found;
    size_t n_budgets;
    struct disruption_budget *budgets = read_budgets(s, a, &n_budgets);
    *ret_nominated = STR_NULL;
    preemption_find(&s->cycle, p, budgets, n_budgets, &found);
    if (!found.node) {
        if (p->nominated.len && !s->cycle.refusal.p)
            *ret_nominated = STR("");
        return arena_printf(a, "no new claims to deallocate, preemption: " STR_FMT, STR_ARG(found.message));
    }
    *ret_nominated = arena_str(a, found.node->name);
    dislodge_nominated(s, found.node, p);
    for (size_t i = 0; i < found.n_victims; i++)
        if (!found.victims[i]->object->deletion_s)
            evict(s, found.victims[i]->object, p, found.node->name);
    return STR_NULL;
}
