#include "base/mem.h"
#include "base/net/websocket_conn.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <wslay/wslay.h>

enum { WEBSOCKET_DEFAULT_MAX = 1 << 20, FRAME_TEXT = 0x81, FRAME_BINARY = 0x82, FRAME_MASK = 0x80 };

struct websocket {
    struct loop *loop;
    struct websocket_options options;
    const struct websocket_transport *transport;
    void *stream;
    wslay_event_context_ptr wslay; /* parses, and makes control frames */
    struct str in;                 /* not yet parsed, during websocket_on_data */
    struct buf out;                /* control frames, during a send */
    struct timer ping, resume;
    int unanswered;
    bool client, paused, busy /* inside wslay_event_recv */, dead /* the user has closed */, lost;
    struct buf held; /* came while paused */
    int close_code;
    char close_reason[124];
    size_t close_reason_len;
};

/* ---- frames out ---- */

static void mask_bytes(char *p, size_t len, const unsigned char key[4])
{
    for (size_t i = 0; i < len; i++)
        p[i] = (char)(p[i] ^ key[i & 3]);
}

static size_t frame_head(unsigned char *head, int first, bool masked, size_t len)
{
    size_t n = 2;
    head[0] = (unsigned char)first;
    if (len < 126) {
        head[1] = (unsigned char)len;
    } else if (len < 65536) {
        head[1] = 126;
        head[n++] = (unsigned char)(len >> 8);
        head[n++] = (unsigned char)len;
    } else {
        head[1] = 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            head[n++] = (unsigned char)((uint64_t)len >> shift);
    }
    if (masked)
        head[1] |= FRAME_MASK;
    return n;
}

/* A frame with `prefix` in front of data; data's reference is taken over. */
static void send_frame(struct websocket *w, int first, struct str prefix, struct slice data)
{
    if (w->dead || w->lost || w->close_code || !w->stream) {
        ref_put(data.owner);
        return;
    }
    unsigned char head[16];
    size_t len = prefix.len + data.len, n = frame_head(head, first, w->client, len);
    if (!w->client) {
        memcpy(head + n, prefix.p, prefix.len); /* at most a channel */
        struct slice pieces[2] = {slice_copy(head, n + prefix.len), data};
        w->transport->write(w->stream, pieces, 2);
        return;
    }
    struct buf out = {0};
    buf_reserve(&out, n + 4 + len);
    buf_add(&out, head, n);
    unsigned char key[4];
    if (RAND_bytes(key, sizeof key) != 1)
        abort();
    buf_add(&out, key, sizeof key);
    size_t at = out.len;
    buf_add_str(&out, prefix);
    buf_add(&out, data.p, data.len);
    mask_bytes(out.p + at, len, key);
    ref_put(data.owner);
    size_t total = out.len;
    struct slice piece = slice_take(out.p, total);
    w->transport->write(w->stream, &piece, 1);
}

void websocket_send(struct websocket *w, bool text, const void *data, size_t len)
{
    struct slice s = w->client ? (struct slice){data, len, NULL} : slice_copy(data, len);
    send_frame(w, text ? FRAME_TEXT : FRAME_BINARY, STR(""), s);
}

void websocket_send_channel(struct websocket *w, uint8_t channel, struct slice data)
{
    send_frame(w, FRAME_BINARY, (struct str){(const char *)&channel, 1}, data);
}

/* Control frames that wslay has queued. */
static void send_control(struct websocket *w)
{
    if (!w->wslay || w->lost || !w->stream)
        return;
    wslay_event_send(w->wslay);
    if (!w->out.len)
        return;
    struct slice s = slice_copy(w->out.p, w->out.len);
    buf_free(&w->out);
    w->transport->write(w->stream, &s, 1);
}

/* ---- wslay's callbacks ---- */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
    (void)flags;
    struct websocket *w = user;
    if (!w->in.len || w->dead || w->paused) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = w->in.len < len ? w->in.len : len;
    memcpy(buf, w->in.p, n);
    w->in = str_sub(w->in, n, w->in.len);
    return (ssize_t)n;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
    (void)ctx, (void)flags;
    buf_add(&((struct websocket *)user)->out, data, len);
    return (ssize_t)len;
}

static int on_genmask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user)
{
    (void)ctx, (void)user;
    return RAND_bytes(buf, (int)len) == 1 ? 0 : -1;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    (void)ctx;
    struct websocket *w = user;
    struct str data = {(const char *)arg->msg, arg->msg_length};
    if (arg->opcode == WSLAY_CONNECTION_CLOSE) {
        w->close_code = arg->status_code ? arg->status_code : WEBSOCKET_NO_CODE;
        if (data.len > 2 && data.len - 2 < sizeof w->close_reason) {
            w->close_reason_len = data.len - 2;
            memcpy(w->close_reason, data.p + 2, data.len - 2);
        }
    } else if (!wslay_is_ctrl_frame(arg->opcode) && !w->dead) {
        w->options.handler.on_message(w->options.handler.arg, arg->opcode == WSLAY_TEXT_FRAME, data);
    }
}

/* ---- life ---- */

void websocket_free(struct websocket *w)
{
    timer_stop(&w->ping);
    timer_stop(&w->resume);
    wslay_event_context_free(w->wslay);
    buf_free(&w->out);
    buf_free(&w->held);
    free(w);
}

/* The user hears the end, unless the end was the user's. */
static void websocket_end(struct websocket *w, int code)
{
    if (!w->lost)
        w->transport->close(w->stream);
    w->stream = NULL;
    w->lost = true;
    if (!w->dead && w->options.handler.on_close)
        w->options.handler.on_close(w->options.handler.arg, code, (struct str){w->close_reason, w->close_reason_len});
    websocket_free(w);
}

static void on_ping(void *arg)
{
    struct websocket *w = arg;
    if (w->unanswered == 2) {
        websocket_end(w, WEBSOCKET_ABNORMAL);
        return;
    }
    w->unanswered++;
    struct wslay_event_msg msg = {.opcode = WSLAY_PING};
    wslay_event_queue_msg(w->wslay, &msg);
    send_control(w);
    timer_start(&w->ping, w->loop, w->options.ping_interval_ms, on_ping, w);
}

struct websocket *websocket_create(struct loop *loop, bool client, const struct websocket_options *options,
                                   const struct websocket_transport *transport)
{
    struct websocket *w = MEM_NEW(struct websocket);
    w->loop = loop;
    w->client = client;
    w->options = *options;
    w->options.protocols = NULL;
    w->transport = transport;
    struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_genmask,
        .on_msg_recv_callback = on_message,
    };
    if (client ? wslay_event_context_client_init(&w->wslay, &callbacks, w)
               : wslay_event_context_server_init(&w->wslay, &callbacks, w))
        abort();
    wslay_event_config_set_max_recv_msg_length(w->wslay,
                                               options->max_message ? options->max_message : WEBSOCKET_DEFAULT_MAX);
    return w;
}

void websocket_attach(struct websocket *w, void *stream)
{
    w->stream = stream;
    if (w->options.ping_interval_ms > 0)
        timer_start(&w->ping, w->loop, w->options.ping_interval_ms, on_ping, w);
}

static void websocket_parse(struct websocket *w)
{
    w->busy = true;
    int rc = wslay_event_recv(w->wslay);
    w->busy = false;
    if (w->dead) { /* closed inside on_message */
        websocket_end(w, 0);
        return;
    }
    if (w->paused && w->in.len) {
        struct buf rest = {0};
        buf_add_str(&rest, w->in);
        buf_free(&w->held);
        w->held = rest;
    }
    w->in = STR_NULL;
    send_control(w);
    /* Reading ends by the peer's close, a broken frame or too long a message; the answer has just been sent. */
    if (rc || !wslay_event_get_read_enabled(w->wslay)) {
        int code = w->close_code;
        if (!code)
            code = wslay_event_get_status_code_sent(w->wslay);
        websocket_end(w, code ? code : WEBSOCKET_PROTOCOL_ERROR);
    }
}

void websocket_on_data(void *arg, struct str data)
{
    struct websocket *w = arg;
    w->unanswered = 0;
    if (w->paused || w->busy) {
        buf_add_str(&w->held, data);
        return;
    }
    struct buf all = w->held;
    w->held = (struct buf){0};
    if (all.len)
        buf_add_str(&all, data);
    w->in = all.len ? buf_str(&all) : data;
    websocket_parse(w);
    buf_free(&all);
}

void websocket_on_close(void *arg)
{
    struct websocket *w = arg;
    w->lost = true;
    websocket_end(w, WEBSOCKET_ABNORMAL);
}

void websocket_on_drain(void *arg)
{
    struct websocket *w = arg;
    if (w->options.handler.on_drain)
        w->options.handler.on_drain(w->options.handler.arg);
}

size_t websocket_unsent(const struct websocket *w)
{
    return w->stream ? w->transport->unsent(w->stream) : 0;
}

static void on_resumed(void *arg)
{
    struct websocket *w = arg;
    if (!w->paused && w->held.len)
        websocket_on_data(w, STR(""));
}

void websocket_read(struct websocket *w, bool on)
{
    if (w->paused == !on || w->dead || w->lost)
        return;
    w->paused = !on;
    w->transport->read(w->stream, on);
    if (on && w->held.len && !w->busy) /* not inside the caller's own function */
        timer_start(&w->resume, w->loop, 0, on_resumed, w);
}

void websocket_close(struct websocket *w, int code, const char *reason)
{
    assert(!w->dead && !w->lost);
    wslay_event_queue_close(w->wslay, (uint16_t)(code == WEBSOCKET_NO_CODE ? 0 : code), (const uint8_t *)reason,
                            reason ? strlen(reason) : 0);
    send_control(w);
    w->dead = true;
    if (!w->busy)
        websocket_end(w, 0);
}

/* ---- the handshake ---- */

static bool has_token(const struct http_exchange *ex, const char *header, struct str token)
{
    for (size_t i = 0; i < ex->n_headers; i++) {
        struct str list = ex->headers[i].value, one;
        if (str_eqz(ex->headers[i].name, header))
            while (str_split(&list, ',', &one))
                if (str_eq_nocase(str_trim(one), token))
                    return true;
    }
    return false;
}

bool websocket_requested(const struct http_exchange *ex)
{
    return has_token(ex, "connection", STR("upgrade")) && has_token(ex, "upgrade", STR("websocket"));
}

void websocket_accept_key(struct str key, char ret[static 29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[128], digest[EVP_MAX_MD_SIZE];
    assert(key.len + sizeof guid <= sizeof text);
    memcpy(text, key.p, key.len);
    memcpy(text + key.len, guid, sizeof guid - 1);
    if (EVP_Digest(text, key.len + sizeof guid - 1, digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)ret, digest, 20);
}

void websocket_key_create(char ret_key[static 25])
{
    unsigned char key[16];
    if (RAND_bytes(key, sizeof key) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)ret_key, key, sizeof key);
}

bool websocket_key_matches(const char *key, struct str accept)
{
    char want[29];
    websocket_accept_key(str_from(key), want);
    return str_eqz(accept, want);
}

static const char *choose_protocol(const struct http_exchange *ex, const char *const *known)
{
    for (size_t i = 0; i < ex->n_headers; i++) {
        struct str list = ex->headers[i].value, one;
        if (!str_eqz(ex->headers[i].name, "sec-websocket-protocol"))
            continue;
        while (str_split(&list, ',', &one))
            for (const char *const *k = known; k && *k; k++)
                if (str_eqz(str_trim(one), *k))
                    return *k;
    }
    return NULL;
}

static void stream_write(void *stream, const struct slice *pieces, size_t n)
{
    byte_stream_write(stream, pieces, n);
}
static size_t stream_unsent(const void *stream)
{
    return byte_stream_unsent(stream);
}
static void stream_read(void *stream, bool on)
{
    byte_stream_read(stream, on);
}
static void stream_close(void *stream)
{
    byte_stream_close(stream);
}

int websocket_accept(struct http_exchange *ex, const struct websocket_options *options, const char **ret_protocol,
                     struct websocket **ret, struct err *err)
{
    static const struct websocket_transport transport = {stream_write, stream_unsent, stream_read, stream_close};
    struct str key = http_header_get(ex, "sec-websocket-key");
    if (!websocket_requested(ex) || !str_eqz(ex->method, "GET"))
        return err_set(err, ERR_BAD_REQUEST, "not a websocket handshake");
    if (!str_eqz(http_header_get(ex, "sec-websocket-version"), "13"))
        return err_set(err, ERR_BAD_REQUEST, "websocket version 13 is required");
    if (key.len != 24 || !str_ends(key, STR("==")))
        return err_set(err, ERR_BAD_REQUEST, "missing or bad Sec-WebSocket-Key");
    const char *protocol = choose_protocol(ex, options->protocols);
    if (!protocol && options->require_protocol)
        return err_set(err, ERR_BAD_REQUEST, "no websocket protocol in common");
    char accept[29];
    websocket_accept_key(key, accept);
    struct http_header headers[4] = {
        {STR("upgrade"), STR("websocket")},
        {STR("connection"), STR("Upgrade")},
        {STR("sec-websocket-accept"), {accept, 28}},
        {STR("sec-websocket-protocol"), str_from(protocol)},
    };
    struct websocket *w = websocket_create(ex->loop, false, options, &transport);
    struct byte_stream_handler handler = {websocket_on_data, websocket_on_close, websocket_on_drain, w};
    struct byte_stream *stream;
    if (http_upgrade(ex, headers, protocol ? 4 : 3, &handler, &stream, err) < 0) {
        websocket_free(w);
        return err->code;
    }
    websocket_attach(w, stream);
    *ret_protocol = protocol;
    *ret = w;
    return 0;
}
