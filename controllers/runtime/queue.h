/* queue: the keys of one controller that want a reconcile: each key once, in order of arrival, never one key twice at
 * the same time; failures back off exponentially (5 ms doubling to about 16 minutes, as client-go's rate limiter).
 */
#ifndef SKIFF_CONTROLLERS_RUNTIME_QUEUE_H
#define SKIFF_CONTROLLERS_RUNTIME_QUEUE_H

#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"

#include <stdbool.h>

struct queue_item {
    char *namespace_, *name; /* owned */
    bool dirty;              /* wants to run */
    bool running;
    bool queued;      /* linked below */
    int64_t since_ms; /* wall clock: when the key came in */
    int failures;
    char *failure; /* owned: why the last run failed, NULL = it did not, or nobody said */
    struct timer timer;
    struct queue *queue;
    struct queue_item *next;
};

struct queue {
    struct loop *loop;
    struct map items; /* "namespace/name" -> struct queue_item */
    struct queue_item *first, **last;
    size_t n_ready, n_running;
    void (*on_ready)(void *arg); /* something can be taken */
    void *arg;
};

void queue_init(struct queue *q, struct loop *loop, void (*on_ready)(void *arg), void *arg);
void queue_finish(struct queue *q);
void queue_add(struct queue *q, struct str namespace_, struct str name);
void queue_add_after(struct queue *q, struct str namespace_, struct str name, int64_t after_ms);
struct queue_item *queue_take(struct queue *q); /* NULL = nothing is ready */
/* The reconcile is over: forget the failures, or back off. Runs again if it was added meanwhile. */
void queue_done(struct queue *q, struct queue_item *item, bool failed);

#endif
