/* endpoints: pods as endpoints of a Service, grouped by the ports they resolve to (a named target port may be another number
 * in each pod).
 */
#ifndef SKIFF_CONTROLLERS_ENDPOINTSLICE_ENDPOINTS_H
#define SKIFF_CONTROLLERS_ENDPOINTSLICE_ENDPOINTS_H

#include "controllers/runtime/controller.h"
#include "openapi/views.h"

struct endpoint_group {
    struct value *ports;  /* EndpointSlice.ports */
    struct value **items; /* EndpointSlice.endpoints[] */
    bool *taken;
    size_t len, cap, cap_taken;
};

struct endpoint_groups {
    struct endpoint_group *items;
    size_t len, cap;
};

/* A pod that has no address, or is finished, adds nothing. */
void endpoints_add(struct arena *a, struct endpoint_groups *groups, const struct object *service,
                   const struct core_v1_service *view, const struct object *pod, const struct view *v, int nodes);
void endpoints_placeholder(struct arena *a, struct endpoint_groups *groups);

#endif
