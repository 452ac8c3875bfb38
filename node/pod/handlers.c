#include "node/pod/handlers.h"

#include "base/net/grpc.h"
#include "base/net/http_client.h"
#include "node/cri/api.pb-c.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX (10 * 1024)

struct handler_run {
    handler_done *done;
    void *arg;
    struct loop *loop;
    struct timer timer;
    bool canceled; /* an answer of the runtime is still to come */
    bool in_runtime;
    int status;
    struct http_client *http;
    struct tls_context *tls;
    struct http_call *call;
    uv_tcp_t *tcp;
    struct buf body;
    char *url, *label;
    enum handler_outcome outcome;
    char *text;
};

static void free_run(struct handler_run *r)
{
    timer_stop(&r->timer);
    http_call_cancel(r->call);
    http_client_destroy(r->http);
    tls_context_destroy(r->tls);
    buf_free(&r->body);
    free(r->url);
    free(r->label);
    free(r->text);
    free(r);
}

static void tell(void *arg)
{
    struct handler_run *r = arg;
    r->done(r->arg, r->outcome, r->text);
    free_run(r);
}

/* Callbacks of clients and sockets end here; the run is freed on a fresh stack. */
static void end(struct handler_run *r, enum handler_outcome outcome, const char *text)
{
    r->outcome = outcome;
    free(r->text);
    r->text = strdup(text ? text : "");
    timer_start(&r->timer, r->loop, 0, tell, r);
}

/* ---- exec ---- */

static void exec_done(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct handler_run *r = arg;
    const Runtime__V1__ExecSyncResponse *answer = (const void *)response;
    struct buf out = {0};
    r->in_runtime = false;
    if (r->canceled) {
        free_run(r);
        return;
    }
    if (!answer) {
        if (err->code == ERR_TIMEOUT) {
            char text[300];
            snprintf(text, sizeof text, "command timed out: \"%s\"", r->label ? r->label : "");
            end(r, HANDLER_FAILURE, text);
        } else {
            end(r, HANDLER_ERROR, err->message);
        }
        return;
    }
    buf_add(&out, answer->stdout.data, answer->stdout.len);
    buf_add(&out, answer->stderr.data, answer->stderr.len);
    if (out.len > BODY_MAX)
        out.len = BODY_MAX;
    buf_add_char(&out, 0);
    if (r->label && answer->exit_code && r->status == -1) {
        char text[BODY_MAX + 400];
        snprintf(text, sizeof text, "command '%s' exited with %d: %s", r->label, answer->exit_code, out.p);
        end(r, HANDLER_FAILURE, text);
    } else {
        end(r, answer->exit_code ? HANDLER_FAILURE : HANDLER_SUCCESS, out.p);
    }
    buf_free(&out);
}

static void start_exec(struct handler_run *r, const struct core_v1_exec_action *e, const struct handler_target *t)
{
    Runtime__V1__ExecSyncRequest req = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
    struct arena *a = arena_create(0);
    struct buf label = {0};
    req.container_id = (char *)t->container_id;
    req.cmd = ARENA_ARRAY(a, char *, e->command.len + 1);
    req.n_cmd = e->command.len;
    for (size_t i = 0; i < e->command.len; i++) {
        req.cmd[i] = (char *)arena_str(a, e->command.items[i]).p;
        buf_printf(&label, "%s%s", i ? " " : "", req.cmd[i]);
    }
    buf_add_char(&label, 0);
    r->label = label.p;
    r->status = t->hook ? -1 : 0;
    req.timeout = (t->timeout_ms + 999) / 1000;
    r->in_runtime = true;
    cri_call(t->agent->cri, RUNTIME_SERVICE, "ExecSync", &req.base, &runtime__v1__exec_sync_response__descriptor,
             t->timeout_ms ? t->timeout_ms + 2000 : RUNTIME_TIMEOUT_MS, exec_done, r);
    arena_destroy(a);
}

/* ---- ports ---- */

static int port_of(const struct int_or_string *p, const struct core_v1_container *c)
{
    int64_t n;
    if (!p->is_string)
        return p->integer;
    for (size_t i = 0; c && i < c->ports.len; i++) {
        if (str_eq(c->ports.items[i].name, p->string))
            return c->ports.items[i].container_port;
    }
    return str_to_i64(p->string, &n) && n > 0 && n < 65536 ? (int)n : 0;
}

static bool is_v6(const char *host)
{
    return strchr(host, ':') != NULL;
}

/* ---- HTTP ---- */

static void http_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct handler_run *r = arg;
    (void)headers;
    (void)n;
    r->status = status;
}

static void http_data(void *arg, struct str data)
{
    struct handler_run *r = arg;
    if (r->body.len < BODY_MAX)
        buf_add(&r->body, data.p, data.len > BODY_MAX - r->body.len ? BODY_MAX - r->body.len : data.len);
}

static void http_done(void *arg, const struct err *err)
{
    struct handler_run *r = arg;
    char text[ERR_MESSAGE_MAX + 600];
    r->call = NULL;
    if (err && !r->status) {
        if (err->code == ERR_TIMEOUT)
            snprintf(text, sizeof text,
                     "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", r->url);
        else
            snprintf(text, sizeof text, "Get \"%s\": %s", r->url, err->message);
        end(r, HANDLER_FAILURE, text);
        return;
    }
    if (r->status >= 200 && r->status < 400) {
        buf_add_char(&r->body, 0);
        end(r, HANDLER_SUCCESS, r->body.p);
        return;
    }
    snprintf(text, sizeof text, "HTTP probe failed with statuscode: %d", r->status);
    end(r, HANDLER_FAILURE, text);
}

static void start_http(struct handler_run *r, const struct core_v1_http_get_action *h, const struct handler_target *t)
{
    bool https = str_eq_nocase(h->scheme, STR("HTTPS"));
    struct err err = ERR_INIT;
    struct arena *a = arena_create(0);
    const char *host = h->host.len ? arena_str(a, h->host).p : t->host;
    int port = port_of(&h->port, t->container);
    struct str path = h->path.len ? h->path : STR("/"), authority = STR_NULL;
    const char *origin = arena_printf(a, "%s://%s%s%s:%d", https ? "https" : "http", is_v6(host) ? "[" : "", host,
                                      is_v6(host) ? "]" : "", port)
                             .p;
    const char *endpoints[2] = {origin, NULL};
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, h->http_headers.len + 2);
    size_t n = 0;
    struct http_client_options copt = {.endpoints = endpoints,
                                       .mode = HTTP_CLIENT_HTTP1,
                                       .no_keep_alive = true,
                                       .user_agent = t->hook ? "kube-lifecycle/1.36" : "kube-probe/1.36",
                                       .connect_timeout_ms = t->timeout_ms};
    struct http_call_options call = {
        .method = STR("GET"),
        .timeout_ms = t->timeout_ms,
        .handler = {.on_response = http_response, .on_data = http_data, .on_done = http_done, .arg = r}};
    struct tls_options topt = {.insecure = true, .alpn_http1 = true};
    bool accept = false;
    for (size_t i = 0; i < h->http_headers.len; i++) {
        struct str name = arena_str(a, h->http_headers.items[i].name);
        for (size_t j = 0; j < name.len; j++)
            ((char *)name.p)[j] = (char)tolower((unsigned char)name.p[j]);
        accept = accept || str_eqz(name, "accept");
        if (str_eqz(name, "host"))
            authority = arena_str(a, h->http_headers.items[i].value);
        else if (str_eqz(name, "user-agent"))
            copt.user_agent = arena_str(a, h->http_headers.items[i].value).p;
        else
            headers[n++] = (struct http_header){name, h->http_headers.items[i].value};
    }
    if (!accept)
        headers[n++] = (struct http_header){STR("accept"), STR("*/*")};
    if (path.p[0] != '/')
        path = arena_printf(a, "/" STR_FMT, STR_ARG(path));
    r->url = strdup(arena_printf(a, "%s" STR_FMT, origin, STR_ARG(path)).p);
    copt.authority = authority.p;
    if ((https && tls_context_create(&topt, &r->tls, &err) < 0)) {
        end(r, HANDLER_ERROR, err.message);
        arena_destroy(a);
        return;
    }
    copt.tls = r->tls;
    if (http_client_create(r->loop, &copt, &r->http, &err) < 0) {
        end(r, HANDLER_ERROR, err.message);
    } else {
        call.path = path;
        call.headers = headers;
        call.n_headers = n;
        r->call = http_call_start(r->http, &call);
    }
    arena_destroy(a);
}

/* ---- TCP ---- */

static void tcp_closed(uv_handle_t *h)
{
    free(h);
}

static void close_tcp(struct handler_run *r)
{
    if (r->tcp) {
        r->tcp->data = NULL;
        uv_close((uv_handle_t *)r->tcp, tcp_closed);
        r->tcp = NULL;
    }
}

static void tcp_connected(uv_connect_t *req, int status)
{
    struct handler_run *r = req->handle->data;
    char text[300];
    free(req);
    if (!r)
        return;
    close_tcp(r);
    if (status == 0) {
        end(r, HANDLER_SUCCESS, "");
        return;
    }
    snprintf(text, sizeof text, "dial tcp %s: connect: %s", r->label, uv_strerror(status));
    end(r, HANDLER_FAILURE, text);
}

static void tcp_timeout(void *arg)
{
    struct handler_run *r = arg;
    char text[300];
    close_tcp(r);
    snprintf(text, sizeof text, "dial tcp %s: i/o timeout", r->label);
    end(r, HANDLER_FAILURE, text);
}

static void start_tcp(struct handler_run *r, const struct core_v1_tcp_socket_action *s, const struct handler_target *t)
{
    char host[256], label[300];
    int port = port_of(&s->port, t->container), rc;
    struct sockaddr_storage addr = {0};
    uv_connect_t *req;
    snprintf(host, sizeof host, STR_FMT, STR_ARG(s->host.len ? s->host : str_from(t->host)));
    snprintf(label, sizeof label, is_v6(host) ? "[%s]:%d" : "%s:%d", host, port);
    r->label = strdup(label);
    rc = is_v6(host) ? uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr)
                     : uv_ip4_addr(host, port, (struct sockaddr_in *)&addr);
    if (rc < 0) {
        end(r, HANDLER_FAILURE, "the host of a TCP check must be an address");
        return;
    }
    r->tcp = calloc(1, sizeof *r->tcp);
    uv_tcp_init(loop_uv(r->loop), r->tcp);
    r->tcp->data = r;
    req = calloc(1, sizeof *req);
    rc = uv_tcp_connect(req, r->tcp, (struct sockaddr *)&addr, tcp_connected);
    if (rc < 0) {
        char text[300];
        free(req);
        close_tcp(r);
        snprintf(text, sizeof text, "dial tcp %s: connect: %s", r->label, uv_strerror(rc));
        end(r, HANDLER_FAILURE, text);
        return;
    }
    if (t->timeout_ms)
        timer_start(&r->timer, r->loop, t->timeout_ms, tcp_timeout, r);
}

/* ---- gRPC health, by hand: one small message each way ---- */

static void grpc_trailers(void *arg, const struct http_header *headers, size_t n)
{
    struct handler_run *r = arg;
    struct str status = http_headers_get(headers, n, "grpc-status");
    if (status.len && !str_eqz(status, "0"))
        r->status = 500;
}

static void grpc_done_call(void *arg, const struct err *err)
{
    struct handler_run *r = arg;
    r->call = NULL;
    if (err) {
        char text[ERR_MESSAGE_MAX + 100];
        snprintf(text, sizeof text, "error: health rpc failed: %s", err->message);
        end(r, HANDLER_FAILURE, text);
        return;
    }
    /* HealthCheckResponse: field 1, varint 1 = SERVING, behind the five bytes of the frame */
    if (r->status == 200 && r->body.len >= 7 && r->body.p[5] == 0x08 && r->body.p[6] == 1)
        end(r, HANDLER_SUCCESS, "service healthy");
    else
        end(r, HANDLER_FAILURE, "service unhealthy (responded with \"NOT_SERVING\")");
}

static void start_grpc(struct handler_run *r, const struct core_v1_grpc_action *g, const struct handler_target *t)
{
    struct err err = ERR_INIT;
    char origin[300], frame[5 + 2 + 200];
    size_t n = g->service.len > 127 ? 127 : g->service.len, len = n ? n + 2 : 0;
    const char *endpoints[2] = {origin, NULL};
    struct http_header headers[] = {{STR("content-type"), STR("application/grpc")}, {STR("te"), STR("trailers")}};
    struct http_client_options copt = {
        .endpoints = endpoints, .mode = HTTP_CLIENT_HTTP2, .user_agent = "kube-probe/1.36"};
    struct http_call_options call = {.method = STR("POST"),
                                     .path = STR("/grpc.health.v1.Health/Check"),
                                     .headers = headers,
                                     .n_headers = 2,
                                     .timeout_ms = t->timeout_ms,
                                     .handler = {.on_response = http_response,
                                                 .on_data = http_data,
                                                 .on_trailers = grpc_trailers,
                                                 .on_done = grpc_done_call,
                                                 .arg = r}};
    snprintf(origin, sizeof origin, is_v6(t->host) ? "http://[%s]:%d" : "http://%s:%d", t->host, g->port);
    memset(frame, 0, 5);
    frame[4] = (char)len;
    if (n) {
        frame[5] = 0x0a;
        frame[6] = (char)n;
        memcpy(frame + 7, g->service.p, n);
    }
    call.body = (struct str){frame, 5 + len};
    if (http_client_create(r->loop, &copt, &r->http, &err) < 0)
        end(r, HANDLER_ERROR, err.message);
    else
        r->call = http_call_start(r->http, &call);
}

static void slept(void *arg)
{
    end(arg, HANDLER_SUCCESS, "");
}

struct handler_run *handler_start(const struct handler *h, const struct handler_target *t, handler_done *done,
                                  void *arg)
{
    struct handler_run *r = calloc(1, sizeof *r);
    r->done = done;
    r->arg = arg;
    r->loop = t->agent->loop;
    if (h->exec)
        start_exec(r, h->exec, t);
    else if (h->http_get)
        start_http(r, h->http_get, t);
    else if (h->tcp_socket)
        start_tcp(r, h->tcp_socket, t);
    else if (h->grpc)
        start_grpc(r, h->grpc, t);
    else if (h->sleep_s > 0)
        timer_start(&r->timer, r->loop, h->sleep_s * 1000, slept, r);
    else
        end(r, HANDLER_SUCCESS, "");
    return r;
}

void handler_cancel(struct handler_run *r)
{
    if (!r)
        return;
    close_tcp(r);
    timer_stop(&r->timer);
    if (r->in_runtime) {
        r->canceled = true; /* freed with the runtime's answer */
        return;
    }
    free_run(r);
}
