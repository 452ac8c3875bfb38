/* HTTP/2 and TLS end to end on loopback, driven with an nghttp2 client session and an OpenSSL client. */
#include "base/net/server_for_test.h"

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

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
    stop_servers();
    assert_true(n_closed >= 1);
    assert_false(h2_run(&h, 2));
    assert_int_equal(h.goaway, 1);
    h2_close(&h);
    destroy_servers();
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
        cmocka_unit_test_setup(test_http2, use_tls),
        cmocka_unit_test_setup(test_http2, use_clear),
        cmocka_unit_test(test_http2_many_and_resets),
        cmocka_unit_test(test_tls_http1_and_peers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
