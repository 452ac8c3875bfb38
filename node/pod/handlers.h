/* handlers: one try of a probe or lifecycle hook: exec in the container, HTTP GET, TCP connect, gRPC health check,
 * sleep.
 *
 * Texts are kubelet's: what a probe's Unhealthy event and a hook's failure say after the colon.
 */
#ifndef SKIFF_NODE_POD_HANDLERS_H
#define SKIFF_NODE_POD_HANDLERS_H

#include "node/state.h"

enum handler_outcome { HANDLER_SUCCESS, HANDLER_FAILURE, HANDLER_ERROR };

struct handler {
    const struct core_v1_exec_action *exec;
    const struct core_v1_http_get_action *http_get;
    const struct core_v1_tcp_socket_action *tcp_socket;
    const struct core_v1_grpc_action *grpc;
    int64_t sleep_s; /* > 0: just wait */
};
struct handler_target {
    struct agent *agent;
    const char *container_id;
    const char *host;                          /* the pod's address */
    const struct core_v1_container *container; /* for named ports */
    int64_t timeout_ms;                        /* 0 = none */
    bool hook;                                 /* not a probe: other headers */
};
struct handler_run;
typedef void handler_done(void *arg, enum handler_outcome outcome, const char *text);
/* Everything needed is copied. `done` is never called from inside. */
struct handler_run *handler_start(const struct handler *h, const struct handler_target *t, handler_done *done,
                                  void *arg);
void handler_cancel(struct handler_run *r); /* no callback after this; NULL is fine */

#endif
