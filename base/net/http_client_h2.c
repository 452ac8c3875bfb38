/* HTTP/2 on a connection of the client: all calls are streams of one nghttp2 session.
 *
 * Flow control: the connection's window is opened again as soon as data arrives, so that one held call does not hold up
 * the others; a stream's window only as its call takes the data (h2_taken). */
#include "base/net/http_client_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define STREAM_WINDOW (1024 * 1024)
#define CONNECTION_WINDOW (64 * 1024 * 1024)
#define MAX_HEADER_BYTES (1024 * 1024)

static struct http_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    struct http_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    return call && !call->over ? call : NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    (void)flags;
    (void)user;
    struct http_call *call = call_of(session, frame->hd.stream_id);
    if (!call)
        return 0;
    if (arena_used(call->arena) > MAX_HEADER_BYTES && call->n_got > 1000)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    call_got_header(call, (struct str){(const char *)name, name_len}, (struct str){(const char *)value, value_len});
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct http_call *call = call_of(session, frame->hd.stream_id);
    if (call) {
        call->got = NULL; /* the response's headers stay readable beside the trailers */
        call->n_got = call->cap_got = 0;
    }
    return 0;
}

static void got_headers(struct http_call *call)
{
    if (call->answered) {
        call->trailers = call->got;
        call->n_trailers = call->n_got;
    } else if (call->status >= 200) {
        call_response(call);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_conn *conn = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        conn->goaway = true;
        return 0;
    }
    struct http_call *call = call_of(session, frame->hd.stream_id);
    if (!call || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        got_headers(call);
    if (!call->over && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        call->got_end = true;
        call_end(call, NULL);
    }
    return conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
                         void *user)
{
    (void)flags;
    struct http_conn *conn = user;
    nghttp2_session_consume_connection(session, len);
    conn->want_flush = true;
    struct http_call *call = call_of(session, stream_id);
    if (call)
        call_data(call, (struct str){(const char *)data, len});
    return conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user)
{
    struct http_conn *conn = user;
    struct http_call *call = call_of(session, stream_id);
    if (!call)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (call->ended || call->got_end) {
        call->got_end = true;
        return 0;
    }
    struct err err;
    call->got_end = true; /* no stream is left to reset */
    if (error_code == NGHTTP2_REFUSED_STREAM) {
        err_set(&err, ERR_UNAVAILABLE, "http2: the server refused the stream");
        call_retry(call, &err);
    } else {
        err_set(&err, ERR_UNAVAILABLE, "stream error: stream ID %d; %s", stream_id, nghttp2_http2_strerror(error_code));
        call_end(call, &err);
    }
    return conn->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct http_call *call = frame->hd.type == NGHTTP2_HEADERS ? call_of(session, frame->hd.stream_id) : NULL;
    if (call)
        call->sent = true;
    return 0;
}

int h2_init(struct http_conn *conn)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *opt;
    if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
        abort();
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    if (nghttp2_session_client_new2(&conn->h2, cb, conn, opt))
        abort();
    nghttp2_option_del(opt);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES},
    };
    nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(conn->h2, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
    conn->want_flush = true;
    return 0;
}

void h2_finish(struct http_conn *conn)
{
    nghttp2_session_del(conn->h2);
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)source;
    (void)user;
    struct http_call *call = call_of(session, stream_id);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = call_body_left(call);
    if (!n && !call->out_end)
        return NGHTTP2_ERR_DEFERRED;
    if (n > size)
        n = size;
    if (n) {
        memcpy(out, call->out.p + call->out_at, n);
        call_body_taken(call, n);
    }
    if (call->out_end && !call_body_left(call))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv pair(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)name.p, (uint8_t *)value.p, name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static bool only_http1(struct str name)
{
    return str_eq(name, STR("connection")) || str_eq(name, STR("upgrade")) || str_eq(name, STR("host")) ||
           str_eq(name, STR("keep-alive")) || str_eq(name, STR("transfer-encoding"));
}

void h2_start(struct http_conn *conn, struct http_call *call)
{
    struct http_client *c = conn->client;
    struct str authority = http_headers_get(call->headers, call->n_headers, "host");
    if (!authority.p)
        authority = str_from(c->authority ? c->authority : c->addresses[conn->at].authority);
    nghttp2_nv *nv = ARENA_ARRAY(call->arena, nghttp2_nv, call->n_headers + 5);
    size_t n = 0;
    nv[n++] = pair(STR(":method"), call->method);
    nv[n++] = pair(STR(":scheme"), c->addresses[conn->at].tls ? STR("https") : STR("http"));
    nv[n++] = pair(STR(":authority"), authority);
    nv[n++] = pair(STR(":path"), call->path);
    for (size_t i = 0; i < call->n_headers; i++)
        if (!only_http1(call->headers[i].name))
            nv[n++] = pair(call->headers[i].name, call->headers[i].value);
    bool body = call->streamed || call->out.len;
    if (!call->streamed && call->out.len)
        nv[n++] = pair(STR("content-length"), arena_printf(call->arena, "%zu", call->out.len));
    nghttp2_data_provider provider = {.read_callback = read_body};
    int32_t id = nghttp2_submit_request(conn->h2, NULL, nv, n, body ? &provider : NULL, call);
    call->got_end = false;
    call->stream_id = id > 0 ? id : 0;
    conn->want_flush = true;
    if (id < 0) { /* out of stream numbers: a new connection takes it */
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "http2: %s", nghttp2_strerror(id));
        conn->goaway = true;
        call_end_soon(call, &err);
    }
}

void h2_body(struct http_conn *conn, struct http_call *call)
{
    nghttp2_session_resume_data(conn->h2, call->stream_id);
    conn->want_flush = true;
}

void h2_cancel(struct http_conn *conn, struct http_call *call)
{
    if (!call->stream_id)
        return;
    nghttp2_session_set_stream_user_data(conn->h2, call->stream_id, NULL);
    if (!call->got_end || !call->out_end || call_body_left(call)) {
        nghttp2_submit_rst_stream(conn->h2, NGHTTP2_FLAG_NONE, call->stream_id,
                                  call->got_end ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
        conn->want_flush = true;
    }
}

void h2_taken(struct http_conn *conn, struct http_call *call, size_t n)
{
    nghttp2_session_consume_stream(conn->h2, call->stream_id, n);
    conn->want_flush = true;
}

void h2_feed(struct http_conn *conn, struct str data)
{
    conn->want_flush = true;
    ssize_t n = nghttp2_session_mem_recv(conn->h2, (const uint8_t *)data.p, data.len);
    if (conn->dead)
        return;
    struct err err;
    if (n < 0) {
        err_set(&err, ERR_BAD_REQUEST, "http2: %s", nghttp2_strerror((int)n));
        conn_fail(conn, &err);
    } else if (!nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2)) {
        err_set(&err, ERR_UNAVAILABLE, "http2: connection closed");
        conn_fail(conn, &err);
    }
}

void h2_flush(struct http_conn *conn)
{
    struct buf out = {0};
    conn->want_flush = false;
    /* Stops at the high-water mark of what the socket did not take; conn_drain goes on. */
    for (bool more = true; more && transport_unsent(conn->transport) < HTTP_HIGH_WATER;) {
        out.len = 0;
        while (more && out.len < HTTP_HIGH_WATER) {
            const uint8_t *p;
            ssize_t n = nghttp2_session_mem_send(conn->h2, &p);
            assert(n >= 0);
            more = n > 0;
            buf_add(&out, p, (size_t)n);
        }
        transport_write(conn->transport, out.p, out.len);
    }
    buf_free(&out);
}
