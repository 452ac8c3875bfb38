#include "api/snapshot_endpoint.h"

#include "api/chain/fairness.h"
#include "api/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/snapshot/writer.h"

#include <stdlib.h>

struct transfer {
    struct chain_request *request; /* NULL: over, while a step is still posted */
    struct loop *loop;
    struct snapshot_writer *writer;
    bool posted;
};

static void transfer_end(struct transfer *t, int status)
{
    struct chain_request *c = t->request;
    snapshot_writer_destroy(t->writer);
    t->writer = NULL;
    t->request = NULL;
    if (!t->posted)
        free(t);
    chain_end(c, status);
}

static void step(void *arg);

static void go_on(struct transfer *t)
{
    if (t->posted)
        return;
    t->posted = true;
    loop_post(t->loop, step, t);
}

/* One slice, then everybody else's turn. */
static void step(void *arg)
{
    struct transfer *t = arg;
    t->posted = false;
    if (!t->request) {
        free(t);
        return;
    }
    struct http_exchange *ex = t->request->req.exchange;
    if (http_unsent(ex) >= HTTP_HIGH_WATER)
        return; /* on_drain goes on */
    struct buf out = {0};
    struct err err = ERR_INIT;
    int rc = snapshot_writer_next(t->writer, &out, &err);
    if (rc < 0) {
        buf_free(&out);
        log_warn("api", "a snapshot broke off: %s", err.message);
        t->request->req.exchange = NULL;
        http_abort(ex);
        transfer_end(t, 500);
        return;
    }
    t->request->req.answer_bytes += out.len;
    struct slice piece = slice_take(out.p, out.len);
    t->posted = true; /* the client may be found gone while this is sent */
    http_send(ex, &piece, 1);
    t->posted = false;
    if (!t->request) {
        free(t);
    } else if (rc == 1) {
        t->request->req.exchange = NULL;
        http_finish(ex);
        transfer_end(t, 200);
    } else {
        go_on(t);
    }
}

static void on_gone(struct api_request *req)
{
    transfer_end(req->state, 499);
}

static void on_drain(struct api_request *req)
{
    go_on(req->state);
}

void answer_snapshot(struct chain_request *c)
{
    struct api_server *s = c->req.server;
    if (str_eq(c->method, STR("HEAD"))) {
        chain_answer_text(c, 405, "text/plain; charset=utf-8", STR("405: Method Not Allowed"));
        return;
    }
    if (c->seat)
        fairness_leave(c->mutating);
    c->seat = false;
    c->long_running = true;
    struct transfer *t = MEM_NEW(struct transfer);
    t->request = c;
    t->loop = c->req.loop;
    t->writer = snapshot_writer_create(s->kv, s->crypt);
    c->req.state = t;
    c->req.on_gone = on_gone;
    c->req.on_drain = on_drain;
    const struct http_header headers[] = {
        {STR("content-type"), STR("application/octet-stream")},
        {STR("cache-control"), STR("no-cache, private")},
        {STR("audit-id"), c->req.audit_id},
        {STR("skiff-revision"), arena_printf(c->req.arena, "%lld", (long long)snapshot_writer_revision(t->writer))},
    };
    http_start(c->req.exchange, 200, headers, 4);
    go_on(t);
}
