#include "api/openapi_endpoint.h"

#include "api/chain/accept.h"
#include "openapi/document.h"

#include <openssl/sha.h>

struct download {
    struct document_writer writer;
    bool done;
};

/* Write until the peer's queue is full; go on when it drains. The document is never whole in memory. */
static void pump(struct api_request *req)
{
    struct chain_request *c = (struct chain_request *)req;
    struct download *d = req->state;
    struct http_exchange *ex = req->exchange;
    while (!d->done && http_unsent(ex) < HTTP_HIGH_WATER) {
        struct buf out = {0};
        while (out.len < 64 * 1024 && !d->done)
            d->done = !document_next(&d->writer, &out);
        if (!out.len)
            break;
        req->answer_bytes += out.len;
        struct slice piece = slice_take(out.p, out.len);
        http_send(ex, &piece, 1);
        if (req->gone)
            return;
    }
    if (d->done) {
        http_finish(ex);
        chain_end(c, 200);
    }
}

static void gone(struct api_request *req)
{
    chain_end((struct chain_request *)req, 499);
}

static void stream_document(struct chain_request *c, struct str etag, bool immutable)
{
    struct api_request *req = &c->req;
    const struct http_header headers[] = {
        {STR("content-type"), STR("application/json")},
        {STR("cache-control"), immutable ? STR("public, immutable") : STR("no-cache, private")},
        {STR("vary"), STR("Accept")},
        {STR("etag"), etag},
    };
    http_start(req->exchange, 200, headers, etag.len ? 4 : 3);
    req->on_drain = pump;
    req->on_gone = gone;
    pump(req);
}

static struct str query_hash(struct chain_request *c)
{
    struct str query = c->query, name, value;
    while (http_query_next(c->req.arena, &query, &name, &value))
        if (str_eq(name, STR("hash")))
            return value;
    return STR_NULL;
}

static void answer_index(struct chain_request *c)
{
    struct buf out = {0};
    document_v3_index(&out);
    const struct http_header vary = {STR("vary"), STR("Accept")};
    chain_answer_json(c, 200, "application/json", buf_str(&out), &vary, 1);
    buf_free(&out);
}

/* "api/v1" or "apis/apps/v1" */
static bool group_version_split(struct str path, struct str *ret_group, struct str *ret_version)
{
    struct str head;
    str_split(&path, '/', &head);
    if (str_eq(head, STR("api"))) {
        *ret_group = STR("");
        *ret_version = path;
    } else if (str_eq(head, STR("apis"))) {
        str_split(&path, '/', ret_group);
        *ret_version = path;
    } else {
        return false;
    }
    return ret_version->len > 0 && !str_contains(*ret_version, STR("/"));
}

static void answer_v3(struct chain_request *c, struct str path)
{
    struct arena *a = c->req.arena;
    struct str group, version, asked = query_hash(c);
    char hash[DOCUMENT_HASH_LEN + 1];
    struct download *d = ARENA_NEW(a, struct download);
    if (!group_version_split(path, &group, &version) || !document_v3_hash(group, version, hash) ||
        !document_v3_init(&d->writer, group, version)) {
        chain_answer_not_found(c);
        return;
    }
    if (asked.len && !str_eqz(asked, hash)) {
        const struct http_header to = {STR("location"),
                                       arena_printf(a, STR_FMT "?hash=%s", STR_ARG(c->raw_path), hash)};
        chain_respond(c, 301, &to, 1, NULL, 0);
        return;
    }
    struct str etag = arena_printf(a, "\"%s\"", hash);
    if (str_eq(http_header_get(c->req.exchange, "if-none-match"), etag)) {
        const struct http_header same = {STR("etag"), etag};
        chain_respond(c, 304, &same, 1, NULL, 0);
        return;
    }
    c->req.state = d;
    stream_document(c, etag, asked.len > 0);
}

bool openapi_run(struct chain_request *c)
{
    struct str path = c->route.path;
    while (str_ends(path, STR("/")))
        path.len--;
    bool v2 = str_eq(path, STR("/openapi/v2")), index = str_eq(path, STR("/openapi/v3"));
    const struct str prefix = STR("/openapi/v3/");
    if (!v2 && !index && !str_starts(path, prefix))
        return false;
    struct media_range *ranges;
    size_t n = accept_parse(c->req.arena, http_header_get(c->req.exchange, "accept"), &ranges);
    if (!accept_allows(ranges, n, STR("application/json"))) {
        chain_answer_text(c, 406, "text/plain; charset=utf-8", STR("only application/json is served here\n"));
    } else if (v2) {
        struct download *d = ARENA_NEW(c->req.arena, struct download);
        document_v2_init(&d->writer);
        c->req.state = d;
        stream_document(c, STR_NULL, false);
    } else if (index) {
        answer_index(c);
    } else {
        answer_v3(c, str_sub(path, prefix.len, path.len));
    }
    return true;
}
