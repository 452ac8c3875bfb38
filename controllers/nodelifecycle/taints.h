/* taints: the taints that follow from a node's conditions. */
#ifndef SKIFF_CONTROLLERS_NODELIFECYCLE_TAINTS_H
#define SKIFF_CONTROLLERS_NODELIFECYCLE_TAINTS_H

#include "controllers/runtime/controller.h"
#include "openapi/views.h"

/* One update when the node's taints are not what its conditions ask for; taints of other people stay. */
void taints_update(const struct object *o, const struct core_v1_node *node, int64_t now_ms, struct outcome *out);

#endif
