/* feed: one resource as all controllers see it: one informer for everybody, with indexes by owner uid and by the values
 * of selectable fields. Lives on the controllers' loop; a view (view.h) reads it there, so index and snapshot always
 * agree.
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_FEED_H
#define SKIFF_CONTROLLERS_RUNTIME_FEED_H

#include "api/client/client.h"
#include "base/map.h"

struct feed;

struct feed_listener {
    void (*on_change)(void *arg, const struct object *old, const struct object *now);
    void (*on_progress)(void *arg); /* synced, or the revision moved on */
    void *arg;
    struct feed_listener *next; /* the feed's */
};

struct feed *feed_create(struct client *client, const struct resource *r);
void feed_destroy(struct feed *f);
void feed_listen(struct feed *f, struct feed_listener *listener); /* stays the caller's, until the feed goes */
const struct resource *feed_resource(const struct feed *f);
bool feed_synced(const struct feed *f);
int64_t feed_revision(const struct feed *f);

/* Borrowed: valid until the loop goes on. */
const struct object *feed_find(struct feed *f, struct str namespace_, struct str name);
struct object_tree *feed_tree(struct feed *f);
/* Into an arena array, in no particular order. */
size_t feed_owned(struct feed *f, struct arena *a, struct str uid, const struct object ***ret);
size_t feed_orphans(struct feed *f, struct arena *a, struct str namespace_, const struct object ***ret);
size_t feed_by_field(struct feed *f, struct arena *a, const char *field, struct str value, const struct object ***ret);

#endif
