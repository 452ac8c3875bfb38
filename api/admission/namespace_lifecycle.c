#include "api/admission/admission.h"

#include "openapi/object/object.h"

static bool immortal(struct str name)
{
    return str_eqz(name, "default") || str_eqz(name, "kube-system") || str_eqz(name, "kube-public");
}

static int absent(struct admission_call *c, struct err *err)
{
    struct api_details *d = ARENA_NEW(c->arena, struct api_details);
    *d = (struct api_details){.name = c->namespace_, .kind = STR("namespaces")};
    c->req->details = d;
    return err_set(err, ERR_NOT_FOUND, "namespaces \"" STR_FMT "\" not found", STR_ARG(c->namespace_));
}

static int terminating(struct admission_call *c, struct err *err)
{
    struct api_details *d = ARENA_NEW(c->arena, struct api_details);
    struct api_cause *cause = ARENA_NEW(c->arena, struct api_cause);
    *cause = (struct api_cause){
        .reason = STR("NamespaceTerminating"),
        .message = arena_printf(c->arena, "namespace " STR_FMT " is being terminated", STR_ARG(c->namespace_)),
        .field = STR("metadata.namespace")};
    *d = (struct api_details){.name = c->name,
                              .group = c->req->resource->group,
                              .kind = c->req->resource->name,
                              .causes = cause,
                              .n_causes = 1};
    c->req->details = d;
    return api_err_forbidden(c->req, c->name, err,
                             "unable to create new content in namespace " STR_FMT " because it is being terminated",
                             STR_ARG(c->namespace_));
}

static int check(struct admission_call *c, struct err *err)
{
    if (c->verb == VERB_DELETE && admission_is(c, "", "namespaces") && immortal(c->name))
        return api_err_forbidden(c->req, c->name, err, "this namespace may not be deleted");
    if (c->verb != VERB_CREATE || !c->resource->namespaced)
        return 0;
    const struct object *ns = admission_find(c, "", "namespaces", STR(""), c->namespace_);
    if (!ns)
        return absent(c, err);
    return ns->deletion_s ? terminating(c, err) : 0;
}

static int check_creation(struct admission_call *c, struct err *err)
{
    return c->verb == VERB_CREATE ? check(c, err) : 0;
}

static int check_deletion(struct admission_call *c, struct err *err)
{
    return c->verb == VERB_DELETE ? check(c, err) : 0;
}

const struct admission_plugin admission_namespace_lifecycle = {"NamespaceLifecycle", check_creation, check_deletion};
