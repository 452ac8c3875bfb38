/* Kinds of the core group with a line or two of their own: nodes, service accounts, volumes and claims. */
#include "api/registry/registry.h"

#include "base/clock.h"
#include "openapi/meta/time.h"

static void pending_volume(struct registry_call *c, struct value *v)
{
    value_set_path(c->arena, v, "status", value_map(c->arena));
    value_set_path(c->arena, v, "status.phase", value_stringz(c->arena, "Pending"));
    value_set_path(c->arena, v, "status.lastPhaseTransitionTime",
                   value_string(c->arena, time_format(c->arena, clock_wall_us())));
}

/* The time of a phase change is the server's to say unless its author does. */
static void volume_status(struct registry_call *c, struct value *v, const struct value *old)
{
    if (str_eq(value_path_str(v, "status.phase"), value_path_str(old, "status.phase")))
        return;
    struct str at = value_path_str(v, "status.lastPhaseTransitionTime");
    if (!at.len || str_eq(at, value_path_str(old, "status.lastPhaseTransitionTime")))
        value_set_path(c->arena, v, "status.lastPhaseTransitionTime",
                       value_string(c->arena, time_format(c->arena, clock_wall_us())));
}

static void pending_claim(struct registry_call *c, struct value *v)
{
    value_set_path(c->arena, v, "status", value_map(c->arena));
    value_set_path(c->arena, v, "status.phase", value_stringz(c->arena, "Pending"));
}

const struct registry_rules registry_nodes = {.group = "", .resource = "nodes", .flags = REGISTRY_KEEP_STATUS};
const struct registry_rules registry_serviceaccounts = {
    .group = "", .resource = "serviceaccounts", .flags = REGISTRY_RETURN_DELETED};
const struct registry_rules registry_persistentvolumes = {.group = "",
                                                          .resource = "persistentvolumes",
                                                          .flags = REGISTRY_RETURN_DELETED,
                                                          .prepare_create = pending_volume,
                                                          .prepare_status = volume_status};
const struct registry_rules registry_persistentvolumeclaims = {.group = "",
                                                               .resource = "persistentvolumeclaims",
                                                               .flags = REGISTRY_RETURN_DELETED,
                                                               .prepare_create = pending_claim};
