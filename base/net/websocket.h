/* websocket: RFC 6455 messages over a connection that HTTP/1.1 handed over: the server's side (kubectl exec, attach,
 * port-forward, watches of browsers) and the client's.
 *
 * One message at a time, whole, at most max_message bytes (a larger one closes with 1009). Pings are answered, and a
 * close is answered, without the user hearing of the former. No extension is negotiated. One loop's thread.
 */
#ifndef SKIFF_BASE_NET_WEBSOCKET_H
#define SKIFF_BASE_NET_WEBSOCKET_H

#include "base/err.h"
#include "base/net/http.h"
#include "base/ref.h"
#include "base/str.h"

struct http_stream; /* base/net/http_client.h */
struct websocket;

enum websocket_close_code {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_NO_CODE = 1005,  /* only told: the peer's close had no code */
    WEBSOCKET_ABNORMAL = 1006, /* only told: the connection ended without a close */
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL = 1011,
};

struct websocket_handler {
    void (*on_message)(void *arg, bool text, struct str data); /* data is borrowed for the call */
    /* The peer closed, or the connection failed. The websocket is gone when it returns. */
    void (*on_close)(void *arg, int code, struct str reason);
    void (*on_drain)(void *arg); /* unsent bytes fell under HTTP_LOW_WATER; may be NULL */
    void *arg;
};

struct websocket_options {
    /* Sub-protocols this side speaks, best first, NULL-terminated; NULL = none. A server picks the first of the
     * client's list that it speaks. */
    const char *const *protocols;
    bool require_protocol;    /* servers: refuse a client that offers none of them */
    size_t max_message;       /* 0 = 1 MiB */
    int64_t ping_interval_ms; /* 0 = none: ping a silent peer, give it up after two unanswered */
    struct websocket_handler handler;
};

/* Does this request ask for a websocket? (Connection: Upgrade, Upgrade: websocket) */
bool websocket_requested(const struct http_exchange *ex);

/* Answer with 101 and take the connection over. On failure (ERR_BAD_REQUEST: not a proper handshake, no protocol in
 * common; ERR_INTERNAL) the exchange still waits for its answer. *ret_protocol is the sub-protocol chosen, one of
 * options' strings, or NULL. No callback runs before this returns. */
int websocket_accept(struct http_exchange *ex, const struct websocket_options *options, const char **ret_protocol,
                     struct websocket **ret, struct err *err);

/* The client's side, over a connection on which the answer 101 has come. The headers of the request are
 * "connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: <key>" and
 * "sec-websocket-protocol". */
void websocket_key_create(char ret_key[static 25]);
bool websocket_key_matches(const char *key, struct str accept); /* the answer's sec-websocket-accept */
struct websocket *websocket_client(struct loop *loop, struct http_stream *stream,
                                   const struct websocket_options *options);

void websocket_send(struct websocket *w, bool text, const void *data, size_t len); /* one message */
/* One binary message of a first byte (the channel of Kubernetes' streaming protocols) and bytes that are not copied on
 * a server's side. */
void websocket_send_channel(struct websocket *w, uint8_t channel, struct slice data);
size_t websocket_unsent(const struct websocket *w);
void websocket_read(struct websocket *w, bool on); /* flow control; a few messages already read may still come */
/* Sends a close, then closes after unsent bytes. No callback after this; the websocket is the caller's no more. */
void websocket_close(struct websocket *w, int code, const char *reason);

#endif
