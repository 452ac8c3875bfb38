/* spdy: SPDY/3.1 framing and streams, in both roles, without any I/O of its own.
 *
 * Bytes from the peer go in through spdy_session_feed, bytes for the peer come out through the `write` hook: the
 * session runs over an upgraded HTTP/1.1 connection (containerd's streaming server: exec, attach) or inside the binary
 * messages of a WebSocket (kubectl's port-forward, "SPDY/3.1+portforward.k8s.io"). Used for nothing else, so
 * priorities, server push and credentials are read past.
 *
 * Received DATA is handed to on_data at once; window updates go out as the handler takes it, unless spdy_stream_read
 * holds the stream back (then the peer stops after its window of 64 KiB). Data sent waits in the stream while the
 * peer's window is closed.
 *
 * Go's spdystream, the usual peer, does no flow control: a peer's window counts once the peer has shown one
 * (WINDOW_UPDATE or SETTINGS), and what it sends to a stream held back is kept. Whoever holds streams back also stops
 * feeding the session when spdy_session_held grows.
 *
 * Callbacks run inside spdy_session_feed, and those of one stream inside spdy_stream_read (what was held); `write` runs
 * inside any call. A session and its streams may be destroyed inside callbacks. Errors end the session: GOAWAY goes out
 * and on_closed is called once.
 */
#ifndef SKIFF_BASE_NET_SPDY_H
#define SKIFF_BASE_NET_SPDY_H

#include "base/err.h"
#include "base/net/http.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct spdy_session;
struct spdy_stream;

enum spdy_reset { /* RST_STREAM status codes */
                  SPDY_PROTOCOL_ERROR = 1,
                  SPDY_INVALID_STREAM = 2,
                  SPDY_REFUSED_STREAM = 3,
                  SPDY_UNSUPPORTED_VERSION = 4,
                  SPDY_CANCEL = 5,
                  SPDY_INTERNAL_ERROR = 6,
                  SPDY_FLOW_CONTROL_ERROR = 7,
                  SPDY_STREAM_IN_USE = 8,
                  SPDY_STREAM_ALREADY_CLOSED = 9,
};

struct spdy_stream_handler {
    void (*on_reply)(void *arg, const struct http_header *headers, size_t n); /* SYN_REPLY to ours; may be NULL */
    void (*on_data)(void *arg, struct str data);
    void (*on_end)(void *arg);               /* the peer sends no more (FLAG_FIN); our half stays open */
    void (*on_reset)(void *arg, int status); /* RST_STREAM or end of session: the stream is gone when it returns */
    void (*on_drain)(void *arg);             /* unsent bytes fell under HTTP_LOW_WATER; may be NULL */
    void *arg;
};

struct spdy_session_options {
    bool server; /* who opened the connection? false: our streams have odd numbers */
    /* The peer pays no heed to windows (Go's spdystream): send no updates. Bytes it has not read when it closes its end
     * would make TCP throw away what it sent last. */
    bool no_window_updates;
    void (*write)(void *arg, struct str bytes);
    /* The peer opened a stream. Set its handler with spdy_stream_accept (which answers SYN_REPLY) or refuse it with
     * spdy_stream_reset, before returning. Header names are in lower case. NULL: all are refused. */
    void (*on_stream)(void *arg, struct spdy_stream *s, const struct http_header *headers, size_t n);
    /* GOAWAY from the peer (err NULL) or a broken protocol (err set). Streams have been reset already in the latter
     * case. */
    void (*on_closed)(void *arg, const struct err *err);
    void *arg;
};
struct spdy_session *spdy_session_create(const struct spdy_session_options *opt);
void spdy_session_destroy(struct spdy_session *s); /* streams vanish silently; writes nothing; NULL is fine */
int spdy_session_feed(struct spdy_session *s, struct str bytes, struct err *err);
void spdy_session_goaway(struct spdy_session *s); /* say that no more streams are taken */
void spdy_session_ping(struct spdy_session *s);
size_t spdy_session_streams(const struct spdy_session *s);
size_t spdy_session_held(const struct spdy_session *s); /* bytes received and held back */

/* Open a stream. Header names are sent in lower case. `fin`: we shall not send on it. NULL after GOAWAY. */
struct spdy_stream *spdy_stream_create(struct spdy_session *s, const struct http_header *headers, size_t n, bool fin,
                                       const struct spdy_stream_handler *handler);
void spdy_stream_accept(struct spdy_stream *st, const struct http_header *headers, size_t n,
                        const struct spdy_stream_handler *handler);
void spdy_stream_write(struct spdy_stream *st, struct str data);
size_t spdy_stream_unsent(const struct spdy_stream *st);
void spdy_stream_end(struct spdy_stream *st); /* half-close after what is unsent */
void spdy_stream_read(struct spdy_stream *st, bool on);
/* RST_STREAM (unless both halves have ended); the stream is gone, no callback after this. NULL is fine. */
void spdy_stream_reset(struct spdy_stream *st, int status);
bool spdy_stream_done(const struct spdy_stream *st); /* both halves have ended; spdy_stream_reset frees it */
uint32_t spdy_stream_id(const struct spdy_stream *st);

#endif
