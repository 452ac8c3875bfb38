/* spdy_internal: what the SPDY session's files share. Nobody else includes it.
 *
 *   spdy.c          the session and its streams: life, sending, flow control
 *   spdy_receive.c  frames from the peer
 *   spdy_headers.c  header blocks, compressed with zlib and the dictionary in spdy_dictionary.c
 *
 * As in the HTTP client, what ends inside an entry from outside is only marked; the outermost spdy_leave frees it.
 */
#ifndef SKIFF_BASE_NET_SPDY_INTERNAL_H
#define SKIFF_BASE_NET_SPDY_INTERNAL_H

#include "base/net/spdy.h"

#include <zlib.h>

#define SPDY_DICTIONARY_LEN 1423
extern const char spdy_dictionary[];

#define SPDY_WINDOW 65536
#define SPDY_MAX_CONTROL (256u * 1024u)
#define SPDY_MAX_HEADERS (256u * 1024u)
#define SPDY_MAX_STREAMS 2000

enum {
    SPDY_SYN_STREAM = 1,
    SPDY_SYN_REPLY,
    SPDY_RST_STREAM,
    SPDY_SETTINGS,
    SPDY_PING = 6,
    SPDY_GOAWAY,
    SPDY_HEADERS,
    SPDY_WINDOW_UPDATE
};
enum { SPDY_FLAG_FIN = 1, SPDY_FLAG_UNIDIRECTIONAL = 2 };

struct spdy_stream {
    struct spdy_session *session;
    struct spdy_stream *prev, *next;
    uint32_t id;
    struct spdy_stream_handler handler;
    bool accepted;                    /* has a handler */
    bool in_end, out_end, out_closed; /* peer's FIN seen; ours wanted; ours sent */
    bool end_told, held, over, draining;
    struct buf in;  /* received while held back */
    struct buf out; /* waits for the peer's window */
    int64_t send_window;
    uint32_t taken; /* received and not yet given back to the peer's window */
};

struct spdy_session {
    struct spdy_session_options opt;
    struct spdy_stream *streams, *over;
    uint32_t next_id, last_peer_id, next_ping;
    size_t n_streams;
    bool goaway_in, goaway_out, closed, destroyed;
    int depth;
    /* Peers that do no flow control (Go's spdystream) never open a window: it counts only for those that have shown
     * one. */
    bool windows;
    int64_t send_window, initial_window;
    uint32_t taken;
    z_stream deflate, inflate;
    struct buf in, frame;
    uint32_t data_id, data_left; /* within a DATA frame */
    uint8_t data_flags;
    bool in_data;
};

void spdy_enter(struct spdy_session *s);
void spdy_leave(struct spdy_session *s);

void spdy_headers_init(struct spdy_session *s);
void spdy_headers_finish(struct spdy_session *s);
void spdy_headers_write(struct spdy_session *s, struct buf *out, const struct http_header *headers, size_t n);
/* Every block must pass through here, wanted or not: the compression has one state. Headers live in the arena. */
int spdy_headers_read(struct spdy_session *s, struct arena *a, struct str block, struct http_header **ret,
                      size_t *ret_n, struct err *err);

struct spdy_stream *spdy_stream_find(struct spdy_session *s, uint32_t id);
struct spdy_stream *spdy_stream_new(struct spdy_session *s, uint32_t id);
void spdy_stream_over(struct spdy_stream *st); /* unlinks and marks; silent */
void spdy_stream_flush(struct spdy_stream *st);
void spdy_stream_received(struct spdy_stream *st, struct str data, bool fin);
void spdy_send_reset(struct spdy_session *s, uint32_t id, int status);
void spdy_send_control(struct spdy_session *s, int type, int flags, const void *p, size_t len);
void spdy_session_took(struct spdy_session *s, size_t n);

#endif
