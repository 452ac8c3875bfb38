/* POST: a new object. */
#include "api/admission/admission.h"
#include "api/registry/registry.h"
#include "api/verbs/verb.h"

#include "base/clock.h"
#include "openapi/meta/identity.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"
#include "openapi/validate.h"

#define GENERATE_TRIES 8

/* Name and namespace: the path and the body must agree. */
static int settle_identity(struct write *w, struct value *metadata, struct err *err)
{
    struct api_request *req = w->req;
    struct str ns = value_str(value_getz(metadata, "namespace"));
    if (req->resource->namespaced) {
        if (ns.len && !str_eq(ns, req->namespace_))
            return err_set(err, ERR_BAD_REQUEST,
                           "the namespace of the provided object does not match the namespace sent on the request");
        value_setz(req->arena, metadata, "namespace", value_string(req->arena, req->namespace_));
    } else if (ns.len) {
        return err_set(err, ERR_BAD_REQUEST, "namespace may not be set on a cluster-scoped object");
    }
    struct str name = value_str(value_getz(metadata, "name"));
    if (!name.len && value_str(value_getz(metadata, "generateName")).len) {
        name = name_generate(req->arena, value_str(value_getz(metadata, "generateName")));
        value_setz(req->arena, metadata, "name", value_string(req->arena, name));
    }
    req->name = name.p ? name : STR("");
    return 0;
}

/* What the system alone says about a new object. */
static void fill_system_fields(struct arena *a, struct value *v, const struct registry_rules *rules)
{
    struct value *metadata = value_ensure_map(a, v, "metadata");
    value_removez(metadata, "selfLink");
    value_removez(metadata, "deletionTimestamp");
    value_removez(metadata, "deletionGracePeriodSeconds");
    value_removez(metadata, "managedFields");
    value_removez(metadata, "generation");
    value_setz(a, metadata, "uid", value_string(a, uuid_new(a)));
    value_setz(a, metadata, "creationTimestamp", value_string(a, time_format(a, clock_wall_us())));
    if (rules->flags & REGISTRY_GENERATION)
        value_setz(a, metadata, "generation", value_int(a, 1));
}

int create_compute(struct write *w, struct value *v, struct err *err)
{
    struct api_request *req = w->req;
    struct arena *a = req->arena;
    const struct registry_rules *rules = registry_rules_of(w->resource);
    struct value *metadata = value_ensure_map(a, v, "metadata");
    if (value_str(value_getz(metadata, "resourceVersion")).len)
        return api_err_bare(req, err, "resourceVersion should not be set on objects to be created");
    int rc = settle_identity(w, metadata, err);
    if (rc < 0)
        return rc;
    struct admission_call call = {.req = req,
                                  .arena = a,
                                  .server = req->server,
                                  .verb = VERB_CREATE,
                                  .resource = w->resource,
                                  .namespace_ = req->namespace_,
                                  .name = req->name,
                                  .object = v,
                                  .write = w};
    if ((rc = admission_mutate(req->server->admission, &call, err)) != 0)
        return rc;
    fill_system_fields(a, v, rules);
    if (registry_has_status(w->resource) && !(rules->flags & REGISTRY_KEEP_STATUS))
        value_setz(a, v, "status", value_map(a));
    struct registry_call rc_call = {.arena = a, .server = req->server, .req = req, .write = w};
    if (rules->prepare_create)
        rules->prepare_create(&rc_call, v);
    struct problems *p = problems_create(a);
    validate_create(p, req->resource, v);
    if (rules->validate)
        rules->validate(&rc_call, p, v, NULL);
    if ((rc = problems_err(p, err)) < 0)
        return rc;
    if (rules->allocate && (rc = rules->allocate(&rc_call, v, NULL, err)) < 0)
        return rc;
    if (rules->warn && req->exchange)
        rules->warn(&rc_call, v, NULL);
    if ((rc = admission_validate(req->server->admission, &call, err)) < 0)
        return rc;
    w->ttl_s = rules->ttl_s;
    w->now = v;
    return 0;
}

void create_answer_exists(struct api_request *req, const struct object *existing)
{
    struct err err = ERR_INIT;
    struct str gr = api_group_resource(req->arena, req->resource);
    if (!existing)
        existing = write_find(req, api_store(req), req->namespace_, req->name);
    err_set(&err, ERR_ALREADY_EXISTS, "%s" STR_FMT " \"" STR_FMT "\" already exists",
            existing && existing->deletion_s ? "object is being deleted: " : "", STR_ARG(gr), STR_ARG(req->name));
    api_answer_err(req, &err);
}

/* An existing key: ours under a generated name, or one that rides along (an address): both are worth another try. */
bool create_exists(struct write *w)
{
    struct api_request *req = w->req;
    const struct object *existing = write_find(req, w->resource, req->namespace_, req->name);
    if (!existing)
        return true;
    bool generated = w->arg != NULL;
    return generated && w->attempts + 1 < GENERATE_TRIES;
}

static int compute(struct write *w, struct err *err)
{
    struct value *v;
    int rc = body_object(w->req, &v, err);
    if (rc < 0)
        return rc;
    w->arg = value_path_str(v, "metadata.name").len ? NULL : w; /* the name is generated */
    return create_compute(w, v, err);
}

void verb_create(struct api_request *req)
{
    struct write *w = write_create(req, compute);
    w->status = 201;
    w->exists = create_exists;
    w->retry = true; /* a claim that was lost: choose another */
    write_run(w);
}
