#include "node/server/server.h"

#include "base/log.h"
#include "base/net/tls.h"
#include "openapi/object/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct agent_server {
    struct agent *agent;
    struct http_server *http;
    struct tls_context *tls;
    struct loop *loops[1];
    void (*done)(void *arg);
    void *arg;
};

void serve_text(struct http_exchange *ex, int status, const char *content_type, struct str text)
{
    struct http_header headers[] = {{STR("content-type"), str_from(content_type)}};
    struct slice body = slice_copy(text.p, text.len);
    http_respond(ex, status, headers, 1, &body, 1);
}

void serve_error(struct http_exchange *ex, int status, const char *fmt, ...)
{
    va_list ap;
    struct str text;
    va_start(ap, fmt);
    text = arena_vprintf(ex->arena, fmt, ap);
    va_end(ap);
    serve_text(ex, status, "text/plain; charset=utf-8", arena_printf(ex->arena, STR_FMT "\n", STR_ARG(text)));
}

const struct observed_container *serve_find_container(struct agent *a, struct http_exchange *ex, struct str namespace_,
                                                      struct str pod, struct str container, bool previous)
{
    struct pod *p = pod_find_name(a, namespace_, pod);
    struct pod_container *c;
    const struct observed_container *o;
    if (!p || !p->version) {
        serve_error(ex, 404, "pod does not exist");
        return NULL;
    }
    c = container.len ? pod_container_find(p, container) : p->n_main ? &p->containers[p->n_init] : NULL;
    if (!c) {
        serve_error(ex, 404, "container " STR_FMT " not found in pod " STR_FMT, STR_ARG(container), STR_ARG(pod));
        return NULL;
    }
    o = previous ? observed_previous(pod_observed(p), str_from(c->name))
                 : observed_find(pod_observed(p), str_from(c->name), NULL);
    if (!o && previous)
        serve_error(ex, 400, "previous terminated container \"%s\" in pod \"%s\" not found", c->name, p->name);
    else if (!o && c->waiting_reason)
        serve_error(ex, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", c->name, p->name,
                    c->waiting_reason);
    else if (!o)
        serve_error(ex, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", c->name, p->name,
                    p->n_init && !c->init ? "PodInitializing" : "ContainerCreating");
    return o;
}

static void serve_pods(struct agent *a, struct http_exchange *ex)
{
    struct object_tree *tree = informer_snapshot(a->pod_informer);
    struct object_tree_iter it;
    const struct object *o;
    struct buf out = {0};
    bool first = true;
    buf_addz(&out, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    object_tree_iter_init(&it, tree, STR_NULL);
    while ((o = object_tree_next(&it))) {
        if (!first)
            buf_add_char(&out, ',');
        first = false;
        object_head(&out, o, false);
        buf_add_str(&out, object_tail(o));
    }
    buf_addz(&out, "]}");
    object_tree_put(tree);
    serve_text(ex, 200, "application/json", buf_str(&out));
    buf_free(&out);
}

static void handle(void *arg, struct http_exchange *ex)
{
    struct agent_server *s = arg;
    struct str rest = ex->path, part[5] = {{0}};
    size_t n = 0;
    if (rest.len && rest.p[0] == '/')
        rest = str_sub(rest, 1, rest.len);
    while (n < 5 && str_split(&rest, '/', &part[n])) {
        part[n] = http_percent_decode(ex->arena, part[n]);
        n++;
    }
    if (n == 1 && str_eqz(part[0], "healthz"))
        serve_text(ex, 200, "text/plain; charset=utf-8", STR("ok"));
    else if (!ex->peer->cert_der.len)
        serve_error(ex, 401, "Unauthorized");
    else if (n >= 1 && str_eqz(part[0], "pods"))
        serve_pods(s->agent, ex);
    else if (n == 4 && str_eqz(part[0], "containerLogs"))
        serve_logs(s->agent, ex, part[1], part[2], part[3]);
    else if (n >= 3 && (str_eqz(part[0], "exec") || str_eqz(part[0], "attach")))
        serve_exec(s->agent, ex, part[1], part[2], n == 5 ? part[4] : part[3], str_eqz(part[0], "attach"));
    else if (n >= 3 && str_eqz(part[0], "portForward"))
        serve_port_forward(s->agent, ex, part[1], part[2]);
    else if (n == 2 && str_eqz(part[0], "stats") && str_eqz(part[1], "summary"))
        serve_stats(s->agent, ex);
    else
        serve_error(ex, 404, "404 page not found");
}

int agent_server_create(struct agent *a, struct agent_server **ret, struct err *err)
{
    struct agent_server *s = calloc(1, sizeof *s);
    struct tls_pair own = {0};
    const char *names[] = {a->opt.node_name, NULL}, *addresses[] = {a->node_ip, "127.0.0.1", NULL};
    struct tls_cert_request req = {.common_name = a->opt.node_name,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .server_auth = true,
                                   .valid_days = 3650};
    struct tls_options tls = {.server = true,
                              .cert_pem = a->opt.serving_cert_pem,
                              .key_pem = a->opt.serving_key_pem,
                              .ca_pem = a->opt.client_ca_pem ? a->opt.client_ca_pem : a->opt.ca_pem,
                              .alpn_h2 = true,
                              .alpn_http1 = true};
    struct http_server_options opt = {
        .listen = a->opt.listen, .loops = s->loops, .n_loops = 1, .max_body = 1 << 20, .handler = handle, .arg = s};
    int rc = 0;
    s->agent = a;
    s->loops[0] = a->loop;
    if (!tls.cert_pem) {
        rc = tls_cert_create(&req, NULL, &own, err);
        tls.cert_pem = own.cert_pem;
        tls.key_pem = own.key_pem;
    }
    if (rc == 0)
        rc = tls_context_create(&tls, &s->tls, err);
    tls_pair_finish(&own);
    opt.tls = s->tls;
    if (rc == 0)
        rc = http_server_create(&opt, &s->http, err);
    if (rc < 0) {
        tls_context_destroy(s->tls);
        free(s);
        return err_context(err, "the agent's server at %s", a->opt.listen);
    }
    *ret = s;
    return 0;
}

static void stopped(void *arg)
{
    struct agent_server *s = arg;
    s->done(s->arg);
}

void agent_server_stop(struct agent_server *s, void (*done)(void *arg), void *arg)
{
    if (!s) {
        done(arg);
        return;
    }
    s->done = done;
    s->arg = arg;
    http_server_stop(s->http, 500, stopped, s);
}

int agent_server_port(const struct agent_server *s)
{
    return s ? http_server_port(s->http) : 0;
}
