/* queue: the pods that wait for a node.
 *
 * active: ready to be decided on, by priority and then by arrival. backoff: failed lately, each attempt doubles the
 * wait from one second to ten; when nothing is active these may come early. unschedulable: nothing fits until the
 * cluster changes; an event moves those that one of the plugins which refused them says may profit. After five minutes
 * they come back anyway. gated: not before their scheduling gates are gone.
 */
#ifndef SKIFF_SCHEDULER_QUEUE_H
#define SKIFF_SCHEDULER_QUEUE_H

#include "base/vec.h"
#include "scheduler/pod.h"

struct pod_queue {
    VEC(struct sched_pod *) active;        /* heap */
    VEC(struct sched_pod *) backoff;       /* heap by backoff_until_ms */
    VEC(struct sched_pod *) unschedulable; /* in no order */
    uint64_t sequence;
};

void pod_queue_finish(struct pod_queue *q);
void pod_queue_add(struct pod_queue *q, struct sched_pod *p);          /* a new one, or one whose gates are gone */
void pod_queue_remove(struct pod_queue *q, struct sched_pod *p);       /* wherever it is; POD_IDLE afterwards */
struct sched_pod *pod_queue_take(struct pod_queue *q, int64_t now_ms); /* NULL: nothing is ready */
bool pod_queue_ready(const struct pod_queue *q, int64_t now_ms);

/* It did not fit anywhere: `refused_by` says which plugins could change their mind. */
void pod_queue_unschedulable(struct pod_queue *q, struct sched_pod *p, uint32_t refused_by, int64_t now_ms);
/* Something else failed (a binding): again after a while. */
void pod_queue_retry(struct pod_queue *q, struct sched_pod *p, int64_t now_ms);
/* Something has happened: pods for which `helps` is true move on. */
void pod_queue_event(struct pod_queue *q, int64_t now_ms, bool (*helps)(void *arg, const struct sched_pod *p),
                     void *arg);
void pod_queue_activate(struct pod_queue *q, struct sched_pod *p, int64_t now_ms); /* an unschedulable one */
/* Those that have waited for five minutes move on. */
void pod_queue_flush(struct pod_queue *q, int64_t now_ms);
/* When the next backed-off pod is due; -1 = none. */
int64_t pod_queue_next_ms(const struct pod_queue *q);

#endif
