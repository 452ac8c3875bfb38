/* Exec and attach: a WebSocket from the API server (v5.channel.k8s.io or v4) joined to SPDY/3.1 streams of the
 * runtime's streaming server, whose own WebSocket cannot close standard input.
 *
 *   channel 0 stdin, 1 stdout, 2 stderr, 3 error (a Status at the end), 4 terminal size; v5: 255 n closes channel n
 *
 * The runtime is asked and reached first, so that what goes wrong there is still an HTTP answer. */
#include "node/server/server.h"

#include "base/log.h"
#include "base/net/http_client.h"
#include "base/net/spdy.h"
#include "base/net/websocket.h"
#include "node/cri/api.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define STREAM_TIMEOUT_MS 30000

enum channel {
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    STDERR_CHANNEL,
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    CHANNELS,
    CLOSE_CHANNEL = 255
};

struct exec_session;

struct exec_stream {
    struct exec_session *s;
    enum channel channel;
    struct spdy_stream *spdy; /* NULL: not wanted, or over */
    bool wanted;
};

struct exec_session {
    struct agent *agent;
    struct http_exchange *ex; /* until the WebSocket is there */
    struct websocket *ws;
    struct http_client *client;
    struct http_call *call;
    struct http_stream *wire;
    struct spdy_session *spdy;
    struct exec_stream streams[CHANNELS];
    struct timer end;
    bool v5, asking, over, held;
};

static void destroy(void *arg)
{
    struct exec_session *s = arg;
    timer_stop(&s->end);
    spdy_session_destroy(s->spdy);
    http_call_cancel(s->call);
    if (s->wire)
        http_stream_close(s->wire);
    http_client_destroy(s->client);
    free(s);
}

/* From inside callbacks of the parts that go: on a fresh stack. */
static void end(struct exec_session *s)
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

static void refuse(struct exec_session *s, const char *text)
{
    if (s->ex) {
        s->ex->on_close = NULL;
        serve_error(s->ex, 500, "%s", text);
        s->ex = NULL;
    }
    end(s);
}

/* ---- the runtime's side ---- */

static void maybe_over(struct exec_session *s)
{
    for (int i = STDOUT_CHANNEL; i <= ERROR_CHANNEL; i++) {
        if (s->streams[i].wanted && s->streams[i].spdy)
            return;
    }
    end(s);
}

static void stream_data(void *arg, struct str data)
{
    struct exec_stream *st = arg;
    if (!st->s->ws)
        return;
    websocket_send_channel(st->s->ws, (uint8_t)st->channel, slice_copy(data.p, data.len));
    /* The runtime's SPDY pays no heed to windows: the whole connection is held back. */
    if (websocket_unsent(st->s->ws) > HTTP_HIGH_WATER && st->s->wire && !st->s->held) {
        st->s->held = true;
        http_stream_read(st->s->wire, false);
    }
}

static void stream_end(void *arg)
{
    struct exec_stream *st = arg;
    if (st->channel == STDIN_CHANNEL || st->channel == RESIZE_CHANNEL)
        return;
    st->spdy = NULL; /* our half stays open: nothing more may go to a peer that is about to close */
    maybe_over(st->s);
}

static void stream_reset(void *arg, int status)
{
    struct exec_stream *st = arg;
    (void)status;
    st->spdy = NULL;
    if (st->channel != STDIN_CHANNEL && st->channel != RESIZE_CHANNEL)
        maybe_over(st->s);
}

static void stream_drain(void *arg)
{
    struct exec_stream *st = arg;
    if (st->s->ws)
        websocket_read(st->s->ws, true);
}

static void spdy_write(void *arg, struct str bytes)
{
    struct exec_session *s = arg;
    if (s->wire)
        http_stream_write(s->wire, bytes);
}

static void spdy_closed(void *arg, const struct err *err)
{
    (void)err;
    end(arg);
}

static void wire_data(void *arg, struct str data)
{
    struct exec_session *s = arg;
    struct err err = ERR_INIT;
    if (!s->over && spdy_session_feed(s->spdy, data, &err) < 0)
        end(s);
}

static void wire_closed(void *arg)
{
    struct exec_session *s = arg;
    s->wire = NULL;
    end(s);
}

/* ---- the client's side ---- */

static void message(void *arg, bool text, struct str data)
{
    struct exec_session *s = arg;
    unsigned channel;
    struct exec_stream *st;
    (void)text;
    if (!data.len || s->over)
        return;
    channel = (unsigned char)data.p[0];
    if (s->v5 && channel == CLOSE_CHANNEL) {
        st = data.len > 1 && (unsigned char)data.p[1] < CHANNELS ? &s->streams[(unsigned char)data.p[1]] : NULL;
        if (st && st->spdy && st->channel == STDIN_CHANNEL)
            spdy_stream_end(st->spdy);
        return;
    }
    st = channel == STDIN_CHANNEL || channel == RESIZE_CHANNEL ? &s->streams[channel] : NULL;
    if (!st || !st->spdy || data.len == 1)
        return;
    spdy_stream_write(st->spdy, str_sub(data, 1, data.len));
    if (spdy_stream_unsent(st->spdy) > HTTP_HIGH_WATER)
        websocket_read(s->ws, false);
}

static void socket_closed(void *arg, int code, struct str reason)
{
    struct exec_session *s = arg;
    (void)code;
    (void)reason;
    s->ws = NULL;
    end(s);
}

static void socket_drained(void *arg)
{
    struct exec_session *s = arg;
    if (s->held && s->wire) {
        s->held = false;
        http_stream_read(s->wire, true);
    }
}

static int accept_socket(struct exec_session *s, struct err *err)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
    struct websocket_options opt = {.protocols = protocols,
                                    .require_protocol = true,
                                    .max_message = 4u << 20,
                                    .handler = {message, socket_closed, socket_drained, s}};
    const char *chosen = NULL;
    int rc;
    s->ex->on_close = NULL;
    rc = websocket_accept(s->ex, &opt, &chosen, &s->ws, err);
    if (rc < 0)
        return rc;
    s->ex = NULL;
    s->v5 = chosen && strcmp(chosen, "v5.channel.k8s.io") == 0;
    return 0;
}

/* ---- joining them ---- */

static void upgraded(void *arg, struct http_stream *wire)
{
    static const char *const types[CHANNELS] = {"stdin", "stdout", "stderr", "error", "resize"};
    static const enum channel order[CHANNELS] = {ERROR_CHANNEL, STDIN_CHANNEL, STDOUT_CHANNEL, STDERR_CHANNEL,
                                                 RESIZE_CHANNEL};
    struct exec_session *s = arg;
    struct byte_stream_handler bytes = {.on_data = wire_data, .on_close = wire_closed, .arg = s};
    struct spdy_session_options opt = {
        .no_window_updates = true, .write = spdy_write, .on_closed = spdy_closed, .arg = s};
    struct err err = ERR_INIT;
    s->call = NULL;
    s->wire = wire;
    http_stream_open(wire, &bytes);
    if (s->over)
        return;
    if (accept_socket(s, &err) < 0) {
        refuse(s, err.message);
        return;
    }
    s->spdy = spdy_session_create(&opt);
    for (int i = 0; i < CHANNELS; i++) {
        struct exec_stream *st = &s->streams[order[i]];
        struct http_header headers[] = {{STR("streamtype"), str_from(types[order[i]])}};
        struct spdy_stream_handler h = {.on_data = stream_data,
                                        .on_end = stream_end,
                                        .on_reset = stream_reset,
                                        .on_drain = stream_drain,
                                        .arg = st};
        if (st->wanted)
            st->spdy = spdy_stream_create(s->spdy, headers, 1, false, &h);
    }
}

static void upgrade_failed(void *arg, const struct err *err)
{
    struct exec_session *s = arg;
    s->call = NULL;
    refuse(s, err ? err->message : "the runtime did not take the stream");
}

/* "http://127.0.0.1:1234/exec/TOKEN" */
static void connect_runtime(struct exec_session *s, const char *url)
{
    struct http_header headers[] = {{STR("connection"), STR("Upgrade")},
                                    {STR("upgrade"), STR("SPDY/3.1")},
                                    {STR("x-stream-protocol-version"), STR("v4.channel.k8s.io")}};
    struct http_call_options call = {.method = STR("POST"),
                                     .headers = headers,
                                     .n_headers = 3,
                                     .upgrade = true,
                                     .timeout_ms = STREAM_TIMEOUT_MS,
                                     .handler = {.on_upgrade = upgraded, .on_done = upgrade_failed, .arg = s}};
    const char *path = strstr(url, "://");
    char origin[300];
    const char *endpoints[] = {origin, NULL};
    struct http_client_options opt = {.endpoints = endpoints, .mode = HTTP_CLIENT_HTTP1};
    struct err err = ERR_INIT;
    path = path ? strchr(path + 3, '/') : NULL;
    if (!path) {
        refuse(s, "the runtime's streaming address is malformed");
        return;
    }
    snprintf(origin, sizeof origin, "%.*s", (int)(path - url), url);
    call.path = str_from(path);
    if (http_client_create(s->agent->loop, &opt, &s->client, &err) < 0) {
        refuse(s, err.message);
        return;
    }
    s->call = http_call_start(s->client, &call);
}

static void have_url(struct exec_session *s, const char *url, const struct err *err)
{
    s->asking = false;
    if (s->over)
        timer_start(&s->end, s->agent->loop, 0, destroy, s);
    else if (!url)
        refuse(s, err->message);
    else
        connect_runtime(s, url);
}

static void exec_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    have_url(arg, response ? ((const Runtime__V1__ExecResponse *)(const void *)response)->url : NULL, err);
}

static void attach_answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    have_url(arg, response ? ((const Runtime__V1__AttachResponse *)(const void *)response)->url : NULL, err);
}

static void client_gone(struct http_exchange *ex)
{
    struct exec_session *s = ex->user;
    s->ex = NULL;
    end(s);
}

struct wanted {
    bool in, out, err, tty;
    char **command;
    size_t n_command, cap;
};

/* Both spellings: the API server's (stdin=true) and the one it uses towards a kubelet (input=1). */
static struct wanted parse(struct http_exchange *ex)
{
    struct wanted w = {0};
    struct str query = ex->query, name, value;
    while (http_query_next(ex->arena, &query, &name, &value)) {
        bool yes = str_eqz(value, "true") || str_eqz(value, "1");
        if (str_eqz(name, "stdin") || str_eqz(name, "input"))
            w.in = yes;
        else if (str_eqz(name, "stdout") || str_eqz(name, "output"))
            w.out = yes;
        else if (str_eqz(name, "stderr") || str_eqz(name, "error"))
            w.err = yes;
        else if (str_eqz(name, "tty"))
            w.tty = yes;
        else if (str_eqz(name, "command"))
            ARENA_PUSH(ex->arena, w.command, w.n_command, w.cap, (char *)arena_str(ex->arena, value).p);
    }
    w.err = w.err && !w.tty;
    return w;
}

void serve_exec(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod, struct str container,
                bool attach)
{
    const struct observed_container *o;
    struct exec_session *s;
    struct wanted w = parse(ex);
    if (!websocket_requested(ex)) {
        serve_error(ex, 400, "Upgrade request required");
        return;
    }
    o = serve_find_container(a, ex, namespace_, pod, container, false);
    if (!o)
        return;
    if (o->state != OBSERVED_RUNNING) {
        serve_error(ex, 400, "cannot exec in a stopped container");
        return;
    }
    s = calloc(1, sizeof *s);
    s->agent = a;
    s->ex = ex;
    s->asking = true;
    ex->user = s;
    ex->on_close = client_gone;
    for (int i = 0; i < CHANNELS; i++)
        s->streams[i] = (struct exec_stream){.s = s, .channel = (enum channel)i};
    s->streams[STDIN_CHANNEL].wanted = w.in;
    s->streams[STDOUT_CHANNEL].wanted = w.out;
    s->streams[STDERR_CHANNEL].wanted = w.err;
    s->streams[ERROR_CHANNEL].wanted = true;
    s->streams[RESIZE_CHANNEL].wanted = w.tty;
    if (attach) {
        Runtime__V1__AttachRequest req = RUNTIME__V1__ATTACH_REQUEST__INIT;
        req.container_id = o->id;
        req.stdin = w.in;
        req.stdout = w.out;
        req.stderr = w.err;
        req.tty = w.tty;
        cri_call(a->cri, RUNTIME_SERVICE, "Attach", &req.base, &runtime__v1__attach_response__descriptor,
                 STREAM_TIMEOUT_MS, attach_answered, s);
    } else {
        Runtime__V1__ExecRequest req = RUNTIME__V1__EXEC_REQUEST__INIT;
        req.container_id = o->id;
        req.cmd = w.command;
        req.n_cmd = w.n_command;
        req.stdin = w.in;
        req.stdout = w.out;
        req.stderr = w.err;
        req.tty = w.tty;
        cri_call(a->cri, RUNTIME_SERVICE, "Exec", &req.base, &runtime__v1__exec_response__descriptor, STREAM_TIMEOUT_MS,
                 exec_answered, s);
    }
}
