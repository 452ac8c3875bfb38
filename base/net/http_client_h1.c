/* HTTP/1.1 on a connection of the client: one call at a time. */
#include "base/net/http_client_internal.h"

#include <assert.h>
#include <stdlib.h>

static struct http_call *call_of(llhttp_t *parser)
{
    struct http_conn *conn = parser->data;
    return conn->dead ? NULL : conn->calls.first;
}

static int on_name(llhttp_t *parser, const char *p, size_t len)
{
    struct http_conn *conn = parser->data;
    buf_add(&conn->name, p, len);
    return conn->name.len > 64 * 1024 ? HPE_USER : 0;
}

static int on_value(llhttp_t *parser, const char *p, size_t len)
{
    struct http_conn *conn = parser->data;
    buf_add(&conn->value, p, len);
    return conn->value.len > 1024 * 1024 ? HPE_USER : 0;
}

static int on_value_complete(llhttp_t *parser)
{
    struct http_conn *conn = parser->data;
    struct http_call *call = call_of(parser);
    if (!call)
        return HPE_USER;
    call_got_header(call, buf_str(&conn->name), buf_str(&conn->value));
    conn->name.len = conn->value.len = 0;
    return call->n_got > 1000 ? HPE_USER : 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_call *call = call_of(parser);
    if (!call)
        return -1;
    call->status = parser->status_code;
    if (call->status < 200 && call->status != 101) {
        call->n_got = 0;
        return 0;
    }
    if (call->status == 101)
        return call->upgrade ? 2 : -1; /* 2: no body, what follows is not HTTP */
    parser->upgrade = 0;
    call_response(call);
    return str_eq(call->method, STR("HEAD")) ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *p, size_t len)
{
    struct http_conn *conn = parser->data;
    struct http_call *call = call_of(parser);
    if (!call)
        return HPE_USER;
    call_data(call, (struct str){p, len});
    if (!call->over && call->paused)
        transport_read(conn->transport, false);
    return conn->dead ? HPE_USER : 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_conn *conn = parser->data;
    if (parser->status_code < 200)
        return 0;
    conn->complete = true;
    conn->keep = llhttp_should_keep_alive(parser) && !conn->client->no_keep_alive;
    return HPE_PAUSED;
}

int h1_init(struct http_conn *conn)
{
    llhttp_settings_init(&conn->settings);
    conn->settings.on_header_field = on_name;
    conn->settings.on_header_value = on_value;
    conn->settings.on_header_value_complete = on_value_complete;
    conn->settings.on_headers_complete = on_headers_complete;
    conn->settings.on_body = on_body;
    conn->settings.on_message_complete = on_message_complete;
    conn->keep = true;
    return 0;
}

void h1_finish(struct http_conn *conn)
{
    buf_free(&conn->name);
    buf_free(&conn->value);
}

static void add_header(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add(out, ": ", 2);
    buf_add_str(out, value);
    buf_add(out, "\r\n", 2);
}

void h1_start(struct http_conn *conn, struct http_call *call)
{
    struct http_client *c = conn->client;
    llhttp_init(&conn->parser, HTTP_RESPONSE, &conn->settings);
    conn->parser.data = conn;
    conn->used = conn->sent_one;
    conn->sent_one = true;
    conn->complete = false;
    transport_read(conn->transport, true);
    struct buf head = {0};
    buf_add_str(&head, call->method);
    buf_add_char(&head, ' ');
    buf_add_str(&head, call->path);
    buf_addz(&head, " HTTP/1.1\r\n");
    if (!http_headers_get(call->headers, call->n_headers, "host").p)
        add_header(&head, STR("host"), str_from(c->authority ? c->authority : c->addresses[conn->at].authority));
    for (size_t i = 0; i < call->n_headers; i++)
        add_header(&head, call->headers[i].name, call->headers[i].value);
    if (c->no_keep_alive && !call->upgrade)
        add_header(&head, STR("connection"), STR("close"));
    if (call->streamed && !call->out_end)
        add_header(&head, STR("transfer-encoding"), STR("chunked"));
    else if (call->out.len || str_eq(call->method, STR("POST")) || str_eq(call->method, STR("PUT")) ||
             str_eq(call->method, STR("PATCH")))
        buf_printf(&head, "content-length: %zu\r\n", call->out.len);
    buf_addz(&head, "\r\n");
    conn->chunked = call->streamed && !call->out_end;
    if (!conn->chunked) {
        buf_add(&head, call->out.p, call->out.len);
        call_body_taken(call, call->out.len);
    }
    call->sent = true;
    transport_write(conn->transport, head.p, head.len);
    buf_free(&head);
    if (conn->chunked)
        h1_body(conn, call);
}

void h1_body(struct http_conn *conn, struct http_call *call)
{
    if (!conn->chunked)
        return;
    size_t left = call_body_left(call);
    struct buf chunk = {0};
    if (left) {
        buf_printf(&chunk, "%zx\r\n", left);
        buf_add(&chunk, call->out.p + call->out_at, left);
        buf_add(&chunk, "\r\n", 2);
        call_body_taken(call, left);
    }
    if (call->out_end)
        buf_addz(&chunk, "0\r\n\r\n");
    transport_write(conn->transport, chunk.p, chunk.len);
    buf_free(&chunk);
}

static void h1_upgraded(struct http_conn *conn, struct str rest)
{
    struct http_call *call = conn->calls.first;
    struct transport *t = conn->transport;
    conn->transport = NULL;
    conn->complete = conn->keep = true; /* unlinking the call has nothing to close */
    call_over(call);
    conn_close(conn);
    stream_begin(conn->client, call, t, rest);
}

void h1_feed(struct http_conn *conn, struct str data)
{
    struct http_call *call = conn->calls.first;
    struct err err;
    if (!call || conn->complete) { /* bytes nobody asked for */
        err_set(&err, ERR_BAD_REQUEST, "net/http: unsolicited response");
        if (!call)
            conn_close(conn);
        else
            conn->keep = false;
        return;
    }
    enum llhttp_errno rc = llhttp_execute(&conn->parser, data.p, data.len);
    if (conn->dead)
        return;
    if (rc == HPE_PAUSED_UPGRADE) {
        const char *at = llhttp_get_error_pos(&conn->parser);
        h1_upgraded(conn, (struct str){at, (size_t)(data.p + data.len - at)});
    } else if (rc == HPE_PAUSED && conn->complete) {
        if (llhttp_get_error_pos(&conn->parser) != data.p + data.len)
            conn->keep = false;
        if (conn->calls.first == call)
            call_end(call, NULL);
    } else if (rc != HPE_OK) {
        err_set(&err, ERR_BAD_REQUEST, "net/http: HTTP/1.x transport connection broken: malformed HTTP response: %s",
                llhttp_get_error_reason(&conn->parser) ? llhttp_get_error_reason(&conn->parser) : "");
        conn_fail(conn, &err);
    }
}

void h1_eof(struct http_conn *conn)
{
    struct http_call *call = conn->calls.first;
    if (!call || conn->complete)
        return;
    enum llhttp_errno rc = llhttp_finish(&conn->parser);
    if ((rc == HPE_OK || rc == HPE_PAUSED) && conn->complete && !conn->dead) {
        conn->keep = false;
        call_end(call, NULL);
    } else if (!conn->dead && call->answered) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "unexpected EOF");
        conn_fail(conn, &err);
    }
}
