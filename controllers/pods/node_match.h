/* node match: whether a pod may be on a node: its node selector, required node affinity and tolerations. */
#ifndef SKIFF_CONTROLLERS_PODS_NODE_MATCH_H
#define SKIFF_CONTROLLERS_PODS_NODE_MATCH_H

#include "openapi/object/object.h"
#include "openapi/views.h"

bool toleration_matches(const struct core_v1_toleration *t, const struct core_v1_taint *taint);
/* All taints of that effect (NULL: NoSchedule and NoExecute) are tolerated. */
bool tolerates_taints(const struct core_v1_pod_spec *pod, const struct core_v1_node *node, const char *effect);
bool node_is_selected(const struct core_v1_pod_spec *pod, const struct object *node);

#endif
