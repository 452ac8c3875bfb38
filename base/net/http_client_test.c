/* The client against our own server: every row over HTTP/1.1 and HTTP/2, clear, TLS and a unix socket. */
#include "base/clock.h"
#include "base/net/http.h"
#include "base/net/http_client.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;
static struct tls_pair ca, cert;
static struct tls_context *server_tls, *client_tls;
static struct http_server *clear, *secure, *local;
static char clear_url[64], secure_url[64], local_url[128], socket_path[] = "/tmp/skiff-http-XXXXXX";

/* ---- the server ---- */

static void echo_data(void *arg, struct str data)
{
    struct slice piece = slice_copy(data.p, data.len);
    byte_stream_write(*(struct byte_stream **)arg, &piece, 1);
}

static void echo_close(void *arg)
{
    free(arg);
}

static void send_more(struct http_exchange *ex)
{
    size_t *left = ex->user;
    static const char block[16384];
    while (*left && http_unsent(ex) < HTTP_HIGH_WATER) {
        size_t n = *left < sizeof block ? *left : sizeof block;
        http_send(ex, &(struct slice){block, n, NULL}, 1);
        *left -= n;
    }
    if (!*left)
        http_finish(ex);
}

static void handle(void *arg, struct http_exchange *ex)
{
    (void)arg;
    struct http_header text = {STR("content-type"), STR("text/plain")};
    if (str_eq(ex->path, STR("/echo"))) {
        struct slice body = slice_copy(ex->body.p, ex->body.len);
        http_respond(ex, 200, &text, 1, &body, 1);
    } else if (str_eq(ex->path, STR("/who"))) {
        struct str who = arena_printf(ex->arena, STR_FMT " " STR_FMT " %s", STR_ARG(ex->method),
                                      STR_ARG(http_header_get(ex, "authorization")), ex->peer->http2 ? "h2" : "h1");
        struct slice body = slice_copy(who.p, who.len);
        http_respond(ex, 404, &text, 1, &body, 1);
    } else if (str_eq(ex->path, STR("/big"))) {
        size_t *left = ARENA_NEW(ex->arena, size_t);
        *left = 5 * 1024 * 1024;
        ex->user = left;
        ex->on_drain = send_more;
        http_start(ex, 200, &text, 1);
        send_more(ex);
    } else if (str_eq(ex->path, STR("/drop"))) {
        http_abort(ex);
    } else if (str_eq(ex->path, STR("/upgrade"))) {
        struct byte_stream **s = malloc(sizeof *s);
        struct err err = ERR_INIT;
        struct http_header h[] = {{STR("connection"), STR("Upgrade")}, {STR("upgrade"), STR("echo")}};
        struct byte_stream_handler handler = {echo_data, echo_close, NULL, s};
        if (http_upgrade(ex, h, 2, &handler, s, &err) < 0)
            abort();
    } /* "/never": no answer */
}

static struct http_server *serve(const char *listen, struct tls_context *tls)
{
    struct http_server *s;
    struct err err = ERR_INIT;
    struct http_server_options opt = {
        .listen = listen, .tls = tls, .loops = &loop, .n_loops = 1, .max_body = 8 * 1024 * 1024, .handler = handle};
    if (http_server_create(&opt, &s, &err) < 0)
        fail_msg("%s", err.message);
    return s;
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    const char *const ips[] = {"127.0.0.1", NULL};
    loop = loop_create("test");
    assert_int_equal(
        tls_cert_create(&(struct tls_cert_request){.common_name = "ca", .ca = true, .valid_days = 1}, NULL, &ca, &err),
        0);
    assert_int_equal(tls_cert_create(
                         &(struct tls_cert_request){
                             .common_name = "server", .ip_addresses = ips, .server_auth = true, .valid_days = 1},
                         &ca, &cert, &err),
                     0);
    assert_int_equal(tls_context_create(&(struct tls_options){.cert_pem = cert.cert_pem,
                                                              .key_pem = cert.key_pem,
                                                              .server = true,
                                                              .alpn_h2 = true,
                                                              .alpn_http1 = true},
                                        &server_tls, &err),
                     0);
    assert_int_equal(
        tls_context_create(&(struct tls_options){.ca_pem = ca.cert_pem, .alpn_h2 = true}, &client_tls, &err), 0);
    clear = serve("127.0.0.1:0", NULL);
    secure = serve("127.0.0.1:0", server_tls);
    close(mkstemp(socket_path));
    unlink(socket_path);
    snprintf(local_url, sizeof local_url, "unix:%s", socket_path);
    local = serve(local_url, NULL);
    snprintf(local_url, sizeof local_url, "unix://%s", socket_path);
    snprintf(clear_url, sizeof clear_url, "http://127.0.0.1:%d", http_server_port(clear));
    snprintf(secure_url, sizeof secure_url, "https://127.0.0.1:%d", http_server_port(secure));
    return 0;
}

static void stopped(void *arg)
{
    if (--*(int *)arg == 0)
        loop_stop(loop);
}

static int tear_down(void **state)
{
    (void)state;
    int left = 3;
    http_server_stop(clear, 0, stopped, &left);
    http_server_stop(secure, 0, stopped, &left);
    http_server_stop(local, 0, stopped, &left);
    loop_run(loop);
    http_server_destroy(clear);
    http_server_destroy(secure);
    http_server_destroy(local);
    loop_destroy(loop);
    tls_context_destroy(server_tls);
    tls_context_destroy(client_tls);
    tls_pair_finish(&ca);
    tls_pair_finish(&cert);
    unlink(socket_path);
    return 0;
}

/* ---- the client's side ---- */

struct seen {
    int status, done, resumed, stop_at;
    struct buf body;
    size_t bytes;
    enum err_code code;
    char message[ERR_MESSAGE_MAX];
    struct http_call *call;
    bool pause, cancel;
    struct timer timer;
};

static void on_response(void *arg, int status, const struct http_header *h, size_t n)
{
    struct seen *s = arg;
    s->status = status;
    assert_true(status == 101 || str_eq(http_headers_get(h, n, "content-type"), STR("text/plain")));
}

static void go_on(void *arg)
{
    struct seen *s = arg;
    s->resumed++;
    http_call_read(s->call, true);
}

static void finish(struct seen *s)
{
    s->done++;
    if (s->done >= s->stop_at)
        loop_stop(loop);
}

static void on_data(void *arg, struct str data)
{
    struct seen *s = arg;
    s->bytes += data.len;
    if (s->bytes < 65536)
        buf_add_str(&s->body, data);
    if (s->pause && s->resumed < 3) {
        http_call_read(s->call, false);
        timer_start(&s->timer, loop, 5, go_on, s);
    }
    if (s->cancel) {
        http_call_cancel(s->call);
        finish(s);
    }
}

static void on_done(void *arg, const struct err *err)
{
    struct seen *s = arg;
    s->code = err ? err->code : ERR_OK;
    snprintf(s->message, sizeof s->message, "%s", err ? err->message : "");
    finish(s);
}

static struct http_client *client(const char *const *urls, enum http_client_mode mode)
{
    struct http_client *c;
    struct err err = ERR_INIT;
    struct http_client_options opt = {
        .endpoints = urls, .tls = client_tls, .mode = mode, .token = "secret", .connect_timeout_ms = 2000};
    if (http_client_create(loop, &opt, &c, &err) < 0)
        fail_msg("%s", err.message);
    return c;
}

static struct http_call *ask(struct http_client *c, struct str method, struct str path, struct str body, struct seen *s)
{
    if (!s->stop_at)
        s->stop_at = 1;
    struct http_call_options opt = {
        .method = method,
        .path = path,
        .body = body,
        .timeout_ms = str_eq(path, STR("/never")) ? 50 : 5000,
        .handler = {.on_response = on_response, .on_data = on_data, .on_done = on_done, .arg = s},
    };
    return s->call = http_call_start(c, &opt);
}

static const struct {
    const char **url;
    enum http_client_mode mode;
    const char *protocol;
} ways[] = {
    {(const char *[]){clear_url, NULL}, HTTP_CLIENT_HTTP1, "h1"},
    {(const char *[]){clear_url, NULL}, HTTP_CLIENT_HTTP2, "h2"},
    {(const char *[]){clear_url, NULL}, HTTP_CLIENT_AUTO, "h1"},
    {(const char *[]){secure_url, NULL}, HTTP_CLIENT_AUTO, "h2"},
    {(const char *[]){secure_url, NULL}, HTTP_CLIENT_HTTP1, "h1"},
    {(const char *[]){local_url, NULL}, HTTP_CLIENT_HTTP2, "h2"},
    {(const char *[]){local_url, NULL}, HTTP_CLIENT_HTTP1, "h1"},
};
#define EACH_WAY(w) for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)

static void test_simple(void **state)
{
    (void)state;
    EACH_WAY(w)
    {
        struct http_client *c = client(ways[w].url, ways[w].mode);
        for (int round = 0; round < 2; round++) { /* the second on the same connection */
            struct seen s = {0};
            ask(c, STR("DELETE"), STR("/who?x=1"), STR_NULL, &s);
            loop_run(loop);
            char want[64];
            snprintf(want, sizeof want, "DELETE Bearer secret %s", ways[w].protocol);
            buf_add_char(&s.body, 0);
            assert_string_equal(s.message, "");
            assert_int_equal(s.status, 404);
            assert_string_equal(s.body.p, want);
            buf_free(&s.body);
        }
        http_client_destroy(c);
    }
}

static void test_bodies(void **state)
{
    (void)state;
    struct str body = {malloc(3000000), 3000000};
    memset((char *)body.p, 'x', body.len);
    EACH_WAY(w)
    {
        struct http_client *c = client(ways[w].url, ways[w].mode);
        struct seen s[20] = {0};
        for (int i = 0; i < 20; i++) {
            s[i].stop_at = i == 19 ? 1 : 99;
            ask(c, STR("POST"), STR("/echo"), str_sub(body, 0, i == 19 ? body.len : (size_t)i * 100), &s[i]);
        }
        loop_run(loop);
        assert_string_equal(s[19].message, "");
        assert_int_equal(s[19].bytes, body.len);
        for (int i = 0; i < 19; i++) {
            assert_int_equal(s[i].done, 1);
            assert_int_equal(s[i].bytes, i * 100);
        }
        for (int i = 0; i < 20; i++)
            buf_free(&s[i].body);
        http_client_destroy(c);
    }
    free((char *)body.p);
}

static void test_streamed_body(void **state)
{
    (void)state;
    EACH_WAY(w)
    {
        struct http_client *c = client(ways[w].url, ways[w].mode);
        struct seen s = {.stop_at = 1};
        struct http_call_options opt = {
            .method = STR("POST"),
            .path = STR("/echo"),
            .body = STR("one,"),
            .body_streamed = true,
            .handler = {.on_response = on_response, .on_data = on_data, .on_done = on_done, .arg = &s},
        };
        struct http_call *call = http_call_start(c, &opt);
        http_call_write(call, STR("two,"));
        http_call_write(call, STR("three"));
        http_call_finish(call);
        loop_run(loop);
        buf_add_char(&s.body, 0);
        assert_string_equal(s.body.p, "one,two,three");
        buf_free(&s.body);
        http_client_destroy(c);
    }
}

static void test_flow_control(void **state)
{
    (void)state;
    EACH_WAY(w)
    {
        struct http_client *c = client(ways[w].url, ways[w].mode);
        struct seen s = {.pause = true};
        ask(c, STR("GET"), STR("/big"), STR_NULL, &s);
        loop_run(loop);
        assert_string_equal(s.message, "");
        assert_int_equal(s.bytes, 5 * 1024 * 1024);
        assert_int_equal(s.resumed, 3);
        buf_free(&s.body);
        http_client_destroy(c);
    }
}

static void test_cancel_and_time_out(void **state)
{
    (void)state;
    EACH_WAY(w)
    {
        struct http_client *c = client(ways[w].url, ways[w].mode);
        struct seen s = {.cancel = true};
        ask(c, STR("GET"), STR("/big"), STR_NULL, &s);
        loop_run(loop);
        assert_int_equal(s.done, 1);
        buf_free(&s.body);
        s = (struct seen){0};
        ask(c, STR("GET"), STR("/never"), STR_NULL, &s);
        loop_run(loop);
        assert_int_equal(s.code, ERR_TIMEOUT);
        s = (struct seen){0};
        ask(c, STR("POST"), STR("/drop"), STR_NULL, &s);
        loop_run(loop);
        assert_int_equal(s.code, ERR_UNAVAILABLE);
        s = (struct seen){0};
        ask(c, STR("POST"), STR("/echo"), STR("still"), &s);
        loop_run(loop);
        assert_int_equal(s.bytes, 5);
        buf_free(&s.body);
        ask(c, STR("GET"), STR("/never"), STR_NULL, &s); /* in flight when the client goes */
        http_client_destroy(c);
    }
}

static int refused_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    close(fd);
    return ntohs(sa.sin_port);
}

static void test_refused_and_fail_over(void **state)
{
    (void)state;
    char bad[64], want[128];
    int port = refused_port();
    snprintf(bad, sizeof bad, "http://127.0.0.1:%d", port);
    snprintf(want, sizeof want, "dial tcp 127.0.0.1:%d: connect: connection refused", port);
    for (int mode = HTTP_CLIENT_HTTP1; mode <= HTTP_CLIENT_HTTP2; mode++) {
        struct http_client *c = client((const char *[]){bad, NULL}, (enum http_client_mode)mode);
        for (int round = 0; round < 3; round++) {
            struct seen s = {0};
            ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
            loop_run(loop);
            assert_int_equal(s.code, ERR_UNAVAILABLE);
            assert_string_equal(s.message, want);
        }
        http_client_destroy(c);
        c = client((const char *[]){bad, bad, clear_url, NULL}, (enum http_client_mode)mode);
        struct seen s = {0};
        ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
        loop_run(loop);
        assert_int_equal(s.status, 404);
        assert_string_equal(http_client_endpoint(c), clear_url);
        buf_free(&s.body);
        http_client_destroy(c);
    }
}

static void test_names_are_verified(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct tls_context *other;
    struct tls_pair ca2;
    assert_int_equal(
        tls_cert_create(&(struct tls_cert_request){.common_name = "x", .ca = true, .valid_days = 1}, NULL, &ca2, &err),
        0);
    assert_int_equal(tls_context_create(&(struct tls_options){.ca_pem = ca2.cert_pem}, &other, &err), 0);
    struct http_client *c;
    const char *urls[] = {secure_url, NULL};
    assert_int_equal(http_client_create(loop, &(struct http_client_options){.endpoints = urls, .tls = other}, &c, &err),
                     0);
    struct seen s = {0};
    ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
    loop_run(loop);
    assert_string_equal(s.message, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    http_client_destroy(c);
    assert_int_equal(
        http_client_create(
            loop, &(struct http_client_options){.endpoints = urls, .tls = client_tls, .server_name = "elsewhere"}, &c,
            &err),
        0);
    s = (struct seen){0};
    ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
    loop_run(loop);
    assert_int_equal(s.code, ERR_PERMISSION);
    http_client_destroy(c);
    tls_context_destroy(other);
    tls_pair_finish(&ca2);
}

static void wake(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void test_pings(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct http_client *c;
    const char *urls[] = {clear_url, NULL};
    struct http_client_options opt = {.endpoints = urls, .mode = HTTP_CLIENT_HTTP2, .ping_interval_ms = 10};
    assert_int_equal(http_client_create(loop, &opt, &c, &err), 0);
    struct seen s = {0};
    ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
    loop_run(loop);
    buf_free(&s.body);
    struct timer timer = {0};
    timer_start(&timer, loop, 100, wake, NULL);
    struct seen held = {0};
    struct http_call_options never = {
        .method = STR("GET"), .path = STR("/never"), .handler = {.on_done = on_done, .arg = &held}};
    held.stop_at = 1;
    held.call = http_call_start(c, &never); /* unanswered for ten intervals, on a connection that lives */
    loop_run(loop);
    assert_int_equal(held.done, 0);
    http_client_destroy(c);

    /* A peer that accepts and says nothing. */
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(sa.sin_port));
    urls[0] = url;
    assert_int_equal(http_client_create(loop, &opt, &c, &err), 0);
    held = (struct seen){.stop_at = 1};
    http_call_start(c, &never);
    loop_run(loop);
    assert_int_equal(held.code, ERR_UNAVAILABLE);
    assert_string_equal(held.message, "http2: client connection lost");
    http_client_destroy(c);

    /* What comes then goes elsewhere; addresses may change under a connection that lives. */
    const char *both[] = {url, clear_url, NULL}, *one[] = {url, NULL}, *other[] = {clear_url, url, NULL};
    opt.endpoints = both;
    assert_int_equal(http_client_create(loop, &opt, &c, &err), 0);
    held = (struct seen){.stop_at = 1};
    http_call_start(c, &never);
    loop_run(loop);
    assert_int_equal(held.code, ERR_UNAVAILABLE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(http_client_set_endpoints(c, i == 1 ? one : i == 2 ? other : both, &err), 0);
        ask(c, STR("GET"), STR("/who"), STR_NULL, &s);
        loop_run(loop);
        assert_int_equal(s.code, 0);
        assert_string_equal(http_client_endpoint(c), clear_url);
        buf_free(&s.body);
    }
    const char *bad[] = {clear_url, "ftp://x", NULL};
    assert_int_equal(http_client_set_endpoints(c, bad, &err), ERR_BAD_REQUEST);
    http_client_destroy(c);
    close(fd);
}

/* ---- upgrade ---- */

struct talk {
    struct http_stream *stream;
    size_t got, want;
    bool closed;
};

static void talk_data(void *arg, struct str data)
{
    struct talk *t = arg;
    t->got += data.len;
    if (t->got == t->want)
        loop_stop(loop);
}

static void talk_close(void *arg)
{
    ((struct talk *)arg)->closed = true;
    loop_stop(loop);
}

static void on_upgrade(void *arg, struct http_stream *s)
{
    struct talk *t = arg;
    t->stream = s;
    http_stream_open(s, &(struct byte_stream_handler){talk_data, talk_close, NULL, t});
    static const char block[100000];
    http_stream_write(s, (struct str){block, sizeof block});
    http_stream_write(s, STR("hello"));
}

static void test_upgrade(void **state)
{
    (void)state;
    EACH_WAY(w)
    {
        if (ways[w].mode == HTTP_CLIENT_HTTP2)
            continue;
        struct http_client *c = client(ways[w].url, ways[w].mode);
        struct talk t = {.want = 100005};
        struct http_header h[] = {{STR("connection"), STR("Upgrade")}, {STR("upgrade"), STR("echo")}};
        struct http_call_options opt = {
            .method = STR("POST"),
            .path = STR("/upgrade"),
            .headers = h,
            .n_headers = 2,
            .upgrade = true,
            .timeout_ms = 5000,
            .handler = {.on_upgrade = on_upgrade, .on_done = on_done, .arg = &t},
        };
        http_call_start(c, &opt);
        loop_run(loop);
        assert_int_equal(t.got, t.want);
        http_stream_close(t.stream);
        http_client_destroy(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_streamed_body),
        cmocka_unit_test(test_flow_control),
        cmocka_unit_test(test_cancel_and_time_out),
        cmocka_unit_test(test_refused_and_fail_over),
        cmocka_unit_test(test_names_are_verified),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_upgrade),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
