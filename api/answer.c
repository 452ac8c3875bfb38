#include "api/answer.h"
#include "api/answer_protobuf.h"
#include "api/status.h"

#include "base/log.h"
#include "openapi/json.h"
#include "openapi/object/object.h"
#include "openapi/protobuf.h"
#include "openapi/yaml_encode.h"

#include <stdio.h>
#include <stdlib.h>

void answer_end(struct api_request *req, int status)
{
    req->status = status;
    req->on_gone = NULL;
    req->on_drain = NULL;
    if (req->ended)
        req->ended(req);
}

void api_warn(struct api_request *req, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str text = arena_vprintf(req->arena, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < req->n_warnings; i++)
        if (str_eq(req->warnings[i], text))
            return;
    ARENA_PUSH(req->arena, req->warnings, req->n_warnings, req->cap_warnings, text);
}

/* RFC 7234 warn-value; quotes and backslashes escaped, control characters dropped. */
static struct str warning_header(struct arena *a, struct str text)
{
    char *p = arena_alloc(a, text.len * 2 + 16);
    size_t n = (size_t)sprintf(p, "299 - \"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\')
            p[n++] = '\\';
        if (c >= 0x20)
            p[n++] = (char)c;
    }
    p[n++] = '"';
    return (struct str){p, n};
}

static size_t make_headers(struct api_request *req, const char *content_type, int retry_after_s,
                           struct http_header **ret)
{
    struct http_header *h = arena_alloc(req->arena, sizeof *h * (req->n_warnings + 4));
    size_t n = 0;
    h[n++] = (struct http_header){STR("content-type"), str_from(content_type)};
    h[n++] = (struct http_header){STR("cache-control"), STR("no-cache, private")};
    if (req->audit_id.len)
        h[n++] = (struct http_header){STR("audit-id"), req->audit_id};
    if (retry_after_s)
        h[n++] = (struct http_header){STR("retry-after"), arena_printf(req->arena, "%d", retry_after_s)};
    for (size_t i = 0; i < req->n_warnings; i++) {
        h[n++] = (struct http_header){STR("warning"), warning_header(req->arena, req->warnings[i])};
    }
    *ret = h;
    return n;
}

void answer_start(struct api_request *req, int status, const char *content_type)
{
    struct http_header *headers;
    size_t n = make_headers(req, content_type, 0, &headers);
    http_start(req->exchange, status, headers, n);
}

static void respond(struct api_request *req, int status, const char *content_type, int retry_after_s,
                    const struct slice *body, size_t n_body)
{
    for (size_t i = 0; i < n_body; i++)
        req->answer_bytes += body[i].len;
    if (req->exchange) {
        struct http_header *headers;
        size_t n = make_headers(req, content_type, retry_after_s, &headers);
        struct http_exchange *ex = req->exchange;
        req->exchange = NULL;
        http_respond(ex, status, headers, n, body, n_body);
    } else {
        for (size_t i = 0; i < n_body; i++)
            ref_put(body[i].owner);
    }
    answer_end(req, status);
}

void api_answer_bytes(struct api_request *req, int status, const char *content_type, const struct slice *body, size_t n)
{
    respond(req, status, content_type, 0, body, n);
}

static void respond_buf(struct api_request *req, int status, int retry_after_s, struct buf *out)
{
    buf_add_char(out, '\n');
    struct slice body = slice_take(out->p, out->len);
    *out = (struct buf){0};
    respond(req, status, answer_content_type(req), retry_after_s, &body, 1);
}

static void encode(struct api_request *req, struct buf *out, const struct value *v)
{
    if (req->format == API_YAML)
        yaml_encode(out, v, true); /* upstream's YAML has its keys in order */
    else if (answer_is_pretty(req))
        json_encode_pretty(out, v);
    else
        json_encode(out, v);
    while (out->len && out->p[out->len - 1] == '\n')
        out->len--;
}

static void respond_protobuf(struct api_request *req, int status, int retry_after_s, struct buf *out)
{
    struct slice body = slice_take(out->p, out->len);
    *out = (struct buf){0};
    respond(req, status, PROTOBUF_MEDIA_TYPE, retry_after_s, &body, 1);
}

/* `schema` NULL: by the value's own kind, if it is known. */
static void respond_value(struct api_request *req, int status, int retry_after_s, const struct schema_message *schema,
                          const struct value *v)
{
    struct buf out = {0};
    if (req->format == API_PROTOBUF && answer_protobuf_value(&out, schema, v) == 0) {
        respond_protobuf(req, status, retry_after_s, &out);
        return;
    }
    encode(req, &out, v);
    respond_buf(req, status, retry_after_s, &out);
}

static void deliver(struct api_request *req, int status, const struct client_answer *answer)
{
    client_done *done = req->done;
    req->done = NULL;
    if (done)
        done(req->done_arg, answer);
    answer_end(req, status);
}

void api_answer_object(struct api_request *req, int status, const struct object *o)
{
    if (!req->exchange) {
        deliver(req, status, &(struct client_answer){.object = o});
        return;
    }
    if (answer_is_native(req) && !answer_is_pretty(req) && o->revision) {
        static const char newline[] = "\n";
        struct buf head = {0};
        object_head(&head, o, true);
        struct str tail = object_tail(o);
        object_get(o);
        struct slice pieces[] = {
            slice_take(head.p, head.len), {tail.p, tail.len, (struct ref *)&o->ref}, {newline, 1, NULL}};
        respond(req, status, answer_content_type(req), 0, pieces, 3);
        return;
    }
    struct err err = ERR_INIT;
    struct buf out = {0};
    if (req->format == API_PROTOBUF && answer_protobuf_object(req, &out, o, &err) == 0) {
        respond_protobuf(req, status, 0, &out);
        return;
    }
    int rc = req->format == API_TABLE ? answer_table(req, &out, o, 0, &err) : answer_item(req, &out, o, true, 0, &err);
    if (rc == 0 && answer_is_pretty(req)) {
        struct value *v;
        struct json_options plain = {0};
        rc = json_decode(req->arena, arena_str(req->arena, buf_str(&out)), &plain, &v, &err);
        out.len = 0;
        if (rc == 0)
            encode(req, &out, v);
    }
    if (rc < 0) {
        buf_free(&out);
        api_answer_err(req, &err);
        return;
    }
    respond_buf(req, status, 0, &out);
}

void api_answer_value(struct api_request *req, int status, const struct schema_message *schema, const struct value *v)
{
    if (!req->exchange)
        deliver(req, status, &(struct client_answer){.value = v});
    else
        respond_value(req, status, 0, schema, v);
}

void api_answer_err(struct api_request *req, const struct err *err)
{
    int status;
    struct value *v = api_status_value(req->arena, req, err, &status);
    if (req->exchange) {
        respond_value(req, status, err->retry_after_s, NULL, v);
        return;
    }
    struct err full = *err;
    snprintf(full.message, sizeof full.message, STR_FMT, STR_ARG(value_str(value_getz(v, "message"))));
    deliver(req, status,
            &(struct client_answer){.rc = err->code < 0 ? (int)err->code : ERR_INTERNAL, .err = &full, .value = v});
}
