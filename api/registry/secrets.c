#include "api/registry/registry.h"

/* stringData has been merged by the defaults (openapi/defaults_core.c). */
static void prepare_update(struct registry_call *c, struct value *v, const struct value *old)
{
    if (!value_path_str(v, "type").len) /* its absence means no change */
        value_setz(c->arena, v, "type", value_string(c->arena, value_path_str(old, "type")));
}

const struct registry_rules registry_secrets = {.group = "", .resource = "secrets", .prepare_update = prepare_update};
