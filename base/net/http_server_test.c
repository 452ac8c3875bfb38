/* The server end to end on loopback, driven with raw bytes, an OpenSSL client and an nghttp2 client session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/net/http.h"
#include "base/net/tls.h"
#include "base/net/websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_BODY = 400000, FLOOD = 8000000 };

static struct loop *loops[2];
static struct http_server *clear_server, *tls_server;
static struct tls_context *tls;
static struct tls_pair ca, other_ca, server_pair, client_pair, stranger_pair;
static atomic_int n_closed, n_held, n_drained, most_unsent, n_ws_closed;

/* ---- the handler ---- */

static void on_held_close(struct http_exchange *ex)
{
    (void)ex;
    n_closed++;
}

static void flood(struct http_exchange *ex)
{
    size_t *left = ex->user;
    while (*left && http_unsent(ex) < HTTP_HIGH_WATER) {
        char piece[10000];
        memset(piece, 'f', sizeof piece);
        struct slice s = slice_copy(piece, sizeof piece);
        http_send(ex, &s, 1);
        *left -= sizeof piece;
        if ((int)http_unsent(ex) > most_unsent)
            most_unsent = (int)http_unsent(ex);
    }
    if (!*left)
        http_finish(ex);
}

static void on_flood_drain(struct http_exchange *ex)
{
    n_drained++;
    flood(ex);
}

static void on_ws_message(void *arg, bool text, struct str data)
{
    struct websocket **w = arg;
    if (str_eqz(data, "bye"))
        websocket_close(*w, WEBSOCKET_NORMAL, "as asked");
    else if (text)
        websocket_send(*w, true, data.p, data.len);
    else
        websocket_send_channel(*w, 1, slice_copy(data.p, data.len));
}

static void on_ws_close(void *arg, int code, struct str reason)
{
    (void)arg, (void)reason;
    n_ws_closed = code;
}

static void serve_ws(struct http_exchange *ex)
{
    static struct websocket *w;
    static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
    struct websocket_options o = {.protocols = protocols,
                                  .require_protocol = true,
                                  .max_message = 1000,
                                  .handler = {on_ws_message, on_ws_close, NULL, &w}};
    struct err err = ERR_INIT;
    const char *protocol;
    if (websocket_accept(ex, &o, &protocol, &w, &err) < 0) {
        struct slice s = slice_copy(err.message, strlen(err.message));
        http_respond(ex, 400, NULL, 0, &s, 1);
    }
}

static void serve_stream(struct http_exchange *ex)
{
    struct slice s[] = {{"one", 3, NULL}, {",", 1, NULL}};
    http_start(ex, 200, NULL, 0);
    http_send(ex, s, 2);
    http_send(ex, NULL, 0);
    http_send(ex, s, 1);
    http_finish(ex);
}

static void serve_peer(struct http_exchange *ex)
{
    struct str text = arena_printf(ex->arena, "cn=" STR_FMT " invalid=%d der=%d", STR_ARG(ex->peer->cert_cn),
                                   ex->peer->cert_invalid, ex->peer->cert_der.len > 0);
    for (const struct str *o = ex->peer->cert_orgs; o && o->p; o++)
        text = arena_printf(ex->arena, STR_FMT " o=" STR_FMT, STR_ARG(text), STR_ARG(*o));
    struct slice s = {text.p, text.len, NULL};
    http_respond(ex, 200, NULL, 0, &s, 1);
}

static void handler(void *arg, struct http_exchange *ex)
{
    (void)arg;
    static const struct http_header plain = {{"content-type", 12}, {"text/plain", 10}};
    struct slice echo = {ex->body.p, ex->body.len, NULL};
    if (ex->body_too_large) {
        http_respond(ex, 413, &plain, 1, NULL, 0);
    } else if (str_eqz(ex->path, "/echo")) {
        http_respond(ex, 200, &plain, 1, &echo, 1);
    } else if (str_eqz(ex->path, "/stream")) {
        serve_stream(ex);
    } else if (str_eqz(ex->path, "/hold")) {
        ex->on_close = on_held_close;
        n_held++;
        http_start(ex, 200, NULL, 0);
    } else if (str_eqz(ex->path, "/wait")) { /* never answered */
        ex->on_close = on_held_close;
        n_held++;
    } else if (str_eqz(ex->path, "/abort")) {
        http_start(ex, 200, NULL, 0);
        http_abort(ex);
    } else if (str_eqz(ex->path, "/flood")) {
        size_t *left = ex->user = arena_alloc(ex->arena, sizeof *left);
        *left = FLOOD;
        ex->on_drain = on_flood_drain;
        http_start(ex, 200, NULL, 0);
        flood(ex);
    } else if (str_eqz(ex->path, "/204")) {
        http_respond(ex, 204, NULL, 0, &echo, 1);
    } else if (str_eqz(ex->path, "/peer")) {
        serve_peer(ex);
    } else if (str_eqz(ex->path, "/ws")) {
        serve_ws(ex);
    } else {
        struct str text = arena_printf(ex->arena, STR_FMT " " STR_FMT "?" STR_FMT " " STR_FMT " x=" STR_FMT,
                                       STR_ARG(ex->method), STR_ARG(ex->path), STR_ARG(ex->query),
                                       STR_ARG(ex->authority), STR_ARG(http_header_get(ex, "x-test")));
        struct slice s = {text.p, text.len, NULL};
        http_respond(ex, 200, &plain, 1, &s, 1);
    }
}

/* ---- raw bytes ---- */

static int dial(struct http_server *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(s))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static void put(int fd, const void *p, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)p + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* Until `until` has been seen n times, or the end. */
static bool get_until(int fd, struct buf *got, const char *until, int n)
{
    char in[65536];
    for (;;) {
        int seen = 0;
        for (struct str rest = buf_str(got); *until && str_contains(rest, str_from(until)); seen++) {
            const char *at = memmem(rest.p, rest.len, until, strlen(until));
            rest = str_sub(rest, (size_t)(at - rest.p) + strlen(until), rest.len);
        }
        if (n && (seen >= n || !*until))
            return true;
        ssize_t k = recv(fd, in, sizeof in, 0);
        if (k <= 0)
            return n == 0 && k == 0;
        buf_add(got, in, (size_t)k);
    }
}

#define H "Host: x\r\n"

static void test_http1_rows(void **state)
{
    (void)state;
    static const struct {
        const char *given;
        const char *want[3];
        bool want_close;
    } rows[] = {
        {"GET /a/b?c=d HTTP/1.1\r\n" H "X-Test:  v \r\n\r\n",
         {"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 18\r\nDate: ", "GET /a/b?c=d x x=v"},
         false},
        {"\r\nGET http://h/p HTTP/1.1\r\n" H "\r\n", {"GET /p? x x="}, false},
        {"GET / HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "Connection: close\r\n\r\n",
         {"GET /? x x=", "GET /2? x x=", "Connection: close"},
         true},
        {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n",
         {"Content-Length: 5\r\n", "\r\n\r\nabcde"},
         false},
        {"POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nxyz",
         {"HTTP/1.1 100 Continue\r\n\r\n", "\r\n\r\nxyz"},
         false},
        {"HEAD /x HTTP/1.1\r\n" H "\r\nGET /y HTTP/1.1\r\n" H "\r\n",
         {"Content-Length: 13\r\nDate: ", "GMT\r\n\r\nHTTP/1.1 200", "GET /y?"},
         false},
        {"GET /204 HTTP/1.1\r\n" H "\r\nGET /y HTTP/1.1\r\n" H "\r\n",
         {"HTTP/1.1 204 No Content\r\nDate: ", "GMT\r\n\r\nHTTP/1.1 200"},
         false},
        {"GET /stream HTTP/1.1\r\n" H "\r\n",
         {"Transfer-Encoding: chunked\r\n", "\r\n\r\n4\r\none,\r\n3\r\none\r\n0\r\n\r\n"},
         false},
        {"GET /stream HTTP/1.0\r\n\r\n", {"Connection: close\r\n\r\none,one"}, true},
        {"GET /abort HTTP/1.1\r\n" H "\r\n", {""}, true},
        {"GET /y HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /z HTTP/1.1\r\n" H "\r\n",
         {"GET /y?", "GET /z?"},
         false},
        {"GET / HTTP/1.1\r\n\r\n",
         {"HTTP/1.1 400 Bad Request\r\n", "400 Bad Request: missing required Host header"},
         true},
        {"nonsense\r\n\r\n", {"HTTP/1.1 400 Bad Request\r\n", "Connection: close\r\n", "400 Bad Request"}, true},
        {"\x16\x03\x01\x02", {"HTTP/1.1 400"}, true},
        {"GET / HTTP/1.1\r\n" H "Bad Header: x\r\n\r\n", {"HTTP/1.1 400"}, true},
        {"GET / HTTP/1.1\r\n" H " folded: x\r\n\r\n", {"HTTP/1.1 400"}, true},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         {"HTTP/1.1 400"},
         true},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", {"HTTP/1.1 400"}, true},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", {"HTTP/1.1 400"}, true},
        {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", {"HTTP/1.1 400"}, true},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 400001\r\n\r\nabc", {"HTTP/1.1 413", "Connection: close"}, true},
        {"GET /ws HTTP/1.1\r\n" H "\r\n", {"HTTP/1.1 400", "not a websocket handshake"}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            int fd = dial(clear_server);
            size_t len = strlen(rows[i].given);
            if (bytewise)
                for (size_t k = 0; k < len; k++)
                    put(fd, rows[i].given + k, 1);
            else
                put(fd, rows[i].given, len);
            struct buf got = {0};
            bool ok = true;
            if (rows[i].want_close)
                ok = get_until(fd, &got, "", 0);
            for (int k = 0; k < 3 && rows[i].want[k]; k++)
                ok = ok && get_until(fd, &got, rows[i].want[k], 1);
            if (!ok)
                fail_msg("row %zu (%d): got " STR_FMT, i, bytewise, STR_ARG(buf_str(&got)));
            buf_free(&got);
            close(fd);
        }
    }
}

static void test_http1_too_large(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "GET /",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
        "GET / HTTP/1.1\r\n",
    };
    for (int i = 0; i < 3; i++) {
        int fd = dial(clear_server);
        struct buf out = {0}, got = {0};
        buf_addz(&out, heads[i]);
        for (int k = 0; k < 70000; k++)
            buf_addz(&out, i == 2 ? "a: b\r\n" : "x");
        put(fd, out.p, out.len);
        if (!get_until(fd, &got, "HTTP/1.1 431 Request Header Fields Too Large\r\n", 1))
            fail_msg("%s: got " STR_FMT, heads[i], STR_ARG(buf_str(&got)));
        buf_free(&out);
        buf_free(&got);
        close(fd);
    }
    /* A chunked body that never ends. */
    int fd = dial(clear_server);
    struct buf out = {0}, got = {0};
    buf_addz(&out, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int k = 0; k < 500; k++)
        buf_printf(&out, "400\r\n%01024d\r\n", 0);
    put(fd, out.p, out.len);
    assert_true(get_until(fd, &got, "HTTP/1.1 413 ", 1));
    buf_free(&out);
    buf_free(&got);
    close(fd);
}

static bool wait_for(atomic_int *what, int least)
{
    for (int i = 0; i < 500 && *what < least; i++)
        usleep(10000);
    return *what >= least;
}

static void test_http1_gone(void **state)
{
    (void)state;
    n_held = n_closed = 0;
    int a = dial(clear_server), b = dial(clear_server);
    put(a, "GET /hold HTTP/1.1\r\n" H "\r\n", strlen("GET /hold HTTP/1.1\r\n" H "\r\n"));
    put(b, "GET /wait HTTP/1.1\r\n" H "\r\n", strlen("GET /wait HTTP/1.1\r\n" H "\r\n"));
    assert_true(wait_for(&n_held, 2));
    assert_int_equal(n_closed, 0);
    close(a);
    close(b);
    assert_true(wait_for(&n_closed, 2));
}

/* A reader that does not read must not make the server buffer the body. */
static void test_slow_reader(void **state)
{
    (void)state;
    n_drained = most_unsent = 0;
    int fd = dial(clear_server);
    put(fd, "GET /flood HTTP/1.0\r\n\r\n", 23);
    usleep(200000);
    struct buf got = {0};
    assert_true(get_until(fd, &got, "", 0));
    assert_true(got.len > FLOOD);
    assert_true(n_drained > 3);
    assert_true(most_unsent < (int)HTTP_HIGH_WATER + 10100);
    buf_free(&got);
    close(fd);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void advance(int64_t ms)
{
    clock_fake_advance(ms);
    loop_post(loops[0], nothing, NULL);
    loop_post(loops[1], nothing, NULL);
}

static void test_time_outs(void **state)
{
    (void)state;
    /* {what was sent, answered first, the time after which the connection is still there, after which it is gone} */
    static const struct {
        const char *given, *answer;
        int64_t alive_ms, gone_ms;
    } rows[] = {
        {"", NULL, 20000, 20000},
        {"GET / HTTP/1.1\r\nHos", NULL, 20000, 20000},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", NULL, 20000, 20000},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /?", 170000, 20000},
        {"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", "chunked\r\n\r\n", 900000, 0},
    };
    clock_fake(clock_wall_ms(), clock_mono_ms());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(clear_server);
        put(fd, rows[i].given, strlen(rows[i].given));
        struct buf got = {0};
        if (rows[i].answer)
            assert_true(get_until(fd, &got, rows[i].answer, 1));
        usleep(50000); /* accepted and read */
        advance(rows[i].alive_ms);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 50), 0);
        if (rows[i].gone_ms) {
            advance(rows[i].gone_ms);
            assert_int_equal(poll(&p, 1, 2000), 1);
            char c;
            assert_true(recv(fd, &c, 1, 0) <= 0);
        }
        buf_free(&got);
        close(fd);
    }
    clock_real();
}

/* ---- websocket ---- */

static void ws_open(int fd)
{
    static const char ask[] = "GET /ws HTTP/1.1\r\n" H "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Protocol: v9, v4.channel.k8s.io, v5.channel.k8s.io\r\n\r\n"
                              "\x81\x85\0\0\0\0early"; /* in the same packet */
    put(fd, ask, sizeof ask - 1);
    struct buf got = {0};
    assert_true(get_until(fd, &got, "early", 1));
    assert_true(str_starts(buf_str(&got), STR("HTTP/1.1 101 Switching Protocols\r\n")));
    assert_true(str_contains(buf_str(&got), STR("Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")));
    assert_true(str_contains(buf_str(&got), STR("Sec-Websocket-Protocol: v4.channel.k8s.io\r\n")));
    assert_true(str_ends(buf_str(&got), STR("\r\n\r\n\x81\x05"
                                            "early")));
    buf_free(&got);
}

static void test_websocket(void **state)
{
    (void)state;
    struct {
        const char *given;
        size_t len;
        const char *want;
        size_t want_len;
        int want_code;
    } rows[] = {
        {"\x82\x82\1\1\1\1ab", 8, "\x82\x03\1`c", 5, 0},
        {"\x01\x82\0\0\0\0he\x89\x81\0\0\0\0p\x80\x81\0\0\0\0y", 22, "\x81\x03hey\x8a\x01p", 8, 0},
        {"\x88\x84\0\0\0\0\x03\xe8ok", 10, "\x88\x04\x03\xe8ok", 6, 1000},
        {"\x81\x83\0\0\0\0bye", 9,
         "\x88\x0a\x03\xe8"
         "as asked",
         12, 0},
        {"\x81\x03"
         "abc",
         5, "\x88\x02\x03\xea", 4, 1002},                              /* not masked */
        {"\x82\xfe\x04\x00\0\0\0\0x", 9, "\x88\x02\x03\xf1", 4, 1009}, /* 1024 bytes */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(clear_server);
        ws_open(fd);
        n_ws_closed = 0;
        put(fd, rows[i].given, rows[i].len);
        char got[64];
        ssize_t n = recv(fd, got, rows[i].want_len, MSG_WAITALL);
        if (n != (ssize_t)rows[i].want_len || memcmp(got, rows[i].want, rows[i].want_len))
            fail_msg("row %zu: %zd bytes, first %02x %02x", i, n, (unsigned char)got[0], (unsigned char)got[1]);
        if (rows[i].want_code)
            assert_true(wait_for(&n_ws_closed, rows[i].want_code));
        close(fd);
        if (i < 2)
            assert_true(wait_for(&n_ws_closed, WEBSOCKET_ABNORMAL));
    }
}

/* ---- HTTP/2 over TLS ---- */

struct h2 {
    int fd;
    SSL *ssl;
    nghttp2_session *session;
    int n_ended, goaway;
    struct {
        int status;
        uint32_t code;
        size_t bytes;
        bool ended;
        char head[64];
    } streams[64];
    size_t send_body;
};

static int h2_on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *n, size_t nl, const uint8_t *v,
                        size_t vl, uint8_t flags, void *user)
{
    (void)s, (void)flags, (void)vl;
    struct h2 *h = user;
    if (nl == 7 && !memcmp(n, ":status", 7))
        h->streams[f->hd.stream_id % 64].status = atoi((const char *)v);
    return 0;
}
static int h2_on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *user)
{
    (void)s, (void)flags;
    struct h2 *h = user;
    size_t at = h->streams[id % 64].bytes;
    for (size_t i = 0; i < len && at + i < 63; i++)
        h->streams[id % 64].head[at + i] = (char)p[i];
    h->streams[id % 64].bytes += len;
    return 0;
}
static int h2_on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    (void)s;
    struct h2 *h = user;
    h->streams[id % 64].code = code;
    h->streams[id % 64].ended = true;
    h->n_ended++;
    return 0;
}
static int h2_on_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
    (void)s;
    if (f->hd.type == NGHTTP2_GOAWAY)
        ((struct h2 *)user)->goaway = 1 + (int)f->goaway.error_code;
    return 0;
}
static ssize_t h2_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
                       nghttp2_data_source *src, void *user)
{
    (void)s, (void)id, (void)src;
    struct h2 *h = user;
    size_t n = h->send_body < len ? h->send_body : len;
    memset(buf, 'b', n);
    h->send_body -= n;
    if (!h->send_body)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static SSL *tls_dial(int fd, const struct tls_pair *cert, const char *alpn, size_t alpn_len)
{
    struct tls_options o = {.ca_pem = ca.cert_pem, .alpn_h2 = false};
    if (cert)
        o.cert_pem = cert->cert_pem, o.key_pem = cert->key_pem;
    struct tls_context *c;
    struct err err = ERR_INIT;
    assert_int_equal(tls_context_create(&o, &c, &err), 0);
    SSL *ssl = SSL_new(tls_context_ssl(c));
    tls_context_destroy(c);
    SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    if (alpn)
        SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)alpn_len);
    SSL_set1_host(ssl, "localhost");
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static void h2_open(struct h2 *h, struct http_server *s)
{
    *h = (struct h2){.fd = dial(s)};
    if (s == tls_server)
        h->ssl = tls_dial(h->fd, NULL, "\x02h2", 3);
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
    nghttp2_option *option;
    nghttp2_option_new(&option);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
    nghttp2_session_client_new2(&h->session, cb, h, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(h->session, 0, NULL, 0);
}

static void h2_send(struct h2 *h)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(h->session, &p)) > 0) {
        if (h->ssl)
            SSL_write(h->ssl, p, (int)n);
        else
            put(h->fd, p, (size_t)n);
    }
}

/* Until so many streams have ended, or the connection. */
static bool h2_run(struct h2 *h, int n_ended)
{
    for (;;) {
        h2_send(h);
        if (h->n_ended >= n_ended)
            return true;
        uint8_t in[16384];
        int n = h->ssl ? SSL_read(h->ssl, in, sizeof in) : (int)recv(h->fd, in, sizeof in, 0);
        if (n <= 0)
            return false;
        if (nghttp2_session_mem_recv(h->session, in, (size_t)n) < 0)
            return false;
    }
}

static int32_t h2_ask(struct h2 *h, const char *method, const char *path, size_t body, const char *extra)
{
    nghttp2_nv nv[] = {
        {(uint8_t *)":method", (uint8_t *)method, 7, strlen(method), 0},
        {(uint8_t *)":scheme", (uint8_t *)"https", 7, 5, 0},
        {(uint8_t *)":authority", (uint8_t *)"localhost", 10, 9, 0},
        {(uint8_t *)":path", (uint8_t *)path, 5, strlen(path), 0},
        {(uint8_t *)"x-test", (uint8_t *)extra, 6, extra ? strlen(extra) : 0, 0},
    };
    nghttp2_data_provider d = {.read_callback = h2_body};
    h->send_body = body;
    return nghttp2_submit_request(h->session, NULL, nv, extra ? 5 : 4, body ? &d : NULL, NULL);
}

static void h2_close(struct h2 *h)
{
    nghttp2_session_del(h->session);
    SSL_free(h->ssl);
    close(h->fd);
}

static void test_http2(void **state)
{
    struct http_server *s = *state;
    struct h2 h;
    h2_open(&h, s);
    char *longer = mem_alloc(40001);
    memset(longer, 'l', 40000);
    longer[40000] = 0;
    struct {
        const char *method, *path;
        size_t body;
        const char *extra;
        int want_status;
        size_t want_bytes;
        const char *want_head;
        uint32_t want_code;
    } rows[] = {
        {"GET", "/a?b=c", 0, "v", 200, 24, "GET /a?b=c localhost x=v", 0},
        {"POST", "/echo", 300000, NULL, 200, 300000, "bbb", 0},
        {"POST", "/echo", MAX_BODY + 1, NULL, 413, 0, "", 0},
        {"GET", "/big-header", 0, longer, 200, 0, "GET /big-header", 0},
        {"HEAD", "/a", 0, NULL, 200, 0, "", 0},
        {"GET", "/204", 0, NULL, 204, 0, "", 0},
        {"GET", "/stream", 0, NULL, 200, 7, "one,one", 0},
        {"GET", "/abort", 0, NULL, 200, 0, "", NGHTTP2_INTERNAL_ERROR},
        {"GET", "/flood", 0, NULL, 200, FLOOD, "fff", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        h.n_ended = 0;
        int32_t id = h2_ask(&h, rows[i].method, rows[i].path, rows[i].body, rows[i].extra) % 64;
        assert_true(h2_run(&h, 1));
        assert_int_equal(h.streams[id].status, h.streams[id].code ? h.streams[id].status : rows[i].want_status);
        if (rows[i].want_bytes)
            assert_int_equal(h.streams[id].bytes, rows[i].want_bytes);
        assert_memory_equal(h.streams[id].head, rows[i].want_head, strlen(rows[i].want_head));
        assert_int_equal(h.streams[id].code, rows[i].want_code);
    }
    h2_close(&h);

    /* 64 KiB of headers in two values: refused on its stream alone. */
    h2_open(&h, s);
    nghttp2_nv nv[] = {
        {(uint8_t *)":method", (uint8_t *)"GET", 7, 3, 0},    {(uint8_t *)":scheme", (uint8_t *)"https", 7, 5, 0},
        {(uint8_t *)":authority", (uint8_t *)"l", 10, 1, 0},  {(uint8_t *)":path", (uint8_t *)"/", 5, 1, 0},
        {(uint8_t *)"x-one", (uint8_t *)longer, 5, 40000, 0}, {(uint8_t *)"x-two", (uint8_t *)longer, 5, 40000, 0},
    };
    int32_t id = nghttp2_submit_request(h.session, NULL, nv, 6, NULL, NULL);
    assert_true(h2_run(&h, 1));
    assert_int_equal(h.streams[id].status, 431);
    h2_ask(&h, "GET", "/", 0, NULL);
    assert_true(h2_run(&h, 2));
    h2_close(&h);
    free(longer);
}

static void test_http2_many_and_resets(void **state)
{
    (void)state;
    struct h2 h;
    n_held = n_closed = 0;
    h2_open(&h, tls_server);
    assert_true((h2_ask(&h, "GET", "/", 0, NULL), h2_run(&h, 1)));
    /* An informer restarting: watches canceled and made anew, more than nghttp2 allows by itself. */
    for (int round = 0; round < 15; round++) {
        int32_t ids[100];
        for (int i = 0; i < 100; i++)
            ids[i] = h2_ask(&h, "GET", i % 2 ? "/hold" : "/wait", 0, NULL);
        h2_send(&h);
        for (int i = 0; i < 100; i++)
            nghttp2_submit_rst_stream(h.session, 0, ids[i], NGHTTP2_CANCEL);
        h2_send(&h);
    }
    h.n_ended = 0;
    h2_ask(&h, "GET", "/", 0, NULL);
    assert_true(h2_run(&h, 1));
    assert_int_equal(h.goaway, 0);
    assert_int_equal(n_closed, n_held);
    assert_true(n_held > 1000);

    /* The connection dies under open streams. */
    n_held = n_closed = 0;
    for (int i = 0; i < 50; i++)
        h2_ask(&h, "GET", "/hold", 0, NULL);
    h2_send(&h);
    assert_true(wait_for(&n_held, 50));
    h2_close(&h);
    assert_true(wait_for(&n_closed, 50));

    /* Frames that make no sense end the connection, not the server. */
    h2_open(&h, tls_server);
    h2_send(&h);
    SSL_write(h.ssl, "\0\0\4\1\4\0\0\0\2junk", 13); /* HEADERS on an even stream */
    assert_false(h2_run(&h, 1));
    assert_int_not_equal(h.goaway, 0);
    h2_close(&h);
}

static void test_tls_http1_and_peers(void **state)
{
    (void)state;
    struct {
        const struct tls_pair *cert;
        const char *want;
    } rows[] = {
        {NULL, "cn= invalid=0 der=0"},
        {&client_pair, "cn=admin invalid=0 der=1 o=system:masters o=people"},
        {&stranger_pair, "cn= invalid=1 der=0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial(tls_server);
        SSL *ssl = tls_dial(fd, rows[i].cert, i ? "\x08http/1.1" : NULL, 9);
        static const char ask[] = "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        SSL_write(ssl, ask, sizeof ask - 1);
        struct buf got = {0};
        char in[1000];
        int n;
        while ((n = SSL_read(ssl, in, sizeof in)) > 0)
            buf_add(&got, in, (size_t)n);
        assert_true(str_ends(buf_str(&got), str_from(rows[i].want)));
        assert_int_equal(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
        buf_free(&got);
        SSL_free(ssl);
        close(fd);
    }
}

/* ---- frame ---- */

static void make_certs(void)
{
    struct err err = ERR_INIT;
    static const char *const names[] = {"localhost", NULL}, *const ips[] = {"127.0.0.1", "::1", NULL};
    static const char *const orgs[] = {"system:masters", "people", NULL};
    struct tls_cert_request root = {.common_name = "ca", .ca = true, .valid_days = 10};
    struct tls_cert_request server = {
        .common_name = "server", .dns_names = names, .ip_addresses = ips, .server_auth = true, .valid_days = 10};
    struct tls_cert_request client = {
        .common_name = "admin", .organizations = orgs, .client_auth = true, .valid_days = 10};
    assert_int_equal(tls_cert_create(&root, NULL, &ca, &err), 0);
    assert_int_equal(tls_cert_create(&root, NULL, &other_ca, &err), 0);
    assert_int_equal(tls_cert_create(&server, &ca, &server_pair, &err), 0);
    assert_int_equal(tls_cert_create(&client, &ca, &client_pair, &err), 0);
    assert_int_equal(tls_cert_create(&client, &other_ca, &stranger_pair, &err), 0);
    char *key;
    assert_int_equal(tls_key_create(&key, &err), 0);
    free(key);
    static const char *const bad[] = {"300.1.1.1", NULL};
    server.ip_addresses = bad;
    struct tls_pair none;
    assert_int_equal(tls_cert_create(&server, &ca, &none, &err), ERR_INTERNAL);
}

static int set_up(void **state)
{
    (void)state;
    make_certs();
    struct err err = ERR_INIT;
    loops[0] = loop_create("one");
    loops[1] = loop_create("two");
    struct tls_options o = {.cert_pem = server_pair.cert_pem,
                            .key_pem = server_pair.key_pem,
                            .ca_pem = ca.cert_pem,
                            .server = true,
                            .alpn_h2 = true,
                            .alpn_http1 = true};
    assert_int_equal(tls_context_create(&o, &tls, &err), 0);
    struct http_server_options s = {
        .listen = "127.0.0.1:0", .loops = loops, .n_loops = 2, .max_body = MAX_BODY, .handler = handler};
    assert_int_equal(http_server_create(&s, &clear_server, &err), 0);
    s.tls = tls;
    assert_int_equal(http_server_create(&s, &tls_server, &err), 0);
    char taken[32];
    struct http_server *none;
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_server_port(tls_server));
    s.listen = taken;
    assert_int_equal(http_server_create(&s, &none, &err), ERR_BUSY);
    loop_start(loops[0]);
    loop_start(loops[1]);
    return 0;
}

static sem_t stopped;
static void on_stopped(void *arg)
{
    (void)arg;
    sem_post(&stopped);
}

/* Stops under a held stream: its handler is told when the grace has passed. */
static int tear_down(void **state)
{
    (void)state;
    struct h2 h;
    h2_open(&h, tls_server);
    n_held = n_closed = 0;
    h2_ask(&h, "GET", "/hold", 0, NULL);
    h2_send(&h);
    assert_true(wait_for(&n_held, 1));
    sem_init(&stopped, 0, 0);
    http_server_stop(clear_server, 1000, on_stopped, NULL);
    http_server_stop(tls_server, 100, on_stopped, NULL);
    sem_wait(&stopped);
    sem_wait(&stopped);
    assert_true(n_closed >= 1);
    assert_false(h2_run(&h, 2));
    assert_int_equal(h.goaway, 1);
    h2_close(&h);
    for (int i = 0; i < 2; i++)
        loop_stop(loops[i]);
    for (int i = 0; i < 2; i++)
        loop_join(loops[i]);
    http_server_destroy(clear_server);
    http_server_destroy(tls_server);
    loop_destroy(loops[0]);
    loop_destroy(loops[1]);
    tls_context_destroy(tls);
    tls_pair_finish(&ca);
    tls_pair_finish(&other_ca);
    tls_pair_finish(&server_pair);
    tls_pair_finish(&client_pair);
    tls_pair_finish(&stranger_pair);
    return 0;
}

static int use_tls(void **state)
{
    *state = tls_server;
    return 0;
}
static int use_clear(void **state)
{
    *state = clear_server;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http1_rows),
        cmocka_unit_test(test_http1_too_large),
        cmocka_unit_test(test_http1_gone),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test_setup(test_http2, use_tls),
        cmocka_unit_test_setup(test_http2, use_clear),
        cmocka_unit_test(test_http2_many_and_resets),
        cmocka_unit_test(test_tls_http1_and_peers),
        cmocka_unit_test(test_time_outs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
