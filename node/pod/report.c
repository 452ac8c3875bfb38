/* What the API is told: the status whenever it differs from what was last accepted, and at the end the object's
 * removal. */
#include "node/pod/status.h"
#include "node/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "node/logs/tail.h"
#include "openapi/json.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_MS 1000
#define TERMINATION_MESSAGE_MAX 4096
#define LOG_FALLBACK_MAX 2048
#define LOG_FALLBACK_LINES 80

static const char *termination_message(void *arg, struct arena *a, const struct observed_container *o)
{
    char *text;
    ssize_t n = 0;
    int fd;
    (void)arg;
    if (*o->termination_path && (fd = open(o->termination_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) >= 0) {
        text = arena_alloc(a, TERMINATION_MESSAGE_MAX + 1);
        n = read(fd, text, TERMINATION_MESSAGE_MAX);
        close(fd);
        if (n > 0) {
            text[n] = 0;
            return text;
        }
    }
    if (o->fallback_to_logs && o->exit_code != 0)
        return log_tail_text(a, o->log_path, LOG_FALLBACK_LINES, LOG_FALLBACK_MAX);
    return NULL;
}

static void retry(void *arg)
{
    pod_poke(arg);
}

struct sending {
    struct pod *p;
    char *text;
    bool final;
};

static void status_sent(void *arg, const struct client_answer *answer)
{
    struct sending *s = arg;
    struct pod *p = s->p;
    p->status_in_flight = false;
    if (answer->rc == 0) {
        free(p->status_sent);
        p->status_sent = s->text;
        s->text = NULL;
        p->final_status_sent = s->final;
        pod_poke(p);
    } else if (answer->rc == ERR_NOT_FOUND || answer->rc == ERR_CONFLICT) {
        p->final_status_sent = s->final; /* it is gone, or another has its name: nothing left to tell */
        if (!p->gone)
            timer_start(&p->status_retry, p->agent->loop, RETRY_MS, retry, p);
    } else {
        log_warn("node", "status of %s/%s: %s", p->namespace_, p->name, answer->err->message);
        if (!p->gone)
            timer_start(&p->status_retry, p->agent->loop, RETRY_MS, retry, p);
    }
    free(s->text);
    free(s);
    pod_release(p);
}

static void removed(void *arg, const struct client_answer *answer)
{
    struct pod *p = arg;
    p->delete_in_flight = false;
    if (answer->rc < 0 && answer->rc != ERR_NOT_FOUND && answer->rc != ERR_CONFLICT) {
        log_warn("node", "remove %s/%s: %s", p->namespace_, p->name, answer->err->message);
        if (!p->gone)
            timer_start(&p->status_retry, p->agent->loop, RETRY_MS, retry, p);
    }
    pod_release(p);
}

static void remove_object(struct pod *p)
{
    struct client_call call = {.verb = VERB_DELETE,
                               .resource = resource_find(STR(""), STR("pods")),
                               .namespace_ = str_from(p->namespace_),
                               .name = str_from(p->name),
                               .grace_period_s = 0,
                               .precondition_uid = str_from(p->uid)};
    if (p->delete_in_flight)
        return;
    p->delete_in_flight = true;
    client_send(p->agent->client, &call, removed, pod_hold(p));
}

static void waits(struct pod *p, struct waiting *init, struct waiting *mains)
{
    for (size_t i = 0; i < p->n_init + p->n_main; i++) {
        struct waiting w = {p->containers[i].waiting_reason, p->containers[i].waiting_message};
        if (i < p->n_init)
            init[i] = w;
        else
            mains[i - p->n_init] = w;
    }
}

/* A merge patch: what our part of the status no longer has is set to null. */
static struct value *patch_of(struct arena *a, struct pod *p, struct value *status, const struct value *current)
{
    static const char *const optional[] = {
        "message", "reason", "podIP", "podIPs", "hostIP", "hostIPs", "initContainerStatuses"};
    struct value *patch = value_map(a), *meta = value_map(a);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        if (value_getz(current, optional[i]) && !value_getz(status, optional[i]))
            value_setz(a, status, optional[i], value_null(a));
    }
    value_setz(a, meta, "uid", value_stringz(a, p->uid));
    value_setz(a, patch, "metadata", meta);
    value_setz(a, patch, "status", status);
    return patch;
}

static bool same(const struct value *status, const struct value *current)
{
    for (size_t i = 0; i < status->map.len; i++) {
        if (!value_semantic_equal(status->map.members[i].value, value_get(current, status->map.members[i].key)))
            return false;
    }
    return true;
}

static void send_status(struct pod *p, struct arena *a, struct value *status, const struct value *current, bool final)
{
    struct buf text = {0};
    struct sending *s;
    struct client_call call = {.verb = VERB_PATCH,
                               .resource = resource_find(STR(""), STR("pods")),
                               .subresource = STR("status"),
                               .namespace_ = str_from(p->namespace_),
                               .name = str_from(p->name),
                               .patch_type = PATCH_TYPE_MERGE,
                               .grace_period_s = -1};
    json_encode(&text, status);
    buf_add_char(&text, 0);
    if (!p->status_sent && same(status, current))
        p->status_sent = strdup(text.p); /* as it was before the agent started */
    if (p->status_sent && strcmp(p->status_sent, text.p) == 0) {
        p->final_status_sent = final;
        buf_free(&text);
        return;
    }
    s = calloc(1, sizeof *s);
    *s = (struct sending){.p = pod_hold(p), .text = text.p, .final = final};
    p->status_in_flight = true;
    call.body = patch_of(a, p, status, current);
    client_send(p->agent->client, &call, status_sent, s);
}

void pod_report(struct pod *p)
{
    struct arena *a;
    struct pod_input input;
    struct status_input in;
    struct value *object, *status;
    const struct value *current;
    bool final;
    if (!p->version || p->deleted || p->status_in_flight)
        return;
    a = arena_create(0);
    pod_input_fill(p, a, &input);
    object = object_value(a, p->version->object);
    current = value_getz(object, "status");
    in = (struct status_input){.input = &input,
                               .current = current,
                               .runtime = p->agent->runtime_scheme,
                               .host_ip = p->agent->node_ip,
                               .end_reason = p->end_reason,
                               .end_message = p->end_message,
                               .start_time_us = p->start_time_us,
                               .now_us = clock_wall_us(),
                               .ended = p->stage >= POD_ENDED,
                               .termination_message = termination_message};
    struct waiting *init = ARENA_ARRAY(a, struct waiting, p->n_init + 1);
    struct waiting *mains = ARENA_ARRAY(a, struct waiting, p->n_main + 1);
    waits(p, init, mains);
    in.init_waiting = init;
    in.main_waiting = mains;
    status = pod_status_build(a, &in);
    final = p->stage == POD_CLEAN;
    send_status(p, a, status, current, final);
    if (final && p->final_status_sent && !p->status_in_flight && p->version->object->deletion_s)
        remove_object(p);
    arena_destroy(a);
}
