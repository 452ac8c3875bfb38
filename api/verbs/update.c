/* PUT: replace what is stored, as far as the client may. Patches and status updates end here too. */
#include "api/admission/admission.h"
#include "api/registry/registry.h"
#include "api/verbs/subresource.h"
#include "api/verbs/verb.h"

#include "openapi/object/object.h"
#include "openapi/validate.h"

static bool is_status(const struct api_request *req)
{
    return req->subresource && str_eqz(req->subresource->name, "status");
}

static int check_identity(struct write *w, struct value *metadata, struct err *err)
{
    struct api_request *req = w->req;
    struct str name = value_str(value_getz(metadata, "name")), ns = value_str(value_getz(metadata, "namespace"));
    if (!name.len && req->exchange && req->verb == VERB_UPDATE && !req->subresource)
        return err_set(err, ERR_BAD_REQUEST,
                       "the name of the object (" STR_FMT " based on URL) was undeterminable: name must be provided",
                       STR_ARG(req->name));
    if (name.len && !str_eq(name, req->name))
        return err_set(err, ERR_BAD_REQUEST,
                       "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")",
                       STR_ARG(name), STR_ARG(req->name));
    if (ns.len && req->resource->namespaced && !str_eq(ns, req->namespace_))
        return err_set(err, ERR_BAD_REQUEST,
                       "the namespace of the provided object does not match the namespace sent on the request");
    value_setz(req->arena, metadata, "name", value_string(req->arena, req->name));
    if (req->resource->namespaced)
        value_setz(req->arena, metadata, "namespace", value_string(req->arena, req->namespace_));
    return 0;
}

static int check_preconditions(struct write *w, struct value *metadata, const struct registry_rules *rules,
                               struct err *err)
{
    struct api_request *req = w->req;
    struct str version = value_str(value_getz(metadata, "resourceVersion")),
               uid = value_str(value_getz(metadata, "uid"));
    if (uid.len && !str_eq(uid, w->old->uid))
        return api_err_conflict(req, req->name, err,
                                "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                                STR_ARG(uid), STR_ARG(w->old->uid));
    if (!version.len || str_eqz(version, "0")) {
        if (rules->flags & REGISTRY_CONDITIONAL) {
            struct problems *p = problems_create(req->arena);
            problems_add(p, PROBLEM_INVALID, STR("metadata.resourceVersion"), value_int(req->arena, 0),
                         "must be specified for an update");
            return problems_err(p, err);
        }
        return 0;
    }
    int64_t revision;
    if (!str_to_i64(version, &revision)) {
        struct problems *p = problems_create(req->arena);
        problems_add(p, PROBLEM_INVALID, STR("metadata.resourceVersion"), value_string(req->arena, version),
                     "strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(version));
        return problems_err(p, err);
    }
    if (revision != w->old->revision)
        return api_err_modified(req, req->name, err);
    return 0;
}

static void carry(struct arena *a, struct value *to, const struct value *from, const char *member)
{
    struct value *v = value_getz(from, member);
    if (v)
        value_setz(a, to, member, v);
    else
        value_removez(to, member);
}

/* What an update cannot change, whatever the client sent. */
static void carry_system_fields(struct arena *a, struct value *metadata, const struct value *old)
{
    static const char *const members[] = {
        "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        carry(a, metadata, old, members[i]);
    value_removez(metadata, "resourceVersion");
    value_removez(metadata, "managedFields");
    if (!value_getz(metadata, "generateName"))
        carry(a, metadata, old, "generateName");
}

/* Of a status update only the status counts, and of the metadata what is not the spec's business. */
static struct value *keep_all_but_status(struct api_request *req, struct value *v, const struct value *old,
                                         uint32_t flags)
{
    struct arena *a = req->arena;
    struct value *out = value_copy(a, old);
    struct value *metadata = value_getz(v, "metadata");
    if (flags & REGISTRY_STATUS_LABELS)
        carry(a, metadata, value_getz(old, "metadata"), "labels");
    carry(a, metadata, value_getz(old, "metadata"), "ownerReferences");
    value_setz(a, out, "metadata", metadata);
    carry(a, out, v, "status");
    return out;
}

static bool desired_changed(const struct registry_rules *rules, const struct value *v, const struct value *old)
{
    const char *member = rules->desired ? rules->desired : "spec";
    if (!value_semantic_equal(value_getz(v, member), value_getz(old, member)))
        return true;
    return rules->desired && strcmp(member, "endpoints") == 0 &&
           (!value_semantic_equal(value_getz(v, "ports"), value_getz(old, "ports")) ||
            !value_semantic_equal(value_path(v, "metadata.labels"), value_path(old, "metadata.labels")));
}

bool update_completes_deletion(const struct write *w)
{
    const struct value *v = w->now;
    if (!value_path_str(v, "metadata.deletionTimestamp").len || value_len(value_path(v, "metadata.finalizers")))
        return false;
    if (value_path_int(v, "metadata.deletionGracePeriodSeconds", 0) != 0)
        return false;
    const struct registry_rules *rules = registry_rules_of(w->resource);
    return !rules->may_leave || rules->may_leave(v);
}

static int prepare(struct write *w, struct registry_call *call, const struct registry_rules *rules, struct value **v,
                   struct problems *p)
{
    struct api_request *req = w->req;
    const struct value *old = w->old_value;
    if (is_status(req)) {
        *v = keep_all_but_status(req, *v, old, rules->flags);
        if (rules->prepare_status)
            rules->prepare_status(call, *v, old);
        validate_update_status(p, req->resource, *v, old);
        return 0;
    }
    if (req->subresource)
        *v = sub_restrict(req, *v, old);
    else if (registry_has_status(w->resource))
        carry(req->arena, *v, old, "status");
    if (rules->prepare_update)
        rules->prepare_update(call, *v, old);
    if (rules->flags & REGISTRY_GENERATION && desired_changed(rules, *v, old))
        value_set_path(req->arena, *v, "metadata.generation",
                       value_int(req->arena, value_path_int(old, "metadata.generation", 0) + 1));
    struct str sub = req->subresource ? req->subresource->name : STR("");
    if (str_eqz(sub, "ephemeralcontainers") || str_eqz(sub, "resize"))
        validate_update_subresource(p, req->resource, sub, *v, old);
    else if (str_eqz(sub, "approval"))
        validate_update_status(p, req->resource, *v, old);
    else
        validate_update(p, req->resource, *v, old);
    return 0;
}

int update_compute(struct write *w, struct value *v, struct err *err)
{
    struct api_request *req = w->req;
    struct arena *a = req->arena;
    const struct registry_rules *rules = registry_rules_of(w->resource);
    struct value *metadata = value_ensure_map(a, v, "metadata");
    int rc = check_identity(w, metadata, err);
    if (rc < 0 || (rc = check_preconditions(w, metadata, rules, err)) < 0)
        return rc;
    carry_system_fields(a, metadata, value_getz(w->old_value, "metadata"));
    struct admission_call call = {.req = req,
                                  .arena = a,
                                  .server = req->server,
                                  .verb = VERB_UPDATE,
                                  .resource = w->resource,
                                  .subresource = req->subresource ? req->subresource->name : STR_NULL,
                                  .namespace_ = req->namespace_,
                                  .name = req->name,
                                  .object = v,
                                  .old = w->old_value,
                                  .write = w};
    if ((rc = admission_mutate(req->server->admission, &call, err)) != 0)
        return rc;
    struct registry_call rules_call = {.arena = a, .server = req->server, .req = req, .write = w};
    struct problems *p = problems_create(a);
    prepare(w, &rules_call, rules, &v, p);
    if (rules->validate && !is_status(req))
        rules->validate(&rules_call, p, v, w->old_value);
    if ((rc = problems_err(p, err)) < 0)
        return rc;
    if (rules->allocate && !is_status(req) && (rc = rules->allocate(&rules_call, v, w->old_value, err)) < 0)
        return rc;
    if (rules->warn && req->exchange && !is_status(req))
        rules->warn(&rules_call, v, w->old_value);
    call.object = v;
    if ((rc = admission_validate(req->server->admission, &call, err)) < 0)
        return rc;
    w->now = v;
    w->ttl_s = rules->ttl_s;
    if (w->old->deletion_s && update_completes_deletion(w)) {
        if (rules->release)
            rules->release(&rules_call, v);
        w->now = NULL;
        w->remove = true;
    }
    return 0;
}

static int compute(struct write *w, struct err *err)
{
    struct api_request *req = w->req;
    struct value *v;
    int rc = body_object(req, &v, err);
    if (rc < 0)
        return rc;
    rc = write_load(w, err);
    w->status = 200;
    if (rc == ERR_NOT_FOUND && !req->subresource && registry_rules_of(w->resource)->flags & REGISTRY_CREATE_ON_UPDATE) {
        struct value *metadata = value_ensure_map(req->arena, v, "metadata");
        if (value_str(value_getz(metadata, "resourceVersion")).len || value_str(value_getz(metadata, "uid")).len)
            return rc;
        if ((rc = check_identity(w, metadata, err)) < 0)
            return rc;
        w->status = 201;
        return create_compute(w, v, err);
    }
    return rc < 0 ? rc : update_compute(w, v, err);
}

static bool raced_creation(struct write *w)
{
    (void)w;
    return true;
}

void verb_update(struct api_request *req)
{
    struct write *w = write_create(req, compute);
    w->exists = raced_creation;
    w->retry = true; /* a revision the client named is compared anew in each attempt */
    write_run(w);
}
