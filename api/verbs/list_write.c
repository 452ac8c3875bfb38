/* Writing a list: item after item in the encoding that was asked for.
 *
 * Writing yields to the loop every millisecond and stops while the client is slow. A client that takes nothing for a
 * while, is slower than anybody on a network would be, or needs longer than history is kept is given up, so that the
 * snapshot unpins.
 *
 * In protobuf the length of everything stands in front. Items are held until they are HELD_BYTES; if there are more,
 * these are only measured, and encoded once more to be written: it costs time, but no memory. */
#include "api/answer_protobuf.h"
#include "api/verbs/list.h"

#include "base/clock.h"
#include "openapi/json.h"
#include "openapi/object/object.h"
#include "openapi/protobuf.h"

#define CHUNK_BYTES (64u * 1024u)
#define HELD_BYTES (1024u * 1024u)
#define SLICE_ENCODED 8            /* in place of LIST_SLICE_OBJECTS where each takes many microseconds */
#define STUCK_MS 60000             /* nothing taken */
#define SLOW_MS 60000              /* after so long … */
#define SLOW_BYTES_PER_MS 256      /* … slower than this on the average */
#define LONGEST_MS (5 * 60 * 1000) /* however fast */
#define LOOK_MS 5000               /* how often that is looked at */

static void go_on(struct listing *l);

void list_start_iter(struct listing *l)
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

static int write_protobuf_item(struct listing *l, const struct object *o, struct err *err)
{
    size_t at = l->out.text.len;
    int rc = answer_protobuf_item(l->req, &l->out.text, o, err);
    size_t len = l->out.text.len - at;
    if (rc == 0 && len > l->owed)
        return err_set(err, ERR_INTERNAL, "an item is longer than it was");
    l->owed -= len;
    return rc;
}

static int write_item(struct listing *l, const struct object *o, struct err *err)
{
    if (l->protobuf)
        return write_protobuf_item(l, o, err);
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

static void write_end(struct listing *l)
{
    if (l->protobuf)
        answer_protobuf_list_tail(&l->out.text);
    else
        buf_addz(&l->out.text, !l->pretty ? "]}\n" : l->first ? "]\n}\n" : "\n  ]\n}\n");
}

/* One item at a time; conversions and tables use the request's arena, which grows with the list: they start over in a
 * scratch arena per chunk. */
static void go_on(struct listing *l)
{
    struct api_request *req = l->req;
    struct arena *whole = req->arena, *scratch = l->native ? NULL : arena_create(0);
    int64_t until = clock_mono_us() + LIST_SLICE_US;
    struct err err = ERR_INIT;
    unsigned stride = l->native ? LIST_SLICE_OBJECTS : SLICE_ENCODED;
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
        if (n % stride == 0 && clock_mono_us() > until)
            break;
    }
    arena_destroy(scratch);
    if (end) {
        write_end(l);
        pieces_send(req, &l->out);
    }
    if (end || rc < 0) {
        finish(l, rc == 0 && l->owed == 0);
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
    list_start_iter(l);
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

static void start_streaming(struct listing *l, const char *content_type)
{
    struct api_request *req = l->req;
    answer_start(req, 200, content_type);
    req->on_gone = on_gone;
    req->on_drain = on_drain;
    l->began_ms = clock_mono_ms();
    timer_start(&l->look, req->loop, LOOK_MS, look, l);
}

/* ---- protobuf: measured, then written ---- */

static void stop_measuring(struct listing *l)
{
    pieces_free(&l->out);
    object_tree_put(l->tree);
    l->tree = NULL;
}

static void write_protobuf(struct listing *l)
{
    struct api_request *req = l->req;
    struct buf head = {0}, *items = &l->out.text;
    answer_protobuf_list_head(req, &head, l->owed, object_tree_revision(l->tree), l->continue_, l->remaining);
    if (!l->overflowed) {
        answer_protobuf_list_tail(items);
        struct slice body[] = {slice_take(head.p, head.len), slice_take(items->p, items->len)};
        *items = (struct buf){0};
        stop_measuring(l);
        api_answer_bytes(req, 200, PROTOBUF_MEDIA_TYPE, body, 2);
        return;
    }
    struct buf held = *items;
    start_streaming(l, PROTOBUF_MEDIA_TYPE);
    l->out.text = head;
    pieces_send(req, &l->out);
    l->out.text = held;
    l->owed -= held.len;
    l->iter = l->resume;
    l->left = l->resume_left;
    pieces_send(req, &l->out);
    go_on(l);
}

static int measure_item(struct listing *l, const struct object *o, const struct object_tree_iter *at_it,
                        struct err *err)
{
    struct buf *out = &l->out.text;
    size_t at = out->len;
    int rc = answer_protobuf_item(l->req, out, o, err);
    if (rc < 0)
        return rc;
    l->owed += out->len - at;
    if (!l->overflowed && out->len > HELD_BYTES) {
        l->overflowed = true;
        l->resume = *at_it;
        l->resume_left = l->left;
    }
    if (l->overflowed)
        out->len = at;
    return 0;
}

static void measure(void *arg)
{
    struct listing *l = arg;
    struct api_request *req = l->req;
    struct object_tree_iter before;
    int64_t until = clock_mono_us() + LIST_SLICE_US;
    struct err err = ERR_INIT;
    if (req->gone) {
        stop_measuring(l);
        answer_end(req, 200);
        return;
    }
    for (unsigned n = 1;; n++) {
        before = l->iter;
        const struct object *o = l->left == 0 ? NULL : object_tree_next(&l->iter);
        if (!o) {
            write_protobuf(l);
            return;
        }
        if (selection_matches(&l->selection, o)) {
            if (measure_item(l, o, &before, &err) < 0) {
                stop_measuring(l);
                api_answer_err(req, &err);
                return;
            }
            l->left -= l->left > 0;
        }
        if (n % SLICE_ENCODED == 0 && clock_mono_us() > until) {
            loop_post(req->loop, measure, l);
            return;
        }
    }
}

void list_write(struct listing *l)
{
    struct api_request *req = l->req;
    l->protobuf = req->format == API_PROTOBUF;
    if (l->protobuf) {
        list_start_iter(l);
        measure(l);
        return;
    }
    if (req->format == API_YAML && object_tree_len(l->tree) <= 10000 && answer_yaml(l))
        return;
    l->pretty = req->format != API_YAML && answer_is_pretty(req);
    l->native = !l->pretty && answer_is_native(req);
    l->first = true;
    start_streaming(l, answer_content_type(req));
    write_head(l);
    list_start_iter(l);
    go_on(l);
}
