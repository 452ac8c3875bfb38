/* plan: what a pod's volumes should look like on the node, worked out on the loop (plan.c) and carried out on its pool
 * (apply.c). A plan owns copies of everything it needs.
 */
#ifndef SKIFF_NODE_VOLUMES_PLAN_H
#define SKIFF_NODE_VOLUMES_PLAN_H

#include "base/arena.h"
#include "base/err.h"
#include "node/pod/downward.h"
#include "node/sources.h"
#include "node/volumes/atomic_writer.h"

enum volume_kind { VOLUME_FILES, VOLUME_EMPTY_DIR, VOLUME_HOST_PATH };

struct volume_plan {
    const char *name, *path; /* where it is (or will be) on the node */
    enum volume_kind kind;
    bool memory;      /* on a tmpfs of its own */
    int64_t size;     /* of that tmpfs, 0 = its default */
    int64_t gid;      /* fsGroup, -1 = none */
    const char *type; /* of a host path */
    struct volume_file *files;
    size_t n_files;
};

struct volumes_plan {
    struct arena *arena;
    struct volume_plan *items;
    size_t n;
};

/* Tokens of projected volumes are asked for by position: 0 and the token, 1 when it is still being fetched. */
struct plan_input {
    const struct core_v1_pod *pod;
    const char *pod_dir;
    const struct downward_facts *facts;
    const struct source *(*find)(void *arg, enum source_kind kind, struct str name);
    int (*token)(void *arg, size_t volume, size_t source, struct str *ret, struct err *err);
    void *arg;
};

/* 0; 1 when something is still on its way; negative with kubelet's text and *ret_volume the one it is about. */
int volumes_plan_build(const struct plan_input *in, struct volumes_plan *ret, const char **ret_volume, struct err *err);
void volumes_plan_finish(struct volumes_plan *p);

/* Blocking. */
int volume_apply(const struct volume_plan *v, struct err *err);
/* Unmounts everything below the pod's directory and removes it. */
int volumes_remove(const char *pod_dir, struct err *err);

#endif
