/* recorder: Events of the agent, with the container they are about, counted instead of repeated as client-go's recorder
 * does: the same object, reason and message again raises count on the Event that is there. */
#ifndef SKIFF_NODE_RECORDER_H
#define SKIFF_NODE_RECORDER_H

#include "api/client/client.h"

struct recorder;
struct recorder *recorder_create(struct client *client, const char *host);
void recorder_destroy(struct recorder *r);

/* About a pod, or with `container` about one of its containers ("spec.containers{name}"). */
void recorder_event(struct recorder *r, const struct object *about, const char *field_path, const char *type,
                    const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* About a node by its name: kubelet uses the name as uid. */
void recorder_node_event(struct recorder *r, const char *node, const char *type, const char *reason, const char *fmt,
                         ...) __attribute__((format(printf, 5, 6)));

#endif
