/* client: how controllers, the scheduler and the agent use the API. Two implementations behind one face:
 * in-process (client_create_local, api/client/local.c: the same checks as HTTP requests, no bytes) and
 * HTTP (client_create_http, api/client/remote.c: JSON over HTTP/2, several servers, reconnects).
 *
 * A client belongs to one loop: calls are made on it and callbacks run on it, never inside the call itself.
 * Several clients (identities) may share a loop.
 */
#ifndef SKIFF_API_CLIENT_CLIENT_H
#define SKIFF_API_CLIENT_CLIENT_H

#include "base/err.h"
#include "base/loop.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct client;

enum patch_type { PATCH_TYPE_JSON, PATCH_TYPE_MERGE, PATCH_TYPE_STRATEGIC, PATCH_TYPE_APPLY };

struct client_call {
    enum verb verb; /* GET, LIST, CREATE, UPDATE, PATCH, DELETE, DELETE_COLLECTION */
    const struct resource *resource;
    struct str version;     /* STR_NULL = the storage version, which is what views and objects are in */
    struct str subresource; /* STR_NULL = none; "status", "binding", "token", "eviction", "scale" */
    struct str namespace_, name;
    const struct value *body; /* CREATE, UPDATE, PATCH; copied before the call returns */
    enum patch_type patch_type;
    struct str label_selector, field_selector; /* LIST, DELETE_COLLECTION */
    /* DELETE */
    struct str propagation_policy; /* STR_NULL = default; Background, Foreground, Orphan */
    int64_t grace_period_s;        /* -1 = default */
    struct str precondition_uid;   /* STR_NULL = none */
    int64_t precondition_revision; /* 0 = none */
};

struct client_answer {
    int rc; /* 0 or negative enum err_code (ERR_CONFLICT, ERR_NOT_FOUND, ERR_UNAVAILABLE …) */
    const struct err *err;
    const struct object *object; /* GET, CREATE, UPDATE, PATCH, DELETE of a stored kind; borrowed; may be NULL */
    const struct value *value;   /* bodies that are not stored objects (TokenRequest, Scale, Status); borrowed */
    struct object_tree *list;    /* LIST; borrowed */
};
typedef void client_done(void *arg, const struct client_answer *answer);

/* Everything in `call` is copied before return. `done` may be NULL (the answer is logged when it is an error). */
void client_send(struct client *c, const struct client_call *call, client_done *done, void *arg);

/* ---- informer: a local, always consistent picture of one resource (or a selection of it) ---- */

struct informer;
struct informer_options {
    const struct resource *resource;
    struct str namespace_;     /* empty = all */
    struct str label_selector; /* STR_NULL = all */
    struct str field_selector; /* e.g. "spec.nodeName=a" */
    /* Called on the loop for each change, after the snapshot includes it; old is NULL for additions, now for removals.
     * After a reconnect the differences are reported. May be NULL. */
    void (*on_change)(void *arg, const struct object *old, const struct object *now);
    /* Once when the first list is complete, and again whenever revision moves on without a change of ours. */
    void (*on_synced)(void *arg);
    void *arg;
};
struct informer *client_informer(struct client *c, const struct informer_options *opt);
void informer_destroy(struct informer *i);
bool informer_synced(const struct informer *i);
int64_t informer_revision(const struct informer *i);       /* everything up to here has been seen */
struct object_tree *informer_snapshot(struct informer *i); /* the caller owns the reference */

struct loop *client_loop(const struct client *c);
void client_destroy(struct client *c);

/* Once at start-up. */
void client_metrics_register(void);

/* Local: acts as `user` (e.g. "system:kube-scheduler") with groups ending in NULL. */
struct api_server;
struct client *client_create_local(struct api_server *server, struct loop *loop, const char *user,
                                   const char *const *groups);

/* Fencing, of local clients: from here on each write of theirs is one transaction with a compare: `key` must have this
 * mod revision in the store. A write that comes too late ends with ERR_FENCED, and `lost` (may be NULL) is called on
 * the loop, once per client. The lease NAME in kube-system has the key CLIENT_FENCES NAME, written in the transaction
 * that gives it to somebody: the revision of that Lease is the fence's. Copied. */
#define CLIENT_FENCES "/skiff/fences/"
struct client_fence {
    struct str key;
    int64_t revision;
    void (*lost)(void *arg);
    void *arg;
};
void client_fence(struct client *c, const struct client_fence *fence);

/* Local: calls back once everything that any server has acknowledged until now is seen by informers that are made
 * then. rc is ERR_TIMEOUT or ERR_UNAVAILABLE when that could not be had in a few seconds. */
void client_newest(struct client *c, void (*done)(void *arg, int rc), void *arg);

struct client_http_options {
    const char *const *servers; /* "https://host:port", NULL-terminated; tried in turn */
    const char *ca_file;        /* or the PEM itself in ca_pem */
    const char *ca_pem;
    const char *cert_pem, *key_pem; /* client certificate, or NULL */
    const char *token;              /* bearer token, or NULL */
    const char *user_agent;
    bool learn_servers; /* go on to those that the cluster itself lists when these are gone */
};
int client_create_http(struct loop *loop, const struct client_http_options *opt, struct client **ret, struct err *err);
/* Servers, CA and credentials from a kubeconfig file's current context. */
int client_create_kubeconfig(struct loop *loop, const char *file, const char *user_agent, struct client **ret,
                             struct err *err);

/* Record an event as client-go's recorder does (aggregation and counting included). `type` is "Normal" or "Warning". */
void client_event(struct client *c, const char *component, const char *host, const struct object *about,
                  const char *type, const char *reason, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

/* The same about a part of the object, e.g. field_path "spec.containers{nginx}". */
void client_event_at(struct client *c, const char *component, const char *host, const struct object *about,
                     const char *field_path, const char *type, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 8, 9)));

#endif
