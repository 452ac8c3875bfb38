/* token: a bound token of a service account (TokenRequest). */
#include "api/chain/token.h"
#include "api/verbs/subresource.h"

#include "base/clock.h"
#include "openapi/meta/time.h"
#include "openapi/object/object.h"

#define MIN_S 600
#define MAX_S (1LL << 32)
#define WARN_ONLY_S 3607 /* what the admission plugin asks for pods */
#define EXTENDED_S (365 * 24 * 3600)

static int check_spec(struct api_request *req, const struct value *v, struct err *err)
{
    struct problems *p = problems_create(req->arena);
    int64_t s = value_path_int(v, "spec.expirationSeconds", 3600);
    struct value *bad = value_int(req->arena, s);
    if (s < MIN_S)
        problems_add(p, PROBLEM_INVALID, STR("spec.expirationSeconds"), bad,
                     "may not specify a duration less than 10 minutes");
    if (s > MAX_S)
        problems_add(p, PROBLEM_INVALID, STR("spec.expirationSeconds"), bad,
                     "may not specify a duration larger than 2^32 seconds");
    if (p->len) {
        struct api_details *d = ARENA_NEW(req->arena, struct api_details);
        *d = (struct api_details){.group = STR("authentication.k8s.io"), .kind = STR("TokenRequest")};
        req->details = d;
    }
    return problems_err(p, err);
}

static int bind_to(struct api_request *req, const struct value *ref, struct token_claims *claims, struct err *err)
{
    struct str kind = value_path_str(ref, "kind"), name = value_path_str(ref, "name"), uid = value_path_str(ref, "uid");
    const char *plural = str_eqz(kind, "Pod")      ? "pods"
                         : str_eqz(kind, "Secret") ? "secrets"
                         : str_eqz(kind, "Node")   ? "nodes"
                                                   : NULL;
    if (!plural)
        return err_set(err, ERR_BAD_REQUEST, "cannot bind token to object of type " STR_FMT, STR_ARG(kind));
    const struct object *o = write_find(req, resource_find(STR(""), str_from(plural)), req->namespace_, name);
    if (!o) {
        struct api_details *d = ARENA_NEW(req->arena, struct api_details);
        *d = (struct api_details){.name = name, .kind = str_from(plural)};
        req->details = d;
        return err_set(err, ERR_NOT_FOUND, "%s \"" STR_FMT "\" not found", plural, STR_ARG(name));
    }
    if (uid.len && !str_eq(uid, o->uid))
        return err_set(err, ERR_CONFLICT,
                       "Operation cannot be fulfilled on %s \"" STR_FMT
                       "\": the UID in the bound object reference (" STR_FMT
                       ") does not match the UID in record. The object might have been deleted and then recreated",
                       plural, STR_ARG(name), STR_ARG(uid));
    struct token_object bound = {o->name, o->uid};
    if (str_eqz(kind, "Secret")) {
        claims->secret = bound;
    } else if (str_eqz(kind, "Node")) {
        claims->node = bound;
    } else {
        struct value *pod = object_value(req->arena, o);
        if (!str_eq(value_path_str(pod, "spec.serviceAccountName"), req->name))
            return err_set(err, ERR_BAD_REQUEST,
                           "cannot bind token for serviceaccount \"" STR_FMT
                           "\" to pod running with different serviceaccount name.",
                           STR_ARG(req->name));
        claims->pod = bound;
        struct str node_name = value_path_str(pod, "spec.nodeName");
        const struct object *node =
            node_name.len ? write_find(req, resource_find(STR(""), STR("nodes")), STR(""), node_name) : NULL;
        if (node_name.len)
            claims->node = (struct token_object){node_name, node ? node->uid : STR_NULL};
    }
    return 0;
}

static void fill_audiences(struct api_request *req, const struct value *v, struct token_claims *claims)
{
    const struct value *list = value_path(v, "spec.audiences");
    size_t n = value_len(list);
    struct str *out = ARENA_ARRAY(req->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = value_str(value_at(list, i));
    if (!n)
        out[n++] = STR(TOKEN_ISSUER);
    claims->audiences = out;
    claims->n_audiences = n;
}

static bool for_this_server(const struct token_claims *claims)
{
    for (size_t i = 0; i < claims->n_audiences; i++)
        if (str_eqz(claims->audiences[i], TOKEN_ISSUER))
            return true;
    return false;
}

static int issue(struct api_request *req, struct value *v, struct err *err)
{
    struct arena *a = req->arena;
    const struct object *account = write_find(req, api_store(req), req->namespace_, req->name);
    if (!account)
        return api_err_not_found(req, req->name, err);
    int rc = check_spec(req, v, err);
    if (rc < 0)
        return rc;
    int64_t now_s = clock_wall_ms() / 1000, wanted_s = value_path_int(v, "spec.expirationSeconds", 3600);
    struct token_claims claims = {.namespace_ = req->namespace_,
                                  .service_account = {account->name, account->uid},
                                  .issued_s = now_s,
                                  .not_before_s = now_s,
                                  .expires_s = now_s + wanted_s};
    fill_audiences(req, v, &claims);
    const struct value *ref = value_path(v, "spec.boundObjectRef");
    if (ref && ref->kind != VALUE_NULL && (rc = bind_to(req, ref, &claims, err)) < 0)
        return rc;
    if (wanted_s == WARN_ONLY_S && for_this_server(&claims)) {
        claims.warn_after_s = claims.expires_s;
        claims.expires_s = now_s + EXTENDED_S;
    }
    struct str token;
    if ((rc = token_issue(req->server->signer, a, &claims, &token, err)) < 0)
        return rc;
    struct value *audiences = value_list(a);
    for (size_t i = 0; i < claims.n_audiences; i++)
        value_append(a, audiences, value_string(a, claims.audiences[i]));
    value_set_path(a, v, "metadata.name", value_string(a, req->name));
    value_set_path(a, v, "metadata.namespace", value_string(a, req->namespace_));
    value_set_path(a, v, "metadata.creationTimestamp", value_string(a, time_format(a, now_s * 1000000)));
    value_set_path(a, v, "spec.audiences", audiences);
    value_set_path(a, v, "spec.expirationSeconds", value_int(a, wanted_s));
    value_set_path(a, v, "status.token", value_string(a, token));
    value_set_path(a, v, "status.expirationTimestamp", value_string(a, time_format(a, (now_s + wanted_s) * 1000000)));
    return 0;
}

void sub_token(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct value *v;
    int rc = body_subresource(req, &v, &err);
    if (rc == 0)
        rc = issue(req, v, &err);
    if (rc < 0)
        api_answer_err(req, &err);
    else
        api_answer_value(req, 201, req->subresource->message, v);
}
