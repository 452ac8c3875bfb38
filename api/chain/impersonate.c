#include "api/chain/authn.h"
#include "api/chain/identity.h"
#include "api/chain/rbac.h"

/* Each name asked for is a right of its own: verb "impersonate" on users, groups, serviceaccounts, uids, userextras. */
static int may(struct rbac *rbac, const struct api_user *user, const char *group, const char *resource,
               struct str subresource, struct str ns, struct str name, struct api_attributes *ret_refused,
               struct err *err)
{
    struct api_attributes at = {.verb = STR("impersonate"),
                                .group = str_from(group),
                                .resource = str_from(resource),
                                .subresource = subresource,
                                .namespace_ = ns,
                                .name = name};
    if (rbac_authorize(rbac, user, &at) == 0)
        return 0;
    *ret_refused = at;
    return rbac_forbid(user, &at, err);
}

static bool service_account_split(struct str name, struct str *ret_ns, struct str *ret_name)
{
    const struct str prefix = STR("system:serviceaccount:");
    if (!str_starts(name, prefix))
        return false;
    struct str rest = str_sub(name, prefix.len, name.len);
    if (!str_split(&rest, ':', ret_ns) || !rest.len || !ret_ns->len)
        return false;
    *ret_name = rest;
    return true;
}

static void default_groups(struct arena *arena, struct str name, struct str *groups, size_t *n)
{
    struct str ns, account;
    if (*n)
        return;
    if (service_account_split(name, &ns, &account)) {
        groups[(*n)++] = STR("system:serviceaccounts");
        groups[(*n)++] = arena_printf(arena, "system:serviceaccounts:" STR_FMT, STR_ARG(ns));
    } else if (str_eq(name, STR("system:anonymous"))) {
        groups[(*n)++] = STR("system:unauthenticated");
    }
}

int authn_impersonate(struct rbac *rbac, struct http_exchange *ex, struct arena *arena, const struct api_user **user,
                      struct api_attributes *ret_refused, struct err *err)
{
    const struct str extra_prefix = STR("impersonate-extra-");
    struct str name = http_header_get(ex, "impersonate-user"), uid = http_header_get(ex, "impersonate-uid");
    struct str groups[66], ns, account;
    size_t n = 0;
    bool others = uid.len > 0;
    for (size_t i = 0; i < ex->n_headers; i++) {
        if (str_eq(ex->headers[i].name, STR("impersonate-group")) && n < 64)
            groups[n++] = ex->headers[i].value;
        others = others || str_starts(ex->headers[i].name, extra_prefix);
    }
    if (!name.len) {
        if (n || others)
            return err_set(err, ERR_INTERNAL, "requested [{Group}] without impersonating a user name");
        return 0;
    }
    int rc = service_account_split(name, &ns, &account)
                 ? may(rbac, *user, "", "serviceaccounts", STR_NULL, ns, account, ret_refused, err)
                 : may(rbac, *user, "", "users", STR_NULL, STR_NULL, name, ret_refused, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = may(rbac, *user, "", "groups", STR_NULL, STR_NULL, groups[i], ret_refused, err);
    if (rc == 0 && uid.len)
        rc = may(rbac, *user, "authentication.k8s.io", "uids", STR_NULL, STR_NULL, uid, ret_refused, err);
    default_groups(arena, name, groups, &n);
    struct identity *id = identity_create();
    identity_set(id, name, uid, groups, n);
    for (size_t i = 0; rc == 0 && i < ex->n_headers; i++) {
        if (!str_starts(ex->headers[i].name, extra_prefix))
            continue;
        struct str key =
            http_percent_decode(arena, str_sub(ex->headers[i].name, extra_prefix.len, ex->headers[i].name.len));
        rc = may(rbac, *user, "authentication.k8s.io", "userextras", key, STR_NULL, ex->headers[i].value, ret_refused,
                 err);
        identity_add_extra(id, arena_printf(arena, STR_FMT, STR_ARG(key)).p, ex->headers[i].value);
    }
    if (rc == 0)
        *user = identity_hold(id, arena);
    identity_put(id);
    return rc;
}
