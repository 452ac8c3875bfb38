/* client_ops: the seam between client.h's one face and its implementations (local.c, remote.c). Only these include it.
 *
 * An implementation embeds `struct client` as the first member of its own and `struct informer` as the first member of
 * its informers, sets `ops` (and `client`), and leaves the rest zero. client.c dispatches; everything that is the same
 * for both (the event recorder) hangs off the client here and is released by client_destroy before ops->destroy runs.
 */
#ifndef SKIFF_API_CLIENT_CLIENT_OPS_H
#define SKIFF_API_CLIENT_CLIENT_OPS_H

#include "api/client/client.h"

struct event_recorder; /* events.c */

struct client_ops {
    void (*send)(struct client *c, const struct client_call *call, client_done *done, void *arg);
    struct informer *(*informer_create)(struct client *c, const struct informer_options *opt);
    void (*informer_destroy)(struct informer *i); /* never NULL */
    bool (*informer_synced)(const struct informer *i);
    int64_t (*informer_revision)(const struct informer *i);
    struct object_tree *(*informer_snapshot)(struct informer *i);
    struct loop *(*loop)(const struct client *c);
    void (*fence)(struct client *c, const struct client_fence *fence);            /* NULL: there is none */
    void (*newest)(struct client *c, void (*done)(void *arg, int rc), void *arg); /* NULL: nor this */
    void (*destroy)(struct client *c); /* frees c and informers left; pending `done` callbacks do not run */
};

struct client {
    const struct client_ops *ops;
    struct event_recorder *recorder; /* made at the first client_event */
};

struct informer {
    struct client *client;
};

/* events.c; NULL is fine */
void event_recorder_destroy(struct event_recorder *r);

#endif
