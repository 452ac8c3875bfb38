/* http_client: requests to one origin (which may have several addresses) over HTTP/2 or HTTP/1.1, on one loop.
 *
 * A client keeps at most one HTTP/2 connection, on which all calls are multiplexed, or as many HTTP/1.1 connections as
 * calls are in flight. Connections are made when a call needs one. When an address refuses, or a connection to it has
 * fallen silent, the next one is tried; when
 * all have refused once, the waiting calls end with ERR_UNAVAILABLE and the next attempt waits (50 ms doubling to 1 s,
 * jittered). A call that the server certainly did not process (GOAWAY, REFUSED_STREAM, stale kept-alive connection) is
 * sent again by itself; any other loss of the connection ends the call with ERR_UNAVAILABLE.
 *
 * Errors of on_done: ERR_UNAVAILABLE (no connection, lost connection), ERR_TIMEOUT (connect or total), ERR_CANCELED
 * never (a canceled call is silent), ERR_BAD_REQUEST (the peer broke the protocol), ERR_PERMISSION (its certificate is
 * not trusted). An HTTP status is never an error here.
 *
 * Callbacks run on the loop and never inside http_call_start. Strings and headers given to callbacks are borrowed.
 */
#ifndef SKIFF_BASE_NET_HTTP_CLIENT_H
#define SKIFF_BASE_NET_HTTP_CLIENT_H

#include "base/err.h"
#include "base/loop.h"
#include "base/net/http.h"
#include "base/net/tls.h"
#include "base/str.h"

struct http_client;
struct http_call;
struct http_stream;

enum http_client_mode {
    HTTP_CLIENT_AUTO,  /* TLS: what ALPN says; clear: HTTP/1.1 */
    HTTP_CLIENT_HTTP1, /* probes, upgrades */
    HTTP_CLIENT_HTTP2, /* TLS: ALPN must say h2; clear: prior knowledge (gRPC) */
};

struct http_client_options {
    const char *const *endpoints; /* "https://host:port", "http://host:port", "unix:///path"; NULL-terminated; copied */
    struct tls_context *tls;      /* for https endpoints; borrowed, outlives the client */
    const char *server_name;      /* verified and sent as SNI instead of the endpoint's host; NULL = that host */
    enum http_client_mode mode;
    const char *authority;      /* Host / :authority; NULL = the endpoint's ("localhost" for unix) */
    const char *token;          /* bearer token or NULL */
    const char *user_agent;     /* or NULL */
    int64_t connect_timeout_ms; /* per address, TLS handshake included; 0 = 10 s */
    int64_t ping_interval_ms;   /* HTTP/2: PING when silent so long, lost when unanswered as long again; 0 = never */
    bool no_keep_alive;         /* HTTP/1.1: "Connection: close" and a connection per call */
};
int http_client_create(struct loop *loop, const struct http_client_options *opt, struct http_client **ret,
                       struct err *err);
void http_client_destroy(struct http_client *c); /* calls and streams in flight end silently; NULL is fine */
void http_client_set_token(struct http_client *c, const char *token); /* for calls from now on */
/* The address in use or tried next ("https://host:port"). */
const char *http_client_endpoint(const struct http_client *c);
/* Other addresses from now on, at least one; copied. A connection to one that is not among them any more goes on until
 * it ends. */
int http_client_set_endpoints(struct http_client *c, const char *const *endpoints, struct err *err);
/* connect_timeout_ms and ping_interval_ms from now on. */
void http_client_set_patience(struct http_client *c, int64_t connect_timeout_ms, int64_t ping_interval_ms);
/* Drop the connection: calls on it end with ERR_UNAVAILABLE and the next one goes to the next address. */
void http_client_fail_over(struct http_client *c);

struct http_call_handler {
    /* Once, with final status (1xx are skipped). Names are in lower case. May be NULL. */
    void (*on_response)(void *arg, int status, const struct http_header *headers, size_t n);
    void (*on_data)(void *arg, struct str data);                                 /* may be NULL: the body is dropped */
    void (*on_trailers)(void *arg, const struct http_header *headers, size_t n); /* may be NULL */
    /* Instead of on_data and on_done when an upgrade call was answered with 101: the call is gone when this returns and
     * the stream is the handler's. It must set the stream's handler before it returns (http_stream_open). */
    void (*on_upgrade)(void *arg, struct http_stream *s);
    void (*on_done)(void *arg, const struct err *err); /* last, exactly once unless canceled; err NULL = all received */
    void (*on_drain)(void *arg); /* streamed bodies: unsent bytes fell under HTTP_LOW_WATER; may be NULL */
    void *arg;
};

struct http_call_options {
    struct str method, path; /* path with its query, encoded */
    const struct http_header
        *headers; /* names in lower case; host, user-agent, authorization, content-length are ours */
    size_t n_headers;
    struct str body;    /* copied */
    bool body_streamed; /* more body follows through http_call_write, the end through http_call_finish */
    bool upgrade;       /* HTTP/1.1 on a connection of its own; the headers hold connection and upgrade */
    bool no_token;      /* leave authorization out */
    int64_t timeout_ms; /* of the whole call, 0 = none; not applied after an upgrade */
    struct http_call_handler handler;
};
/* Everything is copied. The call is gone after on_done, on_upgrade or http_call_cancel. */
struct http_call *http_call_start(struct http_client *c, const struct http_call_options *opt);
void http_call_cancel(struct http_call *call); /* also inside its own callbacks; no callback after this; NULL is fine */
void http_call_read(struct http_call *call, bool on); /* flow control: stop and go on with on_data (and what follows) */
void http_call_write(struct http_call *call, struct str data); /* body_streamed only; copied */
size_t http_call_unsent(const struct http_call *call);
void http_call_finish(struct http_call *call); /* end of a streamed body */

/* The bytes of a connection after 101. */
void http_stream_open(struct http_stream *s, const struct byte_stream_handler *handler); /* starts reading */
void http_stream_write(struct http_stream *s, struct str data);                          /* copied */
size_t http_stream_unsent(const struct http_stream *s);
void http_stream_read(struct http_stream *s, bool on);
void http_stream_close(struct http_stream *s); /* after unsent bytes; no callback after this */

/* A header of an on_response or on_trailers list; STR_NULL when absent. */
struct str http_headers_get(const struct http_header *headers, size_t n, const char *lower_case_name);

#endif
