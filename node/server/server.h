/* server: the agent's own HTTPS server, for the API server: health, pods, logs, exec, attach, port-forward, statistics.
 * Clients must show a certificate of the cluster's CA. */
#ifndef SKIFF_NODE_SERVER_SERVER_H
#define SKIFF_NODE_SERVER_SERVER_H

#include "base/net/http.h"
#include "node/state.h"

struct agent_server;
int agent_server_create(struct agent *a, struct agent_server **ret, struct err *err);
void agent_server_stop(struct agent_server *s, void (*done)(void *arg), void *arg); /* NULL s is fine: done at once */
int agent_server_port(const struct agent_server *s);                                /* 0 for NULL */

/* Each takes the exchange over. `container` may be empty: the pod's only (or first) one. */
struct stream_target {
    struct pod *pod;
    struct pod_container *container;
};
void serve_logs(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod, struct str container);
void serve_exec(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod, struct str container,
                bool attach);
void serve_port_forward(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod);
void serve_stats(struct agent *a, struct http_exchange *ex);

void serve_text(struct http_exchange *ex, int status, const char *content_type, struct str text);
void serve_error(struct http_exchange *ex, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A container that exists, running or not; NULL after an answer to the exchange. */
const struct observed_container *serve_find_container(struct agent *a, struct http_exchange *ex, struct str namespace_,
                                                      struct str pod, struct str container, bool previous);

#endif
