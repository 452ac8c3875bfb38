/* conditions: what a namespace says while it is being deleted: what is left in it, and what holds that back. */
#ifndef SKIFF_CONTROLLERS_NAMESPACE_CONDITIONS_H
#define SKIFF_CONTROLLERS_NAMESPACE_CONDITIONS_H

#include "controllers/runtime/controller.h"

struct remains_count {
    struct str name; /* "pods." or "deployments.apps"; a finalizer */
    size_t n;
};

struct remains { /* of a namespace's content */
    struct remains_count *resources, *finalizers;
    size_t n_resources, cap_resources, n_finalizers, cap_finalizers;
};

void remains_add(struct arena *a, struct remains *r, const struct object *o);
/* status.conditions as they should be; answers the list that is there when nothing differs. */
struct value *namespace_conditions(struct arena *a, struct value *have, struct remains *r, int64_t now_ms);

#endif
