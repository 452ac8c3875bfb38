#include "base/net/grpc_server.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { FRAME_HEAD = 5 };

struct call {
    struct grpc_incoming pub; /* first */
    const struct grpc_server_options *opt;
    const struct grpc_method *method;
    struct http_exchange *ex; /* NULL once over */
    ProtobufCMessage *request;
    struct buf in;
    struct timer deadline;
    unsigned refs;
    bool called, started, ended_by_client;
};

static struct call *call_of(struct grpc_incoming *c)
{
    return (struct call *)c;
}

/* ---- life ---- */

void grpc_hold(struct grpc_incoming *pub)
{
    call_of(pub)->refs++;
}

void grpc_release(struct grpc_incoming *pub)
{
    struct call *c = call_of(pub);

    if (--c->refs)
        return;
    if (c->request)
        protobuf_c_message_free_unpacked(c->request, NULL);
    buf_free(&c->in);
    arena_destroy(c->pub.arena);
}

static void call_over(struct call *c)
{
    timer_stop(&c->deadline);
    c->ex = NULL;
    c->pub.over = true;
    if (c->pub.on_over)
        c->pub.on_over(&c->pub);
    grpc_release(&c->pub);
}

/* ---- sending ---- */

static void call_start(struct call *c)
{
    static const struct http_header headers[] = {{{"content-type", 12}, {"application/grpc", 16}}};

    if (!c->started)
        http_start(c->ex, 200, headers, 1);
    c->started = true;
}

void grpc_stream_send(struct grpc_incoming *pub, const ProtobufCMessage *message)
{
    struct call *c = call_of(pub);

    if (pub->over)
        return;
    call_start(c);
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *p = mem_alloc(len + FRAME_HEAD);
    p[0] = 0;
    for (int i = 0; i < 4; i++)
        p[1 + i] = (uint8_t)(len >> (24 - 8 * i));
    protobuf_c_message_pack(message, p + FRAME_HEAD);
    struct slice s = slice_take((char *)p, len + FRAME_HEAD);
    http_send(c->ex, &s, 1);
}

size_t grpc_stream_unsent(const struct grpc_incoming *pub)
{
    const struct call *c = (const struct call *)pub;

    return pub->over ? 0 : http_unsent(c->ex);
}

static struct str percent_encode(struct arena *a, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, strlen(text) * 3 + 1);
    size_t n = 0;

    for (; *text; text++) {
        unsigned char b = (unsigned char)*text;

        if (b >= 0x20 && b < 0x7f && b != '%') {
            out[n++] = (char)b;
        } else {
            out[n++] = '%';
            out[n++] = hex[b >> 4];
            out[n++] = hex[b & 15];
        }
    }
    return (struct str){out, n};
}

void grpc_end(struct grpc_incoming *pub, enum grpc_status status, const char *message)
{
    struct call *c = call_of(pub);

    if (pub->over)
        return;
    struct arena *a = c->ex->arena;
    struct http_header trailers[] = {{STR("grpc-status"), arena_printf(a, "%d", (int)status)},
                                     {STR("grpc-message"), percent_encode(a, message ? message : "")}};
    call_start(c);
    http_finish_trailers(c->ex, trailers, message && *message ? 2 : 1);
    call_over(c);
}

void grpc_answer(struct grpc_incoming *pub, const ProtobufCMessage *message)
{
    grpc_stream_send(pub, message);
    grpc_end(pub, GRPC_OK, NULL);
}

/* ---- receiving ---- */

static void take_message(struct call *c, struct str bytes)
{
    ProtobufCMessage *m = NULL;

    if (c->method->request) {
        if (!c->method->fits || c->method->fits(bytes))
            m = protobuf_c_message_unpack(c->method->request, NULL, bytes.len, (const uint8_t *)bytes.p);
        if (!m) {
            char text[128];

            snprintf(text, sizeof text, "the request is not a %s", c->method->request->name);
            grpc_end(&c->pub, GRPC_INTERNAL, text);
            return;
        }
    }
    if (!c->method->stream) {
        c->request = m;
        c->called = true;
        c->method->handle(&c->pub, m);
        return;
    }
    if (c->pub.on_message)
        c->pub.on_message(&c->pub, m);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
}

/* A unary request is taken when its stream has ended, so that a second message is noticed. */
static void take_frames(struct call *c)
{
    size_t at = 0;

    while (!c->pub.over && c->in.len - at >= FRAME_HEAD) {
        const uint8_t *p = (const uint8_t *)c->in.p + at;
        size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];

        if (p[0])
            grpc_end(&c->pub, GRPC_UNIMPLEMENTED, "compressed messages are not taken");
        else if (len > c->opt->max_message)
            grpc_end(&c->pub, GRPC_RESOURCE_EXHAUSTED, "the message is larger than this server takes");
        else if (!c->method->stream && c->called)
            grpc_end(&c->pub, GRPC_INTERNAL, "more than one message for a unary call");
        if (c->pub.over || c->in.len - at < FRAME_HEAD + len)
            break;
        if (c->method->stream || c->ended_by_client) {
            take_message(c, (struct str){c->in.p + at + FRAME_HEAD, len});
        } else if (c->in.len > FRAME_HEAD + len) {
            grpc_end(&c->pub, GRPC_INTERNAL, "more than one message for a unary call");
            break;
        } else {
            break;
        }
        at += FRAME_HEAD + len;
    }
    buf_drop_front(&c->in, at);
}

static void on_data(struct http_exchange *ex, struct str data, bool end)
{
    struct call *c = ex->user;

    grpc_hold(&c->pub);
    buf_add_str(&c->in, data);
    c->ended_by_client |= end;
    take_frames(c);
    if (end && !c->pub.over) {
        if (c->in.len || (!c->method->stream && !c->called))
            grpc_end(&c->pub, GRPC_INTERNAL, "the request ended inside a message");
        else if (c->method->stream && c->pub.on_end)
            c->pub.on_end(&c->pub);
        else if (c->method->stream)
            grpc_end(&c->pub, GRPC_OK, NULL);
    }
    grpc_release(&c->pub);
}

static void on_close(struct http_exchange *ex)
{
    call_over(ex->user);
}

static void on_drain(struct http_exchange *ex)
{
    struct call *c = ex->user;

    if (c->pub.on_drain)
        c->pub.on_drain(&c->pub);
}

static void on_deadline(void *arg)
{
    grpc_end(arg, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
}

/* ---- the start ---- */

int64_t grpc_timeout_ms(struct str value)
{
    static const struct {
        char unit;
        int64_t ns;
    } units[] = {{'H', 3600000000000}, {'M', 60000000000}, {'S', 1000000000}, {'m', 1000000}, {'u', 1000}, {'n', 1}};
    uint64_t n;

    if (value.len < 2 || value.len > 9 || !str_to_u64(str_sub(value, 0, value.len - 1), &n))
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (units[i].unit == value.p[value.len - 1])
            return units[i].ns >= 1000000 ? (int64_t)n * (units[i].ns / 1000000)
                                          : ((int64_t)n * units[i].ns + 999999) / 1000000;
    return -1;
}

static const struct grpc_method *find(const struct grpc_method *m, struct str path)
{
    for (; m->path; m++) {
        struct str name = str_from(m->path);

        if (str_ends(name, STR("/")) ? str_starts(path, name) : str_eq(path, name))
            return m;
    }
    return NULL;
}

static void refuse_other(const struct grpc_server_options *opt, struct http_exchange *ex)
{
    static const struct http_header headers[] = {{{"content-type", 12}, {"text/plain; charset=utf-8", 25}}};
    static const struct slice text = {"this port speaks gRPC\n", 22, NULL};

    if (opt->other)
        opt->other(opt->arg, ex);
    else
        http_respond(ex, 415, headers, 1, &text, 1);
}

void grpc_server_handle(void *options, struct http_exchange *ex)
{
    static const struct grpc_method unknown = {.stream = true};
    const struct grpc_server_options *opt = options;

    if (!ex->peer->http2 || !str_starts(http_header_get(ex, "content-type"), STR("application/grpc"))) {
        refuse_other(opt, ex);
        return;
    }
    struct arena *a = arena_create(0);
    struct call *c = ARENA_NEW(a, struct call);
    const struct grpc_method *m = find(opt->methods, ex->path);
    const char *why = opt->permit ? opt->permit(opt->arg, ex->peer) : NULL;
    struct str timeout = http_header_get(ex, "grpc-timeout");

    *c = (struct call){.pub = {.arena = a, .loop = ex->loop, .server_arg = opt->arg},
                       .opt = opt,
                       .method = m ? m : &unknown,
                       .ex = ex,
                       .refs = 1};
    ex->user = c;
    ex->on_data = on_data;
    ex->on_close = on_close;
    ex->on_drain = on_drain;
    if (why) {
        grpc_end(&c->pub, GRPC_PERMISSION_DENIED, why);
        return;
    }
    if (!m) {
        char text[256];

        snprintf(text, sizeof text, "unknown method " STR_FMT, STR_ARG(ex->path));
        grpc_end(&c->pub, GRPC_UNIMPLEMENTED, text);
        return;
    }
    int64_t ms = timeout.p ? grpc_timeout_ms(timeout) : -1;
    if (ms >= 0)
        timer_start(&c->deadline, ex->loop, ms, on_deadline, c);
    if (m->stream)
        m->handle(&c->pub, NULL);
}
