/* env: a container's environment: envFrom, then env in order, then the variables of services; and $(NAME) in values,
 * commands and arguments. Pure apart from the look-up of ConfigMaps and Secrets, which the caller lends.
 */
#ifndef SKIFF_NODE_POD_ENV_H
#define SKIFF_NODE_POD_ENV_H

#include "node/pod/downward.h"
#include "node/sources.h"

struct env_entry {
    struct str name, value;
};

struct env {
    struct env_entry *items;
    size_t len, cap;
};

struct env_input {
    const struct core_v1_pod *pod;
    const struct core_v1_container *container;
    const struct downward_facts *facts;
    const struct source *(*find)(void *arg, enum source_kind kind, struct str name); /* NULL: absent */
    void *find_arg;
    const struct core_v1_service *const *services; /* of the pod's namespace, and default/kubernetes */
    size_t n_services;
};

/* ERR_NOT_FOUND or ERR_INVALID with kubelet's text (CreateContainerConfigError). */
int env_build(struct arena *a, const struct env_input *in, struct env *ret, struct err *err);
/* $(NAME) → value, $$ → $; unknown names stay as they are. */
struct str env_expand(struct arena *a, const struct env *env, struct str text);

#endif
