/* endpoints: pods as endpoints of a Service, grouped by the ports they resolve to (a named target port may be another
 * number in each pod).
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

bool endpoints_selects(const struct core_v1_service *service, const struct object *pod);
/* Keys for a watch on pods: the Services (watch number `services`) that select it, or did. */
void endpoints_keys_of_pod(const struct view *v, int services, const struct object *old, const struct object *now,
                           void (*add)(void *arg, struct str namespace_, struct str name), void *arg);

/* v NULL: zones are not asked for. A pod that has no address, or is finished, adds nothing. */
void endpoints_add(struct arena *a, struct endpoint_groups *groups, const struct object *service,
                   const struct core_v1_service *view, const struct object *pod, const struct view *v, int nodes);
void endpoints_placeholder(struct arena *a, struct endpoint_groups *groups);

#endif
