/* local: the client inside the server's process. Requests pass the same authorization, admission and validation as
 * those over HTTP and share the stored objects; nothing is encoded. */
#include "api/client/client_ops.h"

#include "api/chain/rbac.h"
#include "api/options.h"
#include "api/request.h"
#include "api/server.h"
#include "api/status.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "openapi/meta/selector.h"
#include "storage/cache/cache.h"

#include <assert.h>
#include <stdlib.h>

#define NEWEST_TIMEOUT_MS 5000

struct local_client {
    struct client base;
    struct api_server *server;
    struct loop *loop;
    struct arena *arena; /* of the identity */
    struct api_user user;
    struct call *calls;       /* not answered yet */
    struct newest *questions; /* the same */
    size_t n_calls, n_informers;
    bool destroyed;
    struct cache_fence fence; /* revision 0 = none */
    bool fallen;
    void (*on_lost)(void *arg);
    void *lost_arg;
};

struct call {
    struct call *next, **at;
    struct local_client *client;
    struct arena *arena;
    struct api_request req;
    client_done *done; /* NULL once the client is destroyed */
    void *arg;
};

static void client_free(struct local_client *c)
{
    if (c->destroyed && !c->n_calls && !c->n_informers && !c->questions) {
        arena_destroy(c->arena);
        free(c);
    }
}

/* ---- the fence ---- */

static struct metric *fenced_writes;

void client_metrics_register(void)
{
    if (!fenced_writes)
        fenced_writes = metric_register(METRIC_COUNTER, "skiff_fenced_writes_total",
                                        "Writes refused because their author no longer led.", "user", NULL);
}

static void note_fenced(struct local_client *c)
{
    if (fenced_writes)
        metric_add(fenced_writes, c->user.name.p, 1);
    if (!c->fallen) /* many may be under way */
        log_warn("client",
                 STR_FMT ": writes are refused: " STR_FMT " has changed since revision %lld, the term is over",
                 STR_ARG(c->user.name), STR_ARG(c->fence.key), (long long)c->fence.revision);
    c->fallen = true;
    if (!c->destroyed && c->on_lost)
        loop_post(c->loop, c->on_lost, c->lost_arg);
    c->on_lost = NULL;
}

static void local_fence(struct client *base, const struct client_fence *fence)
{
    struct local_client *c = (struct local_client *)base;
    c->fence = (struct cache_fence){arena_str(c->arena, fence->key), fence->revision};
    c->on_lost = fence->lost;
    c->lost_arg = fence->arg;
}

struct newest { /* one question */
    struct newest *next, **at;
    struct local_client *client;
    void (*done)(void *arg, int rc); /* NULL once the client is destroyed */
    void *arg;
};

static void on_newest(void *arg, int rc, const struct err *err)
{
    struct newest *n = arg;
    struct local_client *c = n->client;
    (void)err;
    *n->at = n->next;
    if (n->next)
        n->next->at = n->at;
    if (n->done)
        n->done(n->arg, rc);
    free(n);
    client_free(c);
}

static void local_newest(struct client *base, void (*done)(void *arg, int rc), void *arg)
{
    struct local_client *c = (struct local_client *)base;
    struct newest *n = MEM_NEW(struct newest);
    *n = (struct newest){.next = c->questions, .at = &c->questions, .client = c, .done = done, .arg = arg};
    if (n->next)
        n->next->at = &n->next;
    c->questions = n;
    cache_wait_newest(c->server->cache, NEWEST_TIMEOUT_MS, c->loop, on_newest, n);
}

/* ---- calls ---- */

static void call_done(void *arg, const struct client_answer *answer)
{
    struct call *call = arg;
    if (answer->rc == ERR_FENCED)
        note_fenced(call->client);
    if (call->done)
        call->done(call->arg, answer);
    else if (answer->rc < 0 && !call->client->destroyed)
        log_warn("client", STR_FMT " %s " STR_FMT " " STR_FMT "/" STR_FMT ": %s", STR_ARG(call->client->user.name),
                 verb_name(call->req.verb), STR_ARG(call->req.resource->name), STR_ARG(call->req.namespace_),
                 STR_ARG(call->req.name), answer->err ? answer->err->message : "");
}

static void call_ended(struct api_request *req)
{
    struct call *call = req->owner;
    struct local_client *c = call->client;
    *call->at = call->next;
    if (call->next)
        call->next->at = call->at;
    c->n_calls--;
    arena_destroy(call->arena);
    client_free(c);
}

static const struct subresource *find_subresource(const struct resource_version *v, struct str name)
{
    for (const struct subresource *s = v->subresources; s && s->name.p; s++)
        if (str_eq(s->name, name))
            return s;
    return NULL;
}

static int authorize(struct local_client *c, struct api_request *req, struct err *err)
{
    if (!c->server->rbac)
        return 0;
    struct api_attributes attributes = api_request_attributes(req);
    return rbac_authorize(c->server->rbac, &c->user, &attributes) == 0 ? 0 : rbac_forbid(&c->user, &attributes, err);
}

static void call_run(void *arg)
{
    struct call *call = arg;
    struct err err = ERR_INIT;
    if (authorize(call->client, &call->req, &err) < 0)
        api_answer_err(&call->req, &err);
    else
        api_verb_run(&call->req);
}

static void call_refuse(void *arg)
{
    struct call *call = arg;
    struct err err = ERR_INIT;
    api_err_no_resource(&call->req, &err);
    api_answer_err(&call->req, &err);
}

static struct value *delete_options(struct arena *a, const struct client_call *from)
{
    struct value *v = value_map(a);
    if (from->precondition_uid.len)
        value_set_path(a, v, "preconditions.uid", value_string(a, arena_str(a, from->precondition_uid)));
    if (from->precondition_revision)
        value_set_path(a, v, "preconditions.resourceVersion",
                       value_string(a, arena_printf(a, "%lld", (long long)from->precondition_revision)));
    return v;
}

/* value_copy shares string bytes, which the caller may release at once. */
static void own_strings(struct arena *a, struct value *v)
{
    if (v->kind == VALUE_STRING && v->string.p)
        v->string = arena_str(a, v->string);
    for (size_t i = 0; v->kind == VALUE_LIST && i < v->list.len; i++)
        own_strings(a, v->list.items[i]);
    for (size_t i = 0; v->kind == VALUE_MAP && i < v->map.len; i++) {
        v->map.members[i].key = arena_str(a, v->map.members[i].key);
        own_strings(a, v->map.members[i].value);
    }
}

static void fill_request(struct call *call, const struct client_call *from)
{
    struct arena *a = call->arena;
    struct api_request *req = &call->req;
    *req = (struct api_request){.arena = a,
                                .loop = call->client->loop,
                                .server = call->client->server,
                                .user = &call->client->user,
                                .fence = call->client->fence.revision ? &call->client->fence : NULL,
                                .verb = from->verb,
                                .resource = from->resource,
                                .options = api_options_default(),
                                .patch_type = from->patch_type,
                                .format = API_JSON,
                                .done = call_done,
                                .done_arg = call,
                                .ended = call_ended,
                                .owner = call};
    req->version = from->version.len ? resource_version_find(from->resource, from->version)
                                     : resource_storage_version(from->resource);
    if (req->version && from->subresource.len)
        req->subresource = find_subresource(req->version, from->subresource);
    req->namespace_ = from->namespace_.p ? arena_str(a, from->namespace_) : STR("");
    req->name = from->name.p ? arena_str(a, from->name) : STR("");
    req->options.label_selector = arena_str(a, from->label_selector);
    req->options.field_selector = arena_str(a, from->field_selector);
    if (from->verb & (VERB_DELETE | VERB_DELETE_COLLECTION)) {
        req->options.propagation_policy = arena_str(a, from->propagation_policy);
        req->options.grace_period_s = from->grace_period_s;
        req->body_value = delete_options(a, from);
    } else if (from->body) {
        struct value *body = value_copy(a, from->body);
        own_strings(a, body);
        req->body_value = body;
    }
}

static void local_send(struct client *base, const struct client_call *from, client_done *done, void *arg)
{
    struct local_client *c = (struct local_client *)base;
    struct arena *a = arena_create(0);
    struct call *call = ARENA_NEW(a, struct call);
    assert(!c->destroyed);
    call->client = c;
    call->arena = a;
    call->done = done;
    call->arg = arg;
    call->next = c->calls;
    call->at = &c->calls;
    if (c->calls)
        c->calls->at = &call->next;
    c->calls = call;
    c->n_calls++;
    fill_request(call, from);
    bool known = call->req.version && (!from->subresource.len || call->req.subresource);
    loop_post(c->loop, known ? call_run : call_refuse, call);
}

static struct loop *local_loop(const struct client *base)
{
    return ((const struct local_client *)base)->loop;
}

static void local_destroy(struct client *base)
{
    struct local_client *c = (struct local_client *)base;
    c->destroyed = true;
    for (struct call *call = c->calls; call; call = call->next)
        call->done = NULL;
    for (struct newest *n = c->questions; n; n = n->next)
        n->done = NULL;
    client_free(c);
}

/* ---- informers: the cache's own snapshots, and the watch hub for what changes ---- */

struct local_informer {
    struct informer base;
    struct local_client *client;
    struct informer_options opt;
    struct arena *arena;
    struct label_selector labels;
    struct field_selector fields;
    bool selective;           /* then `tree` is ours, else the cache's snapshots serve */
    struct object_tree *tree; /* consistent at its revision */
    struct watch *watch;
    bool synced, stopped;
};

static bool informer_match(void *arg, const struct object *o)
{
    struct local_informer *i = arg;
    return label_selector_matches(&i->labels, o) && field_selector_matches(&i->fields, o);
}

static bool informer_wants(struct local_informer *i, const struct object *o)
{
    return (!i->opt.namespace_.len || str_eq(o->namespace_, i->opt.namespace_)) && informer_match(i, o);
}

static void apply(struct local_informer *i, const struct watch_delivery *d)
{
    const struct object *now = d->event->object;
    if (d->type == WATCH_DELETED)
        i->tree = object_tree_remove(i->tree, now->namespace_, now->name);
    else
        i->tree = object_tree_set(i->tree, now);
}

static void tell(struct local_informer *i, const struct watch_delivery *d)
{
    if (!i->opt.on_change)
        return;
    const struct watch_event *e = d->event;
    if (d->type == WATCH_ADDED)
        i->opt.on_change(i->opt.arg, NULL, e->object);
    else if (d->type == WATCH_DELETED)
        i->opt.on_change(i->opt.arg, e->prev ? e->prev : e->object, NULL);
    else
        i->opt.on_change(i->opt.arg, e->prev, e->object);
}

static void start(void *arg);

static void on_deliveries(void *arg, const struct watch_delivery *deliveries, size_t n)
{
    struct local_informer *i = arg;
    int64_t revision = object_tree_revision(i->tree);
    bool changed = false;
    for (size_t k = 0; k < n; k++) {
        const struct watch_delivery *d = &deliveries[k];
        if (d->type == WATCH_ERROR) { /* history has gone past us: start over */
            watch_stop(i->watch);
            i->watch = NULL;
            loop_post(i->client->loop, start, i);
            return;
        }
        if (d->revision > revision)
            revision = d->revision;
        if (d->type == WATCH_BOOKMARK)
            continue;
        apply(i, d);
        changed = true;
    }
    i->tree = object_tree_set_revision(i->tree, revision);
    for (size_t k = 0; k < n && !i->stopped; k++)
        if (deliveries[k].type <= WATCH_DELETED)
            tell(i, &deliveries[k]);
    if (!changed && i->opt.on_synced && !i->stopped)
        i->opt.on_synced(i->opt.arg);
}

static struct object_tree *take_snapshot(struct local_informer *i)
{
    struct object_tree *whole = cache_snapshot(i->client->server->cache, i->opt.resource);
    if (!i->selective)
        return whole;
    struct object_tree *out = object_tree_create(i->opt.resource);
    struct object_tree_iter it;
    const struct object *o;
    object_tree_iter_init(&it, whole, i->opt.namespace_);
    while ((o = object_tree_next(&it)))
        if (informer_wants(i, o))
            out = object_tree_set(out, o);
    out = object_tree_set_revision(out, object_tree_revision(whole));
    object_tree_put(whole);
    return out;
}

/* Both trees in order: report what differs. */
static void report_differences(struct local_informer *i, struct object_tree *before, struct object_tree *after)
{
    struct object_tree_iter it;
    const struct object *o;
    object_tree_iter_init(&it, after, STR(""));
    while ((o = object_tree_next(&it)) && !i->stopped) {
        const struct object *old = before ? object_tree_find(before, o->namespace_, o->name) : NULL;
        if (!old || old->revision != o->revision)
            i->opt.on_change(i->opt.arg, old, o);
    }
    if (!before)
        return;
    object_tree_iter_init(&it, before, STR(""));
    while ((o = object_tree_next(&it)) && !i->stopped)
        if (!object_tree_find(after, o->namespace_, o->name))
            i->opt.on_change(i->opt.arg, o, NULL);
}

static void informer_release(struct local_informer *i)
{
    struct local_client *c = i->client;
    if (i->tree)
        object_tree_put(i->tree);
    arena_destroy(i->arena);
    free(i);
    c->n_informers--;
    client_free(c);
}

static void start(void *arg)
{
    struct local_informer *i = arg;
    struct err err = ERR_INIT;
    if (i->stopped) {
        informer_release(i);
        return;
    }
    struct object_tree *before = i->tree;
    i->tree = take_snapshot(i);
    struct watch_filter f = {
        .resource = i->opt.resource, .namespace_ = i->opt.namespace_, .field = -1, .name = STR_NULL};
    if (i->selective) {
        f.match = informer_match;
        f.match_arg = i;
    }
    for (size_t k = 0; k < i->fields.len; k++)
        if (i->fields.items[k].at >= 0 && !i->fields.items[k].negative &&
            str_eqz(i->fields.items[k].field, "spec.nodeName")) {
            f.field = i->fields.items[k].at;
            f.field_value = i->fields.items[k].value;
        }
    int64_t revision = object_tree_revision(i->tree);
    if (watch_start(i->client->server->cache, &f, revision, i->client->loop, on_deliveries, i, &i->watch, &err) < 0) {
        log_warn("client", "watch " STR_FMT ": %s", STR_ARG(i->opt.resource->name), err.message);
        object_tree_put(i->tree);
        i->tree = before;
        loop_post(i->client->loop, start, i);
        return;
    }
    watch_bookmarks(i->watch, false);
    i->synced = true;
    struct object_tree *now = object_tree_get(i->tree);
    if (i->opt.on_change)
        report_differences(i, before, now);
    if (i->opt.on_synced && !i->stopped)
        i->opt.on_synced(i->opt.arg);
    object_tree_put(now);
    if (before)
        object_tree_put(before);
}

static struct informer *local_informer_create(struct client *base, const struct informer_options *opt)
{
    struct local_client *c = (struct local_client *)base;
    struct local_informer *i = calloc(1, sizeof *i);
    struct err err = ERR_INIT;
    if (!i)
        abort();
    i->base.client = base;
    i->client = c;
    i->arena = arena_create(0);
    i->opt = *opt;
    i->opt.namespace_ = opt->namespace_.p ? arena_str(i->arena, opt->namespace_) : STR("");
    const struct resource_version *v = resource_storage_version(opt->resource);
    int rc = label_selector_parse(i->arena, arena_str(i->arena, opt->label_selector), &i->labels, &err);
    if (rc == 0)
        rc = field_selector_parse(i->arena, arena_str(i->arena, opt->field_selector), &i->fields, &err);
    if (rc == 0)
        rc = field_selector_compile(&i->fields, opt->resource, v, &err);
    assert(rc == 0); /* selectors of informers are written in our own code */
    i->selective = i->opt.namespace_.len || i->labels.len || i->fields.len;
    i->watch = NULL;
    c->n_informers++;
    loop_post(c->loop, start, i);
    return &i->base;
}

static void local_informer_destroy(struct informer *base)
{
    struct local_informer *i = (struct local_informer *)base;
    i->stopped = true;
    if (!i->watch)
        return; /* start() is posted: it releases */
    watch_stop(i->watch);
    i->watch = NULL;
    loop_post(i->client->loop, start, i); /* releases: a callback of ours may be running */
}

static bool local_informer_synced(const struct informer *base)
{
    return ((const struct local_informer *)base)->synced;
}

static int64_t local_informer_revision(const struct informer *base)
{
    const struct local_informer *i = (const struct local_informer *)base;
    return i->tree ? object_tree_revision(i->tree) : 0;
}

static struct object_tree *local_informer_snapshot(struct informer *base)
{
    struct local_informer *i = (struct local_informer *)base;
    return i->tree ? object_tree_get(i->tree) : object_tree_create(i->opt.resource);
}

struct client *client_create_local(struct api_server *server, struct loop *loop, const char *user,
                                   const char *const *groups)
{
    static const struct client_ops ops = {.send = local_send,
                                          .informer_create = local_informer_create,
                                          .informer_destroy = local_informer_destroy,
                                          .informer_synced = local_informer_synced,
                                          .informer_revision = local_informer_revision,
                                          .informer_snapshot = local_informer_snapshot,
                                          .loop = local_loop,
                                          .fence = local_fence,
                                          .newest = local_newest,
                                          .destroy = local_destroy};
    struct local_client *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->base.ops = &ops;
    c->server = server;
    c->loop = loop;
    c->arena = arena_create(0);
    c->user.name = arena_str(c->arena, str_from(user));
    size_t n = 0;
    while (groups && groups[n])
        n++;
    struct str *list = ARENA_ARRAY(c->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = arena_str(c->arena, str_from(groups[i]));
    c->user.groups = list;
    c->user.n_groups = n;
    return &c->base;
}
