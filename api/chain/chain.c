#include "api/chain/chain.h"

#include "api/chain/accept.h"
#include "api/chain/authn.h"
#include "api/chain/fairness.h"
#include "api/chain/rbac.h"
#include "api/options.h"
#include "api/server.h"
#include "api/status.h"
#include "base/clock.h"
#include "base/metric.h"
#include "openapi/json.h"
#include "openapi/protobuf.h"

#include <stdio.h>
#include <sys/random.h>

static struct metric *requests, *latency, *answer_sizes;

void chain_register_metrics(void)
{
    static const double seconds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                     3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60,  -1};
    if (requests)
        return;
    requests = metric_register(METRIC_COUNTER, "apiserver_request_total",
                               "Requests by verb, group, version, resource, subresource and HTTP status.",
                               "verb,group,version,resource,subresource,code", NULL);
    latency = metric_register(METRIC_HISTOGRAM, "apiserver_request_duration_seconds",
                              "Time from a request's arrival to its answer, long-running ones aside.", "verb", seconds);
    answer_sizes = metric_register(METRIC_COUNTER, "apiserver_response_bytes_total", "Bytes of answers.", "verb", NULL);
}

/* ---- the end of a request ---- */

/* Commas in between, cut short where it has to be. */
static void join(char *out, size_t room, const struct str *parts, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        size_t take = parts[i].len < room - 2 - len ? parts[i].len : room - 2 - len;
        if (take)
            memcpy(out + len, parts[i].p, take);
        len += take;
        if (i + 1 < n && len < room - 2)
            out[len++] = ',';
    }
    out[len] = 0;
}

static void account(const struct chain_request *c)
{
    char labels[256], name[32], status[12];
    const struct route *r = &c->route;
    const struct api_request *req = &c->req;
    struct str verb = r->is_resource ? r->action : STR("");
    size_t digits = sizeof status;
    for (int n = req->status; n > 0; n /= 10)
        status[--digits] = (char)('0' + n % 10);
    const struct str parts[] = {verb,
                                req->resource ? r->group : STR_NULL,
                                req->resource ? r->version : STR_NULL,
                                req->resource ? req->resource->name : STR_NULL,
                                req->subresource ? r->subresource : STR_NULL,
                                {status + digits, sizeof status - digits}};
    join(labels, sizeof labels, parts, sizeof parts / sizeof *parts);
    metric_add(requests, labels, 1);
    join(name, sizeof name, &verb, 1);
    if (!c->long_running)
        metric_observe(latency, name, (double)(clock_mono_us() - c->start_us) / 1e6);
    metric_add(answer_sizes, name, (double)req->answer_bytes);
}

static void ended(struct api_request *req)
{
    struct chain_request *c = (struct chain_request *)req;
    if (c->seat)
        fairness_leave(c->mutating);
    account(c);
    arena_destroy(req->arena);
}

static void on_close(struct http_exchange *ex)
{
    struct chain_request *c = ex->user;
    if (!c)
        return;
    c->req.exchange = NULL;
    c->req.gone = true;
    if (c->req.on_gone)
        c->req.on_gone(&c->req);
}

static void on_drain(struct http_exchange *ex)
{
    struct chain_request *c = ex->user;
    if (c && c->req.on_drain)
        c->req.on_drain(&c->req);
}

/* ---- plain answers ---- */

void chain_end(struct chain_request *c, int status)
{
    c->req.exchange = NULL;
    c->req.status = status;
    c->req.on_drain = NULL;
    ended(&c->req);
}

void chain_respond(struct chain_request *c, int status, const struct http_header *headers, size_t n_headers,
                   const struct slice *body, size_t n_body)
{
    struct http_exchange *ex = c->req.exchange;
    for (size_t i = 0; i < n_body; i++)
        c->req.answer_bytes += body[i].len;
    c->req.exchange = NULL;
    http_respond(ex, status, headers, n_headers, body, n_body);
    chain_end(c, status);
}

void chain_answer_text(struct chain_request *c, int status, const char *content_type, struct str text)
{
    const struct http_header headers[] = {{STR("content-type"), str_from(content_type)},
                                          {STR("x-content-type-options"), STR("nosniff")},
                                          {STR("audit-id"), c->req.audit_id},
                                          {STR("cache-control"), STR("no-cache, private")}};
    struct slice body = slice_copy(text.p, text.len);
    chain_respond(c, status, headers, 4, &body, 1);
}

void chain_answer_not_found(struct chain_request *c)
{
    chain_answer_text(c, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
}

void chain_answer_json(struct chain_request *c, int status, const char *content_type, struct str json,
                       const struct http_header *headers, size_t n_headers)
{
    struct arena *a = c->req.arena;
    struct http_header *all = ARENA_ARRAY(a, struct http_header, n_headers + 3);
    all[0] = (struct http_header){STR("content-type"), str_from(content_type)};
    all[1] = (struct http_header){STR("cache-control"), STR("no-cache, private")};
    all[2] = (struct http_header){STR("audit-id"), c->req.audit_id};
    if (n_headers)
        memcpy(all + 3, headers, n_headers * sizeof *headers);
    struct err ignored = ERR_INIT;
    struct json_options plain = {0};
    struct value *v;
    struct buf out = {0};
    if ((c->req.options.pretty || str_contains(c->query, STR("pretty=true"))) &&
        json_decode(a, json, &plain, &v, &ignored) == 0)
        json_encode_pretty(&out, v);
    else
        buf_add_str(&out, json);
    if (!out.len || out.p[out.len - 1] != '\n')
        buf_add_char(&out, '\n');
    struct slice body = slice_take(out.p, out.len);
    chain_respond(c, status, all, n_headers + 3, &body, 1);
}

static void too_many(struct chain_request *c)
{
    const struct http_header headers[] = {{STR("content-type"), STR("text/plain; charset=utf-8")},
                                          {STR("x-content-type-options"), STR("nosniff")},
                                          {STR("retry-after"), STR("1")}};
    struct slice body = {"Too many requests, please try again later.\n", 43, NULL};
    chain_respond(c, 429, headers, 3, &body, 1);
}

/* ---- what the path names ---- */

static bool group_version_served(struct str group, struct str version)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++)
        if (str_eq(all[i]->group, group) && resource_version_find(all[i], version))
            return true;
    return false;
}

static const struct subresource *subresource_find(const struct resource_version *v, struct str name)
{
    for (const struct subresource *s = v->subresources; s && s->name.p; s++)
        if (str_eq(s->name, name))
            return s;
    return NULL;
}

static bool is_streaming(const struct chain_request *c)
{
    static const char *const names[] = {"exec", "attach", "portforward", "proxy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (c->req.subresource && str_eqz(c->route.subresource, names[i]))
            return true;
    return false;
}

/* Fills in what exists of it; what does not stays NULL. */
static void resolve(struct chain_request *c)
{
    struct api_request *req = &c->req;
    const struct route *r = &c->route;
    const struct resource *resource = resource_find(r->group, r->resource);
    const struct resource_version *version = resource ? resource_version_find(resource, r->version) : NULL;
    if (!version)
        return;
    req->resource = resource;
    req->version = version;
    if (r->subresource.len)
        req->subresource = subresource_find(version, r->subresource);
    req->verb = r->verb;
    /* A namespace is its own object, not something inside one. */
    if (resource->namespaced)
        req->namespace_ = r->namespace_;
    req->name = r->verb == VERB_LIST || r->verb == VERB_WATCH || r->verb == VERB_DELETE_COLLECTION ? STR_NULL : r->name;
    c->long_running = r->verb == VERB_WATCH || is_streaming(c) || str_eq(r->subresource, STR("log"));
}

/* A path of the right shape for its resource: ERR_NOT_FOUND and ERR_METHOD_NOT_ALLOWED as upstream's router says them.
 */
static int check_shape(struct chain_request *c, struct err *err)
{
    struct api_request *req = &c->req;
    const struct route *r = &c->route;
    bool collection = !req->name.len;
    bool missing = !req->resource || (r->subresource.len && !req->subresource) || (r->rest.p && !is_streaming(c)) ||
                   (!req->resource->namespaced && r->namespaced) ||
                   (req->resource->namespaced && !r->namespaced && !collection);
    if (missing)
        return api_err_no_resource(req, err);
    uint16_t offered = req->subresource ? req->subresource->verbs : req->version->verbs;
    bool connect = is_streaming(c) && r->verb;
    bool across = req->resource->namespaced && !r->namespaced;
    bool fits = connect || ((offered & r->verb) && r->verb);
    if (across && r->verb != VERB_LIST && r->verb != VERB_WATCH)
        fits = false;
    if (collection && (r->verb == VERB_UPDATE || r->verb == VERB_PATCH))
        fits = false;
    if (!collection && r->verb == VERB_CREATE && !req->subresource)
        fits = false;
    if (!fits)
        return api_err_no_method(req, err);
    return 0;
}

/* ---- bodies ---- */

/* A body without a type is JSON. */
static bool is_object_type(struct str type)
{
    return !type.len || str_eq_nocase(type, STR("application/json")) || str_eq_nocase(type, STR("application/yaml")) ||
           str_eq_nocase(type, STR(PROTOBUF_MEDIA_TYPE));
}

static int check_body(struct chain_request *c, struct err *err)
{
    struct api_request *req = &c->req;
    struct http_exchange *ex = req->exchange;
    if (ex->body_too_large)
        return err_set(err, ERR_TOO_LARGE, "Request entity too large: limit is %u", API_MAX_BODY);
    struct str type = media_type_bare(http_header_get(ex, "content-type"));
    req->content_type = arena_str(req->arena, type);
    if (req->verb == VERB_PATCH) {
        static const char *const types[] = {[PATCH_TYPE_JSON] = "application/json-patch+json",
                                            [PATCH_TYPE_MERGE] = "application/merge-patch+json",
                                            [PATCH_TYPE_STRATEGIC] = "application/strategic-merge-patch+json",
                                            [PATCH_TYPE_APPLY] = "application/apply-patch+yaml"};
        for (size_t i = 0; i < 4; i++)
            if (str_eqz(type, types[i])) {
                req->patch_type = (enum patch_type)i;
                req->body = arena_str(req->arena, ex->body);
                return 0;
            }
        return err_set(err, ERR_UNSUPPORTED_MEDIA,
                       "the body of the request was in an unknown format - accepted media types include: "
                       "application/json-patch+json, application/merge-patch+json, "
                       "application/strategic-merge-patch+json, application/apply-patch+yaml");
    }
    if ((req->verb & (VERB_CREATE | VERB_UPDATE) || ex->body.len) && !is_object_type(type))
        return err_set(err, ERR_UNSUPPORTED_MEDIA,
                       "the body of the request was in an unknown format - accepted media types include: "
                       "application/json, application/yaml, application/vnd.kubernetes.protobuf");
    req->body = arena_str(req->arena, ex->body);
    return 0;
}

static bool wants_pretty(const struct http_exchange *ex)
{
    struct str agent = http_header_get(ex, "user-agent");
    return str_starts(agent, STR("curl")) || str_starts(agent, STR("Wget")) || str_starts(agent, STR("Mozilla/5.0"));
}

static void run_resource(struct chain_request *c)
{
    struct api_request *req = &c->req;
    struct err err = ERR_INIT;
    if (!req->resource && !group_version_served(c->route.group, c->route.version)) {
        chain_answer_not_found(c);
        return;
    }
    int rc = check_shape(c, &err);
    if (rc == 0 && is_streaming(c)) {
        req->verb = VERB_CONNECT;
        stream_run(c);
        return;
    }
    bool pretty = req->options.pretty;
    if (rc == 0)
        rc = accept_object(req->arena, http_header_get(req->exchange, "accept"), protobuf_fits(req->version->message),
                           &req->format, &req->table_version, &err);
    if (rc == 0)
        rc = api_options_parse(req->arena, c->query, req->verb, &req->options, &err);
    req->options.pretty = req->options.pretty || (pretty && !str_contains(c->query, STR("pretty=")));
    if (rc == 0)
        rc = check_body(c, &err);
    if (rc < 0) {
        api_answer_err(req, &err);
        return;
    }
    if (c->route.watch_path && c->route.name.len)
        req->options.field_selector = arena_printf(req->arena, "metadata.name=" STR_FMT, STR_ARG(c->route.name));
    if (!stream_run(c))
        api_verb_run(req);
}

/* ---- who may ---- */

static struct api_attributes attributes(const struct chain_request *c)
{
    const struct route *r = &c->route;
    if (!r->is_resource)
        return (struct api_attributes){.verb = r->action, .non_resource = true, .path = r->path};
    return (struct api_attributes){.verb = r->action,
                                   .group = r->group,
                                   .resource = r->resource,
                                   .name = r->name,
                                   .subresource = r->subresource,
                                   .namespace_ = r->namespace_};
}

static const struct api_details *forbidden_details(struct arena *a, const struct api_attributes *at)
{
    struct api_details *d = ARENA_NEW(a, struct api_details);
    if (!at->non_resource)
        *d = (struct api_details){.name = at->name, .group = at->group, .kind = at->resource};
    return d;
}

static int authorize(struct chain_request *c, struct err *err)
{
    struct rbac *rbac = c->req.server->rbac;
    struct api_attributes at = attributes(c);
    if (rbac_authorize(rbac, c->req.user, &at)) {
        struct str why = rbac_reason(rbac, c->req.arena, c->req.user, &at);
        c->req.details = forbidden_details(c->req.arena, &at);
        rbac_forbid(c->req.user, &at, err);
        if (why.len && strlen(err->message) + why.len + 3 < sizeof err->message) {
            strcat(err->message, ": ");
            strncat(err->message, why.p, why.len);
        }
        return ERR_FORBIDDEN;
    }
    /* A stream asked for by GET (WebSocket) acts as one asked for by POST, so it needs that right too. */
    bool acts = str_eq(at.subresource, STR("exec")) || str_eq(at.subresource, STR("attach")) ||
                str_eq(at.subresource, STR("portforward"));
    if (acts && str_eq(at.resource, STR("pods")) && str_eq(at.verb, STR("get"))) {
        at.verb = STR("create");
        if (rbac_authorize(rbac, c->req.user, &at)) {
            c->req.details = forbidden_details(c->req.arena, &at);
            return rbac_forbid(c->req.user, &at, err);
        }
    }
    return 0;
}

/* A random UUID from a generator of the thread's own: it has to be unique, not secret. */
static struct str audit_id_new(struct arena *a)
{
    static _Thread_local uint64_t state;
    static const char hex[] = "0123456789abcdef";
    uint64_t word[2];
    char *p = arena_alloc(a, 37);
    if (!state && getrandom(&state, sizeof state, 0) != sizeof state)
        state = (uint64_t)clock_wall_us();
    for (int i = 0; i < 2; i++) { /* splitmix64 */
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        word[i] = z ^ z >> 31;
    }
    for (int i = 0, n = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        p[i] = dash ? '-' : hex[word[n / 16] >> 4 * (n % 16) & 15];
        n += !dash;
    }
    p[14] = '4';
    p[19] = hex[8 | (word[0] & 3)];
    p[36] = 0;
    return (struct str){p, 36};
}

/* Watches are many, stay long and hold little. */
#define WATCH_BLOCK (2560 - 16)

static struct chain_request *start(struct api_server *server, struct http_exchange *ex)
{
    struct arena *a = str_contains(ex->query, STR("watch=")) ? arena_create_small(WATCH_BLOCK) : arena_create(0);
    struct chain_request *c = ARENA_NEW(a, struct chain_request);
    c->start_us = clock_mono_us();
    c->req = (struct api_request){
        .arena = a, .loop = ex->loop, .server = server, .exchange = ex, .ended = ended, .owner = c};
    c->req.options = api_options_default();
    c->req.options.pretty = wants_pretty(ex);
    c->req.user_agent = arena_str(a, http_header_get(ex, "user-agent"));
    struct str audit_id = http_header_get(ex, "audit-id");
    c->req.audit_id = audit_id.len && audit_id.len <= 64 ? arena_str(a, audit_id) : audit_id_new(a);
    c->method = arena_str(a, ex->method);
    c->raw_path = arena_str(a, ex->path);
    c->query = arena_str(a, ex->query);
    c->mutating = !str_eq(c->method, STR("GET")) && !str_eq(c->method, STR("HEAD"));
    ex->user = c;
    ex->on_close = on_close;
    ex->on_drain = on_drain;
    return c;
}

void chain_handle(void *arg, struct http_exchange *ex)
{
    struct api_server *server = arg;
    struct chain_request *c = start(server, ex);
    struct api_request *req = &c->req;
    struct err err = ERR_INIT;
    if (!route_parse(req->arena, c->method, c->raw_path, c->query, &c->route)) {
        chain_answer_text(c, 400, "text/plain; charset=utf-8", STR("400 Bad Request"));
        return;
    }
    if (c->route.is_resource)
        resolve(c);
    int rc = authn_request(server->authn, ex, req->arena, &req->user, &err);
    if (rc == 0 && !c->long_running && !(c->seat = fairness_enter(c->mutating))) {
        too_many(c);
        return;
    }
    struct api_attributes refused = {0};
    if (rc == 0)
        rc = authn_impersonate(server->rbac, ex, req->arena, &req->user, &refused, &err);
    if (rc == ERR_FORBIDDEN)
        req->details = forbidden_details(req->arena, &refused);
    if (rc == 0)
        rc = authorize(c, &err);
    if (rc < 0)
        api_answer_err(req, &err);
    else if (c->route.is_resource)
        run_resource(c);
    else
        endpoint_run(c);
}
