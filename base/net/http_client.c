/* The client: addresses in turn, connections and their back-off, and what every entry from outside ends with. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/net/http_client_internal.h"

#include <assert.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 1000

/* ---- connections ---- */

void conn_close(struct http_conn *conn)
{
    if (conn->dead)
        return;
    struct http_client *c = conn->client;
    assert(!conn->calls.first);
    conn->dead = true;
    if (c->shared == conn)
        c->shared = NULL;
    timer_stop(&conn->ping);
    transport_close(conn->transport);
    conn->transport = NULL;
}

void conn_fail(struct http_conn *conn, const struct err *err)
{
    struct http_client *c = conn->client;
    if (conn->dead)
        return;
    if (c->shared == conn)
        c->shared = NULL;
    conn->dead = true; /* first: unlinking calls must not touch it any more */
    timer_stop(&conn->ping);
    transport_close(conn->transport);
    conn->transport = NULL;
    bool was_ready = conn->ready;
    for (struct http_call *call; (call = conn->calls.first);) {
        /* A kept-alive connection may have been closed before the request arrived: safe to repeat what only reads. */
        bool stale = !conn->h2 && was_ready && conn->used && str_eq(call->method, STR("GET"));
        if (call->sent && !stale)
            call_end(call, err);
        else if (!was_ready && (size_t)call->tries + 1 >= c->n_addresses)
            call_end(call, err);
        else
            call_retry(call, err);
        if (conn->calls.first == call) { /* paused: it ends later, without the connection */
            call_list_remove(&conn->calls, call);
            call->conn = NULL;
            call_list_add(&c->waiting, call);
        }
    }
}

/* An address refused: the next one, and every call that has seen all of them ends. */
static void connect_failed(struct http_conn *conn, const struct err *err)
{
    struct http_client *c = conn->client;
    bool shared = c->shared == conn;
    if (c->at == conn->at)
        c->at = (c->at + 1) % c->n_addresses;
    conn_fail(conn, err);
    if (!shared)
        return;
    struct http_call_list seen = {0};
    for (struct http_call *call = c->waiting.first, *next; call; call = next) {
        next = call->next;
        if (call->upgrade || call->ended || (size_t)++call->tries < c->n_addresses)
            continue;
        call_list_remove(&c->waiting, call);
        call_list_add(&seen, call);
    }
    if (c->at == 0 || seen.first) {
        c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_FIRST_MS;
        if (c->backoff_ms > BACKOFF_MAX_MS)
            c->backoff_ms = BACKOFF_MAX_MS;
        int64_t jitter =
            (int64_t)(str_hash((struct str){(const char *)&c->backoff_ms, 8}) ^ (uint64_t)clock_mono_us()) &
            (BACKOFF_FIRST_MS - 1);
        c->not_before_ms = clock_mono_ms() + c->backoff_ms * 3 / 4 + jitter * c->backoff_ms / 100;
    }
    while (seen.first) { /* back among the waiting, so that every way a call can end finds it where it should be */
        struct http_call *call = seen.first;
        call_list_remove(&seen, call);
        call_list_add(&c->waiting, call);
        call_end(call, err);
        if (c->destroyed)
            break;
    }
    while (seen.first) {
        struct http_call *call = seen.first;
        call_list_remove(&seen, call);
        call_list_add(&c->waiting, call);
        call_over(call);
    }
}

static void conn_use(struct http_conn *conn, struct http_call *call)
{
    call_list_remove(&conn->client->waiting, call);
    call_list_add(&conn->calls, call);
    call->conn = conn;
}

static void conn_start(struct http_conn *conn, struct http_call *call)
{
    (conn->h2 ? h2_start : h1_start)(conn, call);
}

static void on_ping_time(void *arg)
{
    struct http_conn *conn = arg;
    struct http_client *c = conn->client;
    client_enter(c);
    int64_t silent_ms = clock_mono_ms() - conn->heard_ms;
    if (silent_ms >= c->ping_interval_ms && conn->ping_out) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "http2: client connection lost");
        if (c->at == conn->at) /* whoever says nothing would not answer a new connection either */
            c->at = (c->at + 1) % c->n_addresses;
        conn_fail(conn, &err);
    } else {
        if (silent_ms >= c->ping_interval_ms) {
            conn->ping_out = true;
            nghttp2_submit_ping(conn->h2, NGHTTP2_FLAG_NONE, NULL);
            conn->want_flush = true;
        }
        timer_start(&conn->ping, c->loop, c->ping_interval_ms, on_ping_time, conn);
    }
    client_leave(c);
}

static void conn_ready(void *arg, bool http2)
{
    struct http_conn *conn = arg;
    struct http_client *c = conn->client;
    client_enter(c);
    conn->ready = true;
    c->backoff_ms = c->not_before_ms = 0;
    bool h2 = http2 || (c->mode == HTTP_CLIENT_HTTP2 && !conn->bound && !c->addresses[conn->at].tls);
    conn->heard_ms = clock_mono_ms();
    if (h2) {
        h2_init(conn);
        if (c->ping_interval_ms > 0)
            timer_start(&conn->ping, c->loop, c->ping_interval_ms, on_ping_time, conn);
    } else if (c->mode == HTTP_CLIENT_HTTP2 && !conn->bound) {
        struct err err;
        err_set(&err, ERR_BAD_REQUEST, "http2: the server does not speak HTTP/2");
        conn->ready = false;
        connect_failed(conn, &err);
    } else {
        h1_init(conn);
        if (c->shared == conn) {
            c->shared = NULL;
            c->speaks_http1 = true;
        }
        if (conn->calls.first)
            h1_start(conn, conn->calls.first);
    }
    client_leave(c);
}

static void conn_data(void *arg, struct str data)
{
    struct http_conn *conn = arg;
    struct http_client *c = conn->client;
    client_enter(c);
    if (!conn->dead) {
        conn->heard_ms = clock_mono_ms();
        conn->ping_out = false;
        (conn->h2 ? h2_feed : h1_feed)(conn, data);
    }
    client_leave(c);
}

static void conn_drain(void *arg)
{
    struct http_conn *conn = arg;
    client_enter(conn->client);
    struct http_client *c = conn->client;
    if (!conn->dead && conn->h2)
        conn->want_flush = true;
    else if (!conn->dead && conn->calls.first && conn->calls.first->draining) {
        struct http_call *call = conn->calls.first;
        call->draining = false;
        if (call->handler.on_drain)
            call->handler.on_drain(call->handler.arg);
    }
    client_leave(c);
}

static void conn_ended(void *arg, const struct err *err)
{
    struct http_conn *conn = arg;
    struct http_client *c = conn->client;
    client_enter(c);
    struct err closed;
    if (!err)
        err_set(&closed, ERR_UNAVAILABLE, "%s", conn->h2 ? "connection closed by peer" : "EOF");
    if (!conn->ready) {
        connect_failed(conn, err ? err : &closed);
    } else {
        if (!err && !conn->h2)
            h1_eof(conn);
        if (!conn->dead)
            conn_fail(conn, err ? err : &closed);
    }
    client_leave(c);
}

static struct http_conn *conn_open(struct http_client *c, struct http_call *bound)
{
    struct http_conn *conn = MEM_NEW(struct http_conn);
    conn->client = c;
    conn->at = c->at;
    conn->next = c->conns;
    c->conns = conn;
    if (bound) {
        conn->bound = true;
        conn_use(conn, bound);
    }
    struct transport_options opt = {
        .address = &c->addresses[c->at],
        .tls = c->tls,
        .server_name = c->server_name,
        .mode = bound ? HTTP_CLIENT_HTTP1 : c->mode,
        .connect_timeout_ms = c->connect_timeout_ms,
    };
    conn->transport =
        transport_open(c->loop, &opt, &(struct transport_handler){conn_ready, conn_data, conn_drain, conn_ended, conn});
    return conn;
}

static void conn_free(struct http_conn *conn)
{
    if (conn->h2)
        h2_finish(conn);
    else
        h1_finish(conn);
    timer_stop(&conn->ping);
    free(conn);
}

/* ---- the client ---- */

static void on_wait_over(void *arg)
{
    struct http_client *c = arg;
    client_enter(c);
    client_leave(c);
}

static struct http_conn *idle_http1(struct http_client *c)
{
    for (struct http_conn *conn = c->conns; conn; conn = conn->next)
        if (conn->ready && !conn->dead && !conn->h2 && !conn->calls.first && conn->keep)
            return conn;
    return NULL;
}

static void client_pump(struct http_client *c)
{
    for (struct http_call *call = c->waiting.first, *next; call; call = next) {
        next = call->next;
        if (call->ended) /* paused with all of its answer held */
            continue;
        bool http1 = c->mode == HTTP_CLIENT_HTTP1 || (c->mode == HTTP_CLIENT_AUTO && !c->addresses[c->at].tls) ||
                     c->speaks_http1;
        if (call->upgrade || http1) {
            struct http_conn *conn = call->upgrade || c->no_keep_alive ? NULL : idle_http1(c);
            if (conn) {
                conn_use(conn, call);
                conn_start(conn, call);
            } else {
                conn_open(c, call);
            }
            continue;
        }
        if (c->shared && c->shared->goaway)
            c->shared = NULL;
        if (c->shared) {
            if (!c->shared->ready)
                continue;
            conn_use(c->shared, call);
            conn_start(c->shared, call);
            continue;
        }
        int64_t wait_ms = c->not_before_ms - clock_mono_ms();
        if (wait_ms > 0) {
            if (!c->wait.heap_at)
                timer_start(&c->wait, c->loop, wait_ms, on_wait_over, c);
            continue;
        }
        c->shared = conn_open(c, NULL);
    }
}

/* Everything that ended is freed here, at the outermost level, where no caller holds a pointer any more. */
static void client_sweep(struct http_client *c)
{
    for (struct http_call *call; (call = c->over.first);) {
        call_list_remove(&c->over, call);
        buf_free(&call->out);
        buf_free(&call->held);
        arena_destroy(call->arena);
    }
    for (struct http_conn **at = &c->conns; *at;) {
        struct http_conn *conn = *at;
        if (conn->goaway && !conn->dead && !conn->calls.first)
            conn_close(conn);
        if (conn->dead) {
            *at = conn->next;
            conn_free(conn);
        } else {
            at = &conn->next;
        }
    }
    for (struct http_stream **at = &c->streams; *at;) {
        struct http_stream *s = *at;
        if (s->over) {
            *at = s->next;
            free(s);
        } else {
            at = &s->next;
        }
    }
}

void client_enter(struct http_client *c)
{
    c->depth++;
}

static void address_finish(struct http_address *a)
{
    free(a->text);
    free(a->host);
    free(a->authority);
}

void client_leave(struct http_client *c)
{
    if (c->depth > 1) {
        c->depth--;
        return;
    }
    if (!c->destroyed)
        client_pump(c);
    for (struct http_conn *conn = c->conns; conn && !c->destroyed; conn = conn->next)
        if (conn->want_flush && !conn->dead)
            h2_flush(conn);
    c->depth--;
    client_sweep(c);
    if (c->destroyed) {
        timer_stop(&c->wait);
        for (size_t i = 0; i < c->n_addresses; i++)
            address_finish(&c->addresses[i]);
        free(c->addresses);
        free(c->server_name);
        free(c->authority);
        free(c->token);
        free(c->user_agent);
        free(c);
    }
}

static char *copied(struct str s)
{
    return mem_dup(s.p ? s.p : "", s.len);
}

static int address_parse(const char *text, struct http_address *ret, struct err *err)
{
    struct str s = str_from(text);
    *ret = (struct http_address){.text = copied(s)};
    if (str_starts(s, STR("unix:"))) {
        s = str_sub(s, 5, s.len);
        if (str_starts(s, STR("//")))
            s = str_sub(s, 2, s.len);
        ret->unix_socket = true;
        ret->host = copied(s);
        ret->authority = mem_strdup("localhost");
        return 0;
    }
    ret->tls = str_starts(s, STR("https://"));
    if (!ret->tls && !str_starts(s, STR("http://")))
        return err_set(err, ERR_BAD_REQUEST, "endpoint %s: want https://host:port, http://host:port or unix:///path",
                       text);
    s = str_sub(s, ret->tls ? 8 : 7, s.len);
    size_t at;
    if (str_index(s, '/', &at))
        s = str_sub(s, 0, at);
    ret->text[(s.p + s.len) - text] = 0;
    ret->authority = copied(s);
    struct str host = s, port = STR_NULL;
    if (str_starts(s, STR("["))) {
        if (!str_index(s, ']', &at))
            return err_set(err, ERR_BAD_REQUEST, "endpoint %s: missing ']'", text);
        host = str_sub(s, 1, at);
        if (at + 1 < s.len && s.p[at + 1] == ':')
            port = str_sub(s, at + 2, s.len);
    } else if (str_index(s, ':', &at)) {
        host = str_sub(s, 0, at);
        port = str_sub(s, at + 1, s.len);
    }
    int64_t number = ret->tls ? 443 : 80;
    if (!host.len || (port.len && (!str_to_i64(port, &number) || number < 1 || number > 65535)))
        return err_set(err, ERR_BAD_REQUEST, "endpoint %s: bad host or port", text);
    ret->host = copied(host);
    ret->port = (int)number;
    return 0;
}

int http_client_create(struct loop *loop, const struct http_client_options *opt, struct http_client **ret,
                       struct err *err)
{
    struct http_client *c = MEM_NEW(struct http_client);
    c->loop = loop;
    c->tls = opt->tls;
    c->mode = opt->mode;
    c->no_keep_alive = opt->no_keep_alive;
    c->connect_timeout_ms = opt->connect_timeout_ms ? opt->connect_timeout_ms : 10000;
    c->ping_interval_ms = opt->ping_interval_ms;
    c->server_name = opt->server_name ? mem_strdup(opt->server_name) : NULL;
    c->authority = opt->authority ? mem_strdup(opt->authority) : NULL;
    c->token = opt->token ? mem_strdup(opt->token) : NULL;
    c->user_agent = opt->user_agent ? mem_strdup(opt->user_agent) : NULL;
    size_t n = 0;
    while (opt->endpoints && opt->endpoints[n])
        n++;
    int rc = n ? 0 : err_set(err, ERR_BAD_REQUEST, "no endpoint given");
    c->addresses = MEM_ARRAY(struct http_address, n ? n : 1);
    for (; rc == 0 && c->n_addresses < n; c->n_addresses++)
        rc = address_parse(opt->endpoints[c->n_addresses], &c->addresses[c->n_addresses], err);
    if (rc < 0) {
        http_client_destroy(c);
        return rc;
    }
    *ret = c;
    return 0;
}

static size_t find_address(const struct http_address *list, size_t n, const char *text)
{
    size_t i = 0;
    while (i < n && strcmp(list[i].text, text) != 0)
        i++;
    return i;
}

int http_client_set_endpoints(struct http_client *c, const char *const *endpoints, struct err *err)
{
    size_t n = 0, len = 0, n_conns = 0;
    while (endpoints[n])
        n++;
    assert(n);
    for (struct http_conn *conn = c->conns; conn; conn = conn->next)
        n_conns++;
    struct http_address *list = MEM_ARRAY(struct http_address, n + n_conns + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = address_parse(endpoints[i], &list[len++], err);
        if (rc < 0) {
            while (len)
                address_finish(&list[--len]);
            free(list);
            return rc;
        }
    }
    for (struct http_conn *conn = c->conns; conn; conn = conn->next) {
        struct http_address *used = &c->addresses[conn->at];
        size_t at = find_address(list, len, used->text);
        if (at == len) { /* kept for as long as somebody is there */
            list[len++] = *used;
            used->host = used->authority = NULL;
            used->text = mem_strdup(used->text);
        }
        conn->at = at;
    }
    size_t at = find_address(list, len, c->addresses[c->at].text);
    c->at = at == len ? 0 : at;
    while (c->n_addresses)
        address_finish(&c->addresses[--c->n_addresses]);
    free(c->addresses);
    c->addresses = list;
    c->n_addresses = len;
    return 0;
}

void http_client_destroy(struct http_client *c)
{
    if (!c || c->destroyed)
        return;
    client_enter(c);
    c->destroyed = true;
    while (c->waiting.first)
        call_over(c->waiting.first);
    for (struct http_conn *conn = c->conns; conn; conn = conn->next) {
        while (conn->calls.first)
            call_over(conn->calls.first);
        conn_close(conn);
    }
    for (struct http_stream *s = c->streams; s; s = s->next)
        http_stream_close(s);
    client_leave(c);
}

void http_client_set_token(struct http_client *c, const char *token)
{
    free(c->token);
    c->token = token ? mem_strdup(token) : NULL;
}

void http_client_set_patience(struct http_client *c, int64_t connect_timeout_ms, int64_t ping_interval_ms)
{
    c->connect_timeout_ms = connect_timeout_ms;
    c->ping_interval_ms = ping_interval_ms;
    for (struct http_conn *conn = c->conns; conn; conn = conn->next)
        if (!conn->dead && conn->ready && conn->h2)
            timer_start(&conn->ping, c->loop, ping_interval_ms, on_ping_time, conn);
}

const char *http_client_endpoint(const struct http_client *c)
{
    return c->addresses[c->at].text;
}

void http_client_fail_over(struct http_client *c)
{
    client_enter(c);
    c->at = (c->at + 1) % c->n_addresses;
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the server is given up for another one");
    for (struct http_conn *conn = c->conns; conn && !c->destroyed; conn = conn->next)
        conn_fail(conn, &err);
    client_leave(c);
}
