/* scheduler internal: the scheduler's own state, shared by its files: scheduler.c (turns), watch.c (what the cluster
 * looks like), bind.c and evict.c (decisions carried out), report.c (what people are told). */
#ifndef SKIFF_SCHEDULER_SCHEDULER_INTERNAL_H
#define SKIFF_SCHEDULER_SCHEDULER_INTERNAL_H

#include "scheduler/cycle.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"

#define SCHEDULER_NAME "default-scheduler"

enum { CHANGED_NODES_MAX = 8 };

enum {
    WATCH_NAMESPACES,
    WATCH_NODES,
    WATCH_PODS,
    WATCH_BUDGETS,
    WATCH_CLAIMS,
    WATCH_VOLUMES,
    WATCH_STORAGE_CLASSES,
    N_WATCHES
};

struct binding;  /* bind.c */
struct eviction; /* evict.c */

struct scheduler {
    struct loop *loop;
    struct client *client;
    struct informer *informers[N_WATCHES];
    const struct resource *pod_resource;
    int field_node_name, field_scheduler_name, field_phase; /* positions in object->fields */
    struct map by_uid;                                      /* -> struct sched_pod, waiting and placed ones */
    struct snapshot snapshot;
    struct pod_queue queue;
    struct cycle cycle;
    struct timer wake, flush;
    bool turn_posted, stopped;
    struct binding *bindings; /* in flight */
    struct eviction *evictions;
    size_t n_binding;
    size_t n_posted; /* posts that still refer to us */

    /* what has happened since the last turn */
    uint32_t events;
    struct str changed_nodes[CHANGED_NODES_MAX]; /* on the heap; more: `many_nodes` */
    size_t n_changed_nodes;
    bool many_nodes;
};

/* watch.c */
void scheduler_watch(struct scheduler *s);
void scheduler_unwatch(struct scheduler *s);
bool scheduler_synced(const struct scheduler *s);
void scheduler_forget_all(struct scheduler *s);
void scheduler_note_event(struct scheduler *s, uint32_t events, struct str node_name);
void scheduler_apply_events(struct scheduler *s);
struct sched_pod *scheduler_find(const struct scheduler *s, struct str uid);

/* bind.c */
void scheduler_bind(struct scheduler *s, struct sched_pod *p, struct sched_node *n);
void scheduler_drop_bindings(struct scheduler *s); /* at the end: their answers do not come any more */

/* evict.c: make room for a pod that fits nowhere. What is to be said if that does not help, else STR_NULL;
 * ret_nominated as for scheduler_report_failure. */
struct str scheduler_preempt(struct scheduler *s, struct sched_pod *p, struct str *ret_nominated);
void scheduler_drop_evictions(struct scheduler *s);

/* report.c: the Event and the condition; `nominated` is a node name to set, "" to clear, STR_NULL to leave. */
void scheduler_report_failure(struct scheduler *s, const struct object *pod, const char *reason, struct str message,
                              struct str nominated);
void scheduler_report_nominated(struct scheduler *s, const struct object *pod, struct str nominated);

/* scheduler.c */
void scheduler_take_turn(struct scheduler *s); /* soon, if there is something to do */

#endif
