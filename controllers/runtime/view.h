/* view: what controller.h's `struct view` is inside the runtime: the feeds of a controller's watches, in their order.
 * Tests make views from plain lists of objects instead (view_from_objects).
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_VIEW_H
#define SKIFF_CONTROLLERS_RUNTIME_VIEW_H

#include "controllers/runtime/controller.h"
#include "controllers/runtime/feed.h"

#define WATCHES_MAX 8 /* of the declared ones */

struct view {
    struct feed **feeds;               /* NULL: trees instead */
    struct object_tree **trees;        /* tests */
    const struct resource **resources; /* of the trees */
    int n;
};

/* A view of plain objects given as JSON texts (complete with apiVersion and kind), for the watches of `c`, in the
 * arena. */
struct view *view_from_objects(struct arena *a, const struct controller *c, const char *const *objects, size_t n);

#endif
