/* binding: the scheduler's word on where a pod runs. */
#include "api/verbs/subresource.h"

#include "base/clock.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"

static int conflict(struct api_request *req, struct err *err, const char *what, struct str node)
{
    return err_set(err, ERR_CONFLICT,
                   "Operation cannot be fulfilled on pods/binding \"" STR_FMT "\": pod " STR_FMT " %s%s" STR_FMT "%s",
                   STR_ARG(req->name), STR_ARG(req->name), what, node.len ? "\"" : "", STR_ARG(node),
                   node.len ? "\"" : "");
}

static int check_target(struct api_request *req, const struct value *binding, struct err *err)
{
    struct problems *p = problems_create(req->arena);
    struct str kind = value_path_str(binding, "target.kind");
    struct value bad = {.kind = VALUE_STRING, .string = kind};
    if (kind.len && !str_eqz(kind, "Node"))
        problems_add_unsupported(p, STR("target.kind"), &bad, (struct str[]){STR("Node"), STR("<empty>"), STR_NULL});
    if (!value_path_str(binding, "target.name").len)
        problems_add(p, PROBLEM_REQUIRED, STR("target.name"), NULL, "%s", "");
    return problems_err(p, err);
}

static void set_scheduled(struct arena *a, struct value *v)
{
    struct value *conditions = value_ensure_list(a, v, "status.conditions"), *c = NULL;
    for (size_t i = 0; i < value_len(conditions); i++)
        if (str_eqz(value_path_str(value_at(conditions, i), "type"), "PodScheduled"))
            c = value_at(conditions, i);
    if (c && str_eqz(value_path_str(c, "status"), "True"))
        return;
    if (!c) {
        c = value_map(a);
        value_append(a, conditions, c);
    }
    int64_t observed = value_path_int(v, "metadata.generation", 0);
    value_removez(c, "reason");
    value_removez(c, "message");
    value_setz(a, c, "type", value_stringz(a, "PodScheduled"));
    if (observed)
        value_setz(a, c, "observedGeneration", value_int(a, observed));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "lastProbeTime", value_null(a));
    value_setz(a, c, "lastTransitionTime", value_string(a, time_format(a, clock_wall_us())));
}

static void merge_map(struct arena *a, struct value *v, const char *path, const struct value *from)
{
    for (size_t i = 0; from && from->kind == VALUE_MAP && i < from->map.len; i++)
        value_set(a, value_ensure_map(a, v, path), from->map.members[i].key, from->map.members[i].value);
}

static int compute(struct write *w, struct err *err)
{
    struct api_request *req = w->req;
    struct arena *a = req->arena;
    const struct value *binding = w->arg;
    int rc = write_load(w, err);
    if (rc < 0)
        return rc;
    struct value *v = w->old_value;
    struct str node = value_path_str(v, "spec.nodeName"), uid = value_path_str(binding, "metadata.uid");
    if (uid.len && !str_eq(uid, w->old->uid))
        return api_err_conflict(req, req->name, err,
                                "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                                STR_ARG(uid), STR_ARG(w->old->uid));
    if (w->old->deletion_s)
        return conflict(req, err, "is being deleted, cannot be assigned to a host", STR_NULL);
    if (node.len)
        return conflict(req, err, "is already assigned to node ", node);
    if (value_len(value_path(v, "spec.schedulingGates")))
        return conflict(req, err, "has non-empty .spec.schedulingGates", STR_NULL);
    value_set_path(a, v, "spec.nodeName", value_string(a, value_path_str(binding, "target.name")));
    merge_map(a, v, "metadata.annotations", value_path(binding, "metadata.annotations"));
    set_scheduled(a, v);
    w->now = v;
    return 0;
}

void sub_answer_created(struct api_request *req)
{
    struct arena *a = req->arena;
    struct value *v = value_map(a);
    value_setz(a, v, "kind", value_stringz(a, "Status"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, v, "metadata", value_map(a));
    value_setz(a, v, "status", value_stringz(a, "Success"));
    value_setz(a, v, "code", value_int(a, 201));
    api_answer_value(req, 201, NULL, v);
}

static void answer(struct write *w, const struct object *o)
{
    (void)o;
    sub_answer_created(w->req);
}

/* Also the `bindings` resource, whose path names no pod: there the body does. */
void sub_binding(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct value *binding;
    int rc = req->subresource ? body_subresource(req, &binding, &err)
                              : body_decode(req, req->version->message, STR("Binding"), STR("v1"), &binding, &err);
    if (rc == 0) {
        struct str name = value_path_str(binding, "metadata.name");
        if (!req->name.len)
            req->name = name.p ? name : STR("");
        if (!req->subresource)
            req->resource = resource_find(STR(""), STR("pods"));
        if (name.len && !str_eq(name, req->name))
            rc = err_set(&err, ERR_BAD_REQUEST, "name in URL does not match name in Binding object");
        else
            rc = check_target(req, binding, &err);
    }
    if (rc < 0) {
        api_answer_err(req, &err);
        return;
    }
    struct write *w = write_create(req, compute);
    w->arg = binding;
    w->retry = true;
    w->answer = answer;
    write_run(w);
}
