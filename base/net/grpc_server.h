/* grpc_server: the serving side of gRPC over the HTTP server's HTTP/2: a table of methods, messages of protobuf-c.
 *
 * A unary method is called with its whole request; a streaming one at the headers, and sets on_message and the rest.
 * Both end with grpc_end (or grpc_answer), at once or later, on the call's loop. A call is counted: the transport
 * holds one reference until it ended, and who goes on with it elsewhere holds another (grpc_hold, grpc_release, on
 * the loop). Everything said on a call that is over is dropped silently.
 *
 * The client's deadline (grpc-timeout) is kept here: the call ends with DEADLINE_EXCEEDED.
 */
#ifndef SKIFF_BASE_NET_GRPC_SERVER_H
#define SKIFF_BASE_NET_GRPC_SERVER_H

#include "base/net/grpc.h"
#include "base/net/http.h"

struct grpc_incoming {
    struct arena *arena; /* lives as long as the call */
    struct loop *loop;
    void *server_arg; /* grpc_server_options.arg */
    bool over;        /* ended, by either side */
    /* Streams, set by the method; each may be NULL. The message is freed after the callback. */
    void (*on_message)(struct grpc_incoming *c, const ProtobufCMessage *message);
    void (*on_end)(struct grpc_incoming *c);   /* the client sends no more; NULL: the call ends with OK */
    void (*on_over)(struct grpc_incoming *c);  /* ended, however that came about; once */
    void (*on_drain)(struct grpc_incoming *c); /* room to send again */
    void *user;
};

struct grpc_method {
    const char *path; /* "/package.Service/Method"; "/package.Service/" stands for the rest of a service */
    const ProtobufCMessageDescriptor *request; /* NULL: it is not looked at */
    bool stream;
    /* Whether a message may be unpacked at all (what nests without end would take the stack with it); NULL: any. */
    bool (*fits)(struct str message);
    /* `request` lives as long as the call; NULL for streams. */
    void (*handle)(struct grpc_incoming *c, const ProtobufCMessage *request);
};

struct grpc_server_options {
    const struct grpc_method *methods; /* looked through in order; ends with path NULL */
    size_t max_message;                /* bytes of a request's message */
    void *arg;
    /* NULL when the peer may call, else why not (PERMISSION_DENIED); may be NULL itself. */
    const char *(*permit)(void *arg, const struct http_peer *peer);
    http_handler *other; /* requests that are not gRPC, with `arg`; NULL: 415 */
};

/* An http_handler for a server with `streaming`; its arg is the options, which must outlive it. */
void grpc_server_handle(void *options, struct http_exchange *ex);

void grpc_hold(struct grpc_incoming *c);
void grpc_release(struct grpc_incoming *c);
void grpc_stream_send(struct grpc_incoming *c, const ProtobufCMessage *message);
size_t grpc_stream_unsent(const struct grpc_incoming *c); /* stop above HTTP_HIGH_WATER until on_drain */
void grpc_end(struct grpc_incoming *c, enum grpc_status status, const char *message);
void grpc_answer(struct grpc_incoming *c, const ProtobufCMessage *message); /* one message, then OK */
/* "5S", "100m" … in milliseconds, rounded up; -1 when malformed. */
int64_t grpc_timeout_ms(struct str value);

#endif
