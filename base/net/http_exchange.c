#include "base/clock.h"
#include "base/mem.h"
#include "base/net/http_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

/* ---- slices ---- */

void slice_queue_push(struct slice_queue *q, struct slice s)
{
    if (!s.len) {
        ref_put(s.owner);
        return;
    }
    if (q->len == q->cap) {
        if (q->head >= q->cap / 2 && q->head) {
            memmove(q->items, q->items + q->head, (q->len - q->head) * sizeof *q->items);
            q->len -= q->head;
            q->head = 0;
        } else {
            q->cap = q->cap ? q->cap * 2 : 2;
            q->items = mem_realloc(q->items, q->cap * sizeof *q->items);
        }
    }
    q->items[q->len++] = s;
    q->bytes += s.len;
}

void slice_queue_drop(struct slice_queue *q)
{
    for (uint32_t i = q->head; i < q->len; i++)
        ref_put(q->items[i].owner);
    free(q->items);
    *q = (struct slice_queue){0};
}

/* ---- life of an exchange ---- */

struct exchange *exchange_create(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    struct arena *a = w->n_arenas ? w->arenas[--w->n_arenas] : arena_create_small(HTTP_EXCHANGE_BLOCK);
    struct exchange *ex = ARENA_NEW(a, struct exchange);
    ex->pub.arena = a;
    ex->pub.loop = w->loop;
    ex->pub.peer = &c->peer;
    ex->conn = c;
    ex->moved_ms = c->active_ms;
    return ex;
}

void exchange_destroy(struct exchange *ex)
{
    struct http_worker *w = ex->conn->worker;
    struct arena *a = ex->pub.arena;
    if (ex->draining)
        TAILQ_REMOVE(&w->drains, ex, drain_link);
    slice_queue_drop(&ex->out);
    buf_free(&ex->body);
    if (w->n_arenas < HTTP_POOLED_ARENAS) {
        arena_reset(a);
        w->arenas[w->n_arenas++] = a;
    } else {
        arena_destroy(a);
    }
}

void exchange_call(struct exchange *ex)
{
    const struct http_server_options *opt = &ex->conn->worker->server->opt;
    ex->called = true;
    ex->pub.body = ex->pub.body_too_large ? STR_NULL : buf_str(&ex->body);
    opt->handler(opt->arg, &ex->pub);
}

void exchange_closed(struct exchange *ex)
{
    if (!ex->called || ex->finished)
        return;
    ex->finished = true;
    if (ex->pub.on_close)
        ex->pub.on_close(&ex->pub);
}

void exchange_set_target(struct exchange *ex, struct str target)
{
    size_t at;
    /* Absolute form: what a client sends to a proxy, and may send to us. */
    if (str_starts(target, STR("http://")) || str_starts(target, STR("https://"))) {
        struct str rest = str_sub(target, target.p[4] == 's' ? 8 : 7, target.len);
        target = str_index(rest, '/', &at) ? str_sub(rest, at, rest.len) : STR("/");
    }
    if (str_index(target, '?', &at)) {
        ex->pub.path = str_sub(target, 0, at);
        ex->pub.query = str_sub(target, at + 1, target.len);
    } else {
        ex->pub.path = target;
        ex->pub.query = STR_NULL;
    }
}

void exchange_add_body(struct exchange *ex, const void *p, size_t len)
{
    ex->moved_ms = ex->conn->active_ms;
    if (ex->pub.body_too_large)
        return;
    if (ex->body.len + len > ex->conn->worker->server->opt.max_body) {
        ex->pub.body_too_large = true;
        buf_free(&ex->body);
        return;
    }
    buf_add(&ex->body, p, len);
}

void exchange_sent(struct exchange *ex)
{
    if (!ex->over_low || ex->out.bytes >= HTTP_LOW_WATER || ex->finished || ex->draining)
        return;
    ex->over_low = false;
    ex->draining = true;
    TAILQ_INSERT_TAIL(&ex->conn->worker->drains, ex, drain_link);
}

void worker_drain(struct http_worker *w)
{
    struct exchange *ex;
    while ((ex = TAILQ_FIRST(&w->drains))) {
        TAILQ_REMOVE(&w->drains, ex, drain_link);
        ex->draining = false;
        if (!ex->finished && ex->pub.on_drain)
            ex->pub.on_drain(&ex->pub);
    }
}

const char *worker_date(struct http_worker *w)
{
    int64_t now = clock_wall_ms() / 1000;
    if (now != w->date_s) {
        time_t t = (time_t)now;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(w->date, sizeof w->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        w->date_s = now;
    }
    return w->date;
}

/* ---- the handler's calls ---- */

static struct exchange *exchange_of(const struct http_exchange *pub)
{
    struct exchange *ex = (struct exchange *)(uintptr_t)pub;
    assert(!ex->finished && ex->called);
    return ex;
}

struct str http_header_get(const struct http_exchange *ex, const char *lower_case_name)
{
    struct str name = str_from(lower_case_name);
    for (size_t i = 0; i < ex->n_headers; i++)
        if (str_eq(ex->headers[i].name, name))
            return ex->headers[i].value;
    return STR_NULL;
}

static void exchange_take(struct exchange *ex, const struct slice *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ex->no_body)
            ref_put(pieces[i].owner);
        else
            slice_queue_push(&ex->out, pieces[i]);
    }
    if (ex->out.bytes >= HTTP_LOW_WATER)
        ex->over_low = true;
}

static void exchange_start(struct exchange *ex, int status)
{
    assert(!ex->started);
    ex->started = true;
    ex->no_body = str_eqz(ex->pub.method, "HEAD") || status == 204 || status == 304;
}

static struct str decimal(struct arena *a, size_t n)
{
    char *p = arena_alloc(a, 24);
    size_t at = 24;
    do
        p[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return (struct str){p + at, 24 - at};
}

void http_respond(struct http_exchange *pub, int status, const struct http_header *headers, size_t n_headers,
                  const struct slice *body, size_t n_body)
{
    struct exchange *ex = exchange_of(pub);
    exchange_start(ex, status);
    struct http_header *all = ARENA_ARRAY(pub->arena, struct http_header, n_headers + 1);
    if (n_headers)
        memcpy(all, headers, n_headers * sizeof *all);
    size_t bytes = 0;
    for (size_t i = 0; i < n_body; i++)
        bytes += body[i].len;
    if (status != 204 && status != 304)
        all[n_headers++] = (struct http_header){STR("content-length"), decimal(pub->arena, bytes)};
    ex->finished = true;
    if (ex->conn->protocol == PROTOCOL_HTTP2) {
        exchange_take(ex, body, n_body);
        http2_respond(ex, status, all, n_headers, ex->out.bytes > 0);
    } else {
        http1_respond(ex, status, all, n_headers, true);
        exchange_take(ex, body, n_body);
    }
    conn_mark(ex->conn);
}

void http_start(struct http_exchange *pub, int status, const struct http_header *headers, size_t n_headers)
{
    struct exchange *ex = exchange_of(pub);
    exchange_start(ex, status);
    if (ex->conn->protocol == PROTOCOL_HTTP2)
        http2_respond(ex, status, headers, n_headers, true);
    else
        http1_respond(ex, status, headers, n_headers, false);
    conn_mark(ex->conn);
}

void http_send(struct http_exchange *pub, const struct slice *pieces, size_t n)
{
    struct exchange *ex = exchange_of(pub);
    assert(ex->started);
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += pieces[i].len;
    if (ex->conn->protocol == PROTOCOL_HTTP2 || !bytes || !ex->chunked || ex->no_body) {
        exchange_take(ex, pieces, n);
        if (ex->conn->protocol == PROTOCOL_HTTP2)
            http2_resume(ex);
    } else {
        http1_send(ex, pieces, n, bytes);
        if (ex->out.bytes >= HTTP_LOW_WATER)
            ex->over_low = true;
    }
    conn_mark(ex->conn);
}

size_t http_unsent(const struct http_exchange *pub)
{
    return ((const struct exchange *)pub)->out.bytes;
}

void http_finish(struct http_exchange *pub)
{
    struct exchange *ex = exchange_of(pub);
    assert(ex->started);
    ex->finished = true;
    if (ex->conn->protocol == PROTOCOL_HTTP2)
        http2_resume(ex);
    else
        http1_finish(ex);
    conn_mark(ex->conn);
}

void http_finish_trailers(struct http_exchange *pub, const struct http_header *trailers, size_t n)
{
    struct exchange *ex = exchange_of(pub);
    struct http_header *copy = ARENA_ARRAY(pub->arena, struct http_header, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] =
            (struct http_header){arena_str(pub->arena, trailers[i].name), arena_str(pub->arena, trailers[i].value)};
    ex->trailers = copy;
    ex->n_trailers = n;
    http_finish(pub);
}

void http_abort(struct http_exchange *pub)
{
    struct exchange *ex = exchange_of(pub);
    ex->finished = true;
    if (ex->conn->protocol == PROTOCOL_HTTP2) {
        http2_abort(ex);
        conn_mark(ex->conn);
    } else {
        conn_doom(ex->conn);
    }
}
