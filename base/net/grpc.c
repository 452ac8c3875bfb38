#include "base/net/grpc.h"
#include "base/mem.h"
#include "base/net/http_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A call lives until its on_done or grpc_cancel; inside its own callbacks (depth) it is only marked. */
struct grpc_call {
    struct grpc_channel *channel;
    struct grpc_call *prev, *next;
    struct http_call *http;
    const ProtobufCMessageDescriptor *response;
    struct grpc_stream_handler handler;
    grpc_done *unary_done; /* unary: the handler is ours and keeps the one message */
    void *unary_arg;
    ProtobufCMessage *unary_message;
    struct buf in;
    int http_status, status; /* status -1 = not seen */
    struct buf message;
    struct err failure; /* found while decoding */
    int depth;
    bool over;
};

struct grpc_channel {
    struct http_client *client;
    struct loop *loop;
    struct grpc_call *calls;
    struct {
        char *name, *value;
    } metadata[GRPC_METADATA_MAX];
};

enum err_code grpc_status_code(int status)
{
    static const enum err_code codes[] = {
        [GRPC_OK] = ERR_OK,
        [GRPC_CANCELLED] = ERR_CANCELED,
        [GRPC_UNKNOWN] = ERR_INTERNAL,
        [GRPC_INVALID_ARGUMENT] = ERR_BAD_REQUEST,
        [GRPC_DEADLINE_EXCEEDED] = ERR_TIMEOUT,
        [GRPC_NOT_FOUND] = ERR_NOT_FOUND,
        [GRPC_ALREADY_EXISTS] = ERR_ALREADY_EXISTS,
        [GRPC_PERMISSION_DENIED] = ERR_FORBIDDEN,
        [GRPC_RESOURCE_EXHAUSTED] = ERR_TOO_MANY,
        [GRPC_FAILED_PRECONDITION] = ERR_BAD_REQUEST,
        [GRPC_ABORTED] = ERR_CONFLICT,
        [GRPC_OUT_OF_RANGE] = ERR_BAD_REQUEST,
        [GRPC_UNIMPLEMENTED] = ERR_METHOD_NOT_ALLOWED,
        [GRPC_INTERNAL] = ERR_INTERNAL,
        [GRPC_UNAVAILABLE] = ERR_UNAVAILABLE,
        [GRPC_DATA_LOSS] = ERR_CORRUPT,
        [GRPC_UNAUTHENTICATED] = ERR_UNAUTHORIZED,
    };
    return status >= 0 && (size_t)status < sizeof codes / sizeof *codes ? codes[status] : ERR_INTERNAL;
}

static void channel_free(struct grpc_channel *c)
{
    for (size_t i = 0; i < GRPC_METADATA_MAX; i++) {
        free(c->metadata[i].name);
        free(c->metadata[i].value);
    }
    free(c);
}

static void call_free(struct grpc_call *call)
{
    *(call->prev ? &call->prev->next : &call->channel->calls) = call->next;
    if (call->next)
        call->next->prev = call->prev;
    if (!call->channel->client && !call->channel->calls) /* destroyed inside a callback of its last call */
        channel_free(call->channel);
    if (call->unary_message)
        protobuf_c_message_free_unpacked(call->unary_message, NULL);
    buf_free(&call->in);
    buf_free(&call->message);
    free(call);
}

void grpc_cancel(struct grpc_call *call)
{
    if (!call || call->over)
        return;
    call->over = true;
    http_call_cancel(call->http);
    if (!call->depth)
        call_free(call);
}

static void call_ends(struct grpc_call *call, const struct err *err)
{
    call->over = true;
    call->depth++;
    if (call->unary_done)
        call->unary_done(call->unary_arg, err ? NULL : call->unary_message, err);
    else
        call->handler.on_done(call->handler.arg, err);
    call->depth--;
    call_free(call);
}

/* ---- the answer ---- */

static void read_status(struct grpc_call *call, const struct http_header *headers, size_t n)
{
    struct str status = http_headers_get(headers, n, "grpc-status");
    int64_t number;
    if (!status.p)
        return;
    call->status = str_to_i64(status, &number) && number >= 0 && number < 1000 ? (int)number : GRPC_UNKNOWN;
    struct str m = http_headers_get(headers, n, "grpc-message");
    call->message.len = 0;
    for (size_t i = 0; i < m.len; i++) {
        unsigned byte;
        char hex[3] = {0};
        if (m.p[i] == '%' && i + 2 < m.len && memcpy(hex, m.p + i + 1, 2) &&
            strspn(hex, "0123456789abcdefABCDEF") == 2) {
            byte = (unsigned)strtoul(hex, NULL, 16);
            buf_add_char(&call->message, (char)byte);
            i += 2;
        } else {
            buf_add_char(&call->message, m.p[i]);
        }
    }
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct grpc_call *call = arg;
    call->http_status = status;
    read_status(call, headers, n); /* a "trailers only" answer */
    struct str type = http_headers_get(headers, n, "content-type");
    if (status == 200 && call->status < 0 && !str_starts(type, STR("application/grpc")))
        err_set(&call->failure, ERR_INTERNAL, "the answer is not gRPC: content-type \"" STR_FMT "\"", STR_ARG(type));
}

static void on_trailers(void *arg, const struct http_header *headers, size_t n)
{
    read_status(arg, headers, n);
}

static void got_message(struct grpc_call *call, const uint8_t *p, size_t len)
{
    ProtobufCMessage *message = protobuf_c_message_unpack(call->response, NULL, len, p);
    if (!message) {
        err_set(&call->failure, ERR_INTERNAL, "the answer is not a %s", call->response->name);
        return;
    }
    if (!call->unary_done) {
        call->handler.on_message(call->handler.arg, message);
        protobuf_c_message_free_unpacked(message, NULL);
    } else if (call->unary_message) {
        protobuf_c_message_free_unpacked(message, NULL);
        err_set(&call->failure, ERR_INTERNAL, "more than one answer to a unary call");
    } else {
        call->unary_message = message;
    }
}

static void on_data(void *arg, struct str data)
{
    struct grpc_call *call = arg;
    if (call->failure.code || call->http_status != 200)
        return;
    buf_add(&call->in, data.p, data.len);
    size_t at = 0;
    call->depth++;
    while (!call->over && !call->failure.code && call->in.len - at >= 5) {
        const uint8_t *p = (const uint8_t *)call->in.p + at;
        uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
        if (p[0])
            err_set(&call->failure, ERR_INTERNAL, "the answer is compressed, which was not asked for");
        else if (len > GRPC_MAX_MESSAGE)
            err_set(&call->failure, ERR_TOO_LARGE, "the answer has %u bytes, more than %u", len, GRPC_MAX_MESSAGE);
        if (call->failure.code || call->in.len - at - 5 < len)
            break;
        got_message(call, p + 5, len);
        at += 5 + (size_t)len;
    }
    call->depth--;
    if (call->over) {
        call_free(call);
        return;
    }
    buf_drop_front(&call->in, at);
    if (call->failure.code) {
        http_call_cancel(call->http);
        call_ends(call, &call->failure);
    }
}

/* What an HTTP status means when a proxy, not the gRPC server, answered. */
static int status_of_http(int http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static void on_done(void *arg, const struct err *err)
{
    struct grpc_call *call = arg;
    struct err own;
    if (!err && call->failure.code)
        err = &call->failure;
    if (!err && call->status < 0) {
        if (call->http_status == 200)
            err_set(&own, ERR_UNAVAILABLE, "the stream ended without a status");
        else
            err_set(&own, grpc_status_code(status_of_http(call->http_status)), "unexpected HTTP status code: %d",
                    call->http_status);
        err = &own;
    } else if (!err && call->status != GRPC_OK) {
        err_set(&own, grpc_status_code(call->status), STR_FMT, STR_ARG(buf_str(&call->message)));
        err = &own;
    } else if (!err && call->unary_done && !call->unary_message) {
        err_set(&own, ERR_INTERNAL, "the answer holds no message");
        err = &own;
    }
    call_ends(call, err);
}

static void on_drain(void *arg)
{
    struct grpc_call *call = arg;
    if (call->handler.on_drain)
        call->handler.on_drain(call->handler.arg);
}

/* ---- the request ---- */

static void frame(struct buf *out, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    assert(len <= UINT32_MAX);
    buf_reserve(out, len + 5);
    const char prefix[5] = {0, (char)(len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
    buf_add(out, prefix, 5);
    protobuf_c_message_pack(message, (uint8_t *)out->p + out->len);
    out->len += len;
}

static struct grpc_call *call_start(struct grpc_channel *c, const char *path,
                                    const ProtobufCMessageDescriptor *response, int64_t timeout_ms,
                                    const ProtobufCMessage *request)
{
    struct grpc_call *call = MEM_NEW(struct grpc_call);
    call->channel = c;
    call->response = response;
    call->status = -1;
    call->next = c->calls;
    if (c->calls)
        c->calls->prev = call;
    c->calls = call;
    char timeout[24];
    /* The header has eight digits at most. */
    if (timeout_ms < 100000000)
        snprintf(timeout, sizeof timeout, "%lldm", (long long)timeout_ms);
    else
        snprintf(timeout, sizeof timeout, "%lldS",
                 (long long)(timeout_ms / 1000 > 99999999 ? 99999999 : timeout_ms / 1000));
    struct http_header headers[3 + GRPC_METADATA_MAX] = {
        {STR("content-type"), STR("application/grpc")},
        {STR("te"), STR("trailers")},
        {STR("grpc-timeout"), str_from(timeout)},
    };
    size_t n_headers = timeout_ms > 0 ? 3 : 2;
    for (size_t i = 0; i < GRPC_METADATA_MAX; i++)
        if (c->metadata[i].value)
            headers[n_headers++] = (struct http_header){str_from(c->metadata[i].name), str_from(c->metadata[i].value)};
    struct buf body = {0};
    if (request)
        frame(&body, request);
    struct http_call_options opt = {
        .method = STR("POST"),
        .path = str_from(path),
        .headers = headers,
        .n_headers = n_headers,
        .body = buf_str(&body),
        .body_streamed = !request,
        .timeout_ms = timeout_ms,
        .handler = {.on_response = on_response,
                    .on_data = on_data,
                    .on_trailers = on_trailers,
                    .on_done = on_done,
                    .on_drain = on_drain,
                    .arg = call},
    };
    call->http = http_call_start(c->client, &opt);
    buf_free(&body);
    return call;
}

struct grpc_call *grpc_unary(struct grpc_channel *c, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response, int64_t timeout_ms, grpc_done *done, void *arg)
{
    assert(request && done);
    struct grpc_call *call = call_start(c, path, response, timeout_ms, request);
    call->unary_done = done;
    call->unary_arg = arg;
    return call;
}

struct grpc_call *grpc_stream(struct grpc_channel *c, const char *path, const ProtobufCMessageDescriptor *response,
                              int64_t timeout_ms, const struct grpc_stream_handler *handler)
{
    assert(handler->on_message && handler->on_done);
    struct grpc_call *call = call_start(c, path, response, timeout_ms, NULL);
    call->handler = *handler;
    return call;
}

void grpc_send(struct grpc_call *call, const ProtobufCMessage *message)
{
    if (call->over)
        return;
    struct buf out = {0};
    frame(&out, message);
    http_call_write(call->http, buf_str(&out));
    buf_free(&out);
}

size_t grpc_unsent(const struct grpc_call *call)
{
    return call->over ? 0 : http_call_unsent(call->http);
}

void grpc_send_end(struct grpc_call *call)
{
    if (!call->over)
        http_call_finish(call->http);
}

void grpc_read(struct grpc_call *call, bool on)
{
    if (!call->over)
        http_call_read(call->http, on);
}

/* ---- the channel ---- */

int grpc_channel_create(struct loop *loop, const struct grpc_channel_options *opt, struct grpc_channel **ret,
                        struct err *err)
{
    struct http_client_options http = {
        .endpoints = opt->endpoints,
        .tls = opt->tls,
        .server_name = opt->server_name,
        .mode = HTTP_CLIENT_HTTP2,
        .authority = opt->authority,
        .token = opt->token,
        .user_agent = opt->user_agent,
        .connect_timeout_ms = opt->connect_timeout_ms,
        .ping_interval_ms = opt->ping_interval_ms,
    };
    struct http_client *client;
    int rc = http_client_create(loop, &http, &client, err);
    if (rc < 0)
        return rc;
    struct grpc_channel *c = MEM_NEW(struct grpc_channel);
    c->client = client;
    c->loop = loop;
    *ret = c;
    return 0;
}

void grpc_channel_destroy(struct grpc_channel *c)
{
    if (!c)
        return;
    for (struct grpc_call *call = c->calls, *next; call; call = next) {
        next = call->next;
        grpc_cancel(call);
    }
    http_client_destroy(c->client);
    c->client = NULL;
    if (!c->calls) /* a call in whose callback we are frees itself, and the channel, on the way out */
        channel_free(c);
}

const char *grpc_channel_endpoint(const struct grpc_channel *c)
{
    return http_client_endpoint(c->client);
}

void grpc_channel_set_metadata(struct grpc_channel *c, const char *name, const char *value)
{
    size_t at = 0;
    while (at < GRPC_METADATA_MAX && c->metadata[at].name && strcmp(c->metadata[at].name, name) != 0)
        at++;
    assert(at < GRPC_METADATA_MAX);
    if (!c->metadata[at].name)
        c->metadata[at].name = mem_strdup(name);
    free(c->metadata[at].value);
    c->metadata[at].value = value ? mem_strdup(value) : NULL;
}

void grpc_channel_fail_over(struct grpc_channel *c)
{
    http_client_fail_over(c->client);
}
