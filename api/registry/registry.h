/* registry: what single kinds do beyond the schema when they are created, changed and deleted. One file per kind that
 * has rules of its own; a kind without rules costs no C.
 *
 * Rules see objects in the storage version. They run between decoding (defaults applied) and validation, inside
 * create_compute, update_compute and delete_compute (api/verbs), and may add writes to the same transaction.
 */
#ifndef SKIFF_API_REGISTRY_REGISTRY_H
#define SKIFF_API_REGISTRY_REGISTRY_H

#include "api/verbs/verb.h"

enum registry_flags {
    REGISTRY_GENERATION = 1 << 0,       /* metadata.generation counts changes of the desired state */
    REGISTRY_CREATE_ON_UPDATE = 1 << 1, /* PUT of an absent name creates */
    REGISTRY_CONDITIONAL = 1 << 2,      /* an update must say its resourceVersion */
    REGISTRY_KEEP_STATUS = 1 << 3,      /* a creation may bring its status (nodes) */
    REGISTRY_RETURN_DELETED = 1 << 4,   /* DELETE answers the object, not a Status */
    REGISTRY_STATUS_LABELS = 1 << 5,    /* a status update leaves the labels alone */
};

struct registry_call {
    struct arena *arena;
    struct api_server *server;
    struct api_request *req;
    struct write *write;
};

struct registry_rules {
    const char *group, *resource;
    uint32_t flags;
    int64_t ttl_s;
    const char *desired; /* member whose change counts as a generation; NULL = "spec" */
    void (*prepare_create)(struct registry_call *c, struct value *v);
    void (*prepare_update)(struct registry_call *c, struct value *v, const struct value *old);
    void (*prepare_status)(struct registry_call *c, struct value *v, const struct value *old);
    void (*validate)(struct registry_call *c, struct problems *p, const struct value *v, const struct value *old);
    /* After validation: addresses, ports and other claims. */
    int (*allocate)(struct registry_call *c, struct value *v, const struct value *old, struct err *err);
    void (*release)(struct registry_call *c, const struct value *old);
    /* Seconds of grace of a deletion (0 = at once), or -1: no graceful deletion. `asked` -1 = not given. */
    int64_t (*grace)(const struct value *v, int64_t asked);
    /* Whether an object being deleted and without metadata.finalizers may leave. NULL = yes. */
    bool (*may_leave)(const struct value *v);
    /* First deletion request: changes beside the deletion time (namespace: phase). May refuse. */
    int (*begin_delete)(struct registry_call *c, struct value *v, struct err *err);
    void (*warn)(struct registry_call *c, const struct value *v, const struct value *old);
};

/* Never NULL: kinds without rules get empty ones. */
const struct registry_rules *registry_rules_of(const struct resource *r);
bool registry_has_status(const struct resource *r);

/* The files. */
extern const struct registry_rules registry_pods, registry_services, registry_namespaces, registry_nodes,
    registry_secrets, registry_serviceaccounts, registry_persistentvolumes, registry_persistentvolumeclaims,
    registry_jobs, registry_leases, registry_certificatesigningrequests, registry_roles, registry_clusterroles,
    registry_rolebindings, registry_clusterrolebindings;

#endif
