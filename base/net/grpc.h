/* grpc: calls with protobuf-c messages over HTTP/2: unary, and streams in either direction.
 *
 * One channel is one http_client in HTTP/2 mode; calls are multiplexed. Callbacks run on the loop, never inside the
 * call that starts them. Messages are length-prefixed and uncompressed; the deadline travels as grpc-timeout and is
 * also kept here. Statuses become err codes: INVALID_ARGUMENT, FAILED_PRECONDITION and OUT_OF_RANGE → ERR_BAD_REQUEST,
 * UNAUTHENTICATED → ERR_UNAUTHORIZED, PERMISSION_DENIED → ERR_FORBIDDEN, NOT_FOUND → ERR_NOT_FOUND, ALREADY_EXISTS →
 * ERR_ALREADY_EXISTS, ABORTED → ERR_CONFLICT, RESOURCE_EXHAUSTED → ERR_TOO_MANY, UNAVAILABLE → ERR_UNAVAILABLE,
 * DEADLINE_EXCEEDED → ERR_TIMEOUT, CANCELLED → ERR_CANCELED, DATA_LOSS → ERR_CORRUPT, UNIMPLEMENTED →
 * ERR_METHOD_NOT_ALLOWED, others ERR_INTERNAL. The message is the percent-decoded grpc-message alone.
 */
#ifndef SKIFF_BASE_NET_GRPC_H
#define SKIFF_BASE_NET_GRPC_H

#include "base/err.h"
#include "base/loop.h"
#include "base/net/tls.h"
#include "base/str.h"

#include <protobuf-c/protobuf-c.h>

#define GRPC_MAX_MESSAGE (64u * 1024u * 1024u) /* received; larger ones end the call with ERR_TOO_LARGE */

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
enum err_code grpc_status_code(int status); /* a number a peer sent; 0 → ERR_OK */

struct grpc_channel;
struct grpc_channel_options {
    const char *const *endpoints;                             /* as http_client's; NULL-terminated */
    struct tls_context *tls;                                  /* for https endpoints */
    const char *server_name, *authority, *token, *user_agent; /* each may be NULL */
    int64_t connect_timeout_ms;                               /* 0 = 10 s */
    int64_t ping_interval_ms;                                 /* 0 = never */
};
int grpc_channel_create(struct loop *loop, const struct grpc_channel_options *opt, struct grpc_channel **ret,
                        struct err *err);
void grpc_channel_destroy(struct grpc_channel *c); /* calls in flight end silently; NULL is fine */
const char *grpc_channel_endpoint(const struct grpc_channel *c);
/* Metadata sent with every call from now on; copied. NULL takes it away. At most GRPC_METADATA_MAX names. */
#define GRPC_METADATA_MAX 4
void grpc_channel_set_metadata(struct grpc_channel *c, const char *lower_case_name, const char *value);
void grpc_channel_fail_over(struct grpc_channel *c); /* calls end with ERR_UNAVAILABLE; the next address is used next */

struct grpc_call;

/* Unary. `path` is "/package.Service/Method" and is copied, the request packed, before return. `response` is NULL on
 * error and freed after the callback; err is NULL on success. timeout_ms 0 = none. The call is gone after `done`. */
typedef void grpc_done(void *arg, const ProtobufCMessage *response, const struct err *err);
struct grpc_call *grpc_unary(struct grpc_channel *c, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response, int64_t timeout_ms, grpc_done *done,
                             void *arg);

struct grpc_stream_handler {
    void (*on_message)(void *arg, const ProtobufCMessage *message); /* freed after the callback */
    void (*on_done)(void *arg, const struct err *err); /* once, the call is gone after it; err NULL = status OK */
    void (*on_drain)(void *arg);                       /* room to send again; may be NULL */
    void *arg;
};
/* Any streaming call: send requests with grpc_send, then grpc_send_end (server streaming: one message, then the end).
 */
struct grpc_call *grpc_stream(struct grpc_channel *c, const char *path, const ProtobufCMessageDescriptor *response,
                              int64_t timeout_ms, const struct grpc_stream_handler *handler);
void grpc_send(struct grpc_call *call, const ProtobufCMessage *message);
size_t grpc_unsent(const struct grpc_call *call);
void grpc_send_end(struct grpc_call *call);
void grpc_read(struct grpc_call *call, bool on); /* flow control of on_message */
void grpc_cancel(struct grpc_call *call);        /* silent; also inside its callbacks; NULL is fine */

#endif
