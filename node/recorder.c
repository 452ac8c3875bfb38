#include "node/recorder.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/map.h"
#include "openapi/meta/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REMEMBERED_MAX 4096
#define FORGET_MS (10 * 60 * 1000)

struct remembered {
    char *namespace_, *name; /* of the Event */
    int64_t count, last_ms;
};

struct recorder {
    struct client *client;
    char *host;
    struct map seen; /* what makes two events the same → struct remembered */
    uint64_t serial;
};

struct subject {
    const char *kind;
    struct str api_version, namespace_, name, uid;
    int64_t revision;
    const char *field_path;
};

struct recorder *recorder_create(struct client *client, const char *host)
{
    struct recorder *r = calloc(1, sizeof *r);
    r->client = client;
    r->host = strdup(host);
    return r;
}

static void forget(struct recorder *r, struct str key, struct remembered *m)
{
    map_remove(&r->seen, key);
    free(m->namespace_);
    free(m->name);
    free(m);
}

static void forget_old(struct recorder *r, int64_t older_than_ms)
{
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &r->seen);
    while (map_iter_next(&it, &key, &v)) {
        if (((struct remembered *)v)->last_ms < older_than_ms)
            forget(r, key, v);
    }
}

void recorder_destroy(struct recorder *r)
{
    if (!r)
        return;
    forget_old(r, INT64_MAX);
    map_finish(&r->seen);
    free(r->host);
    free(r);
}

static struct value *involved(struct arena *a, const struct subject *s)
{
    struct value *v = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, s->kind));
    if (s->namespace_.len)
        value_setz(a, v, "namespace", value_string(a, s->namespace_));
    value_setz(a, v, "name", value_string(a, s->name));
    value_setz(a, v, "uid", value_string(a, s->uid));
    if (s->api_version.len)
        value_setz(a, v, "apiVersion", value_string(a, s->api_version));
    if (s->revision)
        value_setz(a, v, "resourceVersion", value_string(a, arena_printf(a, "%lld", (long long)s->revision)));
    if (s->field_path)
        value_setz(a, v, "fieldPath", value_stringz(a, s->field_path));
    return v;
}

static void count_again(struct recorder *r, struct arena *a, struct remembered *m, struct str now)
{
    struct value *patch = value_map(a);
    struct client_call call = {.verb = VERB_PATCH,
                               .resource = resource_find(STR(""), STR("events")),
                               .grace_period_s = -1,
                               .namespace_ = str_from(m->namespace_),
                               .name = str_from(m->name),
                               .body = patch,
                               .patch_type = PATCH_TYPE_MERGE};
    value_setz(a, patch, "count", value_int(a, ++m->count));
    value_setz(a, patch, "lastTimestamp", value_string(a, now));
    client_send(r->client, &call, NULL, NULL);
}

static void record(struct recorder *r, const struct subject *s, const char *type, const char *reason,
                   struct str message)
{
    struct arena *a = arena_create(0);
    int64_t now_ms = clock_wall_ms();
    struct str now = time_format(a, now_ms * 1000);
    struct str key = arena_printf(a, STR_FMT "\n%s\n%s\n%s\n" STR_FMT, STR_ARG(s->uid),
                                  s->field_path ? s->field_path : "", type, reason, STR_ARG(message));
    struct remembered *m = map_get(&r->seen, key);
    struct str namespace_ = s->namespace_.len ? s->namespace_ : STR("default");
    struct value *v, *meta, *source;
    struct client_call call = {.verb = VERB_CREATE,
                               .resource = resource_find(STR(""), STR("events")),
                               .grace_period_s = -1,
                               .namespace_ = namespace_};
    if (m && now_ms - m->last_ms < FORGET_MS) {
        m->last_ms = now_ms;
        count_again(r, a, m, now);
        arena_destroy(a);
        return;
    }
    if (m)
        forget(r, key, m);
    if (r->seen.len > REMEMBERED_MAX)
        forget_old(r, now_ms - FORGET_MS / 10);
    m = calloc(1, sizeof *m);
    *m = (struct remembered){.namespace_ = strndup(namespace_.p, namespace_.len), .count = 1, .last_ms = now_ms};
    m->name = strdup(arena_printf(a, STR_FMT ".%llx", STR_ARG(s->name),
                                  (unsigned long long)(clock_wall_us() * 1000) + r->serial++ % 1000)
                         .p);
    map_put(&r->seen, key, m);
    v = value_map(a);
    meta = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "Event"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, v, "metadata", meta);
    value_setz(a, meta, "name", value_stringz(a, m->name));
    value_setz(a, meta, "namespace", value_string(a, namespace_));
    value_setz(a, v, "involvedObject", involved(a, s));
    value_setz(a, v, "reason", value_stringz(a, reason));
    value_setz(a, v, "message", value_string(a, message));
    source = value_map(a);
    value_setz(a, source, "component", value_stringz(a, "kubelet"));
    value_setz(a, source, "host", value_stringz(a, r->host));
    value_setz(a, v, "source", source);
    value_setz(a, v, "firstTimestamp", value_string(a, now));
    value_setz(a, v, "lastTimestamp", value_string(a, now));
    value_setz(a, v, "count", value_int(a, 1));
    value_setz(a, v, "type", value_stringz(a, type));
    value_setz(a, v, "eventTime", value_null(a));
    value_setz(a, v, "reportingComponent", value_stringz(a, "kubelet"));
    value_setz(a, v, "reportingInstance", value_stringz(a, r->host));
    call.body = v;
    client_send(r->client, &call, NULL, NULL);
    arena_destroy(a);
}

void recorder_event(struct recorder *r, const struct object *about, const char *field_path, const char *type,
                    const char *reason, const char *fmt, ...)
{
    struct arena *a = arena_create(0);
    struct subject s = {.kind = arena_str(a, about->resource->kind).p,
                        .api_version = STR("v1"),
                        .namespace_ = about->namespace_,
                        .name = about->name,
                        .uid = about->uid,
                        .revision = about->revision,
                        .field_path = field_path};
    va_list ap;
    va_start(ap, fmt);
    record(r, &s, type, reason, arena_vprintf(a, fmt, ap));
    va_end(ap);
    arena_destroy(a);
}

void recorder_node_event(struct recorder *r, const char *node, const char *type, const char *reason, const char *fmt,
                         ...)
{
    struct arena *a = arena_create(0);
    struct subject s = {.kind = "Node", .name = str_from(node), .uid = str_from(node)};
    va_list ap;
    va_start(ap, fmt);
    record(r, &s, type, reason, arena_vprintf(a, fmt, ap));
    va_end(ap);
    arena_destroy(a);
}
