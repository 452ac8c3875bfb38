#include "base/clock.h"
#include "base/mem.h"
#include "base/net/http_conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    HTTP2_STREAM_WINDOW = 1 << 20,
    HTTP2_CONN_WINDOW = 4 << 20,
    /* Go clients cancel watches by the hundred when informers restart; an attacker needs many thousands a second, and
     * meets the bound on concurrent streams first. */
    HTTP2_RESET_BURST = 5000,
    HTTP2_RESETS_PER_S = 500,
    HTTP2_MAX_CONTINUATIONS = 8,
    /* A body behind an answer already given is read and dropped so far, then the stream is reset: some clients lose the
     * answer when a reset comes with it. */
    HTTP2_MAX_DROPPED = 16 << 20,
};

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_conn *c = user;
    c->h2.header_begun_ms = c->active_ms;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct exchange *ex = exchange_create(c);
    ex->stream_id = frame->hd.stream_id;
    TAILQ_INSERT_TAIL(&c->h2.streams, ex, link);
    c->h2.n_streams++;
    c->h2.n_incomplete++;
    nghttp2_session_set_stream_user_data(session, ex->stream_id, ex);
    return 0;
}

static bool set_pseudo(struct exchange *ex, struct str name, struct str value)
{
    if (name.len == 0 || name.p[0] != ':')
        return false;
    if (str_eqz(name, ":method"))
        ex->pub.method = value;
    else if (str_eqz(name, ":path"))
        exchange_set_target(ex, value);
    else if (str_eqz(name, ":authority"))
        ex->pub.authority = value;
    return true;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name_p, size_t name_len,
                     const uint8_t *value_p, size_t value_len, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    struct exchange *ex = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!ex)
        return 0;
    ex->header_bytes += name_len + value_len + 32; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
    if (ex->header_bytes > HTTP_MAX_HEADERS) {
        ex->headers_too_large = true;
        return 0;
    }
    char *bytes = arena_alloc(ex->pub.arena, name_len + value_len + 2);
    memcpy(bytes, name_p, name_len);
    bytes[name_len] = 0;
    memcpy(bytes + name_len + 1, value_p, value_len);
    bytes[name_len + 1 + value_len] = 0;
    struct http_header h = {{bytes, name_len}, {bytes + name_len + 1, value_len}};
    if (set_pseudo(ex, h.name, h.value))
        return 0;
    struct http_header *items = (void *)(uintptr_t)ex->pub.headers;
    ARENA_PUSH(ex->pub.arena, items, ex->pub.n_headers, ex->headers_cap, h);
    ex->pub.headers = items;
    return 0;
}

static void refuse_headers(struct exchange *ex)
{
    static const struct http_header headers[] = {{{"content-type", 12}, {"text/plain; charset=utf-8", 25}}};
    ex->called = ex->started = ex->finished = true;
    slice_queue_push(&ex->out, (struct slice){"431 Request Header Fields Too Large", 35, NULL});
    http2_respond(ex, 431, headers, 1, true);
}

static bool streaming(const struct exchange *ex)
{
    return ex->conn->worker->server->opt.streaming;
}

static void headers_received(struct exchange *ex)
{
    if (ex->headers_too_large) {
        refuse_headers(ex);
        return;
    }
    if (!ex->pub.authority.p)
        ex->pub.authority = http_header_get(&ex->pub, "host");
    if (streaming(ex)) {
        exchange_call(ex);
        return;
    }
    uint64_t length;
    if (!ex->received && str_to_u64(http_header_get(&ex->pub, "content-length"), &length)) {
        if (length > ex->conn->worker->server->opt.max_body) {
            ex->pub.body_too_large = true;
            exchange_call(ex);
        } else {
            /* Memory follows what has come, not what was announced. */
            buf_reserve(&ex->body, length < HTTP_RECORD_SIZE ? (size_t)length : HTTP_RECORD_SIZE);
        }
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_conn *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct exchange *ex = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS)
        c->h2.header_begun_ms = 0;
    if (!ex || ex->received)
        return 0;
    if (end) {
        ex->received = true;
        c->h2.n_incomplete--;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        headers_received(ex);
    if (end && !ex->called)
        exchange_call(ex);
    else if (end && streaming(ex) && !ex->finished && ex->pub.on_data)
        ex->pub.on_data(&ex->pub, STR(""), true);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *p, size_t len, void *user)
{
    (void)flags, (void)user;
    struct exchange *ex = nghttp2_session_get_stream_user_data(session, stream_id);
    if (!ex)
        return 0;
    if (ex->finished) {
        ex->dropped += len;
        if (ex->dropped > HTTP2_MAX_DROPPED)
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
        return 0;
    }
    if (streaming(ex)) {
        ex->moved_ms = ex->conn->active_ms;
        if (ex->pub.on_data)
            ex->pub.on_data(&ex->pub, (struct str){(const char *)p, len}, false);
        return 0;
    }
    exchange_add_body(ex, p, len);
    if (ex->pub.body_too_large && !ex->called)
        exchange_call(ex);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    (void)code;
    struct http_conn *c = user;
    struct exchange *ex = nghttp2_session_get_stream_user_data(session, stream_id);
    if (!ex)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (!ex->received)
        c->h2.n_incomplete--;
    TAILQ_REMOVE(&c->h2.streams, ex, link);
    if (--c->h2.n_streams == 0)
        c->active_ms = clock_mono_ms();
    exchange_closed(ex);
    exchange_destroy(ex);
    return 0;
}

/* ---- sending ---- */

static nghttp2_nv nv_of(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.len, value.len,
                        NGHTTP2_NV_FLAG_NONE};
}

/* The headers behind the body, which end the stream. */
static void submit_trailers(struct exchange *ex)
{
    nghttp2_nv *nv = ARENA_ARRAY(ex->pub.arena, nghttp2_nv, ex->n_trailers);
    for (size_t i = 0; i < ex->n_trailers; i++)
        nv[i] = nv_of(ex->trailers[i].name, ex->trailers[i].value);
    if (nghttp2_submit_trailer(ex->conn->h2.session, ex->stream_id, nv, ex->n_trailers))
        nghttp2_submit_rst_stream(ex->conn->h2.session, NGHTTP2_FLAG_NONE, ex->stream_id, NGHTTP2_INTERNAL_ERROR);
}

static ssize_t read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)session, (void)stream_id, (void)buf, (void)user;
    struct exchange *ex = source->ptr;
    size_t n = ex->out.bytes < length ? ex->out.bytes : length;
    if (!n && !ex->finished) {
        ex->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ex->finished && n == ex->out.bytes)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    if ((*flags & NGHTTP2_DATA_FLAG_EOF) && ex->n_trailers) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(ex);
    }
    return (ssize_t)n;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user)
{
    (void)session, (void)frame;
    struct http_conn *c = user;
    struct exchange *ex = source->ptr;
    sink_write(c, (const char *)head, 9);
    sink_queue(c, &ex->out, length);
    exchange_sent(ex);
    return 0;
}

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

__attribute__((constructor)) static void http2_init(void)
{
    if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, HTTP2_RESET_BURST, HTTP2_RESETS_PER_S);
    nghttp2_option_set_max_continuations(option, HTTP2_MAX_CONTINUATIONS);
}

void http2_open(struct http_conn *c)
{
    c->protocol = PROTOCOL_HTTP2;
    c->peer.http2 = true;
    TAILQ_INIT(&c->h2.streams);
    if (nghttp2_session_server_new2(&c->h2.session, callbacks, c, option))
        abort();
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_MAX_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_MAX_HEADERS},
    };
    nghttp2_submit_settings(c->h2.session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(c->h2.session, NGHTTP2_FLAG_NONE, 0, HTTP2_CONN_WINDOW);
    conn_mark(c);
}

void http2_input(struct http_conn *c, const char *p, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(c->h2.session, (const uint8_t *)p, len);
    if (n < 0)
        conn_doom(c);
    else
        conn_mark(c);
}

void http2_produce(struct http_conn *c)
{
    while (!sink_full(c)) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->h2.session, &p);
        if (n > 0) {
            sink_write(c, (const char *)p, (size_t)n);
            continue;
        }
        if (n < 0)
            conn_doom(c);
        else if (!nghttp2_session_want_read(c->h2.session) && !nghttp2_session_want_write(c->h2.session))
            c->close_after_flush = true;
        return;
    }
}

void http2_respond(struct exchange *ex, int status, const struct http_header *headers, size_t n, bool has_body)
{
    struct http_conn *c = ex->conn;
    nghttp2_nv *nv = ARENA_ARRAY(ex->pub.arena, nghttp2_nv, n + 2);
    char code[4] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10), 0};
    size_t n_nv = 0;
    nv[n_nv++] = nv_of(STR(":status"), (struct str){code, 3});
    for (size_t i = 0; i < n; i++)
        nv[n_nv++] = nv_of(headers[i].name, headers[i].value);
    nv[n_nv++] = nv_of(STR("date"), str_from(worker_date(c->worker)));
    nghttp2_data_provider provider = {.source.ptr = ex, .read_callback = read_data};
    bool body = has_body && !ex->no_body;
    if (nghttp2_submit_response(c->h2.session, ex->stream_id, nv, n_nv, body ? &provider : NULL))
        nghttp2_submit_rst_stream(c->h2.session, NGHTTP2_FLAG_NONE, ex->stream_id, NGHTTP2_INTERNAL_ERROR);
    conn_mark(c);
}

void http2_resume(struct exchange *ex)
{
    if (!ex->deferred)
        return;
    ex->deferred = false;
    nghttp2_session_resume_data(ex->conn->h2.session, ex->stream_id);
}

void http2_abort(struct exchange *ex)
{
    nghttp2_submit_rst_stream(ex->conn->h2.session, NGHTTP2_FLAG_NONE, ex->stream_id, NGHTTP2_INTERNAL_ERROR);
}

void http2_go_away(struct http_conn *c)
{
    nghttp2_session *s = c->h2.session;
    if (c->h2.going_away)
        return;
    c->h2.going_away = true;
    nghttp2_submit_goaway(s, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s), NGHTTP2_NO_ERROR, NULL, 0);
}

bool http2_expired(struct http_conn *c, int64_t now_ms)
{
    struct http2 *h = &c->h2;
    if (h->header_begun_ms && now_ms - h->header_begun_ms > HTTP_HEADERS_TIMEOUT_MS)
        return true;
    if (h->n_streams == 0 && now_ms - c->active_ms > HTTP_IDLE_TIMEOUT_MS) {
        http2_go_away(c);
        conn_mark(c);
    }
    struct exchange *ex;
    if (h->n_incomplete)
        TAILQ_FOREACH(ex, &h->streams, link)
    if (!ex->received && (!ex->called || ex->finished) && now_ms - ex->moved_ms > HTTP_BODY_TIMEOUT_MS) {
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, ex->stream_id, NGHTTP2_CANCEL);
        conn_mark(c);
    }
    return false;
}

void http2_close(struct http_conn *c)
{
    struct exchange *ex;
    while ((ex = TAILQ_FIRST(&c->h2.streams))) {
        TAILQ_REMOVE(&c->h2.streams, ex, link);
        exchange_closed(ex);
        exchange_destroy(ex);
    }
    nghttp2_session_del(c->h2.session);
    c->h2.session = NULL;
}
