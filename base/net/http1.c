#include "base/mem.h"
#include "base/net/http_conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { HTTP1_MAX_PIPELINED = 64 * 1024 };

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Request Entity Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Requested Range Not Satisfiable"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Status";
}

/* ---- parser callbacks ---- */

static struct http_conn *conn_of(llhttp_t *p)
{
    return p->data;
}

static int reject(struct http_conn *c, int status, const char *text)
{
    c->h1.reject = status;
    c->h1.reject_text = text;
    return HPE_USER;
}

static int on_begin(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct http1 *h = &c->h1;
    assert(!h->ex);
    h->ex = exchange_create(c);
    h->begun_ms = c->active_ms;
    h->header = (struct http_header){0};
    h->in_value = h->headers_done = false;
    h->keep_alive = true;
    return 0;
}

static int append(struct http_conn *c, struct str *to, const char *p, size_t len)
{
    struct exchange *ex = c->h1.ex;
    ex->header_bytes += len;
    if (ex->header_bytes > HTTP_MAX_HEADERS)
        return reject(c, 431, NULL);
    char *all = to->p ? arena_grow(ex->pub.arena, (void *)(uintptr_t)to->p, to->len, to->len + len)
                      : arena_alloc(ex->pub.arena, len);
    memcpy(all + to->len, p, len);
    *to = (struct str){all, to->len + len};
    return 0;
}

static int on_method(llhttp_t *p, const char *at, size_t len)
{
    return append(conn_of(p), &conn_of(p)->h1.ex->pub.method, at, len);
}

static int on_url(llhttp_t *p, const char *at, size_t len)
{
    return append(conn_of(p), &conn_of(p)->h1.ex->pub.path, at, len);
}

static void header_done(struct http_conn *c)
{
    struct http1 *h = &c->h1;
    struct exchange *ex = h->ex;
    if (!h->header.name.p)
        return;
    h->header.value = str_trim(h->header.value);
    if (!h->header.value.p)
        h->header.value = STR("");
    struct http_header *items = (void *)(uintptr_t)ex->pub.headers;
    ARENA_PUSH(ex->pub.arena, items, ex->pub.n_headers, ex->headers_cap, h->header);
    ex->pub.headers = items;
    ex->header_bytes += sizeof h->header; /* many empty ones cost too */
    h->header = (struct http_header){0};
    h->in_value = false;
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);
    struct http1 *h = &c->h1;
    if (h->headers_done)
        return 0; /* a trailer */
    if (h->in_value)
        header_done(c);
    size_t from = h->header.name.len;
    int rc = append(c, &h->header.name, at, len);
    if (rc)
        return rc;
    char *name = (char *)(uintptr_t)h->header.name.p;
    for (; from < h->header.name.len; from++)
        if (name[from] >= 'A' && name[from] <= 'Z')
            name[from] = (char)(name[from] + ('a' - 'A'));
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);
    if (c->h1.headers_done)
        return 0;
    c->h1.in_value = true;
    return append(c, &c->h1.header.value, at, len);
}

static int on_value_complete(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    if (!c->h1.headers_done)
        header_done(c);
    return 0;
}

static void call(struct http_conn *c)
{
    c->h1.busy = true;
    exchange_call(c->h1.ex);
}

static int on_headers(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct exchange *ex = c->h1.ex;
    c->h1.headers_done = true;
    exchange_set_target(ex, ex->pub.path);
    ex->pub.authority = http_header_get(&ex->pub, "host");
    if (!ex->pub.authority.p && p->http_major == 1 && p->http_minor == 1)
        return reject(c, 400, "missing required Host header");
    bool expects = str_eq_nocase(http_header_get(&ex->pub, "expect"), STR("100-continue"));
    if (p->flags & F_CONTENT_LENGTH && p->content_length > c->worker->server->opt.max_body) {
        ex->pub.body_too_large = true;
        c->h1.keep_alive = false;
        call(c);
    } else if (expects && (p->flags & F_CHUNKED || p->content_length)) {
        slice_queue_push(&ex->out, (struct slice){"HTTP/1.1 100 Continue\r\n\r\n", 25, NULL});
        conn_mark(c);
    }
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);
    struct exchange *ex = c->h1.ex;
    exchange_add_body(ex, at, len);
    if (ex->pub.body_too_large && !ex->called) {
        c->h1.keep_alive = false;
        call(c);
    }
    return 0;
}

static int on_complete(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct exchange *ex = c->h1.ex;
    ex->received = true;
    c->h1.keep_alive = c->h1.keep_alive && llhttp_should_keep_alive(p) && !c->worker->stopping;
    if (!ex->called)
        call(c);
    return HPE_PAUSED;
}

static llhttp_settings_t settings;

__attribute__((constructor)) static void settings_init(void)
{
    llhttp_settings_init(&settings);
    settings.on_message_begin = on_begin;
    settings.on_method = on_method;
    settings.on_url = on_url;
    settings.on_header_field = on_field;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers;
    settings.on_body = on_body;
    settings.on_message_complete = on_complete;
}

/* ---- receiving ---- */

void http1_open(struct http_conn *c)
{
    c->protocol = PROTOCOL_HTTP1;
    llhttp_init(&c->h1.parser, HTTP_REQUEST, &settings);
    c->h1.parser.data = c;
}

/* An answer without a handler: the connection ends with it. */
static void http1_refuse(struct http_conn *c, int status, const char *text)
{
    struct http1 *h = &c->h1;
    if (!h->ex)
        h->ex = exchange_create(c);
    struct exchange *ex = h->ex;
    if (ex->called) { /* being answered, too-large or not: what follows makes no sense any more */
        conn_doom(c);
        return;
    }
    ex->called = ex->started = ex->finished = true;
    h->busy = true;
    h->keep_alive = false;
    h->reject = status;
    char out[512];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%d %s%s%s",
                     status, status_text(status), status, status_text(status), text ? ": " : "", text ? text : "");
    slice_queue_push(&ex->out, slice_copy(out, (size_t)n));
    conn_mark(c);
}

/* Feeds the parser; keeps what follows a complete request. */
static void http1_parse(struct http_conn *c, const char *p, size_t len)
{
    struct http1 *h = &c->h1;
    enum llhttp_errno e = llhttp_execute(&h->parser, p, len);
    if (e == HPE_OK)
        return;
    if (e != HPE_PAUSED) {
        http1_refuse(c, h->reject ? h->reject : 400, h->reject_text);
        return;
    }
    size_t used = (size_t)(llhttp_get_error_pos(&h->parser) - p);
    if (c->protocol == PROTOCOL_RAW) {
        buf_add(&c->raw->in, p + used, len - used);
        c->input_due = c->raw->in.len > 0;
    } else {
        buf_add(&h->in, p + used, len - used);
    }
}

void http1_input(struct http_conn *c, const char *p, size_t len)
{
    struct http1 *h = &c->h1;
    if (h->reject || c->close_after_flush)
        return;
    if (h->busy && h->ex->received) {
        /* Pipelined behind the request being answered. */
        if (len)
            buf_add(&h->in, p, len);
        if (h->in.len > HTTP1_MAX_PIPELINED)
            conn_pause(c, true);
        return;
    }
    if (h->in.len) {
        struct buf all = h->in;
        h->in = (struct buf){0};
        if (len)
            buf_add(&all, p, len);
        http1_parse(c, all.p, all.len);
        buf_free(&all);
    } else if (len) {
        http1_parse(c, p, len);
    }
}

/* ---- answering ---- */

/* Names are in lower case inside; HTTP/1.1 shows them as people write them. */
static void add_header(struct buf *out, struct str name, struct str value)
{
    bool first = true;
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.p[i];
        buf_add_char(out, first && ch >= 'a' && ch <= 'z' ? (char)(ch - ('a' - 'A')) : ch);
        first = ch == '-';
    }
    buf_add(out, ": ", 2);
    buf_add_str(out, value);
    buf_add(out, "\r\n", 2);
}

void http1_respond(struct exchange *ex, int status, const struct http_header *headers, size_t n, bool whole)
{
    struct http_conn *c = ex->conn;
    struct http1 *h = &c->h1;
    bool has_length = whole || ex->no_body, old = h->parser.http_minor == 0;
    struct buf out = {0};
    buf_reserve(&out, 512);
    buf_addz(&out, "HTTP/1.1 ");
    buf_add_i64(&out, status);
    buf_add_char(&out, ' ');
    buf_addz(&out, status_text(status));
    buf_addz(&out, "\r\n");
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(headers[i].name, "content-length"))
            has_length = true;
        add_header(&out, headers[i].name, headers[i].value);
    }
    add_header(&out, STR("date"), str_from(worker_date(c->worker)));
    ex->chunked = !has_length && !old;
    if (ex->chunked)
        buf_addz(&out, "Transfer-Encoding: chunked\r\n");
    if ((!has_length && old) || c->worker->stopping)
        h->keep_alive = false;
    if (!h->keep_alive)
        buf_addz(&out, "Connection: close\r\n");
    else if (old)
        buf_addz(&out, "Connection: keep-alive\r\n");
    buf_addz(&out, "\r\n");
    size_t len = out.len;
    slice_queue_push(&ex->out, slice_take(out.p, len));
}

void http1_send(struct exchange *ex, const struct slice *pieces, size_t n, size_t bytes)
{
    char head[24];
    int len = snprintf(head, sizeof head, "%zx\r\n", bytes);
    slice_queue_push(&ex->out, slice_copy(head, (size_t)len));
    for (size_t i = 0; i < n; i++)
        slice_queue_push(&ex->out, pieces[i]);
    slice_queue_push(&ex->out, (struct slice){"\r\n", 2, NULL});
}

void http1_finish(struct exchange *ex)
{
    if (ex->chunked && !ex->no_body)
        slice_queue_push(&ex->out, (struct slice){"0\r\n\r\n", 5, NULL});
}

/* The answer is out: on to the next request, or the end. */
static void http1_next(struct http_conn *c)
{
    struct http1 *h = &c->h1;
    struct exchange *ex = h->ex;
    if (!ex->received || !h->keep_alive || h->reject) {
        c->close_after_flush = true;
        return;
    }
    h->ex = NULL;
    h->busy = false;
    exchange_destroy(ex);
    llhttp_reset(&h->parser); /* also when it expects an upgrade that was answered plainly */
    if (c->paused) {
        conn_pause(c, false);
    } else if (h->in.len) {
        c->input_due = true;
        conn_mark(c);
    }
}

void http1_produce(struct http_conn *c)
{
    struct exchange *ex = c->h1.ex;
    if (!ex || c->close_after_flush)
        return;
    while (ex->out.bytes && !sink_full(c))
        sink_queue(c, &ex->out, HTTP_RECORD_SIZE);
    exchange_sent(ex);
    if (ex->finished && !ex->out.bytes)
        http1_next(c);
}

bool http1_expired(struct http_conn *c, int64_t now_ms)
{
    const struct http1 *h = &c->h1;
    if (h->busy)
        return false;
    if (!h->ex)
        return now_ms - c->active_ms > HTTP_IDLE_TIMEOUT_MS;
    if (!h->headers_done)
        return now_ms - h->begun_ms > HTTP_HEADERS_TIMEOUT_MS;
    return now_ms - h->ex->moved_ms > HTTP_BODY_TIMEOUT_MS;
}

void http1_close(struct http_conn *c)
{
    struct exchange *ex = c->h1.ex;
    if (ex) {
        exchange_closed(ex);
        c->h1.ex = NULL;
        exchange_destroy(ex);
    }
    buf_free(&c->h1.in);
}

/* ---- after 101 ---- */

int http_upgrade(struct http_exchange *pub, const struct http_header *headers, size_t n_headers,
                 const struct byte_stream_handler *handler, struct byte_stream **ret, struct err *err)
{
    struct exchange *ex = (struct exchange *)pub;
    struct http_conn *c = ex->conn;
    assert(ex->called && !ex->finished && !ex->started);
    if (c->protocol != PROTOCOL_HTTP1)
        return err_set(err, ERR_BAD_REQUEST, "an upgrade needs HTTP/1.1");
    if (!ex->received || !c->h1.parser.upgrade)
        return err_set(err, ERR_BAD_REQUEST, "the request does not ask for an upgrade");
    struct byte_stream *s = MEM_NEW(struct byte_stream);
    s->conn = c;
    s->handler = *handler;
    struct buf out = {0};
    buf_addz(&out, "HTTP/1.1 101 Switching Protocols\r\n");
    for (size_t i = 0; i < n_headers; i++)
        add_header(&out, headers[i].name, headers[i].value);
    buf_addz(&out, "\r\n");
    size_t len = out.len;
    slice_queue_push(&s->out, slice_take(out.p, len));
    ex->finished = true;
    c->spent = ex;
    c->h1.ex = NULL;
    c->protocol = PROTOCOL_RAW;
    c->raw = s;
    /* The request may have been answered after its follow-up bytes came. */
    s->in = c->h1.in;
    c->h1.in = (struct buf){0};
    c->input_due = s->in.len > 0;
    conn_pause(c, false);
    conn_mark(c);
    *ret = s;
    return 0;
}

void raw_input(struct http_conn *c, const char *p, size_t len)
{
    struct byte_stream *s = c->raw;
    if (s->closing)
        return;
    if (!s->in.len) {
        if (len)
            s->handler.on_data(s->handler.arg, (struct str){p, len});
        return;
    }
    struct buf all = s->in;
    s->in = (struct buf){0};
    if (len)
        buf_add(&all, p, len);
    s->handler.on_data(s->handler.arg, buf_str(&all));
    buf_free(&all);
}

void raw_produce(struct http_conn *c)
{
    struct byte_stream *s = c->raw;
    while (s->out.bytes && !sink_full(c))
        sink_queue(c, &s->out, HTTP_RECORD_SIZE);
    if (s->closing && !s->out.bytes) {
        c->close_after_flush = true;
    } else if (s->over_low && s->out.bytes < HTTP_LOW_WATER && !s->closing) {
        s->over_low = false;
        s->drain_due = true;
    }
}

/* The handler's word on the way down; the stream goes with its connection. */
void raw_close(struct http_conn *c)
{
    struct byte_stream *s = c->raw;
    if (!s)
        return;
    if (!s->closing) {
        s->closing = true;
        if (s->handler.on_close)
            s->handler.on_close(s->handler.arg);
    }
    slice_queue_drop(&s->out);
    buf_free(&s->in);
    free(s);
    c->raw = NULL;
}

void byte_stream_write(struct byte_stream *s, const struct slice *pieces, size_t n)
{
    assert(!s->closing);
    for (size_t i = 0; i < n; i++)
        slice_queue_push(&s->out, pieces[i]);
    if (s->out.bytes >= HTTP_LOW_WATER)
        s->over_low = true;
    conn_mark(s->conn);
}

size_t byte_stream_unsent(const struct byte_stream *s)
{
    return s->out.bytes;
}

void byte_stream_read(struct byte_stream *s, bool on)
{
    conn_pause(s->conn, !on);
}

void byte_stream_close(struct byte_stream *s)
{
    assert(!s->closing);
    s->closing = true;
    conn_mark(s->conn);
}
