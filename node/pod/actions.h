/* actions: what to do next for one pod: a pure function from its spec, what the runtime shows, what the agent remembers
 * and the time to a list of actions. No clock, no I/O, no globals: the tests are tables of {given, want}.
 *
 * Whoever executes the actions (worker.c) marks what they touch as busy until the outcome is observed, and asks again
 * after every change; an action that is already under way is never asked for twice.
 */
#ifndef SKIFF_NODE_POD_ACTIONS_H
#define SKIFF_NODE_POD_ACTIONS_H

#include "base/arena.h"
#include "node/pod/backoff.h"
#include "node/pod/observed.h"
#include "openapi/views.h"

enum probe_verdict { PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_FAILURE };

/* What the agent remembers about one container of the spec. */
struct container_memory {
    bool busy;              /* being pulled, created, started or stopped */
    bool hook_running;      /* its postStart hook is at work */
    struct backoff backoff; /* of restarts */
    int64_t retry_at_ms;    /* a start failed before the container ran: not before then */
    uint64_t hash;          /* of the container's spec now */
    char probed_id[80];     /* the container the verdicts are about */
    enum probe_verdict startup, liveness, readiness;
    const char *kill_message; /* set by a failed hook: kill it with this text */
};

struct pod_input {
    const struct core_v1_pod *pod;
    const struct observed_pod *observed; /* NULL: the runtime knows nothing of it */
    const struct container_memory *init; /* one for each of spec.initContainers */
    const struct container_memory *main; /* one for each of spec.containers */
    bool sandbox_busy;
    bool sandbox_stopped; /* StopPodSandbox has succeeded for every sandbox of a pod that ends */
    int64_t sandbox_retry_at_ms;
    bool terminating; /* deleted, evicted, past its deadline or finished for good */
    int64_t grace_s;  /* while terminating: for all of its containers */
    int64_t now_ms;   /* Unix time */
};

enum pod_action_kind {
    POD_CREATE_SANDBOX,  /* attempt */
    POD_STOP_SANDBOX,    /* id */
    POD_START_CONTAINER, /* init, index, restart_count, backoff: what to remember from now on */
    POD_KILL_CONTAINER,  /* id, name, message, grace_s (-1: the container's own) */
    POD_BACK_OFF,        /* index, init: say so: CrashLoopBackOff */
    POD_TERMINATED,      /* nothing of it runs any more */
    POD_FINISHED,        /* every container is done for good: the pod's phase is final, stop what is left */
};

struct pod_action {
    enum pod_action_kind kind;
    bool init;
    size_t index; /* into spec.containers or spec.initContainers; SIZE_MAX: not in the spec */
    const char *id, *name, *message;
    const char *restart_reason; /* of kills: "" or why the container comes back */
    int64_t grace_s;
    uint32_t attempt;
    int32_t restart_count;
    struct backoff backoff;
};

struct pod_actions {
    struct pod_action *items;
    size_t len, cap;
    int64_t wake_at_ms; /* ask again then; 0 = only after a change */
};

void pod_actions_compute(struct arena *a, const struct pod_input *in, struct pod_actions *ret);

/* restartPolicy of the container, the pod's unless it has its own: "Always", "OnFailure", "Never". */
bool pod_is_sidecar(const struct core_v1_container *c);
/* Has every init container done its part, so that the main ones may start? Sidecars must have started. */
bool pod_initialized(const struct pod_input *in);
/* Is the container up in the sense of startup probes? */
bool container_started(const struct core_v1_container *c, const struct container_memory *m,
                       const struct observed_container *o);

#endif
