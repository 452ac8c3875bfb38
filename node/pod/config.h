/* config: what the runtime is told to run: the CRI messages for a pod's sandbox and its containers, built in an arena.
 */
#ifndef SKIFF_NODE_POD_CONFIG_H
#define SKIFF_NODE_POD_CONFIG_H

#include "node/cri/api.pb-c.h"
#include "node/state.h"

Runtime__V1__PodSandboxConfig *config_sandbox(struct arena *a, struct pod *p, const struct pod_version *v,
                                              uint32_t attempt);

struct image_facts {
    const char *id; /* to create the container from */
    int64_t uid;    /* of its user, -1 = named or unset */
    const char *username;
};
/* ERR_NOT_FOUND or ERR_INVALID with kubelet's text: CreateContainerConfigError. */
int config_container(struct arena *a, struct pod_container *c, const struct pod_version *v,
                     const struct image_facts *image, int32_t restart_count, Runtime__V1__ContainerConfig **ret,
                     struct err *err);
/* Of what makes a running container differ from its spec: image and name. */
uint64_t config_hash(const struct core_v1_container *c);

/* Helpers of both, and of whoever builds messages: append to `kv` lists that are sized beforehand. */
char *config_z(struct arena *a, struct str s);
Runtime__V1__KeyValue **config_kv(struct arena *a, const char *const (*pairs)[2], size_t n);

#endif
