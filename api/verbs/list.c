/* LIST: item after item from one snapshot, with flat memory, however long the list is (list_write.c).
 *
 * The snapshot is chosen by resourceVersion, resourceVersionMatch and continue. With a limit the walk is made twice:
 * first to find where the page ends (the token and the remaining count stand in front of the items), then to write. */
#include "api/verbs/list.h"

#include "base/clock.h"
#include "openapi/object/object.h"

/* ---- choosing the snapshot ---- */

static int expired(struct listing *l, struct err *err)
{
    struct api_request *req = l->req;
    if (!l->continued)
        return err_set(err, ERR_EXPIRED, "The resourceVersion for the provided list is too old.");
    struct object last = {.namespace_ = l->after_namespace, .name = l->after_name};
    struct api_details *d = ARENA_NEW(req->arena, struct api_details);
    d->continue_ = continue_encode(req->arena, -1, &last, req->resource->namespaced);
    req->details = d;
    return err_set(
        err, ERR_EXPIRED,
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
        "the results. Continuing with the provided token results in an inconsistent list - objects that were "
        "created, modified, or deleted between the time the first chunk was returned and now may show up in the "
        "list.");
}

/* 0 when the snapshot of exactly *ret_revision is wanted, 1 when the newest not older than that serves. */
static int choose_snapshot(struct listing *l, int64_t *ret_revision, struct err *err)
{
    struct api_request *req = l->req;
    const struct api_options *o = &req->options;
    int64_t revision;
    bool exact = str_eqz(o->resource_version_match, "Exact");
    *ret_revision = 0;
    if (o->continue_.len) {
        if (o->resource_version.len && !str_eqz(o->resource_version, "0"))
            return err_set(err, ERR_BAD_REQUEST, "specifying resource version is not allowed when using continue");
        int rc = continue_decode(req->arena, o->continue_, req->resource->namespaced, &revision, &l->after_namespace,
                                 &l->after_name, err);
        if (rc < 0)
            return err_context(err, "invalid continue token");
        l->continued = true;
        if (revision < 0)
            return 1;
        exact = true;
    } else {
        if (revision_parse(o->resource_version, &revision, err) < 0)
            return err->code;
        if (o->limit > 0 && revision > 0 && !o->resource_version_match.len)
            exact = true;
    }
    *ret_revision = revision;
    return !exact || revision == 0 ? 1 : 0;
}

static void find_page_end(struct listing *l);

static void counting_step(void *arg)
{
    struct listing *l = arg;
    if (!l->req->gone) {
        find_page_end(l);
        return;
    }
    object_tree_put(l->tree);
    answer_end(l->req, 200);
}

static void find_page_end(struct listing *l)
{
    int64_t limit = l->req->options.limit, until = clock_mono_us() + LIST_SLICE_US;
    const struct object *o;
    for (unsigned n = 1; (o = object_tree_next(&l->iter)); n++) {
        bool matches = selection_matches(&l->selection, o);
        if (matches && l->seen < limit) {
            l->last = o;
            l->seen++;
        } else if (matches) {
            l->more++;
            if (!l->selection.all)
                break; /* one is enough: with selectors the rest is not counted */
        }
        if (n % LIST_SLICE_OBJECTS == 0 && clock_mono_us() > until) {
            loop_post(l->req->loop, counting_step, l);
            return;
        }
    }
    if (l->more) {
        l->left = limit;
        cache_keep(l->req->server->cache, api_store(l->req), l->tree);
        l->continue_ =
            continue_encode(l->req->arena, object_tree_revision(l->tree), l->last, l->req->resource->namespaced);
        if (l->selection.all)
            l->remaining = l->more;
    }
    list_write(l);
}

static void answer_in_process(struct listing *l)
{
    struct api_request *req = l->req;
    struct object_tree *list = l->tree;
    l->tree = NULL;
    if (!l->selection.all || l->selection.namespace_.len) {
        struct object_tree *whole = list;
        const struct object *o;
        list = object_tree_create(api_store(req));
        object_tree_iter_init(&l->iter, whole, l->selection.namespace_);
        while ((o = object_tree_next(&l->iter)))
            if (selection_matches(&l->selection, o))
                list = object_tree_set(list, o);
        list = object_tree_set_revision(list, object_tree_revision(whole));
        object_tree_put(whole);
    }
    client_done *done = req->done;
    req->done = NULL;
    if (done)
        done(req->done_arg, &(struct client_answer){.list = list});
    object_tree_put(list);
    answer_end(req, 200);
}

static void begin(struct listing *l)
{
    struct api_request *req = l->req;
    if (!req->exchange) {
        if (req->gone || !req->done) {
            object_tree_put(l->tree);
            answer_end(req, 200);
        } else {
            answer_in_process(l);
        }
        return;
    }
    l->left = l->remaining = -1;
    list_start_iter(l);
    if (req->options.limit > 0)
        find_page_end(l);
    else
        list_write(l);
}

static void begin_newest(struct api_request *req)
{
    struct listing *l = req->state;
    l->tree = cache_snapshot(req->server->cache, api_store(req));
    begin(l);
}

static void exact_ready(void *arg, struct object_tree *tree, const struct err *err)
{
    struct listing *l = arg;
    struct err own = ERR_INIT;
    l->tree = tree;
    if (!err) {
        begin(l);
        return;
    }
    own = *err;
    if (own.code == ERR_EXPIRED)
        expired(l, &own);
    verb_answer_store_err(l->req, &own);
}

static void begin_exact(struct api_request *req)
{
    struct listing *l = req->state;
    cache_snapshot_read(req->server->cache, api_store(req), l->exact, req->loop, exact_ready, l);
}

void verb_list(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct listing *l = ARENA_NEW(req->arena, struct listing);
    l->req = req;
    req->state = l;
    int rc = selection_parse(req, &l->selection, &err);
    if (rc == 0)
        rc = choose_snapshot(l, &l->exact, &err);
    if (rc < 0)
        api_answer_err(req, &err);
    else if (rc > 0)
        verb_after_revision(req, l->exact, begin_newest);
    else if (cache_always_newest(req->server->cache))
        begin_exact(req);
    else /* another server may have said it, which was ahead */
        verb_after_revision(req, l->exact, begin_exact);
}
