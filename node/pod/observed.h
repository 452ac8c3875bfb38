/* observed: what the container runtime says about one pod, as the agent last saw it.
 *
 * Filled by node/runtime/relist.c from CRI lists and statuses; read by the pure functions (actions.h, status.h), whose
 * tests write it by hand. Strings are NUL-terminated and never NULL; they live as long as the entry. Times are Unix
 * nanoseconds, 0 when the thing has not happened.
 */
#ifndef SKIFF_NODE_POD_OBSERVED_H
#define SKIFF_NODE_POD_OBSERVED_H

#include "base/str.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

enum observed_state { OBSERVED_CREATED, OBSERVED_RUNNING, OBSERVED_EXITED, OBSERVED_UNKNOWN };

struct observed_container {
    char *id, *sandbox_id, *name;
    char *image;    /* as the pod asked for it */
    char *image_id; /* what the runtime resolved it to */
    char *log_path;
    char *reason, *message; /* of an exit */
    char *termination_path; /* host file of the termination message, "" when unknown */
    enum observed_state state;
    int64_t created_ns, started_ns, finished_ns;
    int32_t exit_code, restart_count;
    uint64_t hash;   /* of the container's spec when it was made, 0 = unknown */
    int64_t grace_s; /* terminationGracePeriodSeconds stored with it, -1 = none */
    bool fallback_to_logs;
};

struct observed_sandbox {
    char *id;
    char *ips[2]; /* "" when there is none (host network) */
    bool ready;
    uint32_t attempt;
    int64_t created_ns;
};

struct observed_pod {
    char *uid, *namespace_, *name;
    VEC(struct observed_sandbox *) sandboxes;    /* newest first */
    VEC(struct observed_container *) containers; /* newest first */
};

static inline struct observed_sandbox *observed_newest_sandbox(const struct observed_pod *p)
{
    return p && p->sandboxes.len ? p->sandboxes.items[0] : NULL;
}

/* The newest container of that name, or NULL. With a sandbox: only of that one. */
static inline struct observed_container *observed_find(const struct observed_pod *p, struct str name,
                                                       const char *sandbox_id)
{
    for (size_t i = 0; p && i < p->containers.len; i++) {
        struct observed_container *c = p->containers.items[i];
        if (str_eqz(name, c->name) && (!sandbox_id || strcmp(sandbox_id, c->sandbox_id) == 0))
            return c;
    }
    return NULL;
}

/* The one before the newest of that name: its last state. */
static inline struct observed_container *observed_previous(const struct observed_pod *p, struct str name)
{
    bool seen = false;
    for (size_t i = 0; p && i < p->containers.len; i++) {
        if (!str_eqz(name, p->containers.items[i]->name))
            continue;
        if (seen)
            return p->containers.items[i];
        seen = true;
    }
    return NULL;
}

#endif
