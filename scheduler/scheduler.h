/* scheduler: gives every pod that has no node one, as the profile "default-scheduler".
 *
 * Runs on one loop: informers keep the snapshot and the queue, a turn decides on some pods (cycle.h), each decision is
 * assumed at once and bound by a request of which many are in flight. Pods that fit nowhere get an Event and the
 * condition PodScheduled=False, and come back when the cluster has changed in a way that may help.
 */
#ifndef SKIFF_SCHEDULER_SCHEDULER_H
#define SKIFF_SCHEDULER_SCHEDULER_H

#include "api/client/client.h"

struct scheduler;

/* Starts on `loop` with an identity of its own (system:kube-scheduler). Every write is made behind `fence` (NULL =
 * none). */
int scheduler_start(struct api_server *server, struct loop *loop, const struct client_fence *fence,
                    struct scheduler **ret, struct err *err);
void scheduler_stop(struct scheduler *s); /* on its loop; NULL is fine */

#endif
