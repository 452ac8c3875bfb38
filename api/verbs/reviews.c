/* Kinds that are questions: who is this token, who am I, may I. Nothing of them is stored. */
#include "api/verbs/reviews.h"

#include "api/chain/authn.h"
#include "api/chain/rbac.h"
#include "base/clock.h"
#include "openapi/meta/time.h"

static struct value *user_info(struct arena *a, const struct api_user *u)
{
    struct value *v = value_map(a), *groups = value_list(a);
    value_setz(a, v, "username", value_string(a, u->name));
    if (u->uid.len)
        value_setz(a, v, "uid", value_string(a, u->uid));
    for (size_t i = 0; i < u->n_groups; i++)
        value_append(a, groups, value_string(a, u->groups[i]));
    if (u->n_groups)
        value_setz(a, v, "groups", groups);
    if (value_len(u->extra))
        value_setz(a, v, "extra", value_copy(a, u->extra));
    return v;
}

static int token_review(struct api_request *req, struct value *v, struct err *err)
{
    struct arena *a = req->arena;
    struct str token = value_path_str(v, "spec.token");
    const struct value *list = value_path(v, "spec.audiences");
    struct str *audiences = ARENA_ARRAY(a, struct str, value_len(list) + 1);
    const struct str *matched = NULL;
    const struct api_user *user = NULL;
    size_t n_matched = 0;
    struct value *status = value_map(a);
    for (size_t i = 0; i < value_len(list); i++)
        audiences[i] = value_str(value_at(list, i));
    if (!token.len)
        return err_set(err, ERR_BAD_REQUEST, "token is required for TokenReview in authentication");
    struct err why = ERR_INIT;
    int rc = authn_token(req->server->authn, a, token, audiences, value_len(list), &user, &matched, &n_matched, &why);
    if (rc == 0) {
        struct value *out = value_list(a);
        value_setz(a, status, "authenticated", value_bool(a, true));
        value_setz(a, status, "user", user_info(a, user));
        for (size_t i = 0; i < n_matched; i++)
            value_append(a, out, value_string(a, matched[i]));
        if (n_matched)
            value_setz(a, status, "audiences", out);
    } else {
        value_setz(a, status, "user", value_map(a));
        if (rc < 0)
            value_setz(a, status, "error", value_string(a, arena_str(a, str_from(why.message))));
    }
    value_setz(a, v, "status", status);
    return 0;
}

static int self_subject_review(struct api_request *req, struct value *v, struct err *err)
{
    (void)err;
    value_set_path(req->arena, v, "metadata.creationTimestamp",
                   value_string(req->arena, time_format(req->arena, clock_wall_us())));
    value_set_path(req->arena, v, "status.userInfo", user_info(req->arena, req->user));
    return 0;
}

/* ---- may somebody do something ---- */

static struct api_attributes attributes_of(const struct value *spec)
{
    const struct value *r = value_getz(spec, "resourceAttributes"), *n = value_getz(spec, "nonResourceAttributes");
    if (n)
        return (struct api_attributes){
            .non_resource = true, .verb = value_path_str(n, "verb"), .path = value_path_str(n, "path")};
    return (struct api_attributes){.verb = value_path_str(r, "verb"),
                                   .group = value_path_str(r, "group"),
                                   .resource = value_path_str(r, "resource"),
                                   .subresource = value_path_str(r, "subresource"),
                                   .namespace_ = value_path_str(r, "namespace"),
                                   .name = value_path_str(r, "name")};
}

static int check_attributes(struct api_request *req, const struct value *spec, bool self, struct err *err)
{
    struct problems *p = problems_create(req->arena);
    const struct value *r = value_getz(spec, "resourceAttributes"), *n = value_getz(spec, "nonResourceAttributes");
    if (r && n)
        problems_add(p, PROBLEM_INVALID, STR("spec.nonResourceAttributes"), n,
                     "cannot be specified in combination with resourceAttributes");
    if (!r && !n)
        problems_add(p, PROBLEM_INVALID, STR("spec.resourceAttributes"), value_null(req->arena),
                     "exactly one of nonResourceAttributes or resourceAttributes must be specified");
    if (!self && !value_path_str(spec, "user").len && !value_len(value_getz(spec, "groups")))
        problems_add(p, PROBLEM_INVALID, STR("spec.user"), value_stringz(req->arena, ""),
                     "at least one of user or group must be specified");
    return problems_err(p, err);
}

static void decide(struct api_request *req, struct value *v, const struct api_user *user,
                   const struct api_attributes *at)
{
    struct arena *a = req->arena;
    struct value *status = value_map(a);
    bool allowed = !req->server->rbac || rbac_authorize(req->server->rbac, user, at) == 0;
    value_setz(a, status, "allowed", value_bool(a, allowed));
    struct str reason = allowed ? STR_NULL : rbac_reason(req->server->rbac, a, user, at);
    if (reason.len)
        value_setz(a, status, "reason", value_string(a, reason));
    value_setz(a, v, "status", status);
}

static int self_access_review(struct api_request *req, struct value *v, struct err *err)
{
    const struct value *spec = value_getz(v, "spec");
    int rc = check_attributes(req, spec, true, err);
    if (rc < 0)
        return rc;
    struct api_attributes at = attributes_of(spec);
    decide(req, v, req->user, &at);
    return 0;
}

static int access_review(struct api_request *req, struct value *v, struct err *err)
{
    const struct value *spec = value_getz(v, "spec"), *groups = value_getz(spec, "groups");
    int rc = check_attributes(req, spec, false, err);
    if (rc < 0)
        return rc;
    struct str *names = ARENA_ARRAY(req->arena, struct str, value_len(groups) + 1);
    for (size_t i = 0; i < value_len(groups); i++)
        names[i] = value_str(value_at(groups, i));
    struct api_user user = {.name = value_path_str(spec, "user"),
                            .uid = value_path_str(spec, "uid"),
                            .groups = names,
                            .n_groups = value_len(groups),
                            .extra = value_getz(spec, "extra")};
    struct api_attributes at = attributes_of(spec);
    decide(req, v, &user, &at);
    return 0;
}

static int local_access_review(struct api_request *req, struct value *v, struct err *err)
{
    if (!str_eq(value_path_str(v, "spec.resourceAttributes.namespace"), req->namespace_)) {
        struct problems *p = problems_create(req->arena);
        problems_add(p, PROBLEM_INVALID, STR("spec.resourceAttributes.namespace"),
                     value_path(v, "spec.resourceAttributes.namespace"), "must match metadata.namespace");
        return problems_err(p, err);
    }
    return access_review(req, v, err);
}

static int rules_review(struct api_request *req, struct value *v, struct err *err)
{
    struct str ns = value_path_str(v, "spec.namespace");
    if (!ns.len)
        return err_set(err, ERR_BAD_REQUEST, "no namespace on request");
    value_setz(req->arena, v, "status", rbac_rules_review(req->server->rbac, req->arena, req->user, ns));
    return 0;
}

static const struct {
    const char *resource;
    int (*review)(struct api_request *req, struct value *v, struct err *err);
} reviews[] = {
    {"tokenreviews", token_review},
    {"selfsubjectreviews", self_subject_review},
    {"subjectaccessreviews", access_review},
    {"selfsubjectaccessreviews", self_access_review},
    {"localsubjectaccessreviews", local_access_review},
    {"selfsubjectrulesreviews", rules_review},
};

bool verb_review(struct api_request *req)
{
    for (size_t i = 0; i < sizeof reviews / sizeof *reviews; i++) {
        if (!str_eqz(req->resource->name, reviews[i].resource))
            continue;
        struct err err = ERR_INIT;
        struct value *v;
        int rc = body_decode(req, req->version->message, req->resource->kind, api_request_version(req), &v, &err);
        if (rc == 0)
            rc = reviews[i].review(req, v, &err);
        if (rc < 0)
            api_answer_err(req, &err);
        else
            api_answer_value(req, 201, req->version->message, v);
        return true;
    }
    return false;
}
