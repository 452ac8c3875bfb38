/* planes: controllers and scheduler beside an API server in the same process, on one loop of their own.
 *
 * Where several servers share a store both are elected, each by itself: they run while this server leads, behind the
 * fence of that term, and begin only once everything acknowledged before it is seen here. When a term ends they stop at
 * once and the server stands again.
 */
#ifndef SKIFF_CMD_PLANES_H
#define SKIFF_CMD_PLANES_H

#include "api/server.h"
#include "controllers/runtime/leader.h"

struct planes_options {
    bool controllers, scheduler;
    bool elect;
    struct leader_times times;
};

struct planes;
int planes_start(struct api_server *server, const struct planes_options *opt, struct planes **ret, struct err *err);
void planes_stop(struct planes *p);    /* nothing new begins, leases are given back; answers under way may still come */
void planes_destroy(struct planes *p); /* after api_server_stop, which those answers come from; NULL is fine */

#endif
