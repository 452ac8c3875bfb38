#include "api/client/client_ops.h"

void client_send(struct client *c, const struct client_call *call, client_done *done, void *arg)
{
    c->ops->send(c, call, done, arg);
}

struct informer *client_informer(struct client *c, const struct informer_options *opt)
{
    return c->ops->informer_create(c, opt);
}

void informer_destroy(struct informer *i)
{
    if (i)
        i->client->ops->informer_destroy(i);
}

bool informer_synced(const struct informer *i)
{
    return i->client->ops->informer_synced(i);
}

int64_t informer_revision(const struct informer *i)
{
    return i->client->ops->informer_revision(i);
}

struct object_tree *informer_snapshot(struct informer *i)
{
    return i->client->ops->informer_snapshot(i);
}

struct loop *client_loop(const struct client *c)
{
    return c->ops->loop(c);
}

void client_fence(struct client *c, const struct client_fence *fence)
{
    c->ops->fence(c, fence);
}

void client_newest(struct client *c, void (*done)(void *arg, int rc), void *arg)
{
    c->ops->newest(c, done, arg);
}

void client_destroy(struct client *c)
{
    if (!c)
        return;
    event_recorder_destroy(c->recorder);
    c->ops->destroy(c);
}
