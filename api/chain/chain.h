/* chain: the way of an HTTP request from the connection to whoever carries it out: route, authentication, fairness,
 * impersonation, authorization; and back: metrics and the release of its memory.
 */
#ifndef SKIFF_API_CHAIN_CHAIN_H
#define SKIFF_API_CHAIN_CHAIN_H

#include "api/request.h"
#include "api/route.h"

#define API_MAX_BODY (3u * 1024u * 1024u)

struct chain_request {
    struct api_request req; /* first: the verbs know only this */
    struct route route;
    struct str method, raw_path, query;
    int64_t start_us;
    bool seat, mutating, long_running;
};

/* The http_handler; arg is the struct api_server. */
void chain_handle(void *arg, struct http_exchange *ex);

void chain_register_metrics(void);

/* Answers for paths that are no resources (discovery, health, …); a 404 when there is nothing. */
void endpoint_run(struct chain_request *c);
struct str endpoint_version(void); /* what /version answers */
/* Streaming subresources: log, exec, attach, portforward, proxy. false: not one of these. */
bool stream_run(struct chain_request *c);

/* Whole answers that are no objects; each ends the request. Slices are consumed. */
void chain_respond(struct chain_request *c, int status, const struct http_header *headers, size_t n_headers,
                   const struct slice *body, size_t n_body);
void chain_answer_not_found(struct chain_request *c); /* "404 page not found", as plain as upstream's */
void chain_answer_text(struct chain_request *c, int status, const char *content_type, struct str text); /* copied */
/* JSON text, laid out for people when they ask (?pretty, curl). `headers` besides content-type. */
void chain_answer_json(struct chain_request *c, int status, const char *content_type, struct str json,
                       const struct http_header *headers, size_t n_headers);
/* After http_finish of an answer that was streamed by the caller. */
void chain_end(struct chain_request *c, int status);

#endif
