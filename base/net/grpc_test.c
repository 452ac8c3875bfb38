/* gRPC against our own HTTP/2 server, which answers frames as bytes; the status stands in its headers, alone or beside
 * messages. Trailers proper are tested with a real runtime (node/cri). The messages are one of protobuf-c's own. */
#include "base/net/grpc.h"
#include "base/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* message Text { string text = 1; } */
struct text {
    ProtobufCMessage base;
    char *text;
};
static const ProtobufCFieldDescriptor text_fields[] = {{
    .name = "text",
    .id = 1,
    .label = PROTOBUF_C_LABEL_NONE,
    .type = PROTOBUF_C_TYPE_STRING,
    .offset = offsetof(struct text, text),
    .default_value = "",
}};
static const unsigned text_by_name[] = {0};
static const ProtobufCIntRange text_ranges[] = {{1, 0}, {0, 1}};
static void text_init(ProtobufCMessage *m);
static const ProtobufCMessageDescriptor text_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.Text",
    .short_name = "Text",
    .c_name = "text",
    .package_name = "test",
    .sizeof_message = sizeof(struct text),
    .n_fields = 1,
    .fields = text_fields,
    .fields_sorted_by_name = text_by_name,
    .n_field_ranges = 1,
    .field_ranges = text_ranges,
    .message_init = text_init,
};
static void text_init(ProtobufCMessage *m)
{
    *(struct text *)m = (struct text){PROTOBUF_C_MESSAGE_INIT(&text_descriptor), ""};
}

static struct loop *loop;
static struct http_server *server;
static struct grpc_channel *channel;

#define FRAME(len, bytes) "\0\0\0\0" len bytes

static const struct row {
    const char *path, *status, *message, *type, *bytes;
    size_t n_bytes;
    int http;
    enum err_code want;
    const char *text;
} rows[] = {
    {"/ok", "0", NULL, NULL, FRAME("\7", "\12\5hello"), 12, 200, ERR_OK, "hello"},
    {"/empty", "0", NULL, NULL, FRAME("\0", ""), 5, 200, ERR_OK, ""},
    {"/missing", "0", NULL, NULL, "", 0, 200, ERR_INTERNAL, "the answer holds no message"},
    {"/twice", "0", NULL, NULL, FRAME("\0", "") FRAME("\0", ""), 10, 200, ERR_INTERNAL,
     "more than one answer to a unary call"},
    {"/garbage", "0", NULL, NULL, FRAME("\2", "\12\5"), 7, 200, ERR_INTERNAL, "the answer is not a test.Text"},
    {"/gzip", "0", NULL, NULL, "\1\0\0\0\0", 5, 200, ERR_INTERNAL, "the answer is compressed, which was not asked for"},
    {"/huge", "0", NULL, NULL, "\0\x7f\0\0\0", 5, 200, ERR_TOO_LARGE,
     "the answer has 2130706432 bytes, more than 67108864"},
    {"/notfound", "5", "no%20such%3A %c3%a4%zz%", NULL, "", 0, 200, ERR_NOT_FOUND, "no such: \xc3\xa4%zz%"},
    {"/unavailable", "14", "later", NULL, "", 0, 200, ERR_UNAVAILABLE, "later"},
    {"/unknown", "77", "odd", NULL, "", 0, 200, ERR_INTERNAL, "odd"},
    {"/exists", "6", NULL, NULL, "", 0, 200, ERR_ALREADY_EXISTS, ""},
    {"/nostatus", NULL, NULL, NULL, "", 0, 200, ERR_UNAVAILABLE, "the stream ended without a status"},
    {"/html", NULL, NULL, "text/html", "", 0, 200, ERR_INTERNAL, "the answer is not gRPC: content-type \"text/html\""},
    {"/proxy", NULL, NULL, "text/html", "", 0, 503, ERR_UNAVAILABLE, "unexpected HTTP status code: 503"},
    {"/stream", "0", NULL, NULL, FRAME("\3", "\12\1a") FRAME("\3", "\12\1b") FRAME("\0", ""), 21, 200, ERR_OK, "a|b||"},
};

static void handle(void *arg, struct http_exchange *ex)
{
    (void)arg;
    if (str_eq(ex->path, STR("/echo"))) {
        struct http_header h[] = {{STR("content-type"), STR("application/grpc")}, {STR("grpc-status"), STR("0")}};
        struct slice body = slice_copy(ex->body.p, ex->body.len);
        assert_true(str_eq(http_header_get(ex, "te"), STR("trailers")));
        assert_true(str_eq(http_header_get(ex, "grpc-timeout"), STR("5000m")));
        http_respond(ex, 200, h, 2, &body, 1);
        return;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        if (!str_eqz(ex->path, r->path))
            continue;
        struct http_header h[3] = {{STR("content-type"), str_from(r->type ? r->type : "application/grpc+proto")}};
        size_t n = 1;
        if (r->status)
            h[n++] = (struct http_header){STR("grpc-status"), str_from(r->status)};
        if (r->message)
            h[n++] = (struct http_header){STR("grpc-message"), str_from(r->message)};
        http_start(ex, r->http, h, n);
        for (size_t k = 0; k < r->n_bytes; k++) /* split anywhere */
            http_send(ex, &(struct slice){r->bytes + k, 1, NULL}, 1);
        http_finish(ex);
        return;
    } /* "/never" */
}

static int set_up(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    loop = loop_create("test");
    struct http_server_options opt = {
        .listen = "127.0.0.1:0", .loops = &loop, .n_loops = 1, .max_body = 1 << 20, .handler = handle};
    if (http_server_create(&opt, &server, &err) < 0)
        return -1;
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", http_server_port(server));
    const char *urls[] = {url, NULL};
    return grpc_channel_create(loop, &(struct grpc_channel_options){.endpoints = urls}, &channel, &err);
}

static void stopped(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static int tear_down(void **state)
{
    (void)state;
    grpc_channel_destroy(channel);
    http_server_stop(server, 0, stopped, NULL);
    loop_run(loop);
    http_server_destroy(server);
    loop_destroy(loop);
    return 0;
}

struct got {
    enum err_code code;
    struct buf text;
    struct grpc_call *call;
    bool cancel;
};

static void on_unary(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    struct got *g = arg;
    g->code = err ? err->code : ERR_OK;
    buf_addz(&g->text, err ? err->message : ((const struct text *)m)->text);
    loop_stop(loop);
}

static void on_message(void *arg, const ProtobufCMessage *m)
{
    struct got *g = arg;
    buf_addz(&g->text, ((const struct text *)m)->text);
    buf_addz(&g->text, "|");
    if (g->cancel) {
        grpc_cancel(g->call);
        loop_stop(loop);
    }
}

static void on_done(void *arg, const struct err *err)
{
    struct got *g = arg;
    g->code = err ? err->code : ERR_OK;
    loop_stop(loop);
}

static void check(struct got *g, enum err_code code, const char *want)
{
    buf_add_char(&g->text, 0);
    assert_string_equal(g->text.p, want);
    assert_int_equal(g->code, code);
    buf_free(&g->text);
}

static void test_unary(void **state)
{
    (void)state;
    struct text request;
    text_init(&request.base);
    for (size_t i = 0; i + 1 < sizeof rows / sizeof *rows; i++) {
        struct got g = {0};
        grpc_unary(channel, rows[i].path, &request.base, &text_descriptor, 5000, on_unary, &g);
        loop_run(loop);
        check(&g, rows[i].want, rows[i].text);
    }
    struct got g = {0};
    request.text = "there and back";
    grpc_unary(channel, "/echo", &request.base, &text_descriptor, 5000, on_unary, &g);
    loop_run(loop);
    check(&g, ERR_OK, "there and back");
    g = (struct got){0};
    grpc_unary(channel, "/never", &request.base, &text_descriptor, 30, on_unary, &g);
    loop_run(loop);
    check(&g, ERR_TIMEOUT, "context deadline exceeded");
}

static void test_streams(void **state)
{
    (void)state;
    struct got g = {0};
    struct text message;
    struct grpc_stream_handler handler = {.on_message = on_message, .on_done = on_done, .arg = &g};
    text_init(&message.base);
    g.call = grpc_stream(channel, "/stream", &text_descriptor, 5000, &handler);
    grpc_send_end(g.call);
    loop_run(loop);
    check(&g, ERR_OK, "a|b||");

    g = (struct got){0};
    g.call = grpc_stream(channel, "/echo", &text_descriptor, 5000, &handler);
    message.text = "one";
    grpc_send(g.call, &message.base);
    message.text = "two";
    grpc_send(g.call, &message.base);
    grpc_send_end(g.call);
    loop_run(loop);
    check(&g, ERR_OK, "one|two|");

    g = (struct got){.cancel = true, .code = ERR_BUSY};
    g.call = grpc_stream(channel, "/stream", &text_descriptor, 5000, &handler);
    grpc_send_end(g.call);
    loop_run(loop);
    check(&g, ERR_BUSY, "a|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unary), cmocka_unit_test(test_streams)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
