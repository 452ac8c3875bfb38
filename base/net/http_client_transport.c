/* Bytes over TCP or a unix socket, with or without TLS. TLS runs over memory BIOs, so that libuv alone touches the
 * socket. Error texts are those of Go's net package: probes and events show them to people who know them from there. */
#include "base/mem.h"
#include "base/net/http_client_internal.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

struct transport {
    struct loop *loop;
    struct transport_handler handler;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    struct addrinfo *found, *next;
    char *host, *name; /* to connect to; to verify */
    char peer[160];    /* "tcp 10.0.0.1:80", for errors */
    int port;
    bool unix_socket, open, resolving, ready, ended, closed, handle_closed, paused, reading, writing, lingering;
    struct timer timer; /* connecting, then: a failure to report, bytes to go on with, or the end of lingering */
    struct err *failure;
    SSL *ssl;
    BIO *in, *out;
    struct buf unsent, sending;
    uv_write_t write;
    size_t high_water_reached;
};

static _Thread_local char read_buffer[64 * 1024];
static _Thread_local char plain_buffer[16 * 1024];

static void transport_free(struct transport *t)
{
    if (!t->closed || t->resolving || (t->open && !t->handle_closed))
        return;
    if (t->ssl)
        SSL_free(t->ssl);
    if (t->found)
        uv_freeaddrinfo(t->found);
    buf_free(&t->unsent);
    buf_free(&t->sending);
    free(t->failure);
    free(t->host);
    free(t->name);
    free(t);
}

static void on_closed(uv_handle_t *handle)
{
    struct transport *t = handle->data;
    t->handle_closed = true;
    transport_free(t);
}

void transport_close(struct transport *t)
{
    if (!t || t->closed)
        return;
    t->closed = t->ended = true;
    timer_stop(&t->timer);
    if (t->resolving)
        uv_cancel((uv_req_t *)&t->resolve);
    if (t->open && !uv_is_closing(&t->uv.handle))
        uv_close(&t->uv.handle, on_closed);
    if (!t->open && !t->resolving)
        transport_free(t);
}

static void transport_end(struct transport *t, const struct err *err)
{
    if (t->ended)
        return;
    t->ended = true;
    timer_stop(&t->timer);
    if (t->reading) {
        uv_read_stop(&t->uv.stream);
        t->reading = false;
    }
    if (t->lingering)
        transport_close(t);
    else
        t->handler.on_end(t->handler.arg, err);
}

/* strerror as Go's syscall.Errno prints it: in lower case. */
static void error_text(int uv_status, char *out, size_t size)
{
    snprintf(out, size, "%s", uv_status == UV_EOF ? "EOF" : strerror(-uv_status));
    if (uv_status != UV_EOF)
        out[0] = (char)tolower((unsigned char)out[0]);
    for (char *p = out + 1; uv_status != UV_EOF && *p; p++)
        *p = (char)tolower((unsigned char)*p);
}

static void fail_now(void *arg)
{
    struct transport *t = arg;
    transport_end(t, t->failure);
}

/* Never inside transport_open: the failure is reported from the loop. */
static void fail_soon(struct transport *t, enum err_code code, const char *message)
{
    if (t->failure || t->ended)
        return;
    t->failure = MEM_NEW(struct err);
    err_set(t->failure, code, "%s", message);
    timer_start(&t->timer, t->loop, 0, fail_now, t);
}

static void fail_connect(struct transport *t, int uv_status)
{
    char text[128], message[320];
    error_text(uv_status, text, sizeof text);
    snprintf(message, sizeof message, "dial %s: connect: %s", t->peer, text);
    fail_soon(t, ERR_UNAVAILABLE, message);
}

static void on_connect_timeout(void *arg)
{
    struct transport *t = arg;
    struct err err;
    if (t->ssl)
        err_set(&err, ERR_TIMEOUT, "net/http: TLS handshake timeout");
    else
        err_set(&err, ERR_TIMEOUT, "dial %s: i/o timeout", t->peer);
    transport_end(t, &err);
}

/* ---- writing ---- */

static void transport_flush(struct transport *t);

static void on_written(uv_write_t *req, int status)
{
    struct transport *t = req->data;
    t->writing = false;
    t->sending.len = 0;
    if (t->closed)
        return;
    if (status < 0) {
        char text[128];
        struct err err;
        error_text(status, text, sizeof text);
        err_set(&err, ERR_UNAVAILABLE, "write %s: write: %s", t->peer, text);
        transport_end(t, &err);
        return;
    }
    transport_flush(t);
    if (!t->lingering && !t->ended && transport_unsent(t) < HTTP_LOW_WATER && t->handler.on_drain)
        t->handler.on_drain(t->handler.arg);
}

static void transport_flush(struct transport *t)
{
    if (t->writing || t->ended)
        return;
    while (t->unsent.len) {
        uv_buf_t piece = uv_buf_init(t->unsent.p, (unsigned)(t->unsent.len > INT32_MAX ? INT32_MAX : t->unsent.len));
        int n = uv_try_write(&t->uv.stream, &piece, 1);
        if (n == UV_EAGAIN)
            break;
        if (n < 0) {
            char text[128], message[320];
            error_text(n, text, sizeof text);
            snprintf(message, sizeof message, "write %s: write: %s", t->peer, text);
            fail_soon(t, ERR_UNAVAILABLE, message);
            return;
        }
        buf_drop_front(&t->unsent, (size_t)n);
    }
    if (!t->unsent.len) {
        if (t->unsent.cap > HTTP_HIGH_WATER)
            buf_free(&t->unsent);
        if (t->lingering)
            transport_close(t);
        return;
    }
    struct buf swap = t->sending;
    t->sending = t->unsent;
    t->unsent = swap;
    t->unsent.len = 0;
    uv_buf_t piece = uv_buf_init(t->sending.p, (unsigned)t->sending.len);
    t->write.data = t;
    t->writing = true;
    int rc = uv_write(&t->write, &t->uv.stream, &piece, 1, on_written);
    if (rc < 0) {
        t->writing = false;
        fail_soon(t, ERR_UNAVAILABLE, "write: connection lost");
    }
}

static void take_encrypted(struct transport *t)
{
    char *p;
    long n = BIO_get_mem_data(t->out, &p);
    if (n > 0) {
        buf_add(&t->unsent, p, (size_t)n);
        (void)BIO_reset(t->out);
    }
}

void transport_write(struct transport *t, const void *p, size_t len)
{
    if (t->ended || !len)
        return;
    assert(t->ready);
    if (!t->ssl) {
        buf_add(&t->unsent, p, len);
    } else {
        const char *at = p;
        while (len) {
            int n = SSL_write(t->ssl, at, len > INT32_MAX ? INT32_MAX : (int)len);
            if (n <= 0) {
                fail_soon(t, ERR_UNAVAILABLE, "tls: write failed");
                return;
            }
            at += n;
            len -= (size_t)n;
        }
        take_encrypted(t);
    }
    transport_flush(t);
}

size_t transport_unsent(const struct transport *t)
{
    return t->unsent.len + t->sending.len;
}

static void linger_over(void *arg)
{
    transport_close(arg);
}

void transport_close_after_writes(struct transport *t)
{
    if (t->closed || t->lingering)
        return;
    if (t->ended || !t->ready) {
        transport_close(t);
        return;
    }
    t->lingering = true;
    if (t->ssl) {
        SSL_shutdown(t->ssl);
        take_encrypted(t);
    }
    timer_start(&t->timer, t->loop, 30000, linger_over, t);
    transport_flush(t);
}

/* ---- reading and the handshake ---- */

static void tls_failed(struct transport *t)
{
    struct err err;
    long verify = SSL_get_verify_mode(t->ssl) & SSL_VERIFY_PEER ? SSL_get_verify_result(t->ssl) : X509_V_OK;
    unsigned long code = ERR_peek_last_error();
    if (verify == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN || verify == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
        verify == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || verify == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
        err_set(&err, ERR_PERMISSION,
                "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    else if (verify != X509_V_OK)
        err_set(&err, ERR_PERMISSION, "tls: failed to verify certificate: x509: %s",
                X509_verify_cert_error_string(verify));
    else
        err_set(&err, ERR_UNAVAILABLE, "remote error: tls: %s",
                code && ERR_reason_error_string(code) ? ERR_reason_error_string(code) : "handshake failure");
    ERR_clear_error();
    transport_end(t, &err);
}

static void transport_is_ready(struct transport *t)
{
    timer_stop(&t->timer);
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    if (t->ssl)
        SSL_get0_alpn_selected(t->ssl, &alpn, &alpn_len);
    t->ready = true;
    t->handler.on_ready(t->handler.arg, alpn_len == 2 && memcmp(alpn, "h2", 2) == 0);
}

static void tls_advance(struct transport *t)
{
    while (!t->ended) {
        ERR_clear_error();
        if (!t->ready) {
            int rc = SSL_do_handshake(t->ssl);
            take_encrypted(t);
            transport_flush(t);
            if (rc != 1) {
                int why = SSL_get_error(t->ssl, rc);
                if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                    tls_failed(t);
                return;
            }
            transport_is_ready(t);
            continue;
        }
        if (t->paused)
            return;
        int n = SSL_read(t->ssl, plain_buffer, sizeof plain_buffer);
        take_encrypted(t);
        transport_flush(t);
        if (n <= 0) {
            int why = SSL_get_error(t->ssl, n);
            if (why == SSL_ERROR_ZERO_RETURN)
                transport_end(t, NULL);
            else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                tls_failed(t);
            return;
        }
        if (!t->lingering)
            t->handler.on_data(t->handler.arg, (struct str){plain_buffer, (size_t)n});
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(read_buffer, sizeof read_buffer);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct transport *t = stream->data;
    if (n == 0 || t->ended)
        return;
    if (n < 0) {
        struct err err;
        char text[128];
        error_text((int)n, text, sizeof text);
        err_set(&err, ERR_UNAVAILABLE, "read %s: read: %s", t->peer, text);
        if (n == UV_EOF && !t->ready)
            err_set(&err, ERR_UNAVAILABLE, "EOF");
        transport_end(t, n == UV_EOF && t->ready ? NULL : &err);
        return;
    }
    if (t->ssl) {
        BIO_write(t->in, buf->base, (int)n);
        tls_advance(t);
    } else if (!t->lingering) {
        t->handler.on_data(t->handler.arg, (struct str){buf->base, (size_t)n});
    }
}

static void read_start(struct transport *t)
{
    if (t->reading || t->ended)
        return;
    t->reading = true;
    uv_read_start(&t->uv.stream, on_alloc, on_read);
}

static void go_on(void *arg)
{
    struct transport *t = arg;
    if (!t->paused)
        tls_advance(t);
}

void transport_read(struct transport *t, bool on)
{
    if (t->ended || t->paused == !on)
        return;
    t->paused = !on;
    if (!on) {
        uv_read_stop(&t->uv.stream);
        t->reading = false;
        return;
    }
    read_start(t);
    if (t->ssl && !t->failure) /* what was received and not read yet */
        timer_start(&t->timer, t->loop, 0, go_on, t);
}

void transport_handle(struct transport *t, const struct transport_handler *handler)
{
    t->handler = *handler;
}

/* ---- connecting ---- */

static int verify_name(SSL *ssl, const char *name)
{
    unsigned char ip[16];
    if (uv_inet_pton(AF_INET, name, ip) == 0 || uv_inet_pton(AF_INET6, name, ip) == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
}

static void try_next(struct transport *t);

static void on_connect(uv_connect_t *req, int status)
{
    struct transport *t = req->data;
    if (t->ended)
        return;
    if (status < 0) {
        if (t->next)
            try_next(t);
        else
            fail_connect(t, status);
        return;
    }
    if (!t->unix_socket)
        uv_tcp_nodelay(&t->uv.tcp, 1);
    if (!t->ssl) {
        transport_is_ready(t);
        if (!t->ended && !t->paused)
            read_start(t);
        return;
    }
    read_start(t);
    tls_advance(t);
}

/* A uv handle connects once: the next address of a name needs a fresh one. */
static void on_closed_for_next(uv_handle_t *handle)
{
    struct transport *t = handle->data;
    if (t->closed) {
        on_closed(handle);
        return;
    }
    t->open = false;
    try_next(t);
}

static void connect_tcp(struct transport *t, const struct sockaddr *sa)
{
    uv_tcp_init(loop_uv(t->loop), &t->uv.tcp);
    t->uv.handle.data = t;
    t->open = true;
    int rc = uv_tcp_connect(&t->connect, &t->uv.tcp, sa, on_connect);
    if (rc < 0)
        fail_connect(t, rc);
}

static void try_next(struct transport *t)
{
    if (t->open) {
        uv_close(&t->uv.handle, on_closed_for_next);
        return;
    }
    struct addrinfo *ai = t->next;
    t->next = ai->ai_next;
    char ip[64] = "";
    uv_ip_name(ai->ai_addr, ip, sizeof ip);
    snprintf(t->peer, sizeof t->peer, strchr(ip, ':') ? "tcp [%s]:%d" : "tcp %s:%d", ip, t->port);
    connect_tcp(t, ai->ai_addr);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct transport *t = req->data;
    t->resolving = false;
    t->found = t->next = found;
    if (t->closed) {
        transport_free(t);
        return;
    }
    if (t->ended)
        return;
    if (status < 0 || !found) {
        char message[320];
        snprintf(message, sizeof message, "dial tcp: lookup %.200s: no such host", t->host);
        fail_soon(t, ERR_UNAVAILABLE, message);
        return;
    }
    try_next(t);
}

static void tls_begin(struct transport *t, const struct transport_options *opt)
{
    t->ssl = SSL_new(tls_context_ssl(opt->tls));
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out)
        abort();
    BIO_set_mem_eof_return(t->in, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    static const unsigned char both[] = "\x02h2\x08http/1.1", h1[] = "\x08http/1.1", h2[] = "\x02h2";
    if (opt->mode == HTTP_CLIENT_AUTO)
        SSL_set_alpn_protos(t->ssl, both, sizeof both - 1);
    else if (opt->mode == HTTP_CLIENT_HTTP1)
        SSL_set_alpn_protos(t->ssl, h1, sizeof h1 - 1);
    else
        SSL_set_alpn_protos(t->ssl, h2, sizeof h2 - 1);
    if (!verify_name(t->ssl, t->name))
        fail_soon(t, ERR_BAD_REQUEST, "tls: bad server name");
}

struct transport *transport_open(struct loop *loop, const struct transport_options *opt,
                                 const struct transport_handler *handler)
{
    struct transport *t = MEM_NEW(struct transport);
    const struct http_address *a = opt->address;
    t->loop = loop;
    t->handler = *handler;
    t->host = mem_strdup(a->host);
    t->name = mem_strdup(opt->server_name ? opt->server_name : a->host);
    t->port = a->port;
    t->unix_socket = a->unix_socket;
    timer_start(&t->timer, loop, opt->connect_timeout_ms, on_connect_timeout, t);
    if (a->tls) {
        if (!opt->tls) {
            fail_soon(t, ERR_BAD_REQUEST, "no TLS context for an https endpoint");
            return t;
        }
        tls_begin(t, opt);
    }
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } sa;
    if (a->unix_socket) {
        snprintf(t->peer, sizeof t->peer, "unix %s", a->host);
        uv_pipe_init(loop_uv(loop), &t->uv.pipe, 0);
        t->uv.handle.data = t;
        t->open = true;
        t->connect.data = t;
        uv_pipe_connect(&t->connect, &t->uv.pipe, a->host, on_connect);
        return t;
    }
    t->connect.data = t;
    snprintf(t->peer, sizeof t->peer, strchr(a->host, ':') ? "tcp [%s]:%d" : "tcp %s:%d", a->host, a->port);
    if (uv_ip4_addr(a->host, a->port, &sa.in) == 0 || uv_ip6_addr(a->host, a->port, &sa.in6) == 0) {
        connect_tcp(t, &sa.sa);
        return t;
    }
    char port[8];
    snprintf(port, sizeof port, "%d", a->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    t->resolve.data = t;
    t->resolving = uv_getaddrinfo(loop_uv(loop), &t->resolve, on_resolved, a->host, port, &hints) == 0;
    if (!t->resolving)
        fail_soon(t, ERR_UNAVAILABLE, "dial tcp: lookup failed");
    return t;
}
