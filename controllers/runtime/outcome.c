/* What most reconciles answer with, in one line each. */
#include "controllers/runtime/controller.h"

#include "openapi/merge.h"

#include <assert.h>

static struct write *add(struct outcome *out, struct client_call call)
{
    struct write w = {.call = call};
    w.call.grace_period_s = -1;
    ARENA_PUSH(out->arena, out->writes, out->n_writes, out->cap_writes, w);
    return &out->writes[out->n_writes - 1];
}

struct write *outcome_create(struct outcome *out, const struct resource *r, struct str namespace_,
                             const struct value *body)
{
    return add(out, (struct client_call){.verb = VERB_CREATE,
                                         .resource = r,
                                         .namespace_ = namespace_,
                                         .name = value_path_str(body, "metadata.name"),
                                         .body = body});
}

static struct client_call about(const struct object *o, enum verb verb, const char *subresource)
{
    return (struct client_call){.verb = verb,
                                .resource = o->resource,
                                .subresource = subresource ? str_from(subresource) : STR_NULL,
                                .namespace_ = o->namespace_,
                                .name = o->name};
}

struct write *outcome_update(struct outcome *out, const struct object *o, const char *subresource,
                             const struct value *body)
{
    struct client_call call = about(o, VERB_UPDATE, subresource);
    call.body = body;
    return add(out, call);
}

struct write *outcome_patch(struct outcome *out, const struct object *o, const char *subresource, struct value *patch)
{
    struct client_call call = about(o, VERB_PATCH, subresource);
    value_set_path(out->arena, patch, "metadata.uid", value_string(out->arena, o->uid));
    call.body = patch;
    call.patch_type = PATCH_TYPE_MERGE;
    struct write *w = add(out, call);
    w->accept = 1u << -ERR_NOT_FOUND;
    return w;
}

struct write *outcome_modify(struct outcome *out, const struct object *o, const char *subresource, struct value *patch)
{
    struct value *body;
    struct err err = ERR_INIT;
    int rc = merge_patch_apply(out->arena, object_value(out->arena, o), patch, &body, &err);
    assert(rc == 0); /* a patch of our own making is an object */
    struct write *w = outcome_update(out, o, subresource, body);
    w->accept = 1u << -ERR_NOT_FOUND;
    return w;
}

struct write *outcome_delete(struct outcome *out, const struct object *o)
{
    struct client_call call = about(o, VERB_DELETE, NULL);
    call.precondition_uid = o->uid;
    struct write *w = add(out, call);
    w->accept = 1u << -ERR_NOT_FOUND;
    return w;
}

void outcome_event(struct outcome *out, const struct object *object, const char *type, const char *reason,
                   const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct reconcile_event e = {object, type, reason, arena_vprintf(out->arena, fmt, ap)};
    va_end(ap);
    ARENA_PUSH(out->arena, out->events, out->n_events, out->cap_events, e);
}

void outcome_want_live(struct outcome *out, const struct resource *r, struct str namespace_, struct str name)
{
    struct fact_wanted wanted = {.kind = FACT_LIVE_GET, .resource = r, .namespace_ = namespace_, .name = name};
    ARENA_PUSH(out->arena, out->wanted, out->n_wanted, out->cap_wanted, wanted);
}

void outcome_fail(struct outcome *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    out->failed = true;
    out->why = arena_vprintf(out->arena, fmt, ap);
    va_end(ap);
}

void outcome_requeue_at(struct outcome *out, int64_t at_ms)
{
    if (!out->requeue_at_ms || at_ms < out->requeue_at_ms)
        out->requeue_at_ms = at_ms;
}
