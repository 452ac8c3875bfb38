/* Frames from the peer. A broken frame ends the session; a frame for a stream that is not there is answered with
 * RST_STREAM, as both sides may give up a stream while frames are under way. */
#include "base/net/spdy_internal.h"

static uint32_t u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

#define ID(v) ((v)&0x7fffffffu)

static int got_syn_stream(struct spdy_session *s, int flags, struct str body, struct err *err)
{
    if (body.len < 10)
        return err_set(err, ERR_BAD_REQUEST, "spdy: SYN_STREAM is too short");
    uint32_t id = ID(u32(body.p));
    struct arena *a = arena_create(0);
    struct http_header *headers;
    size_t n;
    int rc = spdy_headers_read(s, a, str_sub(body, 10, body.len), &headers, &n, err);
    if (rc == 0 && (id & 1) != (s->opt.server ? 1u : 0u))
        rc = err_set(err, ERR_BAD_REQUEST, "spdy: stream %u has the wrong parity", id);
    if (rc == 0 && (id <= s->last_peer_id || id == 0)) {
        spdy_send_reset(s, id, SPDY_PROTOCOL_ERROR);
    } else if (rc == 0) {
        s->last_peer_id = id;
        if (!s->opt.on_stream || s->goaway_out || s->n_streams >= SPDY_MAX_STREAMS) {
            spdy_send_reset(s, id, SPDY_REFUSED_STREAM);
        } else {
            struct spdy_stream *st = spdy_stream_new(s, id);
            st->out_end = st->out_closed = flags & SPDY_FLAG_UNIDIRECTIONAL;
            s->opt.on_stream(s->opt.arg, st, headers, n);
            if (!st->over && !st->accepted)
                spdy_stream_reset(st, SPDY_REFUSED_STREAM);
            if (!st->over && (flags & SPDY_FLAG_FIN))
                spdy_stream_received(st, STR_NULL, true);
        }
    }
    arena_destroy(a);
    return rc;
}

static int got_headers(struct spdy_session *s, int type, int flags, struct str body, struct err *err)
{
    if (body.len < 4)
        return err_set(err, ERR_BAD_REQUEST, "spdy: frame of type %d is too short", type);
    struct spdy_stream *st = spdy_stream_find(s, ID(u32(body.p)));
    struct arena *a = arena_create(0);
    struct http_header *headers;
    size_t n;
    int rc = spdy_headers_read(s, a, str_sub(body, 4, body.len), &headers, &n, err);
    if (rc == 0 && st) {
        if (type == SPDY_SYN_REPLY && st->handler.on_reply)
            st->handler.on_reply(st->handler.arg, headers, n);
        if (!st->over && (flags & SPDY_FLAG_FIN))
            spdy_stream_received(st, STR_NULL, true);
    }
    arena_destroy(a);
    return rc;
}

static void flush_all(struct spdy_session *s)
{
    for (struct spdy_stream *st = s->streams; st; st = st->next)
        spdy_stream_flush(st);
    for (bool again = true; again;) { /* a handler may end any stream: start over after each */
        again = false;
        for (struct spdy_stream *st = s->streams; st && !again; st = st->next) {
            if (!st->draining || st->out.len >= HTTP_LOW_WATER)
                continue;
            st->draining = false;
            again = true;
            if (st->handler.on_drain)
                st->handler.on_drain(st->handler.arg);
        }
    }
}

static int got_window_update(struct spdy_session *s, struct str body, struct err *err)
{
    if (body.len < 8)
        return err_set(err, ERR_BAD_REQUEST, "spdy: WINDOW_UPDATE is too short");
    uint32_t id = ID(u32(body.p)), delta = ID(u32(body.p + 4));
    struct spdy_stream *st = id ? spdy_stream_find(s, id) : NULL;
    s->windows = true;
    if (!id)
        s->send_window += delta;
    else if (st)
        st->send_window += delta;
    if (s->send_window > INT32_MAX || (st && st->send_window > INT32_MAX))
        return err_set(err, ERR_BAD_REQUEST, "spdy: window is too large");
    flush_all(s);
    return 0;
}

static int got_settings(struct spdy_session *s, struct str body, struct err *err)
{
    uint32_t count = body.len >= 4 ? u32(body.p) : 0;
    if (body.len < 4 || count > (body.len - 4) / 8)
        return err_set(err, ERR_BAD_REQUEST, "spdy: malformed SETTINGS");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = u32(body.p + 4 + i * 8) & 0xffffff, value = u32(body.p + 8 + i * 8);
        if (id != 7 || value > INT32_MAX) /* 7: the initial window */
            continue;
        s->windows = true;
        for (struct spdy_stream *st = s->streams; st; st = st->next)
            st->send_window += (int64_t)value - s->initial_window;
        s->initial_window = value;
    }
    flush_all(s);
    return 0;
}

static int got_reset(struct spdy_session *s, struct str body, struct err *err)
{
    if (body.len < 8)
        return err_set(err, ERR_BAD_REQUEST, "spdy: RST_STREAM is too short");
    struct spdy_stream *st = spdy_stream_find(s, ID(u32(body.p)));
    if (!st)
        return 0;
    spdy_stream_over(st);
    if (st->accepted)
        st->handler.on_reset(st->handler.arg, (int)u32(body.p + 4));
    return 0;
}

static int got_control(struct spdy_session *s, int type, int flags, struct str body, struct err *err)
{
    switch (type) {
    case SPDY_SYN_STREAM:
        return got_syn_stream(s, flags, body, err);
    case SPDY_SYN_REPLY:
    case SPDY_HEADERS:
        return got_headers(s, type, flags, body, err);
    case SPDY_RST_STREAM:
        return got_reset(s, body, err);
    case SPDY_SETTINGS:
        return got_settings(s, body, err);
    case SPDY_WINDOW_UPDATE:
        return got_window_update(s, body, err);
    case SPDY_PING:
        if (body.len < 4)
            return err_set(err, ERR_BAD_REQUEST, "spdy: PING is too short");
        if ((u32(body.p) & 1) != (s->next_ping & 1))
            spdy_send_control(s, SPDY_PING, 0, body.p, 4);
        return 0;
    case SPDY_GOAWAY:
        if (!s->goaway_in) {
            s->goaway_in = true;
            if (s->opt.on_closed)
                s->opt.on_closed(s->opt.arg, NULL);
        }
        return 0;
    default: /* extensions, credentials */
        return 0;
    }
}

static void got_data(struct spdy_session *s, struct str data, bool last)
{
    struct spdy_stream *st = spdy_stream_find(s, s->data_id);
    bool fin = last && (s->data_flags & SPDY_FLAG_FIN);
    spdy_session_took(s, data.len);
    if (st && !st->in_end)
        spdy_stream_received(st, data, fin);
    else if (last && !fin)
        spdy_send_reset(s, s->data_id, st ? SPDY_STREAM_ALREADY_CLOSED : SPDY_INVALID_STREAM);
}

/* Takes one step off `rest`: a control frame, a DATA head, or some of its payload. 1 = more bytes are needed. */
static int step(struct spdy_session *s, struct str *rest, struct err *err)
{
    if (s->in_data) {
        if (s->data_left && !rest->len)
            return 1;
        size_t n = rest->len < s->data_left ? rest->len : s->data_left;
        s->data_left -= (uint32_t)n;
        s->in_data = s->data_left > 0;
        got_data(s, (struct str){rest->p, n}, !s->in_data);
        *rest = str_sub(*rest, n, rest->len);
        return 0;
    }
    if (rest->len < 8)
        return 1;
    uint32_t word = u32(rest->p), len = u32(rest->p + 4) & 0xffffff;
    int flags = (unsigned char)rest->p[4];
    if (!(word & 0x80000000u)) {
        s->in_data = true;
        s->data_id = word;
        s->data_left = len;
        s->data_flags = (uint8_t)flags;
        *rest = str_sub(*rest, 8, rest->len);
        return 0;
    }
    if ((word >> 16) != 0x8003)
        return err_set(err, ERR_BAD_REQUEST, "spdy: version %u, want 3", word >> 16 & 0x7fff);
    if (len > SPDY_MAX_CONTROL)
        return err_set(err, ERR_LIMIT, "spdy: control frame of %u bytes", len);
    if (rest->len - 8 < len)
        return 1;
    struct str body = {rest->p + 8, len};
    *rest = str_sub(*rest, 8 + len, rest->len);
    return got_control(s, (int)(word & 0xffff), flags, body, err);
}

static void fail(struct spdy_session *s, const struct err *err)
{
    spdy_session_goaway(s);
    s->closed = true;
    for (struct spdy_stream *st; (st = s->streams);) {
        spdy_stream_over(st);
        if (st->accepted)
            st->handler.on_reset(st->handler.arg, SPDY_PROTOCOL_ERROR);
    }
    if (s->opt.on_closed && !s->destroyed)
        s->opt.on_closed(s->opt.arg, err);
}

int spdy_session_feed(struct spdy_session *s, struct str bytes, struct err *err)
{
    if (s->closed)
        return err_set(err, ERR_UNAVAILABLE, "spdy: the session is closed");
    spdy_enter(s);
    struct buf in = s->in; /* what was left of a frame, if anything */
    struct str rest = bytes;
    s->in = (struct buf){0};
    if (in.len) {
        buf_add_str(&in, bytes);
        rest = buf_str(&in);
    }
    int rc = 0;
    while (rc == 0 && !s->closed)
        rc = step(s, &rest, err);
    if (rc < 0 && !s->closed)
        fail(s, err);
    else if (!s->closed)
        buf_add_str(&s->in, rest);
    buf_free(&in);
    spdy_leave(s);
    return rc < 0 ? rc : 0;
}
