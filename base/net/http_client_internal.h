/* http_client_internal: what the HTTP client's own files share. Nobody else includes it.
 *
 *   http_client_transport.c  bytes over TCP or a unix socket, with or without TLS
 *   http_client.c            the client: addresses in turn, back-off, life of connections
 *   http_client_call.c       life of calls
 *   http_client_h1.c, _h2.c  the two protocols on a connection
 *   http_client_stream.c     what a connection becomes after 101
 *
 * Life times: every entry from outside (an event of the loop or a call of the interface) is bracketed by client_enter
 * and client_leave. What ends in between is only marked (call->over, conn->dead, stream->over) and unlinked; the
 * outermost client_leave frees it, starts waiting calls and flushes. So code inside may look at anything after running
 * a callback, as long as it checks the mark.
 */
#ifndef SKIFF_BASE_NET_HTTP_CLIENT_INTERNAL_H
#define SKIFF_BASE_NET_HTTP_CLIENT_INTERNAL_H

#include "base/net/http_client.h"

#include <llhttp.h>
#include <nghttp2/nghttp2.h>

/* ---- transport ---- */

struct transport;
struct http_address {
    char *text;      /* as configured, without a trailing slash */
    char *host;      /* or the path of a unix socket */
    char *authority; /* for Host */
    int port;
    bool tls, unix_socket;
};
struct transport_handler {
    void (*on_ready)(void *arg, bool http2);
    void (*on_data)(void *arg, struct str data);
    void (*on_drain)(void *arg);
    /* The connection could not be made or has ended; err NULL: the peer closed it in order. No callback after this. */
    void (*on_end)(void *arg, const struct err *err);
    void *arg;
};
struct transport_options {
    const struct http_address *address;
    struct tls_context *tls;
    const char *server_name;
    enum http_client_mode mode; /* which protocols ALPN offers */
    int64_t connect_timeout_ms;
};
struct transport *transport_open(struct loop *loop, const struct transport_options *opt,
                                 const struct transport_handler *handler);
void transport_handle(struct transport *t, const struct transport_handler *handler);
void transport_write(struct transport *t, const void *p, size_t len);
size_t transport_unsent(const struct transport *t);
void transport_read(struct transport *t, bool on);
void transport_close(struct transport *t); /* at once; NULL is fine */
void transport_close_after_writes(struct transport *t);

/* ---- client ---- */

struct http_conn;

struct http_call_list {
    struct http_call *first, *last;
};

struct http_client {
    struct loop *loop;
    struct http_address *addresses;
    size_t n_addresses, at;
    struct tls_context *tls;
    char *server_name, *authority, *token, *user_agent;
    enum http_client_mode mode;
    bool no_keep_alive, speaks_http1; /* the latter: learned from ALPN */
    int64_t connect_timeout_ms, ping_interval_ms;
    int64_t backoff_ms, not_before_ms;
    struct timer wait;

    int depth;
    bool destroyed;
    struct http_conn *conns;  /* all that are alive or marked dead */
    struct http_conn *shared; /* being made, or the HTTP/2 one that takes calls */
    struct http_call_list waiting, over;
    struct http_stream *streams;
};

void client_enter(struct http_client *c);
void client_leave(struct http_client *c);

struct http_conn {
    struct http_client *client;
    struct http_conn *next;
    struct transport *transport;
    size_t at;                       /* its address */
    bool ready, dead, goaway, bound; /* bound: made for one HTTP/1.1 call */
    bool want_flush;
    struct http_call_list calls; /* HTTP/1.1: at most one */
    /* HTTP/2 */
    nghttp2_session *h2;
    struct timer ping;
    int64_t heard_ms;
    bool ping_out;
    /* HTTP/1.1 */
    llhttp_t parser;
    llhttp_settings_t settings;
    struct buf name, value; /* the header being read */
    bool complete, keep, used, sent_one, chunked;
};

/* Ends a connection. Calls that were certainly not processed wait again, the others end with err. */
void conn_fail(struct http_conn *conn, const struct err *err);
void conn_close(struct http_conn *conn); /* no call is left on it */

struct http_call {
    struct http_client *client;
    struct http_conn *conn; /* NULL while waiting */
    struct http_call *prev, *next;
    struct arena *arena;
    struct str method, path;
    struct http_header *headers;
    size_t n_headers;
    struct buf out; /* the body; sent up to out_at, dropped behind it only when streamed */
    size_t out_at;
    bool streamed, out_end, upgrade, no_token;
    bool over, sent, answered, paused, ended, draining, body_began;
    bool got_end; /* HTTP/2: END_STREAM was received */
    int tries;    /* connections that failed under it */
    int32_t stream_id;
    struct http_call_handler handler;
    struct timer deadline, wake;
    /* the answer */
    int status;
    struct http_header *got;
    size_t n_got, cap_got;
    struct http_header *trailers;
    size_t n_trailers;
    struct buf held; /* received while paused */
    struct err *end_err;
};

void call_list_add(struct http_call_list *l, struct http_call *call);
void call_list_add_first(struct http_call_list *l, struct http_call *call);
void call_list_remove(struct http_call_list *l, struct http_call *call);

/* What the protocols report. Each may run callbacks: look at call->over (and conn->dead) afterwards. */
void call_got_header(struct http_call *call, struct str name, struct str value);
void call_response(struct http_call *call); /* headers are complete and final */
void call_data(struct http_call *call, struct str data);
void call_end(struct http_call *call, const struct err *err);      /* err NULL = the answer is complete */
void call_end_soon(struct http_call *call, const struct err *err); /* from the loop, not inside this call */
void call_retry(struct http_call *call, const struct err *err);    /* the peer did not process it */
size_t call_body_left(const struct http_call *call);
void call_body_taken(struct http_call *call, size_t n);
void call_over(struct http_call *call); /* unlinks and marks; silent */

/* ---- protocols ---- */

int h1_init(struct http_conn *conn);
void h1_start(struct http_conn *conn, struct http_call *call);
void h1_body(struct http_conn *conn, struct http_call *call); /* there is more of a streamed body, or its end */
void h1_feed(struct http_conn *conn, struct str data);
void h1_eof(struct http_conn *conn);
void h1_finish(struct http_conn *conn);

int h2_init(struct http_conn *conn);
void h2_start(struct http_conn *conn, struct http_call *call);
void h2_body(struct http_conn *conn, struct http_call *call);
void h2_feed(struct http_conn *conn, struct str data);
void h2_cancel(struct http_conn *conn, struct http_call *call);
void h2_taken(struct http_conn *conn, struct http_call *call, size_t n); /* opens the stream's window again */
void h2_flush(struct http_conn *conn);
void h2_finish(struct http_conn *conn);

/* ---- streams ---- */

struct http_stream {
    struct http_client *client;
    struct http_stream *next;
    struct transport *transport; /* NULL once closed */
    struct byte_stream_handler handler;
    bool over, draining;
};
/* Takes the transport over and runs on_upgrade; then the bytes that came behind the 101. */
void stream_begin(struct http_client *c, struct http_call *call, struct transport *t, struct str rest);

#endif
