/* status: a pod's status as the API shows it, from its spec, what the runtime shows and what the agent remembers. Pure.
 */
#ifndef SKIFF_NODE_POD_STATUS_H
#define SKIFF_NODE_POD_STATUS_H

#include "node/pod/actions.h"
#include "openapi/value.h"

struct waiting {
    const char *reason, *message; /* NULL = unknown */
};

struct status_input {
    const struct pod_input *input;
    const struct waiting *init_waiting, *main_waiting;
    const struct value *current;          /* the status the API has: transition times and foreign conditions are kept */
    const char *runtime;                  /* "containerd": before "://" of container ids */
    const char *host_ip;                  /* "" = not known yet */
    const char *end_reason, *end_message; /* the agent ended it (deadline, eviction): Failed */
    int64_t start_time_us, now_us;
    bool ended; /* nothing runs any more and nothing will */
    /* Text of a termination message file, or of the end of a log; NULL = none. May be NULL. */
    const char *(*termination_message)(void *arg, struct arena *a, const struct observed_container *o);
    void *arg;
};

struct value *pod_status_build(struct arena *a, const struct status_input *in);
/* "Pending", "Running", "Succeeded", "Failed" of what pod_status_build made. */
struct str pod_status_phase(const struct value *status);

#endif
