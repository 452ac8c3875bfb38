#include "node/cri/cri.h"
#include "base/mem.h"
#include "base/net/grpc.h"
#include "node/cri/api.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

struct cri_pending {
    struct cri *cri;
    struct cri_pending *prev, *next;
    cri_done *done;
    void *arg;
};

struct cri {
    struct grpc_channel *channel;
    struct cri_pending *pending;
    struct grpc_call *events;
    void (*on_event)(void *arg, const struct Runtime__V1__ContainerEventResponse *event);
    void (*on_events_done)(void *arg, const struct err *err);
    void *events_arg;
};

int cri_create(struct loop *loop, const char *endpoint, struct cri **ret, struct err *err)
{
    const char *endpoints[] = {endpoint, NULL};
    struct grpc_channel *channel;
    int rc = grpc_channel_create(
        loop, &(struct grpc_channel_options){.endpoints = endpoints, .authority = "localhost", .user_agent = "skiff"},
        &channel, err);
    if (rc < 0)
        return err_context(err, "container runtime");
    *ret = MEM_NEW(struct cri);
    (*ret)->channel = channel;
    return 0;
}

void cri_destroy(struct cri *c)
{
    if (!c)
        return;
    grpc_channel_destroy(c->channel);
    for (struct cri_pending *p = c->pending, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(c);
}

/* ERR_NOT_FOUND, ERR_UNAVAILABLE and ERR_TIMEOUT are what the agent decides by; the rest is the runtime's trouble. */
static const struct err *narrowed(const struct err *err, struct err *own)
{
    if (!err || err->code == ERR_NOT_FOUND || err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT)
        return err;
    *own = *err;
    own->code = ERR_INTERNAL;
    return own;
}

static void on_answer(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct cri_pending p = *(struct cri_pending *)arg;
    struct err own;
    *(p.prev ? &p.prev->next : &p.cri->pending) = p.next;
    if (p.next)
        p.next->prev = p.prev;
    free(arg);
    p.done(p.arg, response, narrowed(err, &own));
}

void cri_call(struct cri *c, const char *service, const char *method, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *response, int64_t timeout_ms, cri_done *done, void *arg)
{
    char path[128];
    snprintf(path, sizeof path, "/%s/%s", service, method);
    struct cri_pending *p = MEM_NEW(struct cri_pending);
    *p = (struct cri_pending){.cri = c, .next = c->pending, .done = done, .arg = arg};
    if (c->pending)
        c->pending->prev = p;
    c->pending = p;
    grpc_unary(c->channel, path, request, response, timeout_ms, on_answer, p);
}

static void on_event(void *arg, const ProtobufCMessage *message)
{
    struct cri *c = arg;
    c->on_event(c->events_arg, (const struct Runtime__V1__ContainerEventResponse *)message);
}

static void on_events_done(void *arg, const struct err *err)
{
    struct cri *c = arg;
    c->events = NULL;
    c->on_events_done(c->events_arg, err);
}

void cri_events(struct cri *c, void (*on_each)(void *arg, const struct Runtime__V1__ContainerEventResponse *event),
                void (*on_done)(void *arg, const struct err *err), void *arg)
{
    cri_events_stop(c);
    c->on_event = on_each;
    c->on_events_done = on_done;
    c->events_arg = arg;
    Runtime__V1__GetEventsRequest request = RUNTIME__V1__GET_EVENTS_REQUEST__INIT;
    struct grpc_stream_handler handler = {.on_message = on_event, .on_done = on_events_done, .arg = c};
    c->events = grpc_stream(c->channel, "/runtime.v1.RuntimeService/GetContainerEvents",
                            &runtime__v1__container_event_response__descriptor, 0, &handler);
    grpc_send(c->events, &request.base);
    grpc_send_end(c->events);
}

void cri_events_stop(struct cri *c)
{
    grpc_cancel(c->events);
    c->events = NULL;
}
