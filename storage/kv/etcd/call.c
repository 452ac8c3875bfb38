/* Unary calls: tried again while that is certain to be harmless, on the next endpoint where that may help. A write
 * whose outcome is unknown (the connection broke after it was sent) is never sent twice: its caller gets
 * ERR_UNAVAILABLE. */
#include "storage/kv/etcd/etcd.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct etcd_call {
    struct etcd *store;
    struct etcd_call *prev, *next;
    const char *path;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response;
    struct grpc_call *grpc;
    struct timer retry;
    int64_t deadline_ms, sent_ms;
    bool safe;
    etcd_call_done *done;
    void *arg;
};

/* ---- trouble ---- */

void etcd_trouble_set(struct etcd *e, const char *text)
{
    if (!text && e->went_back)
        return; /* for good */
    pthread_mutex_lock(&e->trouble_lock);
    bool was = e->in_trouble;
    e->in_trouble = text != NULL;
    if (text)
        snprintf(e->trouble_text, sizeof e->trouble_text, "%s", text);
    pthread_mutex_unlock(&e->trouble_lock);
    if (text && !was)
        log_error("storage", "%s", text);
    else if (!text && was)
        log_info("storage", "etcd at %s answers again", grpc_channel_endpoint(e->channel));
}

const char *etcd_trouble(struct kv *kv)
{
    static _Thread_local char text[sizeof etcd_of(kv)->trouble_text];
    struct etcd *e = etcd_of(kv);

    pthread_mutex_lock(&e->trouble_lock);
    bool in_trouble = e->in_trouble;
    if (in_trouble)
        memcpy(text, e->trouble_text, sizeof text);
    pthread_mutex_unlock(&e->trouble_lock);
    return in_trouble ? text : NULL;
}

/* ---- errors ---- */

static bool says(const struct err *err, const char *words)
{
    return strstr(err->message, words) != NULL;
}

void etcd_translate(const struct etcd *e, const struct err *from, struct err *to)
{
    static const struct {
        const char *words;
        enum err_code code;
    } rows[] = {
        {"required revision has been compacted", ERR_EXPIRED},
        {"database space exceeded", ERR_NO_SPACE},
        {"lease already exists", ERR_ALREADY_EXISTS},
        {"request is too large", ERR_TOO_LARGE},
        {"invalid auth token", ERR_UNAUTHORIZED},
        {"user name is empty", ERR_UNAUTHORIZED},
        {"no leader", ERR_UNAVAILABLE},
    };

    *to = *from;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (says(from, rows[i].words))
            to->code = rows[i].code;
    if (to->code == ERR_UNAVAILABLE || to->code == ERR_TIMEOUT)
        err_context(to, "etcd at %s", grpc_channel_endpoint(e->channel));
}

/* Its token is not known there (any more), or was left out while a new one is asked for, or is older than a change of
 * who may what. */
bool etcd_token_refused(const char *message)
{
    return strstr(message, "invalid auth token") || strstr(message, "user name is empty") ||
           strstr(message, "revision of auth store is old") || strstr(message, "revision in header is old");
}

void etcd_fail_over(struct etcd *e)
{
    int64_t now_ms = clock_mono_ms();

    if (e->n_endpoints < 2 || now_ms - e->failed_over_ms < 1000)
        return;
    e->failed_over_ms = now_ms;
    grpc_channel_fail_over(e->channel);
}

/* ---- a call ---- */

static void call_end(struct etcd_call *c, const ProtobufCMessage *response, const struct err *err)
{
    timer_stop(&c->retry);
    *(c->prev ? &c->prev->next : &c->store->calls) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->done(c->arg, response, err);
    free(c);
}

static void call_send(void *arg);

/* A member that hangs is left long before its connection counts as lost, when there is another one. */
static void listen_on(void *arg)
{
    struct etcd *e = arg;
    int64_t now_ms = clock_mono_ms(), oldest_ms = INT64_MAX;

    for (struct etcd_call *c = e->calls; c; c = c->next)
        if (c->grpc && c->sent_ms < oldest_ms)
            oldest_ms = c->sent_ms;
    if (oldest_ms != INT64_MAX && oldest_ms > e->heard_ms)
        e->heard_ms = oldest_ms;
    if (oldest_ms != INT64_MAX && now_ms - e->heard_ms > ETCD_SILENCE_MS) {
        char text[200];

        e->heard_ms = now_ms;
        snprintf(text, sizeof text, "etcd at %s does not answer", grpc_channel_endpoint(e->channel));
        e->silent = true;
        etcd_trouble_set(e, text);
        etcd_fail_over(e);
    }
    if (e->calls && !e->closing)
        timer_start(&e->listening, e->loop, ETCD_SILENCE_MS / 4, listen_on, e);
}

static void on_answer(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd_call *c = arg;
    struct etcd *e = c->store;
    struct err own;

    c->grpc = NULL;
    if (!err) {
        e->heard_ms = clock_mono_ms();
        if (e->silent)
            etcd_trouble_set(e, NULL);
        e->silent = false;
        call_end(c, response, NULL);
        return;
    }
    bool stuck = says(err, "no leader") || says(err, "request timed out") || says(err, "server stopped") ||
                 err->code == ERR_TIMEOUT;
    bool unsent = says(err, "no leader") || str_starts(str_from(err->message), STR("dial "));
    bool refused = e->user && etcd_token_refused(err->message);
    bool again = refused || unsent || (c->safe && (err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT));

    etcd_translate(e, err, &own);
    if (stuck)
        etcd_fail_over(e);
    if (refused)
        etcd_authenticate(e);
    if (again && clock_mono_ms() + ETCD_RETRY_MS < c->deadline_ms)
        timer_start(&c->retry, e->loop, ETCD_RETRY_MS, call_send, c);
    else
        call_end(c, NULL, &own);
}

static void call_send(void *arg)
{
    struct etcd_call *c = arg;
    int64_t now_ms = clock_mono_ms(), left_ms = c->deadline_ms - now_ms;

    c->sent_ms = now_ms;
    if (!c->store->listening.heap_at)
        timer_start(&c->store->listening, c->store->loop, ETCD_SILENCE_MS / 4, listen_on, c->store);
    if (left_ms < 1)
        left_ms = 1;
    if (c->safe && left_ms > ETCD_TRY_MS)
        left_ms = ETCD_TRY_MS;
    c->grpc = grpc_unary(c->store->channel, c->path, c->request, c->response, left_ms, on_answer, c);
}

void etcd_call(struct etcd *e, const char *path, const ProtobufCMessage *request,
               const ProtobufCMessageDescriptor *response, bool safe, etcd_call_done *done, void *arg)
{
    struct etcd_call *c = MEM_NEW(struct etcd_call);

    *c = (struct etcd_call){.store = e,
                            .next = e->calls,
                            .path = path,
                            .request = request,
                            .response = response,
                            .deadline_ms = clock_mono_ms() + ETCD_CALL_MS,
                            .safe = safe,
                            .done = done,
                            .arg = arg};
    if (e->calls)
        e->calls->prev = c;
    e->calls = c;
    call_send(c);
}

void etcd_calls_end(struct etcd *e, const struct err *err)
{
    while (e->calls) {
        grpc_cancel(e->calls->grpc);
        call_end(e->calls, NULL, err);
    }
}

/* ---- from another thread ---- */

struct blocking {
    struct etcd *store;
    const char *path;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *response;
    bool safe;
    void (*take)(void *arg, const ProtobufCMessage *response);
    void *arg;
    struct kv_waiter waiter;
};

static void blocking_done(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct blocking *b = arg;

    if (!err && b->take)
        b->take(b->arg, response);
    kv_waiter_done(&b->waiter, NULL, err);
}

static void blocking_start(void *arg)
{
    struct blocking *b = arg;

    etcd_call(b->store, b->path, b->request, b->response, b->safe, blocking_done, b);
}

int etcd_call_wait(struct etcd *e, const char *path, const ProtobufCMessage *request,
                   const ProtobufCMessageDescriptor *response, bool safe,
                   void (*take)(void *arg, const ProtobufCMessage *response), void *arg, struct err *err)
{
    struct blocking b = {
        .store = e, .path = path, .request = request, .response = response, .safe = safe, .take = take, .arg = arg};

    assert(loop_current() != e->loop);
    kv_waiter_init(&b.waiter, NULL, NULL, err);
    loop_post(e->loop, blocking_start, &b);
    return kv_waiter_wait(&b.waiter);
}

/* ---- who we are ---- */

static void take_token(void *arg, const ProtobufCMessage *response)
{
    struct etcd *e = arg;

    grpc_channel_set_metadata(e->channel, "token", ((const Etcdserverpb__AuthenticateResponse *)response)->token);
}

static void authenticated(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct etcd *e = arg;

    e->authenticating = false;
    if (err)
        log_warn("storage", "etcd: %s", err->message);
    else
        take_token(e, response);
}

void etcd_authenticate(struct etcd *e)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;

    if (!e->user || e->authenticating)
        return;
    request.name = e->user;
    request.password = e->password;
    e->authenticating = true;
    grpc_channel_set_metadata(e->channel, "token", NULL);
    grpc_unary(e->channel, "/etcdserverpb.Auth/Authenticate", &request.base,
               &etcdserverpb__authenticate_response__descriptor, ETCD_TRY_MS, authenticated, e);
}

int etcd_authenticate_wait(struct etcd *e, struct err *err)
{
    Etcdserverpb__AuthenticateRequest request = ETCDSERVERPB__AUTHENTICATE_REQUEST__INIT;

    request.name = e->user;
    request.password = e->password;
    return etcd_call_wait(e, "/etcdserverpb.Auth/Authenticate", &request.base,
                          &etcdserverpb__authenticate_response__descriptor, true, take_token, e, err);
}
