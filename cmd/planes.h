/* planes: controllers and scheduler beside an API server in the same process, on one loop of their own. */
#ifndef SKIFF_CMD_PLANES_H
#define SKIFF_CMD_PLANES_H

#include "api/server.h"

struct planes;
int planes_start(struct api_server *server, bool controllers, bool scheduler, struct planes **ret, struct err *err);
void planes_stop(struct planes *p);    /* nothing new begins; answers under way may still come */
void planes_destroy(struct planes *p); /* after api_server_stop, which those answers come from; NULL is fine */

#endif
