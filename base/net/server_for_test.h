/* server_for_test: two servers over two loops, one in clear text and one with TLS, whose handler has a path for
 * everything that can happen to an exchange; and raw bytes to ask them with. */
#ifndef SKIFF_BASE_NET_SERVER_FOR_TEST_H
#define SKIFF_BASE_NET_SERVER_FOR_TEST_H

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

static inline void on_held_close(struct http_exchange *ex)
{
    (void)ex;
    n_closed++;
}

static inline void flood(struct http_exchange *ex)
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

static inline void on_flood_drain(struct http_exchange *ex)
{
    n_drained++;
    flood(ex);
}

static inline void on_ws_message(void *arg, bool text, struct str data)
{
    struct websocket **w = arg;
    if (str_eqz(data, "bye"))
        websocket_close(*w, WEBSOCKET_NORMAL, "as asked");
    else if (text)
        websocket_send(*w, true, data.p, data.len);
    else
        websocket_send_channel(*w, 1, slice_copy(data.p, data.len));
}

static inline void on_ws_close(void *arg, int code, struct str reason)
{
    (void)arg, (void)reason;
    n_ws_closed = code;
}

static inline void serve_ws(struct http_exchange *ex)
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

static inline void serve_stream(struct http_exchange *ex)
{
    struct slice s[] = {{"one", 3, NULL}, {",", 1, NULL}};
    http_start(ex, 200, NULL, 0);
    http_send(ex, s, 2);
    http_send(ex, NULL, 0);
    http_send(ex, s, 1);
    http_finish(ex);
}

static inline void serve_peer(struct http_exchange *ex)
{
    struct str text = arena_printf(ex->arena, "cn=" STR_FMT " invalid=%d der=%d", STR_ARG(ex->peer->cert_cn),
                                   ex->peer->cert_invalid, ex->peer->cert_der.len > 0);
    for (const struct str *o = ex->peer->cert_orgs; o && o->p; o++)
        text = arena_printf(ex->arena, STR_FMT " o=" STR_FMT, STR_ARG(text), STR_ARG(*o));
    struct slice s = {text.p, text.len, NULL};
    http_respond(ex, 200, NULL, 0, &s, 1);
}

static inline void handler(void *arg, struct http_exchange *ex)
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

static inline int dial(struct http_server *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(s))};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    struct timeval tv = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static inline void put(int fd, const void *p, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)p + at, len - at, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

/* Until `until` has been seen n times, or the end. */
static inline bool get_until(int fd, struct buf *got, const char *until, int n)
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

static inline bool wait_for(atomic_int *what, int least)
{
    for (int i = 0; i < 500 && *what < least; i++)
        usleep(10000);
    return *what >= least;
}

/* ---- frame ---- */

static inline void make_certs(void)
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

static inline int set_up(void **state)
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
static inline void on_stopped(void *arg)
{
    (void)arg;
    sem_post(&stopped);
}

static inline void stop_servers(void)
{
    sem_init(&stopped, 0, 0);
    http_server_stop(clear_server, 1000, on_stopped, NULL);
    http_server_stop(tls_server, 100, on_stopped, NULL);
    sem_wait(&stopped);
    sem_wait(&stopped);
}

static inline void destroy_servers(void)
{
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
}

#endif
