#include "api/registry/registry.h"

/* Who asks is what authentication says, not what the request says. */
static void stamp_requester(struct registry_call *c, struct value *v)
{
    struct arena *a = c->arena;
    const struct api_user *user = c->req->user;
    struct value *spec = value_ensure_map(a, v, "spec"), *groups = value_list(a);
    value_setz(a, spec, "username", value_string(a, user->name));
    if (user->uid.len)
        value_setz(a, spec, "uid", value_string(a, user->uid));
    else
        value_removez(spec, "uid");
    for (size_t i = 0; i < user->n_groups; i++)
        value_append(a, groups, value_string(a, user->groups[i]));
    value_setz(a, spec, "groups", groups);
    value_removez(spec, "extra");
    if (user->extra)
        value_setz(a, spec, "extra", value_copy(a, user->extra));
}

/* The request itself never changes. */
static void keep_spec(struct registry_call *c, struct value *v, const struct value *old)
{
    value_setz(c->arena, v, "spec", value_getz(old, "spec"));
}

const struct registry_rules registry_certificatesigningrequests = {.group = "certificates.k8s.io",
                                                                   .resource = "certificatesigningrequests",
                                                                   .prepare_create = stamp_requester,
                                                                   .prepare_update = keep_spec};
