/* http: the server's side of HTTP/1.1 and HTTP/2 as one interface (http_server.c), chosen by ALPN on one TLS port.
 *
 * A server owns K network loops; one acceptor deals connections to the least loaded. The handler is called on the
 * connection's loop once a request is complete (headers and bounded body). It answers at once or later, on that loop.
 * Response bytes are slices: nothing is copied between an object's body and the socket's buffer.
 *
 * Limits: header block 64 KiB (431), 250 concurrent streams a connection, time-outs for half-open and idle connections,
 * a rate limit on stream resets tuned so that Go clients that cancel many watches pass.
 */
#ifndef SKIFF_BASE_NET_HTTP_H
#define SKIFF_BASE_NET_HTTP_H

#include "base/arena.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/ref.h"
#include "base/str.h"

struct tls_context; /* base/net/tls.h */
struct http_server;

struct http_header {
    struct str name, value; /* names in lower case */
};

struct http_peer {    /* what is known of the connection; lives as long as it */
    char address[64]; /* "10.0.0.1:34567" */
    bool tls, http2;
    struct str cert_der;         /* the verified client certificate, STR_NULL without one */
    bool cert_invalid;           /* there was one, but it did not verify (unknown signer, expired, not for clients) */
    struct str cert_cn;          /* subject common name */
    const struct str *cert_orgs; /* subject organizations, ends with STR_NULL */
    void *user;                  /* for the handler: cached identity of the connection, freed by user_free */
    void (*user_free)(void *user);
};

/* One request and its response. Valid from the handler's call until http_finish, or until on_close. */
struct http_exchange {
    struct arena *arena; /* lives as long as the exchange */
    struct loop *loop;
    struct http_peer *peer;
    struct str method, path /* raw, before '?' */, query /* raw, after '?' */, authority;
    const struct http_header *headers;
    size_t n_headers;
    struct str body;
    bool body_too_large; /* over the server's max_body; body is empty; answer 413 */
    void *user;          /* the handler's */
    /* The client went away (or the response could not be sent). Called at most once, never after http_finish; the
     * exchange is gone when it returns. */
    void (*on_close)(struct http_exchange *ex);
    /* The queue of unsent bytes fell under the low-water mark again. */
    void (*on_drain)(struct http_exchange *ex);
    /* Servers with `streaming`, HTTP/2: the body as it comes, to be set by the handler. `end` comes once, perhaps with
     * no bytes. Never called after http_finish, which it may call. */
    void (*on_data)(struct http_exchange *ex, struct str data, bool end);
};

typedef void http_handler(void *arg, struct http_exchange *ex);

struct http_server_options {
    const char *listen;      /* "127.0.0.1:6443", "[::]:6443", "unix:/path"; several separated by commas */
    struct tls_context *tls; /* NULL = clear text (HTTP/1.1, and HTTP/2 with prior knowledge) */
    struct loop **loops;
    size_t n_loops;
    size_t max_body; /* bytes */
    bool streaming;  /* HTTP/2: call the handler at the headers; the body, of any size, goes to on_data */
    http_handler *handler;
    void *arg;
};
int http_server_create(const struct http_server_options *opt, struct http_server **ret, struct err *err);
int http_server_port(const struct http_server *s); /* the one bound (listen with port 0) */
/* Stop accepting, send GOAWAY, let exchanges end for up to grace_ms, then close. `done` on the first loop. */
void http_server_stop(struct http_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg);
void http_server_destroy(struct http_server *s); /* after `done`; NULL is fine */

struct str http_header_get(const struct http_exchange *ex, const char *lower_case_name); /* STR_NULL when absent */

/* A whole response. Slices are consumed (owner references are taken over). content-length and date are added. A slice
 * without an owner is a constant or lies in the exchange's arena, which lives on until the response is sent.
 * The bodies of answers to HEAD and of 204 and 304 are dropped. */
void http_respond(struct http_exchange *ex, int status, const struct http_header *headers, size_t n_headers,
                  const struct slice *body, size_t n_body);
/* A streamed one: start, send any number of times, finish. Chunked on HTTP/1.1. */
void http_start(struct http_exchange *ex, int status, const struct http_header *headers, size_t n_headers);
void http_send(struct http_exchange *ex, const struct slice *pieces, size_t n);
size_t http_unsent(const struct http_exchange *ex); /* bytes queued; stop producing above http_high_water */
#define HTTP_HIGH_WATER (256u * 1024u)
#define HTTP_LOW_WATER (64u * 1024u)
void http_finish(struct http_exchange *ex);
/* http_finish with trailers behind the body (HTTP/2; left out on HTTP/1.1). Copied. */
void http_finish_trailers(struct http_exchange *ex, const struct http_header *trailers, size_t n);
void http_abort(struct http_exchange *ex); /* RST_STREAM or close: the response cannot be completed */

/* Take the connection over after a 101 answer (HTTP/1.1 only; ERR_BAD_REQUEST on HTTP/2): WebSocket and SPDY sit on
 * this. */
struct byte_stream;
struct byte_stream_handler {
    void (*on_data)(void *arg, struct str data);
    void (*on_close)(void *arg); /* peer closed or failed; the stream is gone when it returns */
    void (*on_drain)(void *arg);
    void *arg;
};
int http_upgrade(struct http_exchange *ex, const struct http_header *headers, size_t n_headers,
                 const struct byte_stream_handler *handler, struct byte_stream **ret, struct err *err);
void byte_stream_write(struct byte_stream *s, const struct slice *pieces, size_t n);
size_t byte_stream_unsent(const struct byte_stream *s);
void byte_stream_read(struct byte_stream *s, bool on); /* flow control: stop and go on reading */
void byte_stream_close(struct byte_stream *s);         /* after unsent bytes; no callback after this */

/* Query strings: the next name and value, percent-decoded into the arena. false at the end. */
bool http_query_next(struct arena *a, struct str *query, struct str *ret_name, struct str *ret_value);
struct str http_percent_decode(struct arena *a, struct str s); /* STR_NULL when malformed */

#endif
