#include "base/net/http_conn.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net/tls.h"
#include "base/vec.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* ---- writing ----
 *
 * Plain bytes gather in the worker's `plain` until they fill a TLS record, records gather in `gathered` until a burst
 * is full, and that goes to the socket in one call. What the socket does not take is kept in the connection's `out`,
 * and nothing more is produced for it before that has gone: so a slow reader costs one burst at most. */

static void conn_events(struct http_conn *c);

static void conn_send_raw(struct http_conn *c, const char *p, size_t len)
{
    size_t sent = 0;
    while (c->out.len == 0 && sent < len) {
        ssize_t n = send(c->fd, p + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                conn_doom(c);
                return;
            }
            break;
        }
    }
    if (sent)
        c->written_ms = c->active_ms;
    if (sent == len)
        return;
    if (c->out.len == 0)
        c->written_ms = clock_mono_ms();
    buf_add(&c->out, p + sent, len - sent);
    conn_events(c);
}

/* The rest of an earlier burst. Returns true when all of it has gone. */
static bool conn_send_rest(struct http_conn *c)
{
    while (c->out_at < c->out.len) {
        ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            c->out_at += (size_t)n;
            c->written_ms = clock_mono_ms();
        } else if (n < 0 && errno != EINTR) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                conn_doom(c);
            return false;
        }
    }
    if (c->out.p) {
        buf_free(&c->out);
        c->out_at = 0;
        conn_events(c);
    }
    return true;
}

static void sink_begin(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    assert(!w->sink);
    w->sink = c;
    w->plain_len = 0;
    w->gathered.len = 0;
}

static void sink_encrypt(struct http_conn *c, const char *p, size_t len)
{
    while (len && !c->doomed) {
        int n = SSL_write(c->ssl, p, (int)len);
        if (n <= 0) {
            ERR_clear_error();
            conn_doom(c);
            return;
        }
        p += n;
        len -= (size_t)n;
    }
}

static void sink_end(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    if (w->plain_len)
        sink_encrypt(c, w->plain, w->plain_len);
    w->sink = NULL;
    w->plain_len = 0;
    if (w->gathered.len && !c->doomed)
        conn_send_raw(c, w->gathered.p, w->gathered.len);
}

void sink_write(struct http_conn *c, const char *p, size_t len)
{
    struct http_worker *w = c->worker;
    if (!c->ssl) {
        buf_add(&w->gathered, p, len);
        return;
    }
    while (len) {
        if (w->plain_len == 0 && len >= HTTP_RECORD_SIZE) {
            sink_encrypt(c, p, HTTP_RECORD_SIZE);
            p += HTTP_RECORD_SIZE;
            len -= HTTP_RECORD_SIZE;
            continue;
        }
        size_t n = HTTP_RECORD_SIZE - w->plain_len;
        if (n > len)
            n = len;
        memcpy(w->plain + w->plain_len, p, n);
        w->plain_len += n;
        p += n;
        len -= n;
        if (w->plain_len == HTTP_RECORD_SIZE) {
            sink_encrypt(c, w->plain, HTTP_RECORD_SIZE);
            w->plain_len = 0;
        }
    }
}

bool sink_full(const struct http_conn *c)
{
    return c->worker->gathered.len + c->worker->plain_len >= HTTP_BURST || c->doomed;
}

/* Moves up to max bytes of a queue into the sink, whatever its fill; returns how many. */
size_t sink_queue(struct http_conn *c, struct slice_queue *q, size_t max)
{
    size_t moved = 0;
    while (moved < max && q->head < q->len) {
        struct slice *s = &q->items[q->head];
        size_t n = s->len < max - moved ? s->len : max - moved;
        sink_write(c, s->p, n);
        moved += n;
        s->p += n;
        s->len -= n;
        if (!s->len) {
            ref_put(s->owner);
            q->head++;
        }
    }
    q->bytes -= moved;
    if (q->head == q->len) {
        q->head = q->len = 0;
        if (q->cap > 16) {
            free(q->items);
            q->items = NULL;
            q->cap = 0;
        }
    }
    return moved;
}

static void conn_produce(struct http_conn *c)
{
    switch (c->protocol) {
    case PROTOCOL_HTTP1:
        http1_produce(c);
        break;
    case PROTOCOL_HTTP2:
        http2_produce(c);
        break;
    case PROTOCOL_RAW:
        raw_produce(c);
        break;
    case PROTOCOL_NONE:
    case PROTOCOL_LINGER:
        break;
    }
}

static void conn_end_protocol(struct http_conn *c)
{
    if (c->protocol == PROTOCOL_HTTP2)
        http2_close(c);
    else if (c->protocol == PROTOCOL_RAW)
        raw_close(c);
    http1_close(c);
    c->protocol = PROTOCOL_LINGER;
}

/* Closing with unread bytes resets the connection and can cost the peer what we sent last: so say that this was all,
 * and read on a little. */
static void conn_linger(struct http_conn *c)
{
    if (c->protocol == PROTOCOL_LINGER)
        return;
    if (c->ssl) {
        sink_begin(c);
        SSL_shutdown(c->ssl);
        ERR_clear_error();
        sink_end(c);
    }
    shutdown(c->fd, SHUT_WR);
    conn_end_protocol(c);
    c->active_ms = clock_mono_ms();
    c->paused = false;
    conn_events(c);
}

void conn_flush(struct http_conn *c)
{
    if (c->spent) {
        exchange_destroy(c->spent);
        c->spent = NULL;
    }
    while (!c->doomed && conn_send_rest(c)) {
        sink_begin(c);
        conn_produce(c);
        bool full = sink_full(c);
        sink_end(c);
        if (!full)
            break;
    }
    if (!c->doomed && c->close_after_flush && c->out.len == 0)
        conn_linger(c);
    if (!c->doomed && c->protocol == PROTOCOL_RAW && c->raw->drain_due && !c->raw->closing) {
        c->raw->drain_due = false;
        if (c->raw->handler.on_drain)
            c->raw->handler.on_drain(c->raw->handler.arg);
    }
    if (c->input_due && !c->doomed && !c->paused)
        conn_input(c);
}

/* ---- TLS over the above ---- */

static int bio_write(BIO *b, const char *p, int len)
{
    struct http_conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (c->worker->sink == c)
        buf_add(&c->worker->gathered, p, (size_t)len);
    else
        conn_send_raw(c, p, (size_t)len);
    return len;
}

static int bio_read(BIO *b, char *p, int len)
{
    struct http_conn *c = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (c->dry) {
        BIO_set_retry_read(b);
        return -1;
    }
    ssize_t n;
    do
        n = recv(c->fd, p, (size_t)len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        c->dry = true;
        BIO_set_retry_read(b);
        return -1;
    }
    /* A short read emptied the socket: the next system call would only say so. */
    c->dry = n > 0 && n < len;
    return (int)n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_PUSH || cmd == BIO_CTRL_POP;
}

static BIO_METHOD *bio_method;

__attribute__((constructor)) static void bio_method_init(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "http connection");
    if (!bio_method)
        abort();
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static void conn_read_subject(struct http_conn *c, X509 *x)
{
    X509_NAME *name = X509_get_subject_name(x);
    VEC(struct str) orgs = {0};
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        if (nid != NID_commonName && nid != NID_organizationName)
            continue;
        unsigned char *text = NULL;
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(e));
        if (len < 0)
            continue;
        struct str s = {mem_dup(text, (size_t)len), (size_t)len};
        OPENSSL_free(text);
        if (nid == NID_organizationName) {
            vec_push(&orgs, s);
        } else {
            free((void *)(uintptr_t)c->peer.cert_cn.p);
            c->peer.cert_cn = s;
        }
    }
    vec_push(&orgs, STR_NULL);
    c->peer.cert_orgs = orgs.items;
}

static void conn_read_peer(struct http_conn *c)
{
    X509 *x = SSL_get1_peer_certificate(c->ssl);
    if (!x)
        return;
    unsigned char *der = NULL;
    int len;
    if (SSL_get_verify_result(c->ssl) != X509_V_OK) {
        c->peer.cert_invalid = true;
    } else if ((len = i2d_X509(x, &der)) > 0) {
        c->peer.cert_der = (struct str){mem_dup(der, (size_t)len), (size_t)len};
        OPENSSL_free(der);
        conn_read_subject(c, x);
    }
    X509_free(x);
}

/* Returns true once done. */
static bool conn_handshake(struct http_conn *c)
{
    if (c->handshaken)
        return true;
    sink_begin(c);
    int rc = SSL_do_handshake(c->ssl);
    int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, rc);
    sink_end(c);
    if (rc != 1) {
        ERR_clear_error();
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            conn_doom(c);
        return false;
    }
    c->handshaken = true;
    conn_read_peer(c);
    const unsigned char *alpn;
    unsigned len;
    SSL_get0_alpn_selected(c->ssl, &alpn, &len);
    if (len == 2 && !memcmp(alpn, "h2", 2))
        http2_open(c);
    else
        http1_open(c);
    return !c->doomed;
}

/* ---- reading ---- */

/* Clear text: HTTP/2 by prior knowledge starts with its preface. */
static void conn_sniff(struct http_conn *c, const char *p, size_t len)
{
    buf_add(&c->sniffed, p, len);
    size_t n = c->sniffed.len < sizeof preface - 1 ? c->sniffed.len : sizeof preface - 1;
    bool h2 = !memcmp(c->sniffed.p, preface, n);
    if (h2 && n < sizeof preface - 1)
        return;
    struct buf got = c->sniffed;
    c->sniffed = (struct buf){0};
    if (h2) {
        http2_open(c);
        http2_input(c, got.p, got.len);
    } else {
        http1_open(c);
        http1_input(c, got.p, got.len);
    }
    buf_free(&got);
}

static void conn_got(struct http_conn *c, const char *p, size_t len)
{
    switch (c->protocol) {
    case PROTOCOL_NONE:
        conn_sniff(c, p, len);
        break;
    case PROTOCOL_HTTP1:
        http1_input(c, p, len);
        break;
    case PROTOCOL_HTTP2:
        http2_input(c, p, len);
        break;
    case PROTOCOL_RAW:
        raw_input(c, p, len);
        break;
    case PROTOCOL_LINGER: /* one that goes on and on has not been listening */
        c->lingered += len;
        if (c->lingered > HTTP_LINGER_MAX)
            conn_doom(c);
        break;
    }
}

/* The peer sends no more. One that still waits for an answer has gone, as upstream sees it; but an answer that is
 * complete is still delivered. */
static void conn_got_end(struct http_conn *c)
{
    bool answered = c->protocol == PROTOCOL_HTTP1 && c->h1.ex && c->h1.ex->finished;
    bool writing = c->protocol == PROTOCOL_RAW && c->raw->closing;
    if ((answered || writing) && !c->close_after_flush) {
        c->h1.keep_alive = false;
        c->paused = true;
        conn_events(c);
        conn_mark(c);
    } else {
        conn_doom(c);
    }
}

/* > 0: bytes, 0: nothing now, -1: end or failure. */
static ssize_t conn_read(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    if (!c->ssl) {
        if (c->dry)
            return 0;
        ssize_t n = recv(c->fd, w->in, sizeof w->in, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
        c->dry = n < (ssize_t)sizeof w->in;
        return n ? n : -1;
    }
    int n = SSL_read(c->ssl, w->in, sizeof w->in);
    if (n > 0)
        return n;
    int why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

void conn_input(struct http_conn *c)
{
    c->input_due = false;
    c->dry = false;
    if (c->protocol != PROTOCOL_LINGER) /* its time runs from its beginning */
        c->active_ms = clock_mono_ms();
    if (c->protocol == PROTOCOL_HTTP1 && c->h1.in.len)
        http1_input(c, NULL, 0);
    if (c->protocol == PROTOCOL_RAW && c->raw->in.len)
        raw_input(c, NULL, 0);
    if (c->doomed || c->paused || (c->ssl && !conn_handshake(c)))
        return;
    /* Some rounds, then others have their turn: TLS may hold bytes that the kernel no longer tells of. */
    for (int i = 0; i < 8 && !c->doomed && !c->paused; i++) {
        ssize_t n = conn_read(c);
        if (n > 0) {
            conn_got(c, c->worker->in, (size_t)n);
        } else {
            if (n < 0)
                conn_got_end(c);
            return;
        }
    }
    if (!c->doomed) {
        c->input_due = true;
        conn_mark(c);
    }
}

void conn_pause(struct http_conn *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    conn_events(c);
    if (!paused) {
        c->input_due = true;
        conn_mark(c);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_conn *c = poll->data;
    if (c->doomed)
        return;
    if (status < 0) {
        conn_doom(c);
        return;
    }
    if (events & UV_WRITABLE)
        conn_mark(c);
    if (events & UV_READABLE && !c->paused)
        conn_input(c);
}

static void conn_events(struct http_conn *c)
{
    int events = c->paused ? 0 : UV_READABLE;
    if (c->out.len)
        events |= UV_WRITABLE;
    if (events == c->events || c->doomed)
        return;
    c->events = events;
    if (events)
        uv_poll_start(&c->poll, events, on_poll);
    else
        uv_poll_stop(&c->poll);
}

/* ---- life ---- */

void conn_mark(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    if (c->dirty)
        return;
    c->dirty = true;
    TAILQ_INSERT_TAIL(&w->dirty, c, dirty_link);
}

void conn_doom(struct http_conn *c)
{
    c->doomed = true;
    conn_mark(c);
}

void conn_open(struct http_worker *w, int fd, const char *address)
{
    struct http_conn *c = MEM_NEW(struct http_conn);
    c->worker = w;
    c->fd = fd;
    c->opened_ms = c->active_ms = c->written_ms = clock_mono_ms();
    snprintf(c->peer.address, sizeof c->peer.address, "%s", address);
    TAILQ_INSERT_TAIL(&w->conns, c, link);
    if (uv_poll_init(loop_uv(w->loop), &c->poll, fd))
        abort();
    c->poll.data = c;
    if (w->server->opt.tls) {
        c->peer.tls = true;
        c->ssl = SSL_new(tls_context_ssl(w->server->opt.tls));
        BIO *bio = BIO_new(bio_method);
        if (!c->ssl || !bio)
            abort();
        BIO_set_data(bio, c);
        BIO_set_init(bio, 1);
        SSL_set_bio(c->ssl, bio, bio);
        SSL_set_accept_state(c->ssl);
    }
    conn_events(c);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void conn_destroy(struct http_conn *c)
{
    struct http_worker *w = c->worker;
    c->doomed = true;
    conn_end_protocol(c);
    if (c->spent)
        exchange_destroy(c->spent);
    if (c->peer.user && c->peer.user_free)
        c->peer.user_free(c->peer.user);
    if (c->dirty)
        TAILQ_REMOVE(&w->dirty, c, dirty_link);
    TAILQ_REMOVE(&w->conns, c, link);
    atomic_fetch_sub_explicit(&w->n_conns, 1, memory_order_relaxed);
    SSL_free(c->ssl);
    buf_free(&c->out);
    buf_free(&c->sniffed);
    free((void *)(uintptr_t)c->peer.cert_der.p);
    free((void *)(uintptr_t)c->peer.cert_cn.p);
    for (const struct str *o = c->peer.cert_orgs; o && o->p; o++)
        free((void *)(uintptr_t)o->p);
    free((void *)(uintptr_t)c->peer.cert_orgs);
    uv_poll_stop(&c->poll);
    close(c->fd);
    uv_close((uv_handle_t *)&c->poll, on_closed);
}
