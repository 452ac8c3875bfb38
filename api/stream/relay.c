#include "api/stream/relay.h"

#include "api/server.h"
#include "base/net/http_client.h"

#include <stdlib.h>

#define ERROR_TEXT_MAX 2048
#define CONNECT_TIMEOUT_MS 10000

struct relay {
    struct chain_request *request; /* NULL once it has been answered or handed over */
    struct loop *loop;
    struct arena *arena; /* headers of the answer */
    enum relay_kind kind;
    struct str url;
    struct http_client *client;
    struct http_call *call;   /* NULL before and after */
    struct http_stream *up;   /* towards the target, after 101 */
    struct byte_stream *down; /* towards our client, after 101 */
    struct http_header *headers;
    size_t n_headers;
    int status;
    bool started, paused, closed;
    struct buf text; /* of a failure */
};

/* ---- the end ---- */

static void destroy(void *arg)
{
    struct relay *r = arg;
    http_client_destroy(r->client);
    buf_free(&r->text);
    arena_destroy(r->arena);
    free(r);
}

/* Once; callbacks of the client may still be on the stack, so memory goes in the next turn of the loop. */
static void relay_close(struct relay *r)
{
    if (r->closed)
        return;
    r->closed = true;
    if (r->call)
        http_call_cancel(r->call);
    if (r->up)
        http_stream_close(r->up);
    if (r->down)
        byte_stream_close(r->down);
    r->call = NULL;
    r->up = NULL;
    r->down = NULL;
    loop_post(r->loop, destroy, r);
}

static struct chain_request *request_take(struct relay *r)
{
    struct chain_request *c = r->request;
    r->request = NULL;
    c->req.on_gone = NULL;
    c->req.on_drain = NULL;
    return c;
}

static void on_gone(struct api_request *req)
{
    struct relay *r = req->state;
    struct chain_request *c = request_take(r);
    relay_close(r);
    chain_end(c, 499);
}

static void fail(struct relay *r, const struct err *err)
{
    struct chain_request *c = request_take(r);
    relay_close(r);
    api_answer_err(&c->req, err);
}

/* ---- the answer ---- */

static bool hop_by_hop(struct str name)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "content-length",
                                        "date"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eqz(name, names[i]))
            return true;
    return false;
}

static void headers_keep(struct relay *r, const struct http_header *headers, size_t n, bool all)
{
    r->headers = ARENA_ARRAY(r->arena, struct http_header, n + 1);
    for (size_t i = 0; i < n; i++)
        if (all || !hop_by_hop(headers[i].name))
            r->headers[r->n_headers++] =
                (struct http_header){arena_str(r->arena, headers[i].name), arena_str(r->arena, headers[i].value)};
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct relay *r = arg;
    if (r->closed)
        return;
    r->status = status;
    headers_keep(r, headers, n, status == 101);
    if (status == 101 || (r->kind == RELAY_UPGRADE) || (r->kind == RELAY_LOG && status / 100 != 2))
        return;
    struct http_exchange *ex = r->request->req.exchange;
    r->started = true;
    if (r->kind == RELAY_LOG) {
        const struct http_header text[] = {{STR("content-type"), STR("text/plain")},
                                           {STR("cache-control"), STR("no-cache, private")}};
        http_start(ex, status, text, 2);
    } else {
        http_start(ex, status, r->headers, r->n_headers);
    }
}

static void on_data(void *arg, struct str data)
{
    struct relay *r = arg;
    if (r->closed)
        return;
    if (!r->started) {
        if (r->text.len < ERROR_TEXT_MAX)
            buf_add_str(&r->text, str_sub(data, 0, ERROR_TEXT_MAX - r->text.len));
        return;
    }
    struct http_exchange *ex = r->request->req.exchange;
    struct slice piece = slice_copy(data.p, data.len);
    r->request->req.answer_bytes += data.len;
    http_send(ex, &piece, 1);
    if (!r->closed && http_unsent(ex) > HTTP_HIGH_WATER) {
        r->paused = true;
        http_call_read(r->call, false);
    }
}

static void on_drain(struct api_request *req)
{
    struct relay *r = req->state;
    if (r->paused && r->call) {
        r->paused = false;
        http_call_read(r->call, true);
    }
}

/* What the target said of its failure, as a Status. */
static void answer_refusal(struct relay *r)
{
    struct err err = ERR_INIT;
    struct str text = str_trim(buf_str(&r->text));
    enum err_code code = r->status == 400   ? ERR_BAD_REQUEST
                         : r->status == 401 ? ERR_UNAUTHORIZED
                         : r->status == 403 ? ERR_FORBIDDEN
                         : r->status == 404 ? ERR_NOT_FOUND
                         : r->status == 503 ? ERR_UNAVAILABLE
                                            : ERR_INTERNAL;
    if (text.len)
        err_set(&err, code, STR_FMT, STR_ARG(text));
    else
        err_set(&err, code, "the agent answered with status %d", r->status);
    fail(r, &err);
}

static void on_done(void *arg, const struct err *why)
{
    struct relay *r = arg;
    r->call = NULL;
    if (r->closed)
        return;
    if (r->started) {
        struct chain_request *c = request_take(r);
        struct http_exchange *ex = c->req.exchange;
        relay_close(r);
        if (why)
            http_abort(ex);
        else
            http_finish(ex);
        chain_end(c, r->status);
        return;
    }
    struct err err = ERR_INIT;
    if (!why)
        answer_refusal(r);
    else if (r->kind == RELAY_PROXY)
        fail(r, (err_set(&err, ERR_UNAVAILABLE, "error trying to reach service: %s", why->message), &err));
    else if (r->kind == RELAY_UPGRADE)
        fail(r, (err_set(&err, ERR_INTERNAL, "error dialing backend: %s", why->message), &err));
    else
        fail(r, (err_set(&err, ERR_INTERNAL, "Get \"" STR_FMT "\": %s", STR_ARG(r->url), why->message), &err));
}

/* ---- connections that change hands ---- */

static void down_data(void *arg, struct str data)
{
    struct relay *r = arg;
    if (r->closed)
        return;
    http_stream_write(r->up, data);
    if (r->up && http_stream_unsent(r->up) > HTTP_HIGH_WATER)
        byte_stream_read(r->down, false);
}

static void down_drain(void *arg)
{
    struct relay *r = arg;
    if (!r->closed && r->up)
        http_stream_read(r->up, true);
}

static void down_close(void *arg)
{
    struct relay *r = arg;
    r->down = NULL;
    relay_close(r);
}

static void up_data(void *arg, struct str data)
{
    struct relay *r = arg;
    if (r->closed || !r->down)
        return;
    struct slice piece = slice_copy(data.p, data.len);
    byte_stream_write(r->down, &piece, 1);
    if (r->down && byte_stream_unsent(r->down) > HTTP_HIGH_WATER)
        http_stream_read(r->up, false);
}

static void up_drain(void *arg)
{
    struct relay *r = arg;
    if (!r->closed && r->down)
        byte_stream_read(r->down, true);
}

static void up_close(void *arg)
{
    struct relay *r = arg;
    r->up = NULL;
    relay_close(r);
}

static void on_upgrade(void *arg, struct http_stream *stream)
{
    struct relay *r = arg;
    struct byte_stream_handler up = {.on_data = up_data, .on_close = up_close, .on_drain = up_drain, .arg = r};
    struct byte_stream_handler down = {.on_data = down_data, .on_close = down_close, .on_drain = down_drain, .arg = r};
    struct err err = ERR_INIT;
    r->call = NULL;
    r->up = stream;
    if (r->closed || http_upgrade(r->request->req.exchange, r->headers, r->n_headers, &down, &r->down, &err) < 0) {
        http_stream_open(stream, &up);
        if (!r->closed)
            fail(r, &err);
        return;
    }
    chain_end(request_take(r), 101);
    http_stream_open(stream, &up);
}

/* ---- the request ---- */

/* What the client sent, less what concerns only its connection to us and who it is. */
static size_t request_headers(const struct relay *r, const struct http_exchange *ex, struct http_header *ret)
{
    static const char *const dropped[] = {"host",           "authorization",     "user-agent", "content-length",
                                          "keep-alive",     "transfer-encoding", "te",         "trailer",
                                          "accept-encoding"};
    size_t n = 0;
    for (size_t i = 0; i < ex->n_headers; i++) {
        struct str name = ex->headers[i].name;
        bool drop = str_starts(name, STR("impersonate-")) || (name.len && name.p[0] == ':');
        for (size_t k = 0; k < sizeof dropped / sizeof *dropped; k++)
            drop = drop || str_eqz(name, dropped[k]);
        bool of_connection = str_eq(name, STR("connection")) || str_eq(name, STR("upgrade"));
        if (!drop && (!of_connection || r->kind == RELAY_UPGRADE))
            ret[n++] = ex->headers[i];
    }
    return n;
}

void relay_run(struct chain_request *c, const struct relay_target *target)
{
    struct api_request *req = &c->req;
    struct err err = ERR_INIT;
    struct arena *a = arena_create(0);
    struct str origin = arena_printf(a, STR_FMT, STR_ARG(target->origin));
    const char *const endpoints[] = {origin.p, NULL};
    struct http_client_options opt = {.endpoints = endpoints,
                                      .tls = req->server->agent_tls,
                                      .mode = HTTP_CLIENT_HTTP1,
                                      .user_agent = "skiff/" SKIFF_VERSION,
                                      .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                      .no_keep_alive = true};
    struct http_client *client;
    if (http_client_create(req->loop, &opt, &client, &err) < 0) {
        arena_destroy(a);
        api_answer_err(req, &err);
        return;
    }
    struct relay *r = calloc(1, sizeof *r);
    *r = (struct relay){.request = c, .loop = req->loop, .arena = a, .kind = target->kind, .client = client};
    r->url = arena_printf(a, STR_FMT STR_FMT, STR_ARG(origin), STR_ARG(target->path));
    req->state = r;
    req->on_gone = on_gone;
    req->on_drain = on_drain;
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, req->exchange->n_headers + 1);
    struct http_call_options call = {
        .method = target->kind == RELAY_LOG ? STR("GET") : c->method,
        .path = target->path,
        .headers = headers,
        .n_headers = target->kind == RELAY_LOG ? 0 : request_headers(r, req->exchange, headers),
        .body = target->kind == RELAY_PROXY ? req->exchange->body : STR_NULL,
        .upgrade = target->kind == RELAY_UPGRADE,
        .handler =
            {.on_response = on_response, .on_data = on_data, .on_upgrade = on_upgrade, .on_done = on_done, .arg = r},
    };
    r->call = http_call_start(client, &call);
}
