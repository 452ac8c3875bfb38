/* probes: runs a pod's startup, liveness and readiness probes and keeps their verdicts in each container's memory. */
#ifndef SKIFF_NODE_POD_PROBES_H
#define SKIFF_NODE_POD_PROBES_H

#include "node/state.h"

/* Start, stop or leave alone, by what runs now. The pod is poked when a verdict changes. */
void probes_update(struct pod *p);
void probes_stop(struct pod_container *c);

#endif
