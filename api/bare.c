#include "api/bare.h"

#include "api/chain/chain.h"
#include "api/metrics_endpoint.h"
#include "api/server.h"

static void answer(struct http_exchange *ex, int status, const char *type, struct str text)
{
    const struct http_header headers[] = {{STR("content-type"), str_from(type)},
                                          {STR("cache-control"), STR("no-cache, private")}};
    const struct slice body = {arena_str(ex->arena, text).p, text.len, NULL};
    http_respond(ex, status, headers, 2, &body, 1);
}

static void answer_health(struct http_exchange *ex, const struct api_server *s, bool ready)
{
    const char *why = kv_trouble(s->kv);
    if (!why && ready && s->stopping)
        why = "process is shutting down";
    if (why)
        answer(ex, 500, "text/plain; charset=utf-8", arena_printf(ex->arena, "[-]etcd failed: %s\n", why));
    else
        answer(ex, 200, "text/plain; charset=utf-8", STR("ok"));
}

static void answer_metrics(struct http_exchange *ex)
{
    struct buf out = {0};
    for (const struct str *o = ex->peer->cert_orgs; o && o->p && !out.len; o++)
        if (str_eq(*o, STR("system:masters")))
            metrics_text(&out);
    if (out.len)
        answer(ex, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&out));
    else
        answer(ex, 403, "text/plain; charset=utf-8", STR("metrics are for administrators: bring their certificate\n"));
    buf_free(&out);
}

void bare_handle(void *server, struct http_exchange *ex)
{
    const struct api_server *s = server;
    if (str_eq(ex->path, STR("/readyz")))
        answer_health(ex, s, true);
    else if (str_eq(ex->path, STR("/livez")) || str_eq(ex->path, STR("/healthz")))
        answer_health(ex, s, false);
    else if (str_eq(ex->path, STR("/version")))
        answer(ex, 200, "application/json", endpoint_version());
    else if (str_eq(ex->path, STR("/metrics")))
        answer_metrics(ex);
    else
        answer(ex, 404, "text/plain; charset=utf-8",
               STR("404 page not found: this server was started with --disable api and serves etcd's API only\n"));
}
