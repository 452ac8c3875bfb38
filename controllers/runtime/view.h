/* view: what controller.h's `struct view` is inside the runtime: the feeds of a controller's watches, in their order. Tests
 * make views from plain lists of objects instead (view_from_objects).
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_VIEW_H
#define SKIFF_CONTROLLERS_RUNTIME_VIEW_H

#include "controllers/runtime/controller.h"
#include "controllers/runtime/feed.h"

#define WATCHES_MAX 8

struct view {
    struct feed *feeds[WATCHES_MAX];
    struct object_tree *trees[WATCHES_MAX]; /* tests: instead of feeds */
    int n;
};

#endif
