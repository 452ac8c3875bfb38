#include "base/net/spdy_internal.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define DATA_FRAME_MAX (32 * 1024)

/* ---- frames out ---- */

static void put_u32(char *p, uint32_t v)
{
    p[0] = (char)(v >> 24);
    p[1] = (char)(v >> 16);
    p[2] = (char)(v >> 8);
    p[3] = (char)v;
}

void spdy_send_control(struct spdy_session *s, int type, int flags, const void *p, size_t len)
{
    char head[8] = {(char)0x80, 3, 0, (char)type};
    put_u32(head + 4, (uint32_t)flags << 24 | (uint32_t)len);
    s->frame.len = 0;
    buf_add(&s->frame, head, 8);
    buf_add(&s->frame, p, len);
    s->opt.write(s->opt.arg, buf_str(&s->frame));
}

static void send_pair(struct spdy_session *s, int type, uint32_t a, uint32_t b)
{
    char body[8];
    put_u32(body, a);
    put_u32(body + 4, b);
    spdy_send_control(s, type, 0, body, 8);
}

void spdy_send_reset(struct spdy_session *s, uint32_t id, int status)
{
    send_pair(s, SPDY_RST_STREAM, id, (uint32_t)status);
}

static void send_data(struct spdy_stream *st, size_t len, bool fin)
{
    struct spdy_session *s = st->session;
    char head[8];
    put_u32(head, st->id);
    put_u32(head + 4, (fin ? (uint32_t)SPDY_FLAG_FIN << 24 : 0) | (uint32_t)len);
    s->frame.len = 0;
    buf_add(&s->frame, head, 8);
    buf_add(&s->frame, st->out.p, len);
    buf_drop_front(&st->out, len);
    st->send_window -= (int64_t)len;
    s->send_window -= (int64_t)len;
    st->out_closed = fin;
    s->opt.write(s->opt.arg, buf_str(&s->frame));
}

void spdy_stream_flush(struct spdy_stream *st)
{
    struct spdy_session *s = st->session;
    while (!st->over && !st->out_closed && st->out.len) {
        size_t n = st->out.len < DATA_FRAME_MAX ? st->out.len : DATA_FRAME_MAX;
        int64_t room = st->send_window < s->send_window ? st->send_window : s->send_window;
        if (s->windows && (int64_t)n > room)
            n = room > 0 ? (size_t)room : 0;
        if (!n)
            return;
        send_data(st, n, st->out_end && n == st->out.len);
    }
    if (!st->over && st->out_end && !st->out_closed)
        send_data(st, 0, true);
}

/* ---- life ---- */

void spdy_enter(struct spdy_session *s)
{
    s->depth++;
}

void spdy_leave(struct spdy_session *s)
{
    if (--s->depth)
        return;
    while (s->over) {
        struct spdy_stream *st = s->over;
        s->over = st->next;
        buf_free(&st->in);
        buf_free(&st->out);
        free(st);
    }
    if (!s->destroyed)
        return;
    spdy_headers_finish(s);
    buf_free(&s->in);
    buf_free(&s->frame);
    free(s);
}

struct spdy_session *spdy_session_create(const struct spdy_session_options *opt)
{
    struct spdy_session *s = MEM_NEW(struct spdy_session);
    s->opt = *opt;
    s->next_id = opt->server ? 2 : 1;
    s->next_ping = s->next_id;
    s->send_window = s->initial_window = SPDY_WINDOW;
    spdy_headers_init(s);
    return s;
}

void spdy_session_destroy(struct spdy_session *s)
{
    if (!s || s->destroyed)
        return;
    spdy_enter(s);
    s->destroyed = s->closed = true;
    while (s->streams)
        spdy_stream_over(s->streams);
    spdy_leave(s);
}

void spdy_session_goaway(struct spdy_session *s)
{
    if (s->goaway_out || s->closed)
        return;
    s->goaway_out = true;
    send_pair(s, SPDY_GOAWAY, s->last_peer_id, 0);
}

void spdy_session_ping(struct spdy_session *s)
{
    char id[4];
    if (s->closed)
        return;
    put_u32(id, s->next_ping);
    s->next_ping += 2;
    spdy_send_control(s, SPDY_PING, 0, id, 4);
}

size_t spdy_session_streams(const struct spdy_session *s)
{
    return s->n_streams;
}

size_t spdy_session_held(const struct spdy_session *s)
{
    size_t n = 0;
    for (const struct spdy_stream *st = s->streams; st; st = st->next)
        n += st->in.len;
    return n;
}

/* ---- streams ---- */

struct spdy_stream *spdy_stream_find(struct spdy_session *s, uint32_t id)
{
    struct spdy_stream *st = s->streams;
    while (st && st->id != id)
        st = st->next;
    return st;
}

struct spdy_stream *spdy_stream_new(struct spdy_session *s, uint32_t id)
{
    struct spdy_stream *st = MEM_NEW(struct spdy_stream);
    st->session = s;
    st->id = id;
    st->send_window = s->initial_window;
    st->next = s->streams;
    if (s->streams)
        s->streams->prev = st;
    s->streams = st;
    s->n_streams++;
    return st;
}

void spdy_stream_over(struct spdy_stream *st)
{
    struct spdy_session *s = st->session;
    if (st->over)
        return;
    *(st->prev ? &st->prev->next : &s->streams) = st->next;
    if (st->next)
        st->next->prev = st->prev;
    st->over = true;
    st->next = s->over;
    s->over = st;
    s->n_streams--;
}

struct spdy_stream *spdy_stream_create(struct spdy_session *s, const struct http_header *headers, size_t n, bool fin,
                                       const struct spdy_stream_handler *handler)
{
    if (s->closed || s->goaway_in || s->next_id > INT32_MAX)
        return NULL;
    struct spdy_stream *st = spdy_stream_new(s, s->next_id);
    s->next_id += 2;
    st->handler = *handler;
    st->accepted = true;
    st->out_end = st->out_closed = fin;
    struct buf body = {0};
    char head[10] = {0}; /* id, associated stream, priority, slot */
    put_u32(head, st->id);
    buf_add(&body, head, 10);
    spdy_headers_write(s, &body, headers, n);
    spdy_send_control(s, SPDY_SYN_STREAM, fin ? SPDY_FLAG_FIN : 0, body.p, body.len);
    buf_free(&body);
    return st;
}

void spdy_stream_accept(struct spdy_stream *st, const struct http_header *headers, size_t n,
                        const struct spdy_stream_handler *handler)
{
    assert(!st->accepted && !st->over);
    st->accepted = true;
    st->handler = *handler;
    struct buf body = {0};
    char id[4];
    put_u32(id, st->id);
    buf_add(&body, id, 4);
    spdy_headers_write(st->session, &body, headers, n);
    spdy_send_control(st->session, SPDY_SYN_REPLY, 0, body.p, body.len);
    buf_free(&body);
}

void spdy_stream_write(struct spdy_stream *st, struct str data)
{
    if (st->over || st->out_end || !data.len)
        return;
    buf_add(&st->out, data.p, data.len);
    spdy_stream_flush(st);
    st->draining = st->draining || st->out.len >= HTTP_LOW_WATER;
}

size_t spdy_stream_unsent(const struct spdy_stream *st)
{
    return st->out.len;
}

void spdy_stream_end(struct spdy_stream *st)
{
    if (st->over || st->out_end)
        return;
    st->out_end = true;
    spdy_stream_flush(st);
}

/* Gives the peer back the room of what a handler took, half a window at a time. */
static void took(struct spdy_session *s, uint32_t id, uint32_t *taken, size_t n)
{
    *taken += (uint32_t)n;
    if (*taken < SPDY_WINDOW / 2 || s->closed || s->opt.no_window_updates)
        return;
    send_pair(s, SPDY_WINDOW_UPDATE, id, *taken);
    *taken = 0;
}

void spdy_session_took(struct spdy_session *s, size_t n)
{
    took(s, 0, &s->taken, n);
}

static void deliver(struct spdy_stream *st, struct str data)
{
    if (data.len) {
        if (!st->in_end)
            took(st->session, st->id, &st->taken, data.len);
        st->handler.on_data(st->handler.arg, data);
    }
    if (st->in_end && !st->over && !st->held && !st->in.len && !st->end_told) {
        st->end_told = true;
        st->handler.on_end(st->handler.arg);
    }
}

void spdy_stream_received(struct spdy_stream *st, struct str data, bool fin)
{
    st->in_end = st->in_end || fin;
    if (st->held)
        buf_add_str(&st->in, data);
    else
        deliver(st, data);
}

void spdy_stream_read(struct spdy_stream *st, bool on)
{
    if (st->over || st->held == !on)
        return;
    struct spdy_session *s = st->session;
    st->held = !on;
    if (!on)
        return;
    spdy_enter(s);
    struct buf in = st->in;
    st->in = (struct buf){0};
    deliver(st, buf_str(&in));
    buf_free(&in);
    spdy_leave(s);
}

void spdy_stream_reset(struct spdy_stream *st, int status)
{
    if (!st || st->over)
        return;
    struct spdy_session *s = st->session;
    spdy_enter(s);
    if (!spdy_stream_done(st) && !s->closed)
        spdy_send_reset(s, st->id, status);
    spdy_stream_over(st);
    spdy_leave(s);
}

bool spdy_stream_done(const struct spdy_stream *st)
{
    return st->in_end && st->out_closed;
}

uint32_t spdy_stream_id(const struct spdy_stream *st)
{
    return st->id;
}
