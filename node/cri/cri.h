/* cri: a client of the container runtime over the CRI v1 gRPC API (containerd's socket).
 *
 * One connection, many calls in flight; callbacks run on the loop. Messages are protobuf-c structs generated at build
 * time from node/cri/api.proto (our own file with the messages we use; numbers and names as in the published CRI v1
 * definition).
 */
#ifndef SKIFF_NODE_CRI_CRI_H
#define SKIFF_NODE_CRI_CRI_H

#include "base/err.h"
#include "base/loop.h"

#include <protobuf-c/protobuf-c.h>

struct cri;

/* endpoint: "unix:///run/containerd/containerd.sock". Reconnects by itself; calls fail with ERR_UNAVAILABLE meanwhile.
 */
int cri_create(struct loop *loop, const char *endpoint, struct cri **ret, struct err *err);
void cri_destroy(struct cri *c);

/* A unary call, e.g. cri_call(c, "runtime.v1.RuntimeService", "RunPodSandbox", &req.base,
 *   &runtime__v1__run_pod_sandbox_response__descriptor, 120000, done, arg). The request is packed before return.
 * `response` is NULL on error, else freed after the callback. gRPC status → err: NOT_FOUND → ERR_NOT_FOUND,
 * UNAVAILABLE → ERR_UNAVAILABLE, DEADLINE_EXCEEDED → ERR_TIMEOUT, others ERR_INTERNAL with grpc-message. */
typedef void cri_done(void *arg, const ProtobufCMessage *response, const struct err *err);
void cri_call(struct cri *c, const char *service, const char *method, const ProtobufCMessage *request,
              const ProtobufCMessageDescriptor *response, int64_t timeout_ms, cri_done *done, void *arg);

/* GetContainerEvents: on_event for each until on_done (err says why; ERR_METHOD_NOT_ALLOWED: this runtime has none).
 * One at a time; cri_events_stop ends it silently. */
struct Runtime__V1__ContainerEventResponse;
void cri_events(struct cri *c, void (*on_event)(void *arg, const struct Runtime__V1__ContainerEventResponse *event),
                void (*on_done)(void *arg, const struct err *err), void *arg);
void cri_events_stop(struct cri *c);

#endif
