/* volumes: keeps a pod's volumes on the node as its spec and its sources say: makes them before the first container,
 * rewrites them when a ConfigMap, Secret, label or token changes, and takes them away at the end.
 */
#ifndef SKIFF_NODE_VOLUMES_VOLUMES_H
#define SKIFF_NODE_VOLUMES_VOLUMES_H

#include "node/pod/downward.h"
#include "node/sources.h"
#include "node/state.h"

struct pod_volumes *pod_volumes_create(struct pod *p);
void pod_volumes_destroy(struct pod_volumes *v); /* nothing of it may be in flight; NULL is fine */

/* Something the volumes are made of may have changed. */
void pod_volumes_touch(struct pod_volumes *v);
/* Go on with whatever is to be done; the pod is poked when it is. */
void pod_volumes_sync(struct pod_volumes *v);
bool pod_volumes_ready(const struct pod_volumes *v); /* made at least once */
bool pod_volumes_busy(const struct pod_volumes *v);
/* Where a volume is; NULL when the pod has none of that name. */
const char *pod_volume_path(const struct pod_volumes *v, struct str name);
/* No more changes; then everything of the pod on the node's disk goes. */
void pod_volumes_teardown(struct pod_volumes *v, void (*done)(void *arg, const struct err *err), void *arg);

/* What the pod's spec refers to, looked up among the pod's sources. */
const struct source *pod_source_find(void *pod, enum source_kind kind, struct str name);
/* Refers to every ConfigMap and Secret the pod names; false while one of them has not been looked up. */
bool pod_sources_collect(struct pod *p);
void pod_downward_facts(const struct pod *p, struct downward_facts *ret);

#endif
