/* The client over HTTP: calls. Each is turned into bytes at once, kept until it is answered, and sent again by itself
 * only when the server says 429 (or 503 with Retry-After), as client-go does. Connections, servers in turn and their
 * back-off are http_client's. */
#include "api/client/remote.h"

#include "base/log.h"
#include "base/mem.h"
#include "openapi/json.h"

#include <stdlib.h>

#define CALL_TIMEOUT_MS 60000
#define LIST_TIMEOUT_MS 300000
#define MAX_SENT 6

struct remote_pending {
    struct remote *client;
    struct remote_pending *prev, *next;
    struct http_call *http;
    struct timer wait;
    enum verb verb;
    const struct resource *resource; /* the objects' */
    bool stored_kind;                /* the answer is an object, not a Scale or a token */
    struct buf path, body, answer;
    const char *content_type;
    int sent, status, retry_after_s;
    client_done *done;
    void *arg;
};

static struct str method_of(enum verb verb)
{
    switch (verb) {
    case VERB_CREATE:
        return STR("POST");
    case VERB_UPDATE:
        return STR("PUT");
    case VERB_PATCH:
        return STR("PATCH");
    case VERB_DELETE:
    case VERB_DELETE_COLLECTION:
        return STR("DELETE");
    default:
        return STR("GET");
    }
}

static void pending_free(struct remote_pending *p)
{
    *(p->prev ? &p->prev->next : &p->client->pending) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    timer_stop(&p->wait);
    buf_free(&p->path);
    buf_free(&p->body);
    buf_free(&p->answer);
    free(p);
}

/* ---- answers ---- */

/* A List body becomes a tree; items have neither kind nor apiVersion, which objects do not keep anyway. */
static int tree_from_list(struct arena *a, const struct resource *r, const struct value *list, struct object_tree **ret,
                          struct err *err)
{
    struct object_tree *tree = object_tree_create(r);
    const struct value *items = value_getz(list, "items");
    for (size_t i = 0; value_is(items, VALUE_LIST) && i < items->list.len; i++) {
        const struct value *item = items->list.items[i];
        int64_t revision = remote_revision(item);
        struct object *o;
        int rc = object_from_value(a, r, item, revision, revision, &o, err);
        if (rc < 0) {
            object_tree_put(tree);
            return rc;
        }
        tree = object_tree_set(tree, o);
        object_put(o);
    }
    *ret = object_tree_set_revision(tree, remote_revision(list));
    return 0;
}

static int read_answer(struct remote_pending *p, struct arena *a, struct client_answer *answer,
                       struct object **ret_object, struct err *err)
{
    if (p->status < 200 || p->status > 299)
        return remote_status(a, p->status, buf_str(&p->answer), err);
    struct json_options opt = {0};
    struct value *v = NULL;
    int rc = p->answer.len ? json_decode(a, buf_str(&p->answer), &opt, &v, err) : 0;
    if (rc < 0)
        return err_context(err, "answer of %s", http_client_endpoint(p->client->http));
    if (p->verb == VERB_LIST)
        return tree_from_list(a, p->resource, v, &answer->list, err);
    if (p->verb == VERB_DELETE_COLLECTION || !p->stored_kind || !v || str_eqz(value_path_str(v, "kind"), "Status")) {
        answer->value = v;
        return 0;
    }
    int64_t revision = remote_revision(v);
    rc = object_from_value(a, p->resource, v, revision, revision, ret_object, err);
    if (rc == 0)
        answer->object = *ret_object;
    return rc;
}

static void pending_end(struct remote_pending *p, const struct err *failure)
{
    struct arena *a = arena_create(0);
    struct err err = ERR_INIT;
    struct client_answer answer = {0};
    struct object *object = NULL;
    if (failure)
        answer.rc = failure->code;
    else
        answer.rc = read_answer(p, a, &answer, &object, &err);
    answer.err = answer.rc < 0 ? (failure ? failure : &err) : NULL;
    client_done *done = p->done;
    void *arg = p->arg;
    if (!done && answer.rc < 0)
        log_warn("client", STR_FMT " " STR_FMT ": %s", STR_ARG(method_of(p->verb)), STR_ARG(buf_str(&p->path)),
                 answer.err->message);
    pending_free(p);
    if (done)
        done(arg, &answer);
    object_put(object);
    if (answer.list)
        object_tree_put(answer.list);
    arena_destroy(a);
}

static void pending_send(void *arg);

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    struct remote_pending *p = arg;
    int64_t seconds;
    p->status = status;
    p->retry_after_s = str_to_i64(http_headers_get(headers, n, "retry-after"), &seconds) && seconds > 0 && seconds < 60
                           ? (int)seconds
                           : 0;
}

static void on_data(void *arg, struct str data)
{
    struct remote_pending *p = arg;
    buf_add(&p->answer, data.p, data.len);
}

static void on_done(void *arg, const struct err *err)
{
    struct remote_pending *p = arg;
    p->http = NULL;
    if (!err && (p->status == 429 || p->status == 503) && p->retry_after_s && p->sent < MAX_SENT) {
        timer_start(&p->wait, p->client->loop, p->retry_after_s * 1000, pending_send, p);
        return;
    }
    pending_end(p, err);
}

static void pending_send(void *arg)
{
    struct remote_pending *p = arg;
    struct http_header headers[] = {
        {STR("accept"), STR("application/json")},
        {STR("content-type"), str_from(p->content_type)},
    };
    struct http_call_options opt = {
        .method = method_of(p->verb),
        .path = buf_str(&p->path),
        .headers = headers,
        .n_headers = p->body.len ? 2 : 1,
        .body = buf_str(&p->body),
        .timeout_ms = p->verb == VERB_LIST || p->verb == VERB_DELETE_COLLECTION ? LIST_TIMEOUT_MS : CALL_TIMEOUT_MS,
        .handler = {.on_response = on_response, .on_data = on_data, .on_done = on_done, .arg = p},
    };
    p->sent++;
    p->answer.len = 0;
    p->http = http_call_start(p->client->http, &opt);
}

/* ---- calls ---- */

/* The body of a request names its kind; callers' trees may leave that to us. */
static void encode_body(struct buf *out, const struct value *body, struct str group, struct str version,
                        struct str kind)
{
    bool add = value_is(body, VALUE_MAP) && kind.len && !value_getz(body, "kind");
    if (!add) {
        json_encode(out, body);
        return;
    }
    buf_addz(out, "{\"kind\":");
    json_encode_string(out, kind);
    buf_addz(out, ",\"apiVersion\":\"");
    if (group.len)
        buf_printf(out, STR_FMT "/", STR_ARG(group));
    buf_printf(out, STR_FMT "\"", STR_ARG(version));
    for (size_t i = 0; i < body->map.len; i++) {
        if (str_eqz(body->map.members[i].key, "apiVersion"))
            continue;
        buf_add_char(out, ',');
        json_encode_string(out, body->map.members[i].key);
        buf_add_char(out, ':');
        json_encode(out, body->map.members[i].value);
    }
    buf_add_char(out, '}');
}

static void encode_delete_options(struct buf *out, const struct client_call *call)
{
    buf_addz(out, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
    if (call->grace_period_s >= 0)
        buf_printf(out, ",\"gracePeriodSeconds\":%lld", (long long)call->grace_period_s);
    if (call->precondition_uid.len || call->precondition_revision) {
        buf_addz(out, ",\"preconditions\":{");
        if (call->precondition_uid.len) {
            buf_addz(out, "\"uid\":");
            json_encode_string(out, call->precondition_uid);
        }
        if (call->precondition_revision)
            buf_printf(out, "%s\"resourceVersion\":\"%lld\"", call->precondition_uid.len ? "," : "",
                       (long long)call->precondition_revision);
        buf_add_char(out, '}');
    }
    if (call->propagation_policy.len) {
        buf_addz(out, ",\"propagationPolicy\":");
        json_encode_string(out, call->propagation_policy);
    }
    buf_add_char(out, '}');
}

static const struct subresource *subresource_of(const struct resource *r, struct str version, struct str name)
{
    const struct resource_version *v = resource_version_find(r, version);
    for (const struct subresource *s = v ? v->subresources : NULL; s && s->name.p; s++)
        if (str_eq(s->name, name))
            return s;
    return NULL;
}

static void remote_send(struct client *base, const struct client_call *call, client_done *done, void *arg)
{
    static const char *const patch_types[] = {
        [PATCH_TYPE_JSON] = "application/json-patch+json",
        [PATCH_TYPE_MERGE] = "application/merge-patch+json",
        [PATCH_TYPE_STRATEGIC] = "application/strategic-merge-patch+json",
        [PATCH_TYPE_APPLY] = "application/apply-patch+yaml",
    };
    struct remote *c = (struct remote *)base;
    struct str version = call->version;
    const struct resource *r = remote_resource(call->resource, &version);
    struct remote_pending *p = MEM_NEW(struct remote_pending);
    p->client = c;
    p->next = c->pending;
    if (c->pending)
        c->pending->prev = p;
    c->pending = p;
    p->verb = call->verb;
    p->resource = call->resource->stored_as ? call->resource->stored_as : call->resource;
    p->done = done;
    p->arg = arg;
    p->content_type = "application/json";
    const struct subresource *sub = call->subresource.len ? subresource_of(r, version, call->subresource) : NULL;
    struct str kind = sub ? str_from(sub->kind) : call->subresource.len ? STR_NULL : r->kind;
    p->stored_kind = (!call->subresource.len || str_eq(kind, r->kind)) && str_eq(version, r->storage_version);

    bool named = call->verb != VERB_LIST && call->verb != VERB_DELETE_COLLECTION &&
                 (call->verb != VERB_CREATE || call->subresource.len);
    remote_path(&p->path, r, version, call->namespace_, named ? call->name : STR_NULL, call->subresource);
    if (call->verb == VERB_LIST || call->verb == VERB_DELETE_COLLECTION) {
        remote_query(&p->path, "labelSelector", call->label_selector);
        remote_query(&p->path, "fieldSelector", call->field_selector);
    }
    if (call->verb == VERB_PATCH) {
        p->content_type = patch_types[call->patch_type];
        if (call->patch_type == PATCH_TYPE_APPLY) {
            remote_query(&p->path, "fieldManager", str_from(c->field_manager));
            remote_query(&p->path, "force", STR("true"));
        }
    }
    if (call->verb == VERB_DELETE || call->verb == VERB_DELETE_COLLECTION) {
        encode_delete_options(&p->body, call);
    } else if (call->body && call->verb == VERB_PATCH && call->patch_type != PATCH_TYPE_APPLY) {
        json_encode(&p->body, call->body);
    } else if (call->body) {
        struct str group = sub ? str_from(sub->group) : r->group;
        encode_body(&p->body, call->body, group, sub && sub->version ? str_from(sub->version) : version, kind);
    }
    pending_send(p);
}

/* ---- life ---- */

static struct loop *remote_loop(const struct client *c)
{
    return ((const struct remote *)c)->loop;
}

static void remote_destroy(struct client *base)
{
    struct remote *c = (struct remote *)base;
    servers_finish(c);
    informers_http_abandon(c);
    http_client_destroy(c->http);
    while (c->pending)
        pending_free(c->pending);
    tls_context_destroy(c->tls);
    free(c->field_manager);
    free(c);
}

const struct client_ops remote_ops = {
    .send = remote_send,
    .informer_create = informer_http_create,
    .informer_destroy = informer_http_destroy,
    .informer_synced = informer_http_synced,
    .informer_revision = informer_http_revision,
    .informer_snapshot = informer_http_snapshot,
    .loop = remote_loop,
    .destroy = remote_destroy,
};
