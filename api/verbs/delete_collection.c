/* DELETE of a collection: each selected object on its own, a bounded number at a time; what is gone already is fine. */
#include "api/verbs/verb.h"

#include "openapi/json.h"
#include "openapi/object/tree.h"

#include <stdlib.h>

#define IN_FLIGHT 32

struct collection {
    struct api_request *req;
    struct selection selection;
    struct object_tree *tree;
    struct object_tree_iter iter;
    struct buf items;
    size_t n_items, in_flight;
    bool starting, exhausted;
    struct err err; /* the first real failure */
};

static void go_on(struct collection *c);

static void finish(struct collection *c)
{
    struct api_request *req = c->req;
    object_tree_put(c->tree);
    if (c->err.code < 0) {
        buf_free(&c->items);
        api_answer_err(req, &c->err);
        return;
    }
    if (!req->exchange) {
        buf_free(&c->items);
        api_answer_value(req, 200, NULL, value_map(req->arena));
        return;
    }
    buf_addz(&c->items, "]}\n");
    struct slice body = slice_take(c->items.p, c->items.len);
    api_answer_bytes(req, 200, answer_content_type(req), &body, 1);
}

static void one_done(void *arg, const struct client_answer *answer)
{
    struct collection *c = arg;
    if (answer->rc < 0 && answer->rc != ERR_NOT_FOUND && c->err.code == 0)
        c->err = *answer->err;
}

static void one_ended(struct api_request *one)
{
    struct collection *c = one->owner;
    struct arena *arena = one->arena;
    c->in_flight--;
    arena_destroy(arena);
    if (!c->starting)
        go_on(c);
}

static void start_one(struct collection *c, const struct object *o)
{
    struct err err = ERR_INIT;
    struct arena *arena = arena_create(0);
    struct api_request *one = ARENA_NEW(arena, struct api_request);
    *one = *c->req;
    one->arena = arena;
    one->exchange = NULL;
    one->verb = VERB_DELETE;
    one->namespace_ = arena_str(arena, o->namespace_);
    one->name = arena_str(arena, o->name);
    one->done = one_done;
    one->done_arg = c;
    one->ended = one_ended;
    one->owner = c;
    one->on_gone = one->on_drain = NULL;
    one->warnings = NULL;
    one->n_warnings = one->cap_warnings = 0;
    if (c->req->exchange) {
        if (c->n_items++)
            buf_add_char(&c->items, ',');
        answer_item(c->req, &c->items, o, false, 0, &err);
    }
    c->in_flight++;
    verb_delete(one);
}

static void go_on(struct collection *c)
{
    c->starting = true;
    while (!c->exhausted && c->in_flight < IN_FLIGHT && c->err.code == 0) {
        const struct object *o = object_tree_next(&c->iter);
        if (!o)
            c->exhausted = true;
        else if (selection_matches(&c->selection, o))
            start_one(c, o);
    }
    c->starting = false;
    if (!c->in_flight)
        finish(c);
}

void verb_delete_collection(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct collection *c = ARENA_NEW(req->arena, struct collection);
    struct delete_options checked;
    if (selection_parse(req, &c->selection, &err) < 0 || delete_options_parse(req, &checked, &err) < 0) {
        api_answer_err(req, &err);
        return;
    }
    c->req = req;
    c->tree = cache_snapshot(req->server->cache, api_store(req));
    object_tree_iter_init(&c->iter, c->tree, c->selection.namespace_);
    answer_list_head(req, &c->items, object_tree_revision(c->tree), STR_NULL, -1);
    go_on(c);
}
