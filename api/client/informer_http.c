/* Informers over HTTP: list in pages, then watch from there, for ever.
 *
 * Happy path: pages of a LIST fill a new tree; the differences to the old one are reported; a WATCH follows from the
 * list's revision, with bookmarks, and is started again from the last revision seen whenever it ends.
 * Failures: a watch that ends early, or a server that does not answer, is tried again after a jittered back-off (the
 * http_client turns to the next server by itself); 410 Expired, from the watch or from a page, begins a new list, whose
 * differences are reported as changes, so nothing is lost, only several changes of one object seen as one.
 *
 * Handlers may destroy any informer, this one included: `depth` keeps it until the outermost call is over. */
#include "api/client/remote.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "openapi/json.h"

#include <stdlib.h>

#define PAGE "1000"
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define WATCH_MIN_S 300

struct informer_http {
    struct informer base;
    struct informer_http *prev, *next;
    struct remote *remote;
    const struct resource *resource; /* the stored one */
    struct str version;
    char *namespace_, *labels, *fields;
    void (*on_change)(void *arg, const struct object *old, const struct object *now);
    void (*on_synced)(void *arg);
    void *arg;

    struct object_tree *tree;
    int64_t revision;
    bool synced, over;
    int depth;
    /* listing */
    struct object_tree *listing;
    struct buf continue_token;
    /* the request in flight */
    struct http_call *http;
    int status;
    struct buf in; /* a page so far, or the rest of a watch's last line */
    struct arena *arena;
    struct timer wait;
    int64_t backoff_ms;
};

static void start_list(void *arg);
static void start_watch(void *arg);

static bool informer_leave(struct informer_http *i) /* false: it is gone */
{
    if (--i->depth || !i->over)
        return !i->over;
    object_tree_put(i->tree);
    if (i->listing)
        object_tree_put(i->listing);
    buf_free(&i->continue_token);
    buf_free(&i->in);
    arena_destroy(i->arena);
    free(i->namespace_);
    free(i->labels);
    free(i->fields);
    free(i);
    return false;
}

static void try_later(struct informer_http *i, void (*what)(void *arg))
{
    i->backoff_ms = i->backoff_ms ? i->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (i->backoff_ms > BACKOFF_MAX_MS)
        i->backoff_ms = BACKOFF_MAX_MS;
    int64_t spread = clock_mono_us() ^ (int64_t)((uintptr_t)i >> 4);
    timer_start(&i->wait, i->remote->loop, i->backoff_ms / 2 + spread % (i->backoff_ms / 2 + 1), what, i);
}

static void report(struct informer_http *i, const struct object *old, const struct object *now)
{
    if (i->on_change && !i->over)
        i->on_change(i->arg, old, now);
}

static void base_path(struct informer_http *i, struct buf *path)
{
    remote_path(path, i->resource, i->version, str_from(i->namespace_), STR_NULL, STR_NULL);
    remote_query(path, "labelSelector", str_from(i->labels));
    remote_query(path, "fieldSelector", str_from(i->fields));
}

static struct http_call *get(struct informer_http *i, const struct buf *path, int64_t timeout_ms,
                             const struct http_call_handler *handler)
{
    struct http_header accept = {STR("accept"), STR("application/json")};
    i->in.len = 0;
    i->status = 0;
    return http_call_start(i->remote->http, &(struct http_call_options){.method = STR("GET"),
                                                                        .path = buf_str(path),
                                                                        .headers = &accept,
                                                                        .n_headers = 1,
                                                                        .timeout_ms = timeout_ms,
                                                                        .handler = *handler});
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    ((struct informer_http *)arg)->status = status;
}

/* ---- list ---- */

static void on_page_data(void *arg, struct str data)
{
    struct informer_http *i = arg;
    buf_add(&i->in, data.p, data.len);
}

/* Walk both trees in order side by side. An object that was replaced by one of the same name went and came. */
static bool report_differences(struct informer_http *i, struct object_tree *before, struct object_tree *after)
{
    struct object_tree_iter a, b;
    object_tree_iter_init(&a, before, STR(""));
    object_tree_iter_init(&b, after, STR(""));
    const struct object *old = object_tree_next(&a), *now = object_tree_next(&b);
    bool any = false;
    while ((old || now) && !i->over) {
        int order = !old ? 1 : !now ? -1 : str_cmp(old->namespace_, now->namespace_);
        if (!order)
            order = str_cmp(old->name, now->name);
        bool same = order == 0 && str_eq(old->uid, now->uid);
        if (order == 0 && same && old->revision != now->revision) {
            report(i, old, now);
            any = true;
        } else if (order == 0 && !same) {
            report(i, old, NULL);
            report(i, NULL, now);
            any = true;
        } else if (order < 0) {
            report(i, old, NULL);
            any = true;
        } else if (order > 0) {
            report(i, NULL, now);
            any = true;
        }
        if (order <= 0)
            old = object_tree_next(&a);
        if (order >= 0)
            now = object_tree_next(&b);
    }
    return any;
}

static void list_complete(struct informer_http *i, int64_t revision)
{
    struct object_tree *before = i->tree;
    i->tree = object_tree_set_revision(i->listing, revision);
    i->listing = NULL;
    i->revision = revision;
    i->backoff_ms = 0;
    bool first = !i->synced;
    i->synced = true;
    struct object_tree *after = object_tree_get(i->tree);
    bool any = report_differences(i, before, after);
    object_tree_put(after);
    object_tree_put(before);
    if ((first || !any) && i->on_synced && !i->over)
        i->on_synced(i->arg);
    if (!i->over)
        start_watch(i);
}

static int read_page(struct informer_http *i, int64_t *ret_revision, struct err *err)
{
    struct json_options opt = {0};
    struct value *list = NULL;
    if (i->status != 200)
        return remote_status(i->arena, i->status, buf_str(&i->in), err);
    int rc = json_decode(i->arena, buf_str(&i->in), &opt, &list, err);
    const struct value *items = value_getz(list, "items");
    for (size_t at = 0; rc == 0 && value_is(items, VALUE_LIST) && at < items->list.len; at++) {
        struct object *o;
        int64_t revision = remote_revision(items->list.items[at]);
        rc = object_from_value(i->arena, i->resource, items->list.items[at], revision, revision, &o, err);
        if (rc == 0) {
            i->listing = object_tree_set(i->listing, o);
            object_put(o);
        }
    }
    if (rc < 0)
        return rc;
    *ret_revision = remote_revision(list);
    i->continue_token.len = 0;
    buf_add_str(&i->continue_token, value_path_str(list, "metadata.continue"));
    return 0;
}

static void next_page(struct informer_http *i);

static void on_page_done(void *arg, const struct err *failure)
{
    struct informer_http *i = arg;
    struct err err = ERR_INIT;
    int64_t revision = 0;
    i->http = NULL;
    i->depth++;
    int rc = failure ? failure->code : read_page(i, &revision, &err);
    arena_reset(i->arena);
    buf_free(&i->in);
    if (rc < 0) {
        if (!i->backoff_ms || i->backoff_ms >= BACKOFF_MAX_MS)
            log_warn("client", "list " STR_FMT ": %s", STR_ARG(i->resource->name),
                     failure ? failure->message : err.message);
        try_later(i, start_list);
    } else if (i->continue_token.len) {
        next_page(i);
    } else {
        list_complete(i, revision);
    }
    informer_leave(i);
}

static void next_page(struct informer_http *i)
{
    struct buf path = {0};
    base_path(i, &path);
    remote_query(&path, "limit", STR(PAGE));
    remote_query(&path, "continue", buf_str(&i->continue_token));
    i->http = get(i, &path, 300000,
                  &(struct http_call_handler){
                      .on_response = on_response, .on_data = on_page_data, .on_done = on_page_done, .arg = i});
    buf_free(&path);
}

static void start_list(void *arg)
{
    struct informer_http *i = arg;
    if (i->listing)
        object_tree_put(i->listing);
    i->listing = object_tree_create(i->resource);
    i->continue_token.len = 0;
    next_page(i);
}

/* ---- watch ---- */

static void move_revision(struct informer_http *i, int64_t revision)
{
    if (revision > i->revision)
        i->revision = revision;
    i->tree = object_tree_set_revision(i->tree, i->revision);
}

/* The object of a deletion carries its last state; what we hold is what was reported, so that is what goes. */
static int apply_event(struct informer_http *i, struct str type, const struct value *v, struct err *err)
{
    struct str namespace_ = value_path_str(v, "metadata.namespace"), name = value_path_str(v, "metadata.name");
    int64_t revision = remote_revision(v);
    const struct object *old = object_tree_find(i->tree, namespace_, name);
    if (old)
        object_get(old);
    if (str_eq(type, STR("DELETED"))) {
        i->tree = object_tree_remove(i->tree, namespace_, name);
        move_revision(i, revision);
        if (old)
            report(i, old, NULL);
        object_put(old);
        return 0;
    }
    struct object *now;
    int rc = object_from_value(i->arena, i->resource, v, revision, revision, &now, err);
    if (rc < 0) {
        object_put(old);
        return rc;
    }
    bool replaced = old && !str_eq(old->uid, now->uid);
    if (replaced) {
        i->tree = object_tree_remove(i->tree, namespace_, name);
        report(i, old, NULL);
    }
    if (!i->over) {
        i->tree = object_tree_set(i->tree, now);
        move_revision(i, revision);
        report(i, replaced ? NULL : old, now);
    }
    object_put(now);
    object_put(old);
    return 0;
}

static void watch_stop(struct informer_http *i, void (*then)(void *arg), bool later)
{
    http_call_cancel(i->http);
    i->http = NULL;
    if (later)
        try_later(i, then);
    else
        timer_start(&i->wait, i->remote->loop, 0, then, i);
}

static void got_frame(struct informer_http *i, struct str line)
{
    struct json_options opt = {0};
    struct value *v = NULL;
    struct err err = ERR_INIT;
    int rc = json_decode(i->arena, line, &opt, &v, &err);
    struct str type = value_path_str(v, "type");
    const struct value *object = value_getz(v, "object");
    if (rc == 0 && str_eq(type, STR("BOOKMARK"))) {
        i->backoff_ms = 0;
        move_revision(i, remote_revision(object));
        if (i->on_synced)
            i->on_synced(i->arg);
    } else if (rc == 0 && str_eq(type, STR("ERROR"))) {
        bool expired = value_path_int(object, "code", 0) == 410;
        if (!expired)
            log_warn("client", "watch " STR_FMT ": " STR_FMT, STR_ARG(i->resource->name),
                     STR_ARG(value_path_str(object, "message")));
        watch_stop(i, expired ? start_list : start_watch, !expired);
    } else if (rc == 0) {
        i->backoff_ms = 0;
        rc = apply_event(i, type, object, &err);
    }
    if (rc < 0 && !i->over) {
        log_warn("client", "watch " STR_FMT ": %s", STR_ARG(i->resource->name), err.message);
        watch_stop(i, start_list, true);
    }
    if (!i->over)
        arena_reset(i->arena);
}

static void on_watch_data(void *arg, struct str data)
{
    struct informer_http *i = arg;
    struct http_call *http = i->http;
    i->depth++;
    if (i->status != 200) {
        buf_add(&i->in, data.p, data.len);
        informer_leave(i);
        return;
    }
    size_t at;
    while (!i->over && i->http == http && str_index(data, '\n', &at)) {
        struct str line = str_sub(data, 0, at);
        data = str_sub(data, at + 1, data.len);
        if (i->in.len) {
            struct buf whole = i->in;
            i->in = (struct buf){0};
            buf_add_str(&whole, line);
            got_frame(i, buf_str(&whole));
            buf_free(&whole);
        } else if (line.len) {
            got_frame(i, line);
        }
    }
    if (!i->over && i->http == http)
        buf_add_str(&i->in, data);
    informer_leave(i);
}

static void on_watch_done(void *arg, const struct err *failure)
{
    struct informer_http *i = arg;
    i->http = NULL;
    i->depth++;
    struct err err = ERR_INIT;
    if (!failure && i->status != 200) {
        remote_status(i->arena, i->status, buf_str(&i->in), &err);
        arena_reset(i->arena);
        failure = &err;
    }
    buf_free(&i->in);
    if (failure && failure->code == ERR_EXPIRED)
        start_list(i);
    else if (failure && (failure->code == ERR_FORBIDDEN || failure->code == ERR_NOT_FOUND))
        try_later(i, start_list);
    else /* in order, or a lost connection: from where we are */
        try_later(i, start_watch);
    informer_leave(i);
}

static void start_watch(void *arg)
{
    struct informer_http *i = arg;
    struct buf path = {0}, number = {0};
    base_path(i, &path);
    remote_query(&path, "watch", STR("true"));
    remote_query(&path, "allowWatchBookmarks", STR("true"));
    buf_add_i64(&number, i->revision);
    remote_query(&path, "resourceVersion", buf_str(&number));
    number.len = 0;
    buf_add_i64(&number, WATCH_MIN_S + clock_mono_us() % WATCH_MIN_S);
    remote_query(&path, "timeoutSeconds", buf_str(&number));
    i->http = get(i, &path, 0,
                  &(struct http_call_handler){
                      .on_response = on_response, .on_data = on_watch_data, .on_done = on_watch_done, .arg = i});
    buf_free(&path);
    buf_free(&number);
}

/* ---- the face ---- */

static char *own_text(struct str s)
{
    return mem_dup(s.p ? s.p : "", s.len);
}

struct informer *informer_http_create(struct client *c, const struct informer_options *opt)
{
    struct remote *remote = (struct remote *)c;
    struct informer_http *i = MEM_NEW(struct informer_http);
    i->base.client = c;
    i->remote = remote;
    i->resource = remote_resource(opt->resource, &i->version);
    i->namespace_ = own_text(opt->namespace_);
    i->labels = own_text(opt->label_selector);
    i->fields = own_text(opt->field_selector);
    i->on_change = opt->on_change;
    i->on_synced = opt->on_synced;
    i->arg = opt->arg;
    i->tree = object_tree_create(i->resource);
    i->arena = arena_create(0);
    i->next = remote->informers;
    if (remote->informers)
        remote->informers->prev = i;
    remote->informers = i;
    start_list(i);
    return &i->base;
}

static void informer_stop(struct informer_http *i)
{
    if (!i->remote)
        return;
    *(i->prev ? &i->prev->next : &i->remote->informers) = i->next;
    if (i->next)
        i->next->prev = i->prev;
    http_call_cancel(i->http);
    i->http = NULL;
    timer_stop(&i->wait);
    i->remote = NULL;
}

void informer_http_destroy(struct informer *base)
{
    struct informer_http *i = (struct informer_http *)base;
    informer_stop(i);
    i->depth++;
    i->over = true;
    informer_leave(i);
}

void informers_http_abandon(struct remote *c)
{
    while (c->informers)
        informer_http_destroy(&c->informers->base);
}

bool informer_http_synced(const struct informer *i)
{
    return ((const struct informer_http *)i)->synced;
}

int64_t informer_http_revision(const struct informer *i)
{
    return ((const struct informer_http *)i)->revision;
}

struct object_tree *informer_http_snapshot(struct informer *i)
{
    return object_tree_get(((struct informer_http *)i)->tree);
}
