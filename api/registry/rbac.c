/* Nobody hands out more than they hold: roles and bindings are checked against their author's own rules. */
#include "api/registry/registry.h"

#include "api/chain/rbac.h"
#include "openapi/object/object.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static bool may(struct registry_call *c, const char *verb, const char *resource, struct str namespace_, struct str name)
{
    struct api_attributes at = {.verb = str_from(verb),
                                .group = STR(RBAC_GROUP),
                                .resource = str_from(resource),
                                .namespace_ = namespace_,
                                .name = name};
    return rbac_authorize(c->server->rbac, c->req->user, &at) == 0;
}

static int check_held(struct registry_call *c, const struct value *rules, struct err *err)
{
    const struct api_user *user = c->req->user;
    struct str missing;
    if (!value_len(rules) || rbac_covers(c->server->rbac, c->arena, user, c->req->namespace_, rules, &missing) == 0)
        return 0;
    struct buf groups = {0};
    for (size_t i = 0; i < user->n_groups; i++)
        buf_printf(&groups, "%s\"" STR_FMT "\"", i ? " " : "", STR_ARG(user->groups[i]));
    int rc = api_err_forbidden(c->req, c->req->name, err,
                               "user \"" STR_FMT "\" (groups=[" STR_FMT
                               "]) is attempting to grant RBAC permissions not currently held:\n" STR_FMT,
                               STR_ARG(user->name), STR_ARG(buf_str(&groups)), STR_ARG(missing));
    buf_free(&groups);
    return rc;
}

static int check_role(struct registry_call *c, struct value *v, const struct value *old, struct err *err)
{
    if (!c->server->rbac || (old && value_semantic_equal(value_getz(old, "rules"), value_getz(v, "rules"))))
        return 0;
    const char *resource = c->req->namespace_.len ? "roles" : "clusterroles";
    if (may(c, "escalate", resource, c->req->namespace_, c->req->name))
        return 0;
    return check_held(c, value_getz(v, "rules"), err);
}

static int check_binding(struct registry_call *c, struct value *v, const struct value *old, struct err *err)
{
    if (!c->server->rbac || (old && value_semantic_equal(value_getz(old, "subjects"), value_getz(v, "subjects"))))
        return 0;
    bool cluster = str_eqz(value_path_str(v, "roleRef.kind"), "ClusterRole");
    struct str name = value_path_str(v, "roleRef.name");
    if (may(c, "bind", cluster ? "clusterroles" : "roles", c->req->namespace_, name))
        return 0;
    const struct resource *r = resource_find(STR(RBAC_GROUP), cluster ? STR("clusterroles") : STR("roles"));
    const struct object *role = write_find(c->req, r, c->req->namespace_, name);
    if (!role)
        return err_set(err, ERR_NOT_FOUND, "%s." RBAC_GROUP " \"" STR_FMT "\" not found",
                       cluster ? "clusterroles" : "roles", STR_ARG(name));
    return check_held(c, value_getz(object_value(c->arena, role), "rules"), err);
}

const struct registry_rules registry_roles = {
    .group = RBAC_GROUP, .resource = "roles", .flags = REGISTRY_CREATE_ON_UPDATE, .allocate = check_role};
const struct registry_rules registry_clusterroles = {
    .group = RBAC_GROUP, .resource = "clusterroles", .flags = REGISTRY_CREATE_ON_UPDATE, .allocate = check_role};
const struct registry_rules registry_rolebindings = {
    .group = RBAC_GROUP, .resource = "rolebindings", .flags = REGISTRY_CREATE_ON_UPDATE, .allocate = check_binding};
const struct registry_rules registry_clusterrolebindings = {.group = RBAC_GROUP,
                                                            .resource = "clusterrolebindings",
                                                            .flags = REGISTRY_CREATE_ON_UPDATE,
                                                            .allocate = check_binding};
