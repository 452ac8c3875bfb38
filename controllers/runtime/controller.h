/* controller: the shape every controller has: a pure function from what is to what should be written.
 *
 * reconcile() gets a view (consistent snapshots of the resources the controller declared, with indexes), one key, the
 * time and the facts it asked for before; it answers with writes, a time to be called again and facts it wants. It has
 * no clock, does no I/O and keeps no globals, so its tests are tables of {given, want}. The runtime observes, queues,
 * calls, executes and retries (controllers/runtime/runtime.c).
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_CONTROLLER_H
#define SKIFF_CONTROLLERS_RUNTIME_CONTROLLER_H

#include "api/client/client.h"
#include "base/arena.h"
#include "openapi/object/object.h"
#include "openapi/object/tree.h"
#include "openapi/view.h"

struct view; /* snapshots of the declared resources, for one call */

/* `which` is the position in the controller's `watches`. Objects are borrowed from the view. */
const struct object *view_find(const struct view *v, int which, struct str namespace_, struct str name);
int view_len(const struct view *v); /* how many watches there are */
const struct resource *view_resource(const struct view *v, int which);
/* All of a namespace ("" = all namespaces), in order of name, into an arena array. */
size_t view_list(const struct view *v, struct arena *a, int which, struct str namespace_, const struct object ***ret);
/* Those that name `uid` among their owners (index). */
size_t view_owned(const struct view *v, struct arena *a, int which, struct str uid, const struct object ***ret);
/* Those of a namespace that have no owner at all (index). */
size_t view_orphans(const struct view *v, struct arena *a, int which, struct str namespace_,
                    const struct object ***ret);
/* Those whose selectable field `field` ("spec.nodeName") has this value (index). */
size_t view_by_field(const struct view *v, struct arena *a, int which, const char *field, struct str value,
                     const struct object ***ret);

struct key { /* of a queue: usually an object's */
    struct str namespace_, name;
};

struct fact_wanted { /* what a reconcile cannot know from its view */
    enum { FACT_LIVE_GET, FACT_RANDOM } kind;
    const struct resource *resource; /* FACT_LIVE_GET: read past the cache */
    struct str namespace_, name;
};

struct reconcile_event { /* an Event to record about `about`; about NULL = none */
    const struct object *about;
    const char *type, *reason;
    struct str message;
};

struct write {
    struct client_call call; /* verb, resource, body …; values in the reconcile's arena */
    /* Set when a failure of this kind is fine: bit i = error code -i (e.g. ERR_NOT_FOUND for deletes). */
    uint32_t accept;
    struct reconcile_event on_success; /* recorded when the write has succeeded */
    struct reconcile_event on_failure; /* its message is followed by that of the error */
};

struct outcome {
    struct arena *arena;
    struct write *writes;
    size_t n_writes, cap_writes;
    struct reconcile_event *events;
    size_t n_events, cap_events;
    int64_t requeue_at_ms; /* wall clock, 0 = no */
    struct fact_wanted *wanted;
    size_t n_wanted, cap_wanted;
    bool failed; /* back off and try again; `why` is logged */
    struct str why;
};

/* Calls that most outcomes consist of; each appends to out->writes and answers it for further settings. */
struct write *outcome_create(struct outcome *out, const struct resource *r, struct str namespace_,
                             const struct value *body);
struct write *outcome_update(struct outcome *out, const struct object *o, const char *subresource,
                             const struct value *body);
/* A merge patch of the object (its uid rides along, so that a namesake is never touched). */
struct write *outcome_patch(struct outcome *out, const struct object *o, const char *subresource, struct value *patch);
/* The same as an update of exactly the version that was seen (a conflict = look again): most controllers may not patch.
 */
struct write *outcome_modify(struct outcome *out, const struct object *o, const char *subresource, struct value *patch);
struct write *outcome_delete(struct outcome *out, const struct object *o); /* of this uid; not found is fine */
void outcome_event(struct outcome *out, const struct object *about, const char *type, const char *reason,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void outcome_want_live(struct outcome *out, const struct resource *r, struct str namespace_, struct str name);
void outcome_fail(struct outcome *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void outcome_requeue_at(struct outcome *out, int64_t at_ms); /* the earliest of all calls counts */

struct controllers_settings { /* what whoever starts the controllers knows; borrowed while they run */
    const char *ca_pem;       /* the cluster's certificate authority, NULL = none */
    const char *pod_cidr;     /* "10.244.0.0/16": nodes get a /24 each; NULL = somebody else gives them theirs */
    const struct client_fence *fence; /* every write is made behind it; NULL = none */
};

struct facts {
    const struct fact_wanted *wanted; /* what `live` answers, one by one */
    const struct client_answer *live;
    size_t n_live;
    uint64_t random; /* always there: seeds names and jitter */
    struct str
        failure; /* of the last run of this key: what the first write that failed was told; empty = all went well */
    int64_t since_ms;   /* wall clock: since when this key has been busy or waiting without a pause */
    int64_t started_ms; /* wall clock: when the controllers started; what happened before was not watched */
    const struct controllers_settings *settings;
};

struct controller_watch {
    const char *group, *resource;
    /* Which keys of this controller's queue a change of such an object touches; NULL: the object's own key. Either of
     * old and now may be NULL. */
    void (*keys)(const struct view *v, const struct object *old, const struct object *now,
                 void (*add)(void *arg, struct str namespace_, struct str name), void *arg);
};

struct controller {
    const char *name;                   /* "deployment" */
    const char *user;                   /* "system:serviceaccount:kube-system:deployment-controller" */
    const char *component;              /* of its events: "deployment-controller" */
    struct controller_watch watches[8]; /* ends with a NULL resource */
    /* When set, every other stored resource is watched too, after `watches`, with these keys. */
    void (*keys_of_any)(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg);
    int concurrency; /* keys in flight at once; never one key twice */
    void (*reconcile)(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out);
};

struct controllers;
/* Starts every controller in `list` (ends with NULL) on `loop`, each with its own identity. */
int controllers_start(struct api_server *server, struct loop *loop, const struct controllers_settings *settings,
                      const struct controller *const *list, struct controllers **ret, struct err *err);
void controllers_stop(struct controllers *c); /* on its loop */
const struct controller *const *controllers_all(void);

#endif
