/* HTTP/1.1 and WebSockets end to end on loopback, driven with raw bytes. */
#include "base/net/server_for_test.h"

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

static int tear_down(void **state)
{
    (void)state;
    stop_servers();
    destroy_servers();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http1_rows),  cmocka_unit_test(test_http1_too_large), cmocka_unit_test(test_http1_gone),
        cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_websocket),       cmocka_unit_test(test_time_outs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
