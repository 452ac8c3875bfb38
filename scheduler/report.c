/* What people are told when a pod finds no node: an Event, and the pod's condition PodScheduled. */
#include "scheduler/scheduler_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "openapi/meta/time.h"

enum { NOTE_MAX = 1024 };

static const struct core_v1_pod_condition *find_condition(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status->conditions.len; i++)
        if (str_eqz(pod->status->conditions.items[i].type, "PodScheduled"))
            return &pod->status->conditions.items[i];
    return NULL;
}

static struct value *make_condition(struct arena *a, const struct core_v1_pod *pod, const char *reason,
                                    struct str message)
{
    const struct core_v1_pod_condition *old = find_condition(pod);
    bool same_status = old && str_eqz(old->status, "False");
    if (same_status && str_eqz(old->reason, reason) && str_eq(old->message, message) &&
        old->observed_generation == pod->metadata->generation)
        return NULL;
    struct value *c = value_map(a);
    value_setz(a, c, "type", value_stringz(a, "PodScheduled"));
    if (pod->metadata->generation)
        value_setz(a, c, "observedGeneration", value_int(a, pod->metadata->generation));
    value_setz(a, c, "status", value_stringz(a, "False"));
    value_setz(a, c, "lastProbeTime", value_null(a));
    value_setz(a, c, "lastTransitionTime",
               value_string(a, time_format(a, same_status ? old->last_transition_time : clock_wall_us())));
    value_setz(a, c, "reason", value_stringz(a, reason));
    value_setz(a, c, "message", value_string(a, message));
    return c;
}

static void on_patched(void *arg, const struct client_answer *answer)
{
    (void)arg;
    if (answer->rc < 0 && answer->rc != ERR_NOT_FOUND && answer->rc != ERR_CONFLICT)
        log_warn("scheduler", "status of a pod: %s", answer->err ? answer->err->message : "");
}

static void patch_status(struct scheduler *s, struct arena *a, const struct object *pod, struct value *status)
{
    struct value *body = value_map(a);
    if (!status->map.len)
        return;
    value_set_path(a, body, "metadata.uid", value_string(a, pod->uid));
    value_setz(a, body, "status", status);
    struct client_call call = {.verb = VERB_PATCH,
                               .resource = s->pod_resource,
                               .subresource = STR("status"),
                               .namespace_ = pod->namespace_,
                               .name = pod->name,
                               .body = body,
                               .patch_type = PATCH_TYPE_STRATEGIC,
                               .grace_period_s = -1};
    client_send(s->client, &call, on_patched, NULL);
}

static void set_nominated(struct arena *a, struct value *status, const struct core_v1_pod *pod, struct str nominated)
{
    if (nominated.p && !str_eq(nominated, pod->status->nominated_node_name))
        value_setz(a, status, "nominatedNodeName", nominated.len ? value_string(a, nominated) : value_null(a));
}

void scheduler_report_nominated(struct scheduler *s, const struct object *pod, struct str nominated)
{
    struct arena *a = arena_create(0);
    struct value *status = value_map(a);
    set_nominated(a, status, view_object(a, pod), nominated);
    patch_status(s, a, pod, status);
    arena_destroy(a);
}

void scheduler_report_failure(struct scheduler *s, const struct object *pod, const char *reason, struct str message,
                              struct str nominated)
{
    struct arena *a = arena_create(0);
    struct str note = message.len <= NOTE_MAX ? message : arena_printf(a, "%.*s ...", NOTE_MAX - 4, message.p);
    client_event(s->client, SCHEDULER_NAME, "", pod, "Warning", "FailedScheduling", STR_FMT, STR_ARG(note));
    const struct core_v1_pod *view = view_object(a, pod);
    struct value *status = value_map(a), *condition = make_condition(a, view, reason, message);
    if (condition) {
        struct value *list = value_list(a);
        value_append(a, list, condition);
        value_setz(a, status, "conditions", list);
    }
    set_nominated(a, status, view, nominated);
    patch_status(s, a, pod, status);
    arena_destroy(a);
}
