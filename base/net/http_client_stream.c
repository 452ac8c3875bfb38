/* What a connection becomes after 101: bytes both ways, until either side closes. */
#include "base/mem.h"
#include "base/net/http_client_internal.h"

#include <assert.h>

static void on_data(void *arg, struct str data)
{
    struct http_stream *s = arg;
    struct http_client *c = s->client;
    client_enter(c);
    if (!s->over)
        s->handler.on_data(s->handler.arg, data);
    client_leave(c);
}

static void on_drain(void *arg)
{
    struct http_stream *s = arg;
    struct http_client *c = s->client;
    client_enter(c);
    if (!s->over && s->draining) {
        s->draining = false;
        if (s->handler.on_drain)
            s->handler.on_drain(s->handler.arg);
    }
    client_leave(c);
}

static void on_end(void *arg, const struct err *err)
{
    (void)err;
    struct http_stream *s = arg;
    struct http_client *c = s->client;
    client_enter(c);
    if (!s->over) {
        s->over = true;
        transport_close(s->transport);
        s->transport = NULL;
        s->handler.on_close(s->handler.arg);
    }
    client_leave(c);
}

void stream_begin(struct http_client *c, struct http_call *call, struct transport *t, struct str rest)
{
    struct http_stream *s = MEM_NEW(struct http_stream);
    s->client = c;
    s->transport = t;
    s->next = c->streams;
    c->streams = s;
    transport_handle(t,
                     &(struct transport_handler){.on_data = on_data, .on_drain = on_drain, .on_end = on_end, .arg = s});
    if (call->handler.on_response)
        call->handler.on_response(call->handler.arg, call->status, call->got, call->n_got);
    if (!s->over && call->handler.on_upgrade)
        call->handler.on_upgrade(call->handler.arg, s);
    if (s->over)
        return;
    if (!s->handler.on_data) { /* nobody wants it */
        http_stream_close(s);
        return;
    }
    if (rest.len)
        s->handler.on_data(s->handler.arg, rest);
}

void http_stream_open(struct http_stream *s, const struct byte_stream_handler *handler)
{
    assert(handler->on_data && handler->on_close);
    s->handler = *handler;
}

void http_stream_write(struct http_stream *s, struct str data)
{
    if (s->over)
        return;
    transport_write(s->transport, data.p, data.len);
    s->draining = s->draining || transport_unsent(s->transport) >= HTTP_LOW_WATER;
}

size_t http_stream_unsent(const struct http_stream *s)
{
    return s->over ? 0 : transport_unsent(s->transport);
}

void http_stream_read(struct http_stream *s, bool on)
{
    if (!s->over)
        transport_read(s->transport, on);
}

void http_stream_close(struct http_stream *s)
{
    if (!s || s->over)
        return;
    struct http_client *c = s->client;
    client_enter(c);
    s->over = true;
    transport_close_after_writes(s->transport);
    s->transport = NULL;
    client_leave(c);
}
