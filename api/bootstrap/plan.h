/* plan: what one transaction of api/bootstrap.c will create or change. */
#ifndef SKIFF_API_BOOTSTRAP_PLAN_H
#define SKIFF_API_BOOTSTRAP_PLAN_H

#include "api/server.h"
#include "openapi/value.h"

struct bootstrap_plan {
    struct api_server *server;
    struct arena *arena, *scratch;
    struct str now;
    struct cache_write *writes;
    size_t len, cap;
    const struct str *addresses; /* of all servers */
    size_t n_addresses;
    struct err *err;
    int rc;
};

/* `v` lacks name, uid and creation time. Nothing happens when the object exists. */
void bootstrap_plan_create(struct bootstrap_plan *p, struct str group, struct str resource, struct str ns,
                           struct str name, struct value *v);
/* Every role and binding that is missing. */
void bootstrap_plan_rbac(struct bootstrap_plan *p);

#endif
