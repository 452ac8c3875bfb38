#include "cmd/planes.h"

#include "controllers/runtime/controller.h"

#include <stdlib.h>

struct planes {
    struct loop *loop;
    struct controllers *controllers;
};

int planes_start(struct api_server *server, bool controllers, bool scheduler, struct planes **ret, struct err *err)
{
    struct planes *p = calloc(1, sizeof *p);
    (void)server;
    (void)controllers;
    (void)scheduler;
    (void)err;
    p->loop = loop_create("planes");
    loop_start(p->loop);
    *ret = p;
    return 0;
}

void planes_stop(struct planes *p)
{
    if (!p)
        return;
    loop_stop(p->loop);
    loop_join(p->loop);
    loop_destroy(p->loop);
    free(p);
}
