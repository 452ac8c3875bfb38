/* history: the templates a DaemonSet or StatefulSet had, kept as ControllerRevisions so that people can go back. */
#ifndef SKIFF_CONTROLLERS_PODS_HISTORY_H
#define SKIFF_CONTROLLERS_PODS_HISTORY_H

#include "controllers/runtime/controller.h"

struct history {
    struct str name, hash; /* of the revision of today's template; it may be created in this very run */
    int64_t number;
    const struct object **all; /* that are there, oldest first */
    size_t n;
};

/* Finds, renews or creates the revision of today's template. `which`: the watch on controllerrevisions. `hash_label`:
 * under which label it carries its hash. */
void history_sync(const struct view *v, int which, const struct object *owner, const char *hash_label,
                  struct outcome *out, struct history *ret);
/* Deletes the oldest beyond `keep` that are not today's; in_use answers which pods still have. */
void history_clean_up(const struct history *h, int64_t keep, bool (*in_use)(void *arg, const struct object *revision),
                      void *arg, struct outcome *out);

#endif
