/* Port-forward: SPDY/3.1 inside the binary messages of a WebSocket. Per connection the client opens an error stream and
 * a data stream with the same requestid; the data goes to the pod's localhost through a socket made in the pod's
 * network namespace, so the runtime is only asked where that is. */
#include "node/server/server.h"

#include "base/log.h"
#include "base/map.h"
#include "base/net/http_client.h"
#include "base/net/spdy.h"
#include "base/net/websocket.h"
#include "node/cri/api.pb-c.h"
#include "openapi/json.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD_MAX (1u << 20)

struct forward_session {
    struct agent *agent;
    struct http_exchange *ex; /* until the WebSocket is there */
    struct websocket *ws;
    struct spdy_session *spdy;
    char sandbox[80], netns[200]; /* netns "": the node's own */
    VEC(struct forward_pair *) pairs;
    VEC(struct forward_socket *) sockets;
    struct timer end;
    bool asking, over, held;
};

struct forward_pair { /* an error stream that waits for its data stream */
    struct forward_session *s;
    char id[64];
    struct spdy_stream *error;
};

struct forward_socket {
    struct forward_session *s;
    struct forward_pair *pair; /* NULL once the error stream is over */
    struct spdy_stream *data;
    uv_tcp_t *tcp; /* its data is this socket, NULL once it is closing */
    int port;
    bool connected, reading, v6;
    bool peer_ended;  /* the client sends no more */
    struct buf early; /* before the connection stood */
    char first_error[120];
};

static void connect_socket(struct forward_socket *f);

/* ---- the end ---- */

static void handle_closed(uv_handle_t *h)
{
    free(h);
}

static void close_handle(struct forward_socket *f)
{
    if (!f->tcp)
        return;
    f->tcp->data = NULL;
    uv_close((uv_handle_t *)f->tcp, handle_closed);
    f->tcp = NULL;
}

static void drop_pair(struct forward_pair *p)
{
    struct forward_session *s = p->s;
    for (size_t i = 0; i < s->pairs.len; i++) {
        if (s->pairs.items[i] == p) {
            vec_remove_swap(&s->pairs, i);
            break;
        }
    }
    free(p);
}

static void end_error(struct forward_socket *f, const char *text)
{
    struct forward_pair *p = f->pair;
    f->pair = NULL;
    if (!p)
        return;
    if (p->error) {
        if (text)
            spdy_stream_write(p->error, str_from(text));
        spdy_stream_end(p->error);
    }
}

static void close_socket(struct forward_socket *f)
{
    struct forward_session *s = f->s;
    if (f->data) {
        spdy_stream_reset(f->data, SPDY_CANCEL);
        f->data = NULL;
    }
    end_error(f, NULL);
    for (size_t i = 0; i < s->sockets.len; i++) {
        if (s->sockets.items[i] == f) {
            vec_remove_swap(&s->sockets, i);
            break;
        }
    }
    close_handle(f);
    buf_free(&f->early);
    free(f);
}

static void destroy(void *arg)
{
    struct forward_session *s = arg;
    timer_stop(&s->end);
    while (s->sockets.len)
        close_socket(s->sockets.items[0]);
    spdy_session_destroy(s->spdy);
    while (s->pairs.len)
        drop_pair(s->pairs.items[0]);
    vec_free(&s->pairs);
    vec_free(&s->sockets);
    free(s);
}

static void end(struct forward_session *s)
{
    if (s->over)
        return;
    s->over = true;
    if (s->ws) {
        websocket_close(s->ws, WEBSOCKET_NORMAL, "");
        s->ws = NULL;
    }
    if (!s->asking)
        timer_start(&s->end, s->agent->loop, 0, destroy, s);
}

/* ---- one connection into the pod ---- */

struct piece {
    uv_write_t req;
    char bytes[];
};

static void piece_written(uv_write_t *req, int status)
{
    struct forward_socket *f = req->handle->data;
    free(req);
    if (status == 0 && f && f->data && f->tcp->write_queue_size < HTTP_LOW_WATER) {
        struct forward_session *s = f->s;
        spdy_stream_read(f->data, true);
        if (s->held && s->ws && spdy_session_held(s->spdy) < HELD_MAX / 2) {
            s->held = false;
            websocket_read(s->ws, true);
        }
    }
}

static void write_socket(struct forward_socket *f, struct str data)
{
    struct piece *p = malloc(sizeof *p + data.len);
    uv_buf_t b;
    memcpy(p->bytes, data.p, data.len);
    b = uv_buf_init(p->bytes, (unsigned)data.len);
    if (uv_write(&p->req, (uv_stream_t *)f->tcp, &b, 1, piece_written) < 0) {
        free(p);
        return;
    }
    if (f->tcp->write_queue_size > HTTP_HIGH_WATER && f->data)
        spdy_stream_read(f->data, false);
}

static void shut(uv_shutdown_t *req, int status)
{
    (void)status;
    free(req);
}

static void shutdown_socket(struct forward_socket *f)
{
    uv_shutdown_t *req = calloc(1, sizeof *req);
    if (uv_shutdown(req, (uv_stream_t *)f->tcp, shut) < 0)
        free(req);
}

static void give_room(uv_handle_t *h, size_t want, uv_buf_t *b)
{
    (void)h;
    (void)want;
    b->base = malloc(16384);
    b->len = 16384;
}

static void socket_read(uv_stream_t *st, ssize_t n, const uv_buf_t *b)
{
    struct forward_socket *f = st->data;
    if (n > 0 && f->data) {
        spdy_stream_write(f->data, (struct str){b->base, (size_t)n});
        if (spdy_stream_unsent(f->data) > HTTP_HIGH_WATER ||
            (f->s->ws && websocket_unsent(f->s->ws) > HTTP_HIGH_WATER)) {
            uv_read_stop(st);
            f->reading = false;
        }
    } else if (n < 0) {
        if (f->data)
            spdy_stream_end(f->data);
        end_error(f, NULL);
        uv_read_stop(st);
        f->reading = false;
        if (n != UV_EOF || !f->data || f->peer_ended)
            close_socket(f);
    }
    free(b->base);
}

static void go_on_reading(struct forward_socket *f)
{
    if (f->connected && !f->reading && f->data) {
        f->reading = true;
        uv_read_start((uv_stream_t *)f->tcp, give_room, socket_read);
    }
}

static void refused(struct forward_socket *f, const char *why)
{
    char text[900];
    if (!f->v6) {
        snprintf(f->first_error, sizeof f->first_error, "%s", why);
        f->v6 = true;
        connect_socket(f);
        return;
    }
    snprintf(
        text, sizeof text,
        "error forwarding port %d to pod %s, uid : failed to execute portforward in network namespace \"%s\": failed "
        "to "
        "connect to localhost:%d inside namespace \"%s\", IPv4: dial tcp4 127.0.0.1:%d: connect: %s IPv6 dial tcp6 "
        "[::1]:%d: connect: %s ",
        f->port, f->s->sandbox, f->s->netns, f->port, f->s->sandbox, f->port, f->first_error, f->port, why);
    end_error(f, text);
    close_socket(f);
}

static void connected(uv_connect_t *req, int status)
{
    struct forward_socket *f = req->handle->data;
    free(req);
    if (!f || f->s->over)
        return;
    if (status < 0) {
        close_handle(f);
        refused(f, status == UV_ECONNREFUSED ? "connection refused" : uv_strerror(status));
        return;
    }
    f->connected = true;
    if (f->early.len)
        write_socket(f, buf_str(&f->early));
    buf_free(&f->early);
    if (f->peer_ended)
        shutdown_socket(f);
    go_on_reading(f);
}

/* A socket belongs to the network namespace its maker was in. */
static int socket_in(const char *netns, int family)
{
    int own = -1, target = -1, fd = -1;
    if (!*netns)
        return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    target = open(netns, O_RDONLY | O_CLOEXEC);
    if (own >= 0 && target >= 0 && setns(target, CLONE_NEWNET) == 0) {
        fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (setns(own, CLONE_NEWNET) < 0)
            abort(); /* everything from here on would happen in the pod's network */
    }
    if (own >= 0)
        close(own);
    if (target >= 0)
        close(target);
    return fd;
}

static void connect_socket(struct forward_socket *f)
{
    struct sockaddr_storage addr = {0};
    uv_connect_t *req;
    int fd = socket_in(f->s->netns, f->v6 ? AF_INET6 : AF_INET);
    if (fd < 0) {
        refused(f, strerror(errno));
        return;
    }
    f->tcp = calloc(1, sizeof *f->tcp);
    uv_tcp_init(loop_uv(f->s->agent->loop), f->tcp);
    uv_tcp_open(f->tcp, fd);
    f->tcp->data = f;
    if (f->v6)
        uv_ip6_addr("::1", f->port, (struct sockaddr_in6 *)&addr);
    else
        uv_ip4_addr("127.0.0.1", f->port, (struct sockaddr_in *)&addr);
    req = calloc(1, sizeof *req);
    if (uv_tcp_connect(req, f->tcp, (struct sockaddr *)&addr, connected) < 0)
        free(req);
}

/* ---- streams ---- */

static void data_in(void *arg, struct str data)
{
    struct forward_socket *f = arg;
    if (f->connected)
        write_socket(f, data);
    else
        buf_add(&f->early, data.p, data.len);
}

static void data_end(void *arg)
{
    struct forward_socket *f = arg;
    f->peer_ended = true;
    if (f->connected)
        shutdown_socket(f);
    if (f->data && spdy_stream_done(f->data))
        close_socket(f);
}

static void data_reset(void *arg, int status)
{
    struct forward_socket *f = arg;
    (void)status;
    f->data = NULL;
    close_socket(f);
}

static void data_drain(void *arg)
{
    go_on_reading(arg);
}

static void ignore_data(void *arg, struct str data)
{
    (void)arg;
    (void)data;
}

static void error_end(void *arg)
{
    (void)arg;
}

static void error_reset(void *arg, int status)
{
    struct forward_pair *p = arg;
    (void)status;
    p->error = NULL;
}

static void opened(void *arg, struct spdy_stream *st, const struct http_header *headers, size_t n)
{
    struct forward_session *s = arg;
    struct str type = http_headers_get(headers, n, "streamtype"), port = http_headers_get(headers, n, "port");
    struct str id = http_headers_get(headers, n, "requestid");
    struct forward_pair *pair = NULL;
    struct forward_socket *f;
    int64_t number;
    if (!str_to_i64(port, &number) || number < 1 || number > 65535 || id.len >= sizeof pair->id) {
        spdy_stream_reset(st, SPDY_REFUSED_STREAM);
        return;
    }
    for (size_t i = 0; i < s->pairs.len; i++) {
        if (str_eqz(id, s->pairs.items[i]->id))
            pair = s->pairs.items[i];
    }
    if (str_eqz(type, "error") && !pair) {
        struct spdy_stream_handler h = {.on_data = ignore_data, .on_end = error_end, .on_reset = error_reset};
        pair = calloc(1, sizeof *pair);
        pair->s = s;
        pair->error = st;
        snprintf(pair->id, sizeof pair->id, STR_FMT, STR_ARG(id));
        vec_push(&s->pairs, pair);
        h.arg = pair;
        spdy_stream_accept(st, NULL, 0, &h);
    } else if (str_eqz(type, "data") && pair) {
        struct spdy_stream_handler h = {
            .on_data = data_in, .on_end = data_end, .on_reset = data_reset, .on_drain = data_drain};
        f = calloc(1, sizeof *f);
        *f = (struct forward_socket){.s = s, .pair = pair, .data = st, .port = (int)number};
        vec_push(&s->sockets, f);
        h.arg = f;
        spdy_stream_accept(st, NULL, 0, &h);
        connect_socket(f);
    } else {
        spdy_stream_reset(st, SPDY_REFUSED_STREAM);
    }
}

/* ---- the tunnel ---- */

static void tunnel_write(void *arg, struct str bytes)
{
    struct forward_session *s = arg;
    if (s->ws)
        websocket_send(s->ws, false, bytes.p, bytes.len);
}

static void tunnel_closed(void *arg, const struct err *err)
{
    (void)err;
    end(arg);
}

static void message(void *arg, bool text, struct str data)
{
    struct forward_session *s = arg;
    struct err err = ERR_INIT;
    if (!text && !s->over && spdy_session_feed(s->spdy, data, &err) < 0)
        end(s);
    /* Clients pay no heed to SPDY's windows: what slow pods leave behind is bounded by holding back the tunnel. */
    if (!s->over && !s->held && spdy_session_held(s->spdy) > HELD_MAX) {
        s->held = true;
        websocket_read(s->ws, false);
    }
}

static void socket_closed(void *arg, int code, struct str reason)
{
    struct forward_session *s = arg;
    (void)code;
    (void)reason;
    s->ws = NULL;
    end(s);
}

static void socket_drained(void *arg)
{
    struct forward_session *s = arg;
    for (size_t i = 0; i < s->sockets.len; i++)
        go_on_reading(s->sockets.items[i]);
}

static void refuse(struct forward_session *s, int status, const char *text)
{
    if (s->ex) {
        s->ex->on_close = NULL;
        serve_error(s->ex, status, "%s", text);
        s->ex = NULL;
    }
    end(s);
}

static void accept_tunnel(struct forward_session *s)
{
    static const char *const protocols[] = {"SPDY/3.1+portforward.k8s.io", NULL};
    struct websocket_options opt = {.protocols = protocols,
                                    .require_protocol = true,
                                    .max_message = 4u << 20,
                                    .handler = {message, socket_closed, socket_drained, s}};
    struct spdy_session_options spdy = {
        .server = true, .write = tunnel_write, .on_stream = opened, .on_closed = tunnel_closed, .arg = s};
    struct err err = ERR_INIT;
    const char *chosen;
    s->ex->on_close = NULL;
    s->spdy = spdy_session_create(&spdy);
    if (websocket_accept(s->ex, &opt, &chosen, &s->ws, &err) < 0) {
        refuse(s, 400, err.message);
        return;
    }
    s->ex = NULL;
}

static void sandbox_known(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct forward_session *s = arg;
    const Runtime__V1__PodSandboxStatusResponse *answer = (const void *)response;
    struct arena *a;
    s->asking = false;
    if (s->over) {
        timer_start(&s->end, s->agent->loop, 0, destroy, s);
        return;
    }
    if (!answer) {
        refuse(s, 500, err->message);
        return;
    }
    a = arena_create(0);
    for (size_t i = 0; i < answer->n_info; i++) {
        struct json_options opt = {0};
        struct value *v;
        struct err bad = ERR_INIT;
        const struct value *list;
        if (json_decode(a, str_from(answer->info[i]->value), &opt, &v, &bad) < 0)
            continue;
        list = value_path(v, "runtimeSpec.linux.namespaces");
        for (size_t j = 0; j < value_len(list); j++) {
            struct str path = value_path_str(value_at(list, j), "path");
            if (str_eqz(value_path_str(value_at(list, j), "type"), "network") && path.len)
                snprintf(s->netns, sizeof s->netns, STR_FMT, STR_ARG(path));
        }
    }
    arena_destroy(a);
    accept_tunnel(s);
}

static void client_gone(struct http_exchange *ex)
{
    struct forward_session *s = ex->user;
    s->ex = NULL;
    end(s);
}

void serve_port_forward(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod)
{
    struct pod *p = pod_find_name(a, namespace_, pod);
    const struct observed_sandbox *sandbox = p ? observed_newest_sandbox(pod_observed(p)) : NULL;
    Runtime__V1__PodSandboxStatusRequest req = RUNTIME__V1__POD_SANDBOX_STATUS_REQUEST__INIT;
    struct forward_session *s;
    if (!websocket_requested(ex)) {
        serve_error(ex, 400, "Upgrade request required");
        return;
    }
    if (!p || !p->version) {
        serve_error(ex, 404, "pod does not exist");
        return;
    }
    if (!sandbox || !sandbox->ready) {
        serve_error(ex, 400, "sandbox is not running");
        return;
    }
    s = calloc(1, sizeof *s);
    s->agent = a;
    s->ex = ex;
    snprintf(s->sandbox, sizeof s->sandbox, "%s", sandbox->id);
    ex->user = s;
    ex->on_close = client_gone;
    if (p->version->pod->spec->host_network) {
        accept_tunnel(s);
        return;
    }
    s->asking = true;
    req.pod_sandbox_id = sandbox->id;
    req.verbose = true;
    cri_call(a->cri, RUNTIME_SERVICE, "PodSandboxStatus", &req.base,
             &runtime__v1__pod_sandbox_status_response__descriptor, RUNTIME_TIMEOUT_MS, sandbox_known, s);
}
