/* The event recorder, as client-go's: the same event about the same object is counted up by a patch instead of made
 * again; more than ten different messages of one kind within ten minutes become one combined event; and a source that
 * will not stop about one object (25 at once, then one in five minutes) is cut off. */
#include "api/client/client_ops.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <stdarg.h>
#include <stdlib.h>

#define TABLE_MAX 4096
#define SIMILAR_MAX 10
#define SIMILAR_MS (600 * 1000)
#define BURST 25
#define REFILL_MS (300 * 1000)
#define RETRY_MS 10000
#define MAX_TRIES 12

/* One row of the three tables: what was sent, which messages were seen, how much a source may still say. */
struct event_row {
    struct event_row *newer, *older;
    struct event_table *table;
    char *key;
    /* sent */
    struct event_recorder *recorder;
    char *name, *namespace_, *body; /* the event as last built, JSON */
    int64_t count, first_us, last_us;
    bool busy, dirty, made;
    int tries;
    struct timer wait;
    /* seen */
    uint64_t messages[SIMILAR_MAX];
    size_t n_messages;
    int64_t touched_ms;
    /* allowance */
    double tokens;
};

struct event_table {
    struct map rows;
    struct event_row *newest, *oldest;
};

struct event_recorder {
    struct client *client;
    struct event_table sent, similar, allowance;
};

/* ---- tables: least recently used goes first ---- */

static void row_unlink(struct event_row *row)
{
    *(row->newer ? &row->newer->older : &row->table->newest) = row->older;
    *(row->older ? &row->older->newer : &row->table->oldest) = row->newer;
}

static void row_push(struct event_row *row)
{
    struct event_table *t = row->table;
    row->newer = NULL;
    row->older = t->newest;
    *(t->newest ? &t->newest->newer : &t->oldest) = row;
    t->newest = row;
}

static void row_drop(struct event_row *row)
{
    row_unlink(row);
    map_remove(&row->table->rows, str_from(row->key));
    timer_stop(&row->wait);
    free(row->key);
    free(row->name);
    free(row->namespace_);
    free(row->body);
    free(row);
}

static struct event_row *row_get(struct event_table *t, struct str key, bool *ret_new)
{
    struct event_row *row = map_get(&t->rows, key);
    *ret_new = !row;
    if (row) {
        row_unlink(row);
    } else {
        for (struct event_row *old = t->oldest, *next; t->rows.len >= TABLE_MAX && old; old = next) {
            next = old->newer;
            if (!old->busy)
                row_drop(old);
        }
        row = MEM_NEW(struct event_row);
        row->table = t;
        row->key = mem_dup(key.p, key.len);
        map_put(&t->rows, key, row);
    }
    row_push(row);
    return row;
}

static void table_finish(struct event_table *t)
{
    while (t->oldest)
        row_drop(t->oldest);
    map_finish(&t->rows);
}

void event_recorder_destroy(struct event_recorder *r)
{
    if (!r)
        return;
    table_finish(&r->sent);
    table_finish(&r->similar);
    table_finish(&r->allowance);
    free(r);
}

/* ---- sending ---- */

static void row_send(void *arg);

static void on_sent(void *arg, const struct client_answer *answer)
{
    struct event_row *row = arg;
    row->busy = false;
    if (answer->rc == 0) {
        row->made = true;
        row->tries = 0;
    } else if (answer->rc == ERR_NOT_FOUND && row->made) { /* it has expired meanwhile: make it again, with its count */
        row->made = false;
        row->dirty = true;
    } else if ((answer->rc == ERR_UNAVAILABLE || answer->rc == ERR_TIMEOUT || answer->rc == ERR_TOO_MANY) &&
               ++row->tries < MAX_TRIES) {
        row->busy = row->dirty = true;
        timer_start(&row->wait, client_loop(row->recorder->client), RETRY_MS, row_send, row);
        return;
    } else {
        log_warn("events", "an event about %s was not recorded: %s", row->namespace_, answer->err->message);
        row_drop(row);
        return;
    }
    if (row->dirty)
        row_send(row);
}

static void row_send(void *arg)
{
    struct event_row *row = arg;
    struct client *c = row->recorder->client;
    struct arena *a = arena_create(0);
    struct json_options opt = {0};
    struct err err = ERR_INIT;
    struct value *event = NULL;
    if (json_decode(a, str_from(row->body), &opt, &event, &err) < 0)
        abort(); /* we wrote it */
    struct client_call call = {
        .verb = row->made ? VERB_PATCH : VERB_CREATE,
        .resource = resource_find(STR(""), STR("events")),
        .namespace_ = str_from(row->namespace_),
        .name = str_from(row->name),
        .patch_type = PATCH_TYPE_STRATEGIC,
        .grace_period_s = -1,
    };
    struct value *body = row->made ? value_map(a) : event;
    if (row->made)
        value_setz(a, body, "message", value_getz(event, "message"));
    value_setz(a, body, "count", value_int(a, row->count));
    value_setz(a, body, "lastTimestamp", value_string(a, time_format(a, row->last_us)));
    call.body = body;
    row->busy = true;
    row->dirty = false;
    client_send(c, &call, on_sent, row);
    arena_destroy(a);
}

/* ---- building ---- */

struct event_facts {
    const char *component, *host, *type, *reason, *field_path;
    const struct object *about;
    struct str api_version, message;
};

static struct value *event_value(struct arena *a, const struct event_facts *f, const struct event_row *row)
{
    const struct object *o = f->about;
    struct value *v = value_map(a), *ref = value_map(a), *source = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "Event"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_set_path(a, v, "metadata.name", value_stringz(a, row->name));
    value_set_path(a, v, "metadata.namespace", value_stringz(a, row->namespace_));
    value_setz(a, ref, "kind", value_string(a, o->resource->kind));
    if (o->namespace_.len)
        value_setz(a, ref, "namespace", value_string(a, o->namespace_));
    value_setz(a, ref, "name", value_string(a, o->name));
    value_setz(a, ref, "uid", value_string(a, o->uid));
    value_setz(a, ref, "apiVersion", value_string(a, f->api_version));
    if (o->revision)
        value_setz(a, ref, "resourceVersion", value_string(a, arena_printf(a, "%lld", (long long)o->revision)));
    if (f->field_path)
        value_setz(a, ref, "fieldPath", value_stringz(a, f->field_path));
    value_setz(a, v, "involvedObject", ref);
    value_setz(a, v, "reason", value_stringz(a, f->reason));
    value_setz(a, v, "message", value_string(a, f->message));
    value_setz(a, source, "component", value_stringz(a, f->component));
    if (f->host && *f->host)
        value_setz(a, source, "host", value_stringz(a, f->host));
    value_setz(a, v, "source", source);
    value_setz(a, v, "firstTimestamp", value_string(a, time_format(a, row->first_us)));
    value_setz(a, v, "lastTimestamp", value_string(a, time_format(a, row->last_us)));
    value_setz(a, v, "count", value_int(a, row->count));
    value_setz(a, v, "type", value_stringz(a, f->type));
    value_setz(a, v, "eventTime", value_null(a));
    value_setz(a, v, "reportingComponent", value_stringz(a, f->component));
    value_setz(a, v, "reportingInstance", value_stringz(a, f->host ? f->host : ""));
    return v;
}

/* Where the event counts: with its own message, or, when its like have come too often, with all of them. */
static struct str place(struct event_recorder *r, struct arena *a, struct event_facts *f, struct str like)
{
    bool fresh;
    struct event_row *row = row_get(&r->similar, like, &fresh);
    int64_t now = clock_mono_ms();
    if (!fresh && now - row->touched_ms > SIMILAR_MS)
        row->n_messages = 0;
    row->touched_ms = now;
    uint64_t hash = str_hash(f->message);
    bool known = false;
    for (size_t i = 0; i < row->n_messages; i++)
        known = known || row->messages[i] == hash;
    if (!known)
        row->messages[row->n_messages++] = hash;
    if (row->n_messages < SIMILAR_MAX)
        return arena_printf(a, STR_FMT "|" STR_FMT, STR_ARG(like), STR_ARG(f->message));
    memmove(row->messages, row->messages + 1, --row->n_messages * sizeof *row->messages); /* the oldest is forgotten */
    f->message = arena_printf(a, "(combined from similar events): " STR_FMT, STR_ARG(f->message));
    return like;
}

static bool allowed(struct event_recorder *r, struct str source)
{
    bool fresh;
    struct event_row *row = row_get(&r->allowance, source, &fresh);
    int64_t now = clock_mono_ms();
    row->tokens = fresh ? BURST : row->tokens + (double)(now - row->touched_ms) / REFILL_MS;
    if (row->tokens > BURST)
        row->tokens = BURST;
    row->touched_ms = now;
    if (row->tokens < 1)
        return false;
    row->tokens -= 1;
    return true;
}

static void record(struct client *c, struct event_facts *f)
{
    if (!c->recorder) {
        c->recorder = MEM_NEW(struct event_recorder);
        c->recorder->client = c;
    }
    struct event_recorder *r = c->recorder;
    const struct object *o = f->about;
    struct arena *a = arena_create(0);
    f->api_version = resource_api_version(a, o->resource->storage_group, o->resource->storage_version);
    struct str source =
        arena_printf(a, "%s|%s|" STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT, f->component, f->host ? f->host : "",
                     STR_ARG(o->resource->kind), STR_ARG(o->namespace_), STR_ARG(o->name), STR_ARG(o->uid));
    struct str like =
        arena_printf(a, STR_FMT "|%s|%s|%s", STR_ARG(source), f->field_path ? f->field_path : "", f->type, f->reason);
    struct str key = place(r, a, f, like);
    bool fresh;
    struct event_row *row = row_get(&r->sent, key, &fresh);
    row->last_us = clock_wall_us();
    row->count++;
    if (fresh) {
        row->recorder = r;
        row->first_us = row->last_us;
        row->namespace_ = o->namespace_.len ? mem_dup(o->namespace_.p, o->namespace_.len) : mem_strdup("default");
        row->name =
            mem_strdup(arena_printf(a, STR_FMT ".%llx", STR_ARG(o->name), (unsigned long long)row->last_us * 1000).p);
    }
    struct buf json = {0};
    json_encode(&json, event_value(a, f, row));
    buf_add_char(&json, 0);
    free(row->body);
    row->body = json.p;
    row->dirty = row->dirty || allowed(r, source);
    if (row->dirty && !row->busy)
        row_send(row);
    arena_destroy(a);
}

static void record_text(struct client *c, struct event_facts *f, const char *fmt, va_list ap)
{
    struct arena *a = arena_create(0);
    f->message = arena_vprintf(a, fmt, ap);
    record(c, f);
    arena_destroy(a);
}

void client_event(struct client *c, const char *component, const char *host, const struct object *about,
                  const char *type, const char *reason, const char *fmt, ...)
{
    struct event_facts f = {component, host, type, reason, NULL, about, STR_NULL, STR_NULL};
    va_list ap;
    va_start(ap, fmt);
    record_text(c, &f, fmt, ap);
    va_end(ap);
}

void client_event_at(struct client *c, const char *component, const char *host, const struct object *about,
                     const char *field_path, const char *type, const char *reason, const char *fmt, ...)
{
    struct event_facts f = {component, host, type, reason, field_path, about, STR_NULL, STR_NULL};
    va_list ap;
    va_start(ap, fmt);
    record_text(c, &f, fmt, ap);
    va_end(ap);
}
