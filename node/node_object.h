/* node object: what makes the cluster see this machine: its Node (labels, capacity, addresses, conditions, images),
 * kept fresh, and its Lease. */
#ifndef SKIFF_NODE_NODE_OBJECT_H
#define SKIFF_NODE_NODE_OBJECT_H

#include "node/state.h"

struct node_object;
/* registered: the Node exists now (called once). */
struct node_object *node_object_create(struct agent *a, void (*registered)(struct agent *a));
void node_object_destroy(struct node_object *n);
/* Something readiness depends on has changed. */
void node_object_touch(struct node_object *n);

/* Shared with simulated nodes. Facts with zero or NULL are left out. */
struct node_facts {
    const char *name, *hostname, *address, *kernel, *os_image, *machine_id, *system_uuid, *boot_id, *runtime_version,
        *arch;
    const char *const *labels; /* "k=v" */
    const char *pod_cidr;
    int64_t cpu_milli, memory, ephemeral, hugepages;
    int port;
    bool ready;
    const char *not_ready_reason, *not_ready_message;
    struct value *images; /* or NULL */
    int64_t now_us;
};
struct value *node_build(struct arena *a, const struct node_facts *f);
/* Its status; transition times stay as in `current` where a condition did not change. */
struct value *node_build_status(struct arena *a, const struct node_facts *f, const struct value *current);
struct value *node_build_lease(struct arena *a, const char *name, const char *uid, int64_t now_us);
void node_facts_read(struct arena *a, struct node_facts *f); /* of this machine */

#endif
