/* scale: the number of replicas of a workload, as an autoscaling/v1 Scale made from the workload and written back to
 * it. */
#include "api/patch/patch.h"
#include "api/verbs/subresource.h"

#include "openapi/object/object.h"

struct scaling {
    enum patch_type type;
    struct value *patch; /* NULL: PUT */
};

static struct str selector_text(struct api_request *req, const struct value *v)
{
    struct label_selector s = {0};
    struct err ignored = ERR_INIT;
    const struct value *selector = value_path(v, "spec.selector");
    if (str_eqz(req->resource->name, "replicationcontrollers"))
        label_selector_from_map(req->arena, selector, &s);
    else if (!selector || label_selector_from_value(req->arena, selector, &s, &ignored) < 0)
        return STR("");
    return label_selector_text(req->arena, &s);
}

static struct value *scale_of(struct api_request *req, const struct value *v, int64_t revision)
{
    static const char *const members[] = {"name", "namespace", "uid", "creationTimestamp"};
    struct arena *a = req->arena;
    struct value *s = value_map(a), *metadata = value_map(a), *spec = value_map(a), *status = value_map(a);
    value_setz(a, s, "kind", value_stringz(a, "Scale"));
    value_setz(a, s, "apiVersion", value_stringz(a, "autoscaling/v1"));
    for (size_t i = 0; i < 4; i++) {
        struct value *m = value_getz(value_getz(v, "metadata"), members[i]);
        if (m)
            value_setz(a, metadata, members[i], m);
        if (i == 2)
            value_setz(a, metadata, "resourceVersion", value_string(a, arena_printf(a, "%lld", (long long)revision)));
    }
    value_setz(a, s, "metadata", metadata);
    int64_t replicas = value_path_int(v, "spec.replicas", 0);
    if (replicas)
        value_setz(a, spec, "replicas", value_int(a, replicas));
    value_setz(a, s, "spec", spec);
    value_setz(a, status, "replicas", value_int(a, value_path_int(v, "status.replicas", 0)));
    struct str selector = selector_text(req, v);
    if (selector.len)
        value_setz(a, status, "selector", value_string(a, selector));
    value_setz(a, s, "status", status);
    return s;
}

static void answer_scale(struct write *w, const struct object *o)
{
    api_answer_value(w->req, 200, w->req->subresource->message,
                     scale_of(w->req, object_value(w->req->arena, o), o->revision));
}

static int check_scale(struct api_request *req, const struct value *scale, struct err *err)
{
    struct problems *p = problems_create(req->arena);
    int64_t replicas = value_path_int(scale, "spec.replicas", 0);
    if (replicas < 0)
        problems_add(p, PROBLEM_INVALID, STR("spec.replicas"), value_int(req->arena, replicas),
                     "must be greater than or equal to 0");
    if (p->len) {
        struct api_details *d = ARENA_NEW(req->arena, struct api_details);
        *d = (struct api_details){.name = req->name, .group = STR("autoscaling"), .kind = STR("Scale")};
        req->details = d;
    }
    return problems_err(p, err);
}

static int compute(struct write *w, struct err *err)
{
    struct api_request *req = w->req;
    const struct scaling *s = w->arg;
    struct value *scale;
    int rc = write_load(w, err);
    if (rc < 0)
        return rc;
    if (s->patch)
        rc = patch_apply(req, s->type, req->subresource->message, scale_of(req, w->old_value, w->old->revision),
                         s->patch, &scale, err);
    else
        rc = body_subresource(req, &scale, err);
    if (rc < 0 || (rc = check_scale(req, scale, err)) < 0)
        return rc;
    struct str name = value_path_str(scale, "metadata.name");
    if (name.len && !str_eq(name, req->name))
        return err_set(err, ERR_BAD_REQUEST,
                       "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")",
                       STR_ARG(name), STR_ARG(req->name));
    struct value *v = value_copy(req->arena, w->old_value);
    struct str revision = value_path_str(scale, "metadata.resourceVersion"),
               uid = value_path_str(scale, "metadata.uid");
    value_set_path(req->arena, v, "metadata.resourceVersion",
                   value_string(req->arena, revision.p ? revision : STR("")));
    if (uid.len)
        value_set_path(req->arena, v, "metadata.uid", value_string(req->arena, uid));
    value_set_path(req->arena, v, "spec.replicas", value_int(req->arena, value_path_int(scale, "spec.replicas", 0)));
    return update_compute(w, v, err);
}

void sub_scale(struct api_request *req)
{
    struct err err = ERR_INIT;
    if (req->verb == VERB_GET) {
        const struct object *o = write_find(req, api_store(req), req->namespace_, req->name);
        if (!o)
            api_err_not_found(req, req->name, &err), api_answer_err(req, &err);
        else
            api_answer_value(req, 200, req->subresource->message,
                             scale_of(req, object_value(req->arena, o), o->revision));
        return;
    }
    struct scaling *s = ARENA_NEW(req->arena, struct scaling);
    if (req->verb == VERB_PATCH &&
        (patch_type_of(req, &s->type, &err) < 0 || patch_decode(req, s->type, &s->patch, &err) < 0)) {
        api_answer_err(req, &err);
        return;
    }
    struct write *w = write_create(req, compute);
    w->arg = s;
    w->retry = true;
    w->answer = answer_scale;
    write_run(w);
}
