/* Bytes of a client into the HTTP/1.1 side of a connection whose socket leads nowhere. */
#include "base/mem.h"
#include "base/net/http_conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void handler(void *arg, struct http_exchange *ex)
{
    (void)arg;
    struct slice s = {ex->body.p, ex->body.len, NULL};
    if (str_starts(ex->path, STR("/s"))) {
        http_start(ex, 200, NULL, 0);
        http_send(ex, &s, 1);
        http_finish(ex);
    } else {
        http_respond(ex, 200, ex->headers, ex->n_headers, &s, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_worker *w;
    if (!w) {
        w = MEM_NEW(struct http_worker);
        w->server = MEM_NEW(struct http_server);
        w->server->opt = (struct http_server_options){.max_body = 1000, .handler = handler};
        w->loop = loop_create("fuzz");
        TAILQ_INIT(&w->conns);
        TAILQ_INIT(&w->dirty);
        TAILQ_INIT(&w->drains);
    }
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds))
        abort();
    conn_open(w, fds[0], "fuzz");
    struct http_conn *c = TAILQ_FIRST(&w->conns);
    http1_open(c);
    /* In two parts: what is cut anywhere must parse the same. */
    size_t cut = size ? data[0] % size : 0;
    http1_input(c, (const char *)data, cut);
    if (!c->doomed)
        http1_input(c, (const char *)data + cut, size - cut);
    for (int i = 0; i < 20 && !c->doomed && !c->close_after_flush; i++) {
        w->gathered.len = 0;
        http1_produce(c);
        if (c->h1.in.len)
            http1_input(c, NULL, 0);
    }
    conn_destroy(c);
    uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
    close(fds[1]);
    return 0;
}
