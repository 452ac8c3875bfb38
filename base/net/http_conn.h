/* http_conn: what the parts of the HTTP server share; nobody else includes this.
 *
 * http_server.c  listens, deals connections to workers, sweeps time-outs, stops
 * http_conn.c    one socket: TLS, reading, gathering what is to be written, closing
 * http1.c        HTTP/1.1 and what follows a 101; http2.c HTTP/2
 * http_exchange.c the handler's calls, and the queue of slices
 *
 * A worker is a server's part on one loop. Nothing is written when a handler answers: its connection is marked, and
 * every marked connection is flushed once before the loop waits again. So the answers of one iteration share frames,
 * TLS records and system calls. A connection is torn down only there too (`doomed` until then), never under the feet
 * of a parser or a handler.
 */
#ifndef SKIFF_BASE_NET_HTTP_CONN_H
#define SKIFF_BASE_NET_HTTP_CONN_H

#include "base/net/http.h"

#include <llhttp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/queue.h>

enum {
    HTTP_MAX_HEADERS = 64 * 1024,    /* bytes of a header block */
    HTTP_MAX_STREAMS = 250,          /* concurrent, per connection */
    HTTP_HEADERS_TIMEOUT_MS = 30000, /* TLS handshake, complete header block */
    HTTP_BODY_TIMEOUT_MS = 30000,    /* without any progress */
    HTTP_IDLE_TIMEOUT_MS = 180000,   /* kept alive without a request */
    HTTP_WRITE_TIMEOUT_MS = 300000,  /* a reader that takes nothing */
    HTTP_LINGER_TIMEOUT_MS = 2000,
    HTTP_LINGER_MAX = 8 * 1024 * 1024, /* bytes still taken from a peer that was told to go */
    HTTP_SWEEP_MS = 5000,
    HTTP_RECORD_SIZE = 16384, /* plain bytes of a full TLS record */
    HTTP_BURST = 65536,       /* bytes gathered for one write to the socket */
    HTTP_READ_SIZE = 65536,
    HTTP_POOLED_ARENAS = 256,
    HTTP_EXCHANGE_BLOCK = 2048 - 16, /* an exchange with its headers: thousands of them may wait for events */
};

struct slice_queue {
    struct slice *items;
    uint32_t head, len, cap; /* len counts from items[0] */
    size_t bytes;
};
void slice_queue_push(struct slice_queue *q, struct slice s); /* takes over the reference */
void slice_queue_drop(struct slice_queue *q);                 /* releases all and the memory */

struct http_conn;

/* Lives in its own arena. */
struct exchange {
    struct http_exchange pub; /* first */
    struct http_conn *conn;
    struct slice_queue out;
    TAILQ_ENTRY(exchange) link, drain_link;
    size_t headers_cap, header_bytes, dropped;
    struct buf body;
    const struct http_header *trailers; /* HTTP/2, set by http_finish_trailers */
    size_t n_trailers;
    int64_t moved_ms; /* when the last bytes of the request came */
    int32_t stream_id;
    bool called;   /* the handler knows it */
    bool received; /* the request is complete */
    bool started;  /* the status is out */
    bool finished; /* the handler is done with it */
    bool no_body;  /* HEAD, 204, 304 */
    bool chunked;  /* HTTP/1.1 */
    bool deferred; /* HTTP/2: nghttp2 waits to be told of more data */
    bool over_low; /* on_drain is owed */
    bool draining; /* on the worker's list */
    bool headers_too_large;
};
TAILQ_HEAD(exchange_list, exchange);

enum http_protocol { PROTOCOL_NONE, PROTOCOL_HTTP1, PROTOCOL_HTTP2, PROTOCOL_RAW, PROTOCOL_LINGER };

struct http1 {
    llhttp_t parser;
    struct exchange *ex; /* being received or answered */
    struct buf in;       /* bytes behind the request being answered */
    struct http_header header;
    int64_t begun_ms; /* first byte of the request */
    int reject;       /* status to refuse with */
    const char *reject_text;
    bool in_value, headers_done, keep_alive, busy;
};

struct http2 {
    nghttp2_session *session;
    struct exchange_list streams;
    size_t n_streams, n_incomplete;
    int64_t header_begun_ms; /* 0 = not inside a header block */
    bool going_away;
};

struct byte_stream {
    struct http_conn *conn;
    struct byte_stream_handler handler;
    struct slice_queue out;
    struct buf in; /* came with the request, or while reading was off */
    bool closing, over_low, drain_due;
};

struct http_conn {
    struct http_worker *worker;
    uv_poll_t poll;
    SSL *ssl;
    int fd, events;
    enum http_protocol protocol;
    struct http1 h1;
    struct http2 h2;
    struct byte_stream *raw;
    struct exchange *spent; /* upgraded: freed at the next flush */
    struct buf out;         /* bytes the socket did not take, from out_at on */
    size_t out_at;
    struct buf sniffed; /* clear text: up to a preface's length */
    int64_t opened_ms, active_ms, written_ms;
    size_t lingered; /* bytes dropped since the answer that ended it */
    TAILQ_ENTRY(http_conn) link, dirty_link;
    bool handshaken, dirty, doomed, dry /* the socket had no more to read */, paused, input_due, close_after_flush;
    struct http_peer peer;
};
TAILQ_HEAD(conn_list, http_conn);

struct http_worker {
    struct http_server *server;
    struct loop *loop;
    uv_prepare_t prepare;
    uv_idle_t idle; /* runs while marks are left, so that the loop does not wait */
    struct timer sweep;
    struct conn_list conns, dirty;
    struct exchange_list drains;
    atomic_uint n_conns;
    bool idling, stopping;
    struct http_conn *sink; /* whose bytes are being gathered */
    size_t plain_len;
    struct buf gathered;
    int64_t date_s;
    char date[32];
    struct arena *arenas[HTTP_POOLED_ARENAS];
    size_t n_arenas;
    char plain[HTTP_RECORD_SIZE];
    char in[HTTP_READ_SIZE];
};

#define HTTP_LISTENERS_MAX 8
struct http_listener {
    struct http_server *server;
    int fd;
    char *unix_path;
    uv_poll_t poll;
    struct timer pause;
};

struct http_server {
    struct http_server_options opt;
    struct http_worker **workers;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners, listeners_left; /* left: still closing */
    int port;
    atomic_uint workers_left;
    int64_t grace_ms;
    void (*stopped)(void *arg);
    void *stopped_arg;
    bool accepting;
};

/* http_conn.c */
void conn_open(struct http_worker *w, int fd, const char *address);
void conn_mark(struct http_conn *c); /* flush before the loop waits */
void conn_doom(struct http_conn *c); /* tear down then */
void conn_flush(struct http_conn *c);
void conn_destroy(struct http_conn *c);
void conn_input(struct http_conn *c);
void conn_pause(struct http_conn *c, bool paused);
/* For produce functions: */
void sink_write(struct http_conn *c, const char *p, size_t len);
bool sink_full(const struct http_conn *c);
size_t sink_queue(struct http_conn *c, struct slice_queue *q, size_t max);

/* http_exchange.c */
struct exchange *exchange_create(struct http_conn *c);
void exchange_destroy(struct exchange *ex);
void exchange_call(struct exchange *ex);   /* the handler */
void exchange_closed(struct exchange *ex); /* tells the handler, if it still cares */
void exchange_sent(struct exchange *ex);   /* after bytes left the queue */
void exchange_set_target(struct exchange *ex, struct str target);
void exchange_add_body(struct exchange *ex, const void *p, size_t len);
void worker_drain(struct http_worker *w);
const char *worker_date(struct http_worker *w);

/* http1.c; `input` functions get what was read, `produce` functions fill the sink */
void http1_open(struct http_conn *c);
void http1_input(struct http_conn *c, const char *p, size_t len);
void http1_produce(struct http_conn *c);
void http1_respond(struct exchange *ex, int status, const struct http_header *headers, size_t n, bool whole);
void http1_send(struct exchange *ex, const struct slice *pieces, size_t n, size_t bytes);
void http1_finish(struct exchange *ex);
bool http1_expired(struct http_conn *c, int64_t now_ms);
void http1_close(struct http_conn *c);
void raw_input(struct http_conn *c, const char *p, size_t len);
void raw_produce(struct http_conn *c);
void raw_close(struct http_conn *c);

/* http2.c */
void http2_open(struct http_conn *c);
void http2_input(struct http_conn *c, const char *p, size_t len);
void http2_produce(struct http_conn *c);
void http2_respond(struct exchange *ex, int status, const struct http_header *headers, size_t n, bool has_body);
void http2_resume(struct exchange *ex);
void http2_abort(struct exchange *ex);
bool http2_expired(struct http_conn *c, int64_t now_ms);
void http2_go_away(struct http_conn *c);
void http2_close(struct http_conn *c);

#endif
