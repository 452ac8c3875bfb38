/* request: one API request between the chain (who may ask), the verbs (what happens) and the answer.
 *
 * The HTTP front (api/chain, api/route.c) and the in-process client (api/client/local.c) both build a `struct
 * api_request` and hand it to api_verb_run (api/verbs/). Whoever carries it out ends it with exactly one api_answer_*
 * call, at once or later, always on request->loop. The request and its arena are gone when that call returns.
 *
 * Who builds a request owns its memory: `ended` is called once, at the very end of the answer, and frees it. An HTTP
 * request has an arena of its own (not the exchange's: a commit may be in flight when the client leaves), so the names,
 * options and body it holds are copied into that arena. When the exchange closes early the front sets `exchange` to
 * NULL and `gone` to true and calls `on_gone` if the verb set it; the verb still ends with an answer (then nobody reads
 * it), and `ended` runs as usual. Long answers (LIST, WATCH) set `on_drain`, which the front calls from the exchange's.
 */
#ifndef SKIFF_API_REQUEST_H
#define SKIFF_API_REQUEST_H

#include "api/client/client.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/net/http.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct api_server;
struct cache_fence; /* storage/cache/cache.h */

struct api_user {
    struct str name, uid;
    const struct str *groups;
    size_t n_groups;
    const struct value *extra; /* map of lists of strings, or NULL */
};

enum api_format { API_JSON, API_YAML, API_TABLE, API_METADATA /* PartialObjectMetadata(List) */, API_PROTOBUF };

struct api_options { /* query parameters, parsed and checked by api_options_parse */
    struct str label_selector, field_selector;
    int64_t limit;
    struct str continue_;
    struct str resource_version, resource_version_match;
    bool watch, allow_bookmarks, send_initial_events, has_send_initial_events;
    int64_t timeout_s;
    bool dry_run, pretty, has_pretty, force;
    struct str field_manager;
    struct str field_validation; /* Ignore, Warn (default), Strict */
    int64_t grace_period_s;      /* -1 = absent */
    struct str propagation_policy;
    bool orphan_dependents, has_orphan_dependents;
    struct str include_object; /* Table: Metadata (default), Object, None */
};

struct api_cause {
    struct str reason, message, field;
};
/* What a failure is about when it is not the object asked for: Status details, set beside the err. */
struct api_details {
    struct str name, group, kind, uid;
    const struct api_cause *causes;
    size_t n_causes;
    struct str continue_; /* of an expired list: where to go on inconsistently (metadata.continue) */
    bool bare;            /* upstream's failures without a reason: message and code alone */
};

struct api_request {
    struct arena *arena;
    struct loop *loop;
    struct api_server *server;
    struct http_exchange *exchange; /* NULL when in-process */
    const struct api_user *user;
    const struct cache_fence *fence; /* in-process: every write of it is made behind this; NULL = none */

    enum verb verb;
    const struct resource *resource;
    const struct resource_version *version; /* as asked; conversion to and from storage is the verbs' business */
    const struct subresource *subresource;  /* NULL = the resource itself */
    struct str namespace_, name;
    struct api_options options;

    struct str body, content_type;  /* bytes from HTTP … */
    const struct value *body_value; /* … or a tree from the in-process client; at most one is set */
    enum patch_type patch_type;
    struct str user_agent;
    struct str audit_id; /* names the request in its answer's Audit-Id and in an audit log; STR_NULL in-process */

    enum api_format format;
    struct str table_version; /* "v1" or "v1beta1" for API_TABLE, API_METADATA, and API_PROTOBUF of metadata alone */

    const struct api_details *details; /* of the error about to be answered; NULL = the object asked for */

    struct str *warnings; /* Warning headers to send */
    size_t n_warnings, cap_warnings;

    client_done *done; /* in-process: who gets the answer */
    void *done_arg;
    void *state; /* the running verb's own */

    bool gone;                                 /* the HTTP client has left */
    void (*on_gone)(struct api_request *req);  /* set by streaming verbs; may end the request */
    void (*on_drain)(struct api_request *req); /* set by streaming verbs: room to write again */
    void (*ended)(struct api_request *req);    /* set by the builder: account for it (audit, metrics, seats), free it */
    void *owner;                               /* the builder's */
    int status;                                /* of the answer, set before `ended` */
    size_t answer_bytes;
};

/* Runs authorized requests. */
void api_verb_run(struct api_request *req);

/* Once at start, after kv and cache stand and before the first request: admission plugins and allocators. */
int api_verbs_init(struct api_server *s, struct err *err);
void api_verbs_finish(struct api_server *s);

/* Answers. The object is borrowed for the call; the value is in the request's arena and in the version asked for. */
void api_answer_object(struct api_request *req, int status, const struct object *o);
void api_answer_value(struct api_request *req, int status, const struct schema_message *schema, const struct value *v);
void api_answer_err(struct api_request *req, const struct err *err); /* renders a Status */
/* A body that is already encoded; slices are consumed. HTTP only. */
void api_answer_bytes(struct api_request *req, int status, const char *content_type, const struct slice *body,
                      size_t n);
void api_warn(struct api_request *req, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* metav1.Status as upstream writes it: reason, details (name, group, kind, uid, causes, retryAfterSeconds), code. */
struct value *api_status_value(struct arena *a, const struct api_request *req, const struct err *err, int *ret_code);

#endif
