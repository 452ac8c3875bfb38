/* How failures look outside: one table from err codes to HTTP statuses and Kubernetes' reasons, and the Status object.
 */
#include "api/status.h"
#include "api/request.h"

#include "openapi/problems.h"

#include <stdio.h>

static const struct {
    int http;
    const char *reason;
} table[-ERR_CODE_MIN + 1] = {
    [-ERR_BAD_REQUEST] = {400, "BadRequest"},
    [-ERR_UNAUTHORIZED] = {401, "Unauthorized"},
    [-ERR_FORBIDDEN] = {403, "Forbidden"},
    [-ERR_NOT_FOUND] = {404, "NotFound"},
    [-ERR_METHOD_NOT_ALLOWED] = {405, "MethodNotAllowed"},
    [-ERR_NOT_ACCEPTABLE] = {406, "NotAcceptable"},
    [-ERR_ALREADY_EXISTS] = {409, "AlreadyExists"},
    [-ERR_CONFLICT] = {409, "Conflict"},
    [-ERR_EXPIRED] = {410, "Expired"},
    [-ERR_TOO_LARGE] = {413, "RequestEntityTooLarge"},
    [-ERR_UNSUPPORTED_MEDIA] = {415, "UnsupportedMediaType"},
    [-ERR_INVALID] = {422, "Invalid"},
    [-ERR_TOO_MANY] = {429, "TooManyRequests"},
    [-ERR_INTERNAL] = {500, "InternalError"},
    [-ERR_UNAVAILABLE] = {503, "ServiceUnavailable"},
    [-ERR_TIMEOUT] = {504, "Timeout"},
    [-ERR_IO] = {500, "InternalError"},
    [-ERR_NO_SPACE] = {500, "InternalError"},
    [-ERR_CORRUPT] = {500, "InternalError"},
    [-ERR_CANCELED] = {504, "Timeout"},
    [-ERR_LIMIT] = {413, "RequestEntityTooLarge"},
    [-ERR_PERMISSION] = {500, "InternalError"},
    [-ERR_BUSY] = {503, "ServiceUnavailable"},
    [-ERR_FENCED] = {503, "ServiceUnavailable"},
};

struct str api_group_resource(struct arena *a, const struct resource *r)
{
    return r->group.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(r->name), STR_ARG(r->group)) : r->name;
}

struct str api_group_kind(struct arena *a, const struct resource *r)
{
    return r->group.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(r->kind), STR_ARG(r->group)) : r->kind;
}

static struct value *cause(struct arena *a, struct str reason, struct str message, struct str field)
{
    struct value *c = value_map(a);
    if (reason.len)
        value_setz(a, c, "reason", value_string(a, reason));
    if (message.len)
        value_setz(a, c, "message", value_string(a, message));
    if (field.len)
        value_setz(a, c, "field", value_string(a, field));
    return c;
}

static struct value *causes(struct arena *a, const struct api_details *d, const struct err *err)
{
    struct value *list = value_list(a);
    if (err->problems)
        for (size_t i = 0; i < err->problems->len; i++) {
            const struct problem *p = &err->problems->items[i];
            value_append(a, list, cause(a, str_from(problem_reason(p->type)), p->message, p->field));
        }
    if (d)
        for (size_t i = 0; i < d->n_causes; i++)
            value_append(a, list, cause(a, d->causes[i].reason, d->causes[i].message, d->causes[i].field));
    if (!list->list.len && err->code == ERR_TIMEOUT && strstr(err->message, "Too large resource version"))
        value_append(a, list, cause(a, STR("ResourceVersionTooLarge"), STR("Too large resource version"), STR_NULL));
    if (!list->list.len && err->code <= ERR_INTERNAL && table[-err->code].http == 500)
        value_append(a, list, cause(a, STR_NULL, arena_str(a, str_from(err->message)), STR_NULL));
    return list->list.len ? list : NULL;
}

/* Upstream names the object in these failures only. */
static bool names_object(enum err_code code)
{
    return code == ERR_FORBIDDEN || code == ERR_NOT_FOUND || code == ERR_ALREADY_EXISTS || code == ERR_CONFLICT ||
           code == ERR_INVALID;
}

static struct value *details(struct arena *a, const struct api_request *req, const struct err *err)
{
    struct value *v = value_map(a);
    struct api_details d = {0};
    if (req && req->details)
        d = *req->details;
    else if (req && req->resource && names_object(err->code)) {
        d.name = req->name;
        d.group = req->resource->group;
        d.kind = err->code == ERR_INVALID ? req->resource->kind : req->resource->name;
    }
    if (err->code == ERR_INVALID && strstr(err->message, "Options.meta.k8s.io \"\" is invalid")) {
        d = (struct api_details){.group = STR("meta.k8s.io")};
        d.kind = arena_str(a, str_sub(str_from(err->message), 0, (size_t)(strchr(err->message, '.') - err->message)));
    }
    if (d.name.len)
        value_setz(a, v, "name", value_string(a, d.name));
    if (d.group.len)
        value_setz(a, v, "group", value_string(a, d.group));
    if (d.kind.len)
        value_setz(a, v, "kind", value_string(a, d.kind));
    if (d.uid.len)
        value_setz(a, v, "uid", value_string(a, d.uid));
    struct value *list = causes(a, &d, err);
    if (list)
        value_setz(a, v, "causes", list);
    if (err->retry_after_s)
        value_setz(a, v, "retryAfterSeconds", value_int(a, err->retry_after_s));
    /* Upstream's router and its refusals of bare paths have details with nothing in them. */
    bool always = names_object(err->code) || err->code == ERR_METHOD_NOT_ALLOWED;
    return v->map.len || (always && req && req->details) ? v : NULL;
}

static struct str message(struct arena *a, const struct api_request *req, const struct err *err)
{
    struct str m = arena_str(a, str_from(err->message));
    if (err->problems && req && req->resource && !str_contains(m, STR(" is invalid: "))) {
        if (err->problems->len) /* the err's own copy may have been cut short */
            m = problems_text(err->problems);
        struct str kind = api_group_kind(a, req->resource);
        struct str name = req->name;
        if (req->details) {
            name = req->details->name;
            kind = req->details->group.len
                       ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(req->details->kind), STR_ARG(req->details->group))
                       : req->details->kind;
        }
        return arena_printf(a, STR_FMT " \"" STR_FMT "\" is invalid: " STR_FMT, STR_ARG(kind), STR_ARG(name),
                            STR_ARG(m));
    }
    if (table[-err->code].http == 500 && !str_starts(m, STR("Internal error occurred: ")))
        return arena_printf(a, "Internal error occurred: " STR_FMT, STR_ARG(m));
    if (err->code == ERR_TIMEOUT && !str_starts(m, STR("Timeout: ")))
        return arena_printf(a, "Timeout: " STR_FMT, STR_ARG(m));
    return m;
}

int api_status_code(const struct err *err)
{
    return err->code >= ERR_CODE_MIN && err->code < 0 ? table[-err->code].http : 500;
}

const char *api_status_reason(const struct err *err)
{
    return err->code >= ERR_CODE_MIN && err->code < 0 ? table[-err->code].reason : "InternalError";
}

struct value *api_status_value(struct arena *a, const struct api_request *req, const struct err *err, int *ret_code)
{
    struct err e = *err;
    if (e.code >= 0 || e.code < ERR_CODE_MIN)
        e.code = ERR_INTERNAL;
    if (e.code == ERR_TIMEOUT && !e.retry_after_s && strstr(e.message, "Too large resource version"))
        e.retry_after_s = 1;
    struct value *v = value_map(a), *metadata = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "Status"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    if (req && req->details && req->details->continue_.len)
        value_setz(a, metadata, "continue", value_string(a, req->details->continue_));
    *ret_code = table[-e.code].http;
    value_setz(a, v, "metadata", metadata);
    value_setz(a, v, "status", value_stringz(a, "Failure"));
    if (req && req->details && req->details->bare) {
        value_setz(a, v, "message", value_string(a, arena_str(a, str_from(e.message))));
        value_setz(a, v, "code", value_int(a, *ret_code));
        return v;
    }
    value_setz(a, v, "message", value_string(a, message(a, req, &e)));
    value_setz(a, v, "reason", value_stringz(a, table[-e.code].reason));
    struct value *d = details(a, req, &e);
    if (d)
        value_setz(a, v, "details", d);
    value_setz(a, v, "code", value_int(a, *ret_code));
    return v;
}

/* ---- the sentences that several verbs say ---- */

int api_err_bare(struct api_request *req, struct err *err, const char *fmt, ...)
{
    char text[ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct api_details *d = ARENA_NEW(req->arena, struct api_details);
    d->bare = true;
    req->details = d;
    return err_set(err, ERR_INTERNAL, "%s", text);
}

int api_err_no_resource(struct api_request *req, struct err *err)
{
    req->details = ARENA_NEW(req->arena, struct api_details);
    return err_set(err, ERR_NOT_FOUND, "the server could not find the requested resource");
}

int api_err_no_method(struct api_request *req, struct err *err)
{
    req->details = ARENA_NEW(req->arena, struct api_details);
    return err_set(err, ERR_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

int api_err_not_found(const struct api_request *req, struct str name, struct err *err)
{
    struct str gr = api_group_resource(req->arena, req->resource);
    return err_set(err, ERR_NOT_FOUND, STR_FMT " \"" STR_FMT "\" not found", STR_ARG(gr), STR_ARG(name));
}

int api_err_forbidden(const struct api_request *req, struct str name, struct err *err, const char *fmt, ...)
{
    char why[ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    struct str gr = api_group_resource(req->arena, req->resource);
    if (!name.len)
        return err_set(err, ERR_FORBIDDEN, STR_FMT " is forbidden: %s", STR_ARG(gr), why);
    return err_set(err, ERR_FORBIDDEN, STR_FMT " \"" STR_FMT "\" is forbidden: %s", STR_ARG(gr), STR_ARG(name), why);
}

int api_err_conflict(const struct api_request *req, struct str name, struct err *err, const char *fmt, ...)
{
    char why[ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    struct str gr = api_group_resource(req->arena, req->resource);
    return err_set(err, ERR_CONFLICT, "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT "\": %s", STR_ARG(gr),
                   STR_ARG(name), why);
}

int api_err_modified(const struct api_request *req, struct str name, struct err *err)
{
    return api_err_conflict(
        req, name, err, "the object has been modified; please apply your changes to the latest version and try again");
}
