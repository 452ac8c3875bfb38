/* A writer: one request at a time, chosen at random, to a server chosen at random; what it was answered is a line. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/history/record.h"
#include "openapi/json.h"

#include <inttypes.h>

#define SWITCH_PERCENT 30 /* of the requests go to another server than the one before */
#define RETRY_MS 20

struct known { /* what the writer believes of a key */
    bool present;
    int64_t revision;
    char uid[40];
};

struct writer {
    struct recorder *r;
    int number;
    struct connections servers;
    struct known *known; /* by key */
    int64_t n_values;
    struct timer again;
    struct arena *arena;
    /* the request under way */
    enum op_kind kind;
    const struct key *key; /* of a list: any of its resource */
    size_t server;
    int64_t begin_us, expect, value;
    int status;
    struct buf path, body, answer;
    size_t final_at; /* when finishing: the key, then the server and resource, that comes next */
};

static void next(void *arg);

static struct known *known_of(struct writer *w)
{
    return &w->known[w->key - w->r->keys];
}

static enum outcome outcome_of(const struct writer *w, const struct err *err)
{
    if (err || !w->status || w->status >= 500)
        return OUTCOME_UNKNOWN;
    if (w->status < 300 || (w->status == 404 && (w->kind == OP_GET || w->kind == OP_GET_CACHED)))
        return OUTCOME_OK;
    return OUTCOME_FAIL;
}

static void log_op(const struct writer *w, const char *key, const char *value, enum outcome outcome, int64_t revision,
                   struct str uid)
{
    recorder_log(w->r, "op %d %zu %" PRId64 " %" PRId64 " %s %s %" PRId64 " %s %s %" PRId64 " " STR_FMT " %d",
                 w->number, w->server, w->begin_us, clock_mono_us(), op_kinds[w->kind], key, w->expect, value,
                 outcomes[outcome], revision, STR_ARG(uid.len ? uid : STR("-")), w->status);
}

static void take_list(struct writer *w, const struct value *answer, enum outcome outcome)
{
    int64_t revision = 0;
    if (outcome == OUTCOME_OK)
        str_to_i64(value_path_str(answer, "metadata.resourceVersion"), &revision);
    log_op(w, resource_name(w->key->object_kind), "0", outcome, revision, STR_NULL);
    if (outcome == OUTCOME_OK)
        object_log_items(w->r, w->key->object_kind, NULL, answer);
}

static void learn(struct writer *w, const struct object_read *o, bool present)
{
    struct known *k = known_of(w);
    k->present = present;
    k->revision = present ? o->revision : 0;
    snprintf(k->uid, sizeof k->uid, STR_FMT, STR_ARG(o->uid));
}

static void take_object(struct writer *w, const struct value *answer, enum outcome outcome)
{
    struct object_read o = {0};
    char written[24];
    snprintf(written, sizeof written, "%" PRId64, w->value);
    if (outcome != OUTCOME_OK || w->status == 404) {
        log_op(w, w->key->text, written, outcome, 0, STR_NULL);
        if (w->status == 404)
            learn(w, &o, false);
        else
            known_of(w)->revision = 0; /* read it before the next conditional write */
    } else if (w->kind == OP_DELETE) {
        o.uid = value_path_str(answer, "details.uid");
        log_op(w, w->key->text, written, outcome, 0, o.uid);
        learn(w, &o, false);
    } else {
        object_read(answer, &o);
        if (op_writes(w->kind) && o.value != w->value && o.value_text[0] != '!')
            snprintf(o.value_text, sizeof o.value_text, "!wrote=%" PRId64 ",answered=%" PRId64, w->value, o.value);
        log_op(w, w->key->text, o.value_text, outcome, o.revision, o.uid);
        learn(w, &o, true);
    }
}

static void count(struct writer *w, enum outcome outcome)
{
    struct recorder *r = w->r;
    int64_t now_us = clock_mono_us();
    r->counts[w->kind][outcome]++;
    if (!op_writes(w->kind) || outcome != OUTCOME_OK)
        return;
    if (!r->first_acknowledged_us)
        r->first_acknowledged_us = now_us;
    else if (now_us - r->last_acknowledged_us > r->longest_pause_us)
        r->longest_pause_us = now_us - r->last_acknowledged_us;
    r->last_acknowledged_us = now_us;
}

/* Finishing: a write that was acknowledged was the last of its key; a list that came was that server's. */
static void step_final(struct writer *w, enum outcome outcome, const struct value *answer)
{
    if (outcome != OUTCOME_OK)
        return;
    if (op_writes(w->kind))
        str_to_i64(value_path_str(answer, "metadata.resourceVersion"), &w->r->keys[w->final_at].final_revision);
    w->final_at++;
}

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    ((struct writer *)arg)->status = status;
}

static void on_data(void *arg, struct str data)
{
    buf_add_str(&((struct writer *)arg)->answer, data);
}

static void on_done(void *arg, const struct err *err)
{
    struct writer *w = arg;
    struct recorder *r = w->r;
    struct json_options plain = {0};
    struct value *answer = NULL;
    struct err bad = ERR_INIT;
    enum outcome outcome = outcome_of(w, err);
    arena_reset(w->arena);
    if (outcome == OUTCOME_OK && json_decode(w->arena, buf_str(&w->answer), &plain, &answer, &bad) < 0)
        recorder_fail("an answer with %d is no JSON: %s", w->status, bad.message);
    if (w->kind >= OP_LIST)
        take_list(w, answer, outcome);
    else
        take_object(w, answer, outcome);
    count(w, outcome);
    r->n_busy--;
    if (r->finishing)
        step_final(w, outcome, answer);
    int64_t think_ms = r->think_ms ? (int64_t)recorder_random(r, 2 * (uint64_t)r->think_ms + 1) : 0;
    if (outcome == OUTCOME_UNKNOWN) {
        w->servers.current = recorder_random(r, w->servers.n);
        think_ms += RETRY_MS;
    }
    if (r->stopping && !r->finishing)
        recorder_idle(r);
    else
        timer_start(&w->again, r->loop, think_ms, next, w);
}

static void ask(struct writer *w)
{
    static const char *const methods[OP_KINDS] = {"POST", "PUT", "PATCH", "DELETE", "GET", "GET", "GET", "GET"};
    struct recorder *r = w->r;
    bool patch = w->kind == OP_PATCH, cached = w->kind == OP_GET_CACHED || w->kind == OP_LIST_CACHED;
    const struct http_header headers[] = {
        {STR("accept"), STR("application/json")},
        {STR("content-type"), patch ? STR("application/merge-patch+json") : STR("application/json")}};
    w->path.len = 0;
    resource_path(r, w->key->object_kind, w->kind == OP_CREATE || w->kind >= OP_LIST ? NULL : w->key->name, &w->path);
    if (cached)
        buf_addz(&w->path, "?resourceVersion=0");
    struct http_call_options call = {.method = str_from(methods[w->kind]),
                                     .path = buf_str(&w->path),
                                     .headers = headers,
                                     .n_headers = w->body.len ? 2 : 1,
                                     .body = buf_str(&w->body),
                                     .timeout_ms = r->timeout_ms,
                                     .handler = {on_response, on_data, NULL, NULL, on_done, NULL, w}};
    w->status = 0;
    w->answer.len = 0;
    w->server = w->servers.current;
    w->begin_us = clock_mono_us();
    r->n_busy++;
    http_call_start(w->servers.clients[w->server], &call);
}

static enum op_kind choose(struct writer *w)
{
    static const struct {
        enum op_kind kind;
        int percent;
    } mix[] = {{OP_REPLACE, 28}, {OP_PATCH, 22}, {OP_DELETE, 7},     {OP_CREATE, 8},
               {OP_GET, 18},     {OP_LIST, 8},   {OP_GET_CACHED, 5}, {OP_LIST_CACHED, 4}};
    const struct known *k = known_of(w);
    int at = (int)recorder_random(w->r, 100);
    enum op_kind kind = OP_GET;
    for (size_t i = 0; i < sizeof mix / sizeof *mix && at >= 0; at -= mix[i++].percent)
        kind = mix[i].kind;
    if (kind == OP_REPLACE && !k->revision)
        return k->present ? OP_GET : OP_CREATE;
    return kind;
}

static void prepare(struct writer *w)
{
    struct recorder *r = w->r;
    const struct known *k = known_of(w);
    w->body.len = 0;
    w->expect = w->value = 0;
    if (op_writes(w->kind) && w->kind != OP_DELETE)
        w->value = (int64_t)w->number * 10000000 + ++w->n_values;
    /* conditional: every replacement, and some of the others */
    if (k->revision && (w->kind == OP_REPLACE ||
                        (!r->finishing && w->kind != OP_CREATE && op_writes(w->kind) && recorder_random(r, 3) == 0)))
        w->expect = k->revision;
    if (w->kind == OP_DELETE && w->expect)
        buf_printf(&w->body,
                   "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"preconditions\":{\"resourceVersion\":\"%" PRId64
                   "\",\"uid\":\"%s\"}}",
                   w->expect, k->uid);
    else if (w->value)
        object_write(w->key, w->value, w->expect, w->kind != OP_PATCH, &w->body);
}

/* For each key a write, then for each server and resource a list; every one until it succeeds. */
static bool next_final(struct writer *w)
{
    struct recorder *r = w->r;
    if (w->final_at < (size_t)r->n_keys) {
        w->key = &r->keys[w->final_at];
        w->kind = known_of(w)->present ? OP_PATCH : OP_CREATE;
        if (w->status == 409)
            w->kind = OP_PATCH;
        return true;
    }
    size_t at = w->final_at - (size_t)r->n_keys;
    if (at >= r->n_servers * OBJECT_KINDS)
        return false;
    w->servers.current = at / OBJECT_KINDS;
    w->key = &r->keys[0];
    while (w->key->object_kind != at % OBJECT_KINDS)
        w->key++;
    w->kind = OP_LIST;
    return true;
}

static void next(void *arg)
{
    struct writer *w = arg;
    struct recorder *r = w->r;
    if (r->finishing) {
        if (!next_final(w)) {
            recorder_written(r);
            return;
        }
    } else if (r->stopping) {
        recorder_idle(r);
        return;
    } else {
        if (recorder_random(r, 100) < SWITCH_PERCENT)
            w->servers.current = recorder_random(r, w->servers.n);
        w->key = &r->keys[recorder_random(r, (uint64_t)r->n_keys)];
        w->kind = choose(w);
    }
    prepare(w);
    ask(w);
}

void writers_start(struct recorder *r)
{
    r->writers = MEM_ARRAY(struct writer, (size_t)r->n_writers);
    for (int i = 0; i < r->n_writers; i++) {
        struct writer *w = &r->writers[i];
        *w = (struct writer){.r = r, .number = i + 1, .arena = arena_create(0)};
        w->known = MEM_ARRAY(struct known, (size_t)r->n_keys);
        recorder_connect(r, &w->servers, "recorder-writer", 0);
        w->servers.current = (size_t)i % r->n_servers;
        timer_start(&w->again, r->loop, i, next, w);
    }
}

void writers_finish(struct recorder *r)
{
    r->finishing = true;
    timer_start(&r->writers[0].again, r->loop, 0, next, &r->writers[0]);
}
