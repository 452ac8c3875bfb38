/* downward: the pod's own fields and resources as text, for environment variables and downwardAPI volumes. */
#ifndef SKIFF_NODE_POD_DOWNWARD_H
#define SKIFF_NODE_POD_DOWNWARD_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/views.h"

struct downward_facts {
    const char *node_name, *host_ip;
    const char *pod_ips[2];               /* "" = none */
    int64_t cpu_milli, memory, ephemeral; /* of the node: what a container without a limit may use */
};

/* "metadata.name", "metadata.labels['a']", "metadata.labels", "spec.nodeName", "status.podIP" … */
int downward_field(struct arena *a, const struct core_v1_pod *pod, const struct downward_facts *facts, struct str path,
                   struct str *ret, struct err *err);
/* "limits.cpu", "requests.memory" … divided by `divisor` (absent or "0": 1), rounded up. */
int downward_resource(struct arena *a, const struct core_v1_container *c, const struct downward_facts *facts,
                      struct str resource, struct str divisor, struct str *ret, struct err *err);

#endif
