/* remote: what the files of the HTTP client share (remote.c, remote_path.c, informer_http.c). Nobody else includes it.
 */
#ifndef SKIFF_API_CLIENT_REMOTE_H
#define SKIFF_API_CLIENT_REMOTE_H

#include "api/client/client_ops.h"
#include "base/net/http_client.h"

struct remote_pending;
struct informer_http;

struct remote {
    struct client base;
    struct loop *loop;
    struct tls_context *tls;
    struct http_client *http;
    char *field_manager;            /* the user agent up to its slash: who applies */
    struct remote_pending *pending; /* requests in flight or waiting to be sent again */
    struct informer_http *informers;
    char **servers; /* as configured, NULL-terminated, when more are learned */
    struct timer ask_servers;
};

/* remote_path.c: /apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUBRESOURCE, without query. */
void remote_path(struct buf *out, const struct resource *r, struct str version, struct str namespace_, struct str name,
                 struct str subresource);
/* Appends ?name=value or &name=value, percent-encoded; nothing when value is empty. */
void remote_query(struct buf *out, const char *name, struct str value);
/* The resource and version that a call with this version (STR_NULL = storage) is served under. */
const struct resource *remote_resource(const struct resource *r, struct str *version);

/* A Status body (or whatever the server sent) as err. Returns err->code. */
int remote_status(struct arena *a, int http_status, struct str body, struct err *err);
int64_t remote_revision(const struct value *object); /* of metadata.resourceVersion; 0 when absent */

/* servers.c */
void servers_learn(struct remote *c, const char *const *configured);
void servers_set_patience(struct remote *c, size_t n); /* as is right for a client that knows n servers */
void servers_finish(struct remote *c);

/* informer_http.c */
struct informer *informer_http_create(struct client *c, const struct informer_options *opt);
extern const struct client_ops remote_ops;
void informer_http_destroy(struct informer *i);
bool informer_http_synced(const struct informer *i);
int64_t informer_http_revision(const struct informer *i);
struct object_tree *informer_http_snapshot(struct informer *i);
void informers_http_abandon(struct remote *c); /* the client goes: its informers go with it */

#endif
