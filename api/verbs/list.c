/* LIST: item after item from one snapshot, with flat memory, however long the list is.
 *
 * The snapshot is chosen by resourceVersion, resourceVersionMatch and continue. With a limit the walk is made twice:
 * first to find where the page ends (the token and the remaining count stand in front of the items), then to write.
 * Writing yields to the loop every millisecond and stops while the client is slow. A client that takes nothing for a
 * while, is slower than anybody on a network would be, or needs longer than history is kept is given up, so that the
 * snapshot unpins. */
#include "api/verbs/list.h"
#include "api/answer_protobuf.h"
#include "api/chain/accept.h"

#include "base/clock.h"
#include "openapi/json.h"
#include "openapi/object/object.h"
#include "openapi/protobuf.h"

#define SLICE_US 1000
#define SLICE_OBJECTS 64 /* how many are looked at between two looks at the clock */
#define CHUNK_BYTES (64u * 1024u)
#define STUCK_MS 60000             /* nothing taken */
#define SLOW_MS 60000              /* after so long … */
#define SLOW_BYTES_PER_MS 256      /* … slower than this on the average */
#define LONGEST_MS (5 * 60 * 1000) /* however fast */
#define LOOK_MS 5000               /* how often that is looked at */

struct listing {
    struct api_request *req;
    struct selection selection;
    struct object_tree *tree;
    struct object_tree_iter iter;
    struct str after_namespace, after_name;
    int64_t exact; /* the revision chosen */
    bool continued;
    const struct object *last; /* of the page: borrowed from the tree */
    int64_t seen, more;        /* that match: in the page, and behind it */
    int64_t left;              /* items still to write, -1 = all */
    int64_t remaining;
    struct str continue_;
    bool first, waiting, native, pretty;
    struct pieces out;
    int64_t began_ms, waits_ms; /* since when it waits for the client */
    struct timer look;
    bool posted;
};

static void go_on(struct listing *l);

static void start_iter(struct listing *l)
{
    if (l->continued)
        object_tree_iter_after(&l->iter, l->tree, l->selection.namespace_, l->after_namespace, l->after_name);
    else
        object_tree_iter_init(&l->iter, l->tree, l->selection.namespace_);
}

static void finish(struct listing *l, bool sent_all)
{
    struct api_request *req = l->req;
    struct http_exchange *ex = req->exchange;
    timer_stop(&l->look);
    pieces_free(&l->out);
    object_tree_put(l->tree);
    l->tree = NULL;
    req->exchange = NULL;
    if (ex && sent_all)
        http_finish(ex);
    else if (ex)
        http_abort(ex);
    answer_end(req, 200);
}

static void on_gone(struct api_request *req)
{
    struct listing *l = req->state;
    if (l->posted) /* the posted step finds it out */
        return;
    finish(l, false);
}

static bool too_slow(const struct listing *l, int64_t now_ms)
{
    int64_t for_ms = now_ms - l->began_ms;
    size_t sent = l->req->answer_bytes - http_unsent(l->req->exchange);
    return (l->waiting && now_ms - l->waits_ms > STUCK_MS) || for_ms > LONGEST_MS ||
           (for_ms > SLOW_MS && sent < (size_t)for_ms * SLOW_BYTES_PER_MS);
}

static void look(void *arg)
{
    struct listing *l = arg;
    if (!l->posted && too_slow(l, clock_mono_ms()))
        finish(l, false);
    else
        timer_start(&l->look, l->req->loop, LOOK_MS, look, l);
}

static void on_drain(struct api_request *req)
{
    struct listing *l = req->state;
    if (l->waiting) {
        l->waiting = false;
        go_on(l);
    }
}

static void step(void *arg)
{
    struct listing *l = arg;
    l->posted = false;
    if (l->req->gone)
        finish(l, false);
    else
        go_on(l);
}

/* ---- laid out for people: the same, an item at a time ---- */

static int lay_out(struct listing *l, struct buf *text, struct buf *ret, struct err *err)
{
    struct json_options plain = {0};
    struct value *v;
    int rc = json_decode(l->req->arena, arena_str(l->req->arena, buf_str(text)), &plain, &v, err);
    if (rc == 0)
        json_encode_pretty(ret, v);
    while (ret->len && ret->p[ret->len - 1] == '\n')
        ret->len--;
    buf_free(text);
    return rc;
}

static int write_pretty_item(struct listing *l, const struct object *o, struct err *err)
{
    struct buf compact = {0}, item = {0};
    size_t at;
    int rc = answer_item(l->req, &compact, o, false, 0, err);
    if (rc < 0)
        buf_free(&compact);
    else
        rc = lay_out(l, &compact, &item, err);
    if (rc == 0) {
        buf_addz(&l->out.text, l->first ? "" : ",");
        l->first = false;
        for (struct str rest = buf_str(&item); rest.p; rest = str_sub(rest, at + 1, rest.len)) {
            if (!str_index(rest, '\n', &at))
                at = rest.len;
            buf_addz(&l->out.text, "\n    ");
            buf_add(&l->out.text, rest.p, at);
            if (at == rest.len)
                break;
        }
    }
    buf_free(&item);
    return rc;
}

/* What stands before the items; the brackets behind them are cut off again. */
static void write_head(struct listing *l)
{
    struct buf *out = &l->out.text, compact = {0};
    struct err ignored = ERR_INIT;
    if (!l->pretty) {
        answer_list_head(l->req, out, object_tree_revision(l->tree), l->continue_, l->remaining);
        return;
    }
    answer_list_head(l->req, &compact, object_tree_revision(l->tree), l->continue_, l->remaining);
    buf_addz(&compact, "]}");
    lay_out(l, &compact, out, &ignored);
    while (out->len && out->p[out->len - 1] != '[')
        out->len--;
}

static int write_item(struct listing *l, const struct object *o, struct err *err)
{
    if (l->pretty)
        return write_pretty_item(l, o, err);
    if (!l->first)
        buf_add_char(&l->out.text, ',');
    l->first = false;
    if (!l->native)
        return answer_item(l->req, &l->out.text, o, false, 0, err);
    object_head(&l->out.text, o, false);
    pieces_body(&l->out, o);
    return 0;
}

/* One item at a time; conversions and tables use the request's arena, which grows with the list: they start over in a
 * scratch arena per chunk. */
static void go_on(struct listing *l)
{
    struct api_request *req = l->req;
    struct arena *whole = req->arena, *scratch = l->native ? NULL : arena_create(0);
    int64_t until = clock_mono_us() + SLICE_US;
    struct err err = ERR_INIT;
    int rc = 0;
    bool end = false;
    for (unsigned n = 1; rc == 0; n++) {
        const struct object *o = l->left == 0 ? NULL : object_tree_next(&l->iter);
        if (!o) {
            end = true;
            break;
        }
        if (selection_matches(&l->selection, o)) {
            if (scratch)
                req->arena = scratch;
            rc = write_item(l, o, &err);
            req->arena = whole;
            if (l->left > 0)
                l->left--;
        }
        if (l->out.bytes + l->out.text.len >= CHUNK_BYTES) {
            pieces_send(req, &l->out);
            if (scratch)
                arena_reset(scratch);
            if (http_unsent(req->exchange) > HTTP_HIGH_WATER)
                break;
        }
        if (n % SLICE_OBJECTS == 0 && clock_mono_us() > until)
            break;
    }
    arena_destroy(scratch);
    if (end) {
        buf_addz(&l->out.text, !l->pretty ? "]}\n" : l->first ? "]\n}\n" : "\n  ]\n}\n");
        pieces_send(req, &l->out);
    }
    if (end || rc < 0) {
        finish(l, rc == 0);
        return;
    }
    if (http_unsent(req->exchange) > HTTP_HIGH_WATER) {
        l->waiting = true;
        l->waits_ms = clock_mono_ms();
    } else {
        l->posted = true;
        loop_post(req->loop, step, l);
    }
}

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

static void start_answer(struct listing *l);
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
    int64_t limit = l->req->options.limit, until = clock_mono_us() + SLICE_US;
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
        if (n % SLICE_OBJECTS == 0 && clock_mono_us() > until) {
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
    start_answer(l);
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

/* YAML has no item by item: the whole text at once, bounded by what people can look at. */
static bool answer_yaml(struct listing *l)
{
    struct api_request *req = l->req;
    struct buf text = {0};
    struct err err = ERR_INIT;
    struct json_options plain = {0};
    struct value *v;
    const struct object *o;
    answer_list_head(req, &text, object_tree_revision(l->tree), l->continue_, l->remaining);
    start_iter(l);
    for (int64_t left = l->left; left != 0 && (o = object_tree_next(&l->iter));) {
        if (!selection_matches(&l->selection, o))
            continue;
        if (text.p[text.len - 1] != '[')
            buf_add_char(&text, ',');
        answer_item(req, &text, o, false, 0, &err);
        left -= left > 0;
    }
    buf_addz(&text, "]}");
    struct str kept = arena_str(req->arena, buf_str(&text));
    buf_free(&text);
    if (json_decode(req->arena, kept, &plain, &v, &err) < 0)
        return false;
    object_tree_put(l->tree);
    l->tree = NULL;
    api_answer_value(req, 200, NULL, v);
    return true;
}

/* The length of everything stands in front: gathered, as long as that is not much or the client takes no JSON. */
static bool answer_protobuf(struct listing *l)
{
    struct api_request *req = l->req;
    struct media_range *ranges;
    struct buf items = {0}, out = {0};
    struct err err = ERR_INIT;
    const struct object *o;
    size_t n = accept_parse(req->arena, http_header_get(req->exchange, "accept"), &ranges);
    bool much =
        (l->left < 0 || l->left > ANSWER_PROTOBUF_LIST_MAX) && object_tree_len(l->tree) > ANSWER_PROTOBUF_LIST_MAX;
    if (much && accept_allows(ranges, n, STR("application/json"))) {
        req->format = req->table_version.len ? API_METADATA : API_JSON;
        return false;
    }
    start_iter(l);
    int rc = 0;
    for (int64_t left = l->left; rc == 0 && left != 0 && (o = object_tree_next(&l->iter));) {
        if (!selection_matches(&l->selection, o))
            continue;
        rc = answer_protobuf_item(req, &items, o, &err);
        left -= left > 0;
    }
    if (rc == 0)
        answer_protobuf_list(req, &out, buf_str(&items), object_tree_revision(l->tree), l->continue_, l->remaining);
    buf_free(&items);
    object_tree_put(l->tree);
    l->tree = NULL;
    if (rc < 0) {
        api_answer_err(req, &err);
        return true;
    }
    struct slice body = slice_take(out.p, out.len);
    api_answer_bytes(req, 200, PROTOBUF_MEDIA_TYPE, &body, 1);
    return true;
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
    start_iter(l);
    if (req->options.limit > 0)
        find_page_end(l);
    else
        start_answer(l);
}

static void start_answer(struct listing *l)
{
    struct api_request *req = l->req;
    if (req->format == API_PROTOBUF && answer_protobuf(l))
        return;
    if (req->format == API_YAML && object_tree_len(l->tree) <= 10000 && answer_yaml(l))
        return;
    l->pretty = req->format != API_YAML && answer_is_pretty(req);
    l->native = !l->pretty && answer_is_native(req);
    l->first = true;
    answer_start(req, 200);
    write_head(l);
    start_iter(l);
    req->on_gone = on_gone;
    req->on_drain = on_drain;
    l->began_ms = clock_mono_ms();
    timer_start(&l->look, req->loop, LOOK_MS, look, l);
    go_on(l);
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
