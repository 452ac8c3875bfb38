#include "api/snapshot_endpoint.h"

#include "api/chain/fairness.h"
#include "api/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/snapshot/identities.h"
#include "storage/snapshot/writer.h"

#include <stdlib.h>

#define NEWEST_MS 3000
#define STALL_MS                                                                                         \
    60000 /* nothing is forgotten while a snapshot is read, so who reads nothing for so long is given up \
           */

struct transfer {
    struct chain_request *request; /* NULL: over, while a step is still posted */
    struct loop *loop;
    struct snapshot_writer *writer;
    bool far; /* the store is across a network: pieces are read on another thread */
    bool posted;
    struct timer stall;
    struct buf piece;
    struct err err;
    int rc;
};

static void transfer_free(struct transfer *t)
{
    snapshot_writer_destroy(t->writer);
    buf_free(&t->piece);
    free(t);
}

static void transfer_end(struct transfer *t, int status)
{
    struct chain_request *c = t->request;
    timer_stop(&t->stall);
    t->request = NULL;
    if (!t->posted)
        transfer_free(t);
    chain_end(c, status);
}

static void step(void *arg);

static void go_on(struct transfer *t)
{
    timer_stop(&t->stall);
    if (t->posted)
        return;
    t->posted = true;
    loop_post(t->loop, step, t);
}

static void read_piece(void *arg)
{
    struct transfer *t = arg;
    t->rc = snapshot_writer_next(t->writer, &t->piece, &t->err);
}

static void send_piece(void *arg)
{
    struct transfer *t = arg;
    t->posted = false;
    if (!t->request) {
        transfer_free(t);
        return;
    }
    struct http_exchange *ex = t->request->req.exchange;
    if (t->rc < 0) {
        log_warn("api", "a snapshot broke off: %s", t->err.message);
        t->request->req.exchange = NULL;
        http_abort(ex);
        transfer_end(t, 500);
        return;
    }
    t->request->req.answer_bytes += t->piece.len;
    struct slice piece = slice_take(t->piece.p, t->piece.len);
    t->piece = (struct buf){0};
    t->posted = true; /* the client may be found gone while this is sent */
    http_send(ex, &piece, 1);
    t->posted = false;
    if (!t->request) {
        transfer_free(t);
    } else if (t->rc == 1) {
        t->request->req.exchange = NULL;
        http_finish(ex);
        transfer_end(t, 200);
    } else {
        go_on(t);
    }
}

static void on_stall(void *arg)
{
    struct transfer *t = arg;
    struct http_exchange *ex = t->request->req.exchange;
    log_warn("api", "a snapshot broke off: nothing of it was read for a minute");
    t->request->req.exchange = NULL;
    http_abort(ex);
    transfer_end(t, 500);
}

/* One slice, then everybody else's turn. */
static void step(void *arg)
{
    struct transfer *t = arg;
    t->posted = false;
    if (!t->request) {
        transfer_free(t);
        return;
    }
    if (http_unsent(t->request->req.exchange) >= HTTP_HIGH_WATER) {
        timer_start(&t->stall, t->loop, STALL_MS, on_stall, t);
        return; /* on_drain goes on */
    }
    t->posted = true;
    if (t->far) {
        loop_work(t->loop, read_piece, send_piece, t);
    } else {
        read_piece(t);
        send_piece(t);
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

static bool wants_identities(struct chain_request *c)
{
    struct str query = c->query, name, value;
    while (http_query_next(c->req.arena, &query, &name, &value))
        if (str_eqz(name, "identities"))
            return str_eqz(value, "true");
    return false;
}

/* They make whoever has them anybody: RBAC alone does not give them away. */
static bool is_master(const struct api_user *user)
{
    for (size_t i = 0; i < user->n_groups; i++)
        if (str_eqz(user->groups[i], "system:masters"))
            return true;
    return false;
}

static int add_identities(struct chain_request *c, struct snapshot_writer *w, struct err *err)
{
    const struct api_server_options *o = &c->req.server->options;
    struct snapshot_identities ids;
    struct buf packed = {0};
    if (!wants_identities(c))
        return 0;
    int rc = identities_read(c->req.arena, o->data_dir, o->encryption_config, &ids, err);
    if (rc == 0) {
        identities_pack(&ids, &packed);
        snapshot_writer_identities(w, buf_str(&packed));
    }
    buf_free(&packed);
    return rc;
}

static void begin(void *arg, int rc, const struct err *err)
{
    struct chain_request *c = arg;
    struct api_server *s = c->req.server;
    if (c->req.gone) {
        chain_end(c, 499);
        return;
    }
    if (rc < 0) {
        chain_answer_text(c, 503, "text/plain; charset=utf-8", arena_printf(c->req.arena, "%s\n", err->message));
        return;
    }
    struct transfer *t = MEM_NEW(struct transfer);
    t->request = c;
    t->loop = c->req.loop;
    t->far = kv_shared(s->kv);
    t->writer = snapshot_writer_create(s->kv, s->crypt);
    struct err why = ERR_INIT;
    if (add_identities(c, t->writer, &why) < 0) {
        transfer_free(t);
        chain_answer_text(c, 500, "text/plain; charset=utf-8", arena_printf(c->req.arena, "%s\n", why.message));
        return;
    }
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

void answer_snapshot(struct chain_request *c)
{
    struct api_server *s = c->req.server;
    if (str_eq(c->method, STR("HEAD"))) {
        chain_answer_text(c, 405, "text/plain; charset=utf-8", STR("405: Method Not Allowed"));
        return;
    }
    if (wants_identities(c) && !is_master(c->req.user)) {
        chain_answer_text(c, 403, "text/plain; charset=utf-8",
                          STR("the cluster's identities are given to members of system:masters only\n"));
        return;
    }
    if (c->seat)
        fairness_leave(c->mutating);
    c->seat = false;
    c->long_running = true;
    if (cache_always_newest(s->cache))
        begin(c, 0, NULL);
    else
        cache_wait_newest(s->cache, NEWEST_MS, c->req.loop, begin, c);
}
