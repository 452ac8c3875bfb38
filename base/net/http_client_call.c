/* Calls: their life between http_call_start and on_done, wherever they stand (waiting, or on a connection). */
#include "base/net/http_client_internal.h"

#include <assert.h>

#define MAX_TRIES 5 /* times a call is sent again because the peer says that it did not process it */

/* ---- lists ---- */

void call_list_add(struct http_call_list *l, struct http_call *call)
{
    call->prev = l->last;
    call->next = NULL;
    *(l->last ? &l->last->next : &l->first) = call;
    l->last = call;
}

void call_list_add_first(struct http_call_list *l, struct http_call *call)
{
    call->next = l->first;
    call->prev = NULL;
    *(l->first ? &l->first->prev : &l->last) = call;
    l->first = call;
}

void call_list_remove(struct http_call_list *l, struct http_call *call)
{
    *(call->prev ? &call->prev->next : &l->first) = call->next;
    *(call->next ? &call->next->prev : &l->last) = call->prev;
    call->prev = call->next = NULL;
}

/* ---- calls ---- */

static void on_wake(void *arg);

static void call_unlink(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    if (!conn) {
        call_list_remove(&call->client->waiting, call);
        return;
    }
    call_list_remove(&conn->calls, call);
    call->conn = NULL;
    if (conn->dead)
        return;
    if (conn->h2)
        h2_cancel(conn, call);
    else if (!conn->complete || !conn->keep || conn->goaway)
        conn_close(conn); /* HTTP/1.1 cannot take a request back */
}

void call_over(struct http_call *call)
{
    if (call->over)
        return;
    call_unlink(call);
    call->over = true;
    timer_stop(&call->deadline);
    timer_stop(&call->wake);
    call_list_add(&call->client->over, call);
}

static void call_finish(struct http_call *call, const struct err *err)
{
    struct http_call_handler handler = call->handler;
    if (!err && call->n_trailers && handler.on_trailers)
        handler.on_trailers(handler.arg, call->trailers, call->n_trailers);
    if (call->over)
        return;
    call_over(call);
    handler.on_done(handler.arg, err);
}

void call_end(struct http_call *call, const struct err *err)
{
    if (call->over || call->ended)
        return;
    if (!call->paused) {
        call_finish(call, err);
        return;
    }
    call->ended = true;
    if (err)
        call->end_err = arena_memdup(call->arena, err, sizeof *err);
}

void call_end_soon(struct http_call *call, const struct err *err)
{
    call->ended = true;
    call->end_err = arena_memdup(call->arena, err, sizeof *err);
    timer_start(&call->wake, call->client->loop, 0, on_wake, call);
}

void call_retry(struct http_call *call, const struct err *err)
{
    if (call->over)
        return;
    if (call->answered || call->body_began || ++call->tries > MAX_TRIES) {
        call_end(call, err);
        return;
    }
    call_unlink(call);
    call->sent = false;
    call->out_at = 0;
    call->n_got = 0;
    call->status = 0;
    call->stream_id = 0;
    call_list_add_first(&call->client->waiting, call);
}

void call_got_header(struct http_call *call, struct str name, struct str value)
{
    if (str_eq(name, STR(":status"))) {
        int64_t status = 0;
        str_to_i64(value, &status);
        call->status = (int)status;
        return;
    }
    struct http_header h = {arena_str(call->arena, name), arena_str(call->arena, value)};
    for (size_t i = 0; i < h.name.len; i++)
        if (h.name.p[i] >= 'A' && h.name.p[i] <= 'Z')
            ((char *)h.name.p)[i] = (char)(h.name.p[i] | 0x20);
    ARENA_PUSH(call->arena, call->got, call->n_got, call->cap_got, h);
}

void call_response(struct http_call *call)
{
    call->answered = true;
    if (call->handler.on_response)
        call->handler.on_response(call->handler.arg, call->status, call->got, call->n_got);
}

void call_data(struct http_call *call, struct str data)
{
    if (!data.len)
        return;
    if (call->paused || call->held.len) {
        buf_add(&call->held, data.p, data.len);
        return;
    }
    if (call->conn && call->conn->h2)
        h2_taken(call->conn, call, data.len);
    if (call->handler.on_data)
        call->handler.on_data(call->handler.arg, data);
}

size_t call_body_left(const struct http_call *call)
{
    return call->out.len - call->out_at;
}

void call_body_taken(struct http_call *call, size_t n)
{
    call->out_at += n;
    if (!call->streamed)
        return;
    call->body_began = true;
    if (call->out_at == call->out.len || call->out_at > HTTP_LOW_WATER) {
        buf_drop_front(&call->out, call->out_at);
        call->out_at = 0;
    }
    if (call->draining && call_body_left(call) < HTTP_LOW_WATER && !call->wake.heap_at)
        timer_start(&call->wake, call->client->loop, 0, on_wake, call);
}

static void on_deadline(void *arg)
{
    struct http_call *call = arg;
    struct http_client *c = call->client;
    client_enter(c);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "context deadline exceeded");
    call_finish(call, &err);
    client_leave(c);
}

static void on_wake(void *arg)
{
    struct http_call *call = arg;
    struct http_client *c = call->client;
    client_enter(c);
    if (call->held.len && !call->paused) {
        struct buf held = call->held;
        call->held = (struct buf){0};
        call_data(call, buf_str(&held));
        buf_free(&held);
    }
    if (!call->over && call->draining && call_body_left(call) < HTTP_LOW_WATER) {
        call->draining = false;
        if (call->handler.on_drain)
            call->handler.on_drain(call->handler.arg);
    }
    if (!call->over && call->ended && !call->paused && !call->held.len)
        call_finish(call, call->end_err);
    client_leave(c);
}

struct http_call *http_call_start(struct http_client *c, const struct http_call_options *opt)
{
    struct arena *a = arena_create(0);
    struct http_call *call = ARENA_NEW(a, struct http_call);
    call->client = c;
    call->arena = a;
    call->method = arena_str(a, opt->method);
    call->path = opt->path.len ? arena_str(a, opt->path) : STR("/");
    call->headers = ARENA_ARRAY(a, struct http_header, opt->n_headers + 2);
    for (size_t i = 0; i < opt->n_headers; i++)
        call->headers[call->n_headers++] =
            (struct http_header){arena_str(a, opt->headers[i].name), arena_str(a, opt->headers[i].value)};
    if (c->token && !opt->no_token)
        call->headers[call->n_headers++] =
            (struct http_header){STR("authorization"), arena_printf(a, "Bearer %s", c->token)};
    if (c->user_agent)
        call->headers[call->n_headers++] =
            (struct http_header){STR("user-agent"), arena_str(a, str_from(c->user_agent))};
    buf_add(&call->out, opt->body.p, opt->body.len);
    call->streamed = opt->body_streamed;
    call->out_end = !opt->body_streamed;
    call->upgrade = opt->upgrade;
    call->handler = opt->handler;
    if (opt->timeout_ms > 0)
        timer_start(&call->deadline, c->loop, opt->timeout_ms, on_deadline, call);
    client_enter(c);
    call_list_add(&c->waiting, call);
    client_leave(c);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (!call || call->over)
        return;
    struct http_client *c = call->client;
    client_enter(c);
    call_over(call);
    client_leave(c);
}

void http_call_read(struct http_call *call, bool on)
{
    if (call->over || call->paused == !on)
        return;
    struct http_client *c = call->client;
    client_enter(c);
    call->paused = !on;
    if (call->conn && !call->conn->h2 && call->conn->transport && call->conn->ready)
        transport_read(call->conn->transport, on);
    if (on && (call->held.len || call->ended))
        timer_start(&call->wake, c->loop, 0, on_wake, call);
    client_leave(c);
}

static void call_more_body(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    if (conn && conn->ready && !conn->dead)
        (conn->h2 ? h2_body : h1_body)(conn, call);
}

void http_call_write(struct http_call *call, struct str data)
{
    assert(call->streamed && !call->out_end);
    if (call->over)
        return;
    struct http_client *c = call->client;
    client_enter(c);
    buf_add(&call->out, data.p, data.len);
    call_more_body(call);
    call->draining = call->draining || http_call_unsent(call) >= HTTP_LOW_WATER;
    client_leave(c);
}

size_t http_call_unsent(const struct http_call *call)
{
    size_t n = call_body_left(call);
    if (call->conn && !call->conn->h2 && call->conn->transport)
        n += transport_unsent(call->conn->transport);
    return n;
}

void http_call_finish(struct http_call *call)
{
    assert(call->streamed);
    if (call->over || call->out_end)
        return;
    struct http_client *c = call->client;
    client_enter(c);
    call->out_end = true;
    call_more_body(call);
    client_leave(c);
}

struct str http_headers_get(const struct http_header *headers, size_t n, const char *lower_case_name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(headers[i].name, lower_case_name))
            return headers[i].value;
    return STR_NULL;
}
