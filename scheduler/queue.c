#include "scheduler/queue.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>

enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MAX_MS = 10000, UNSCHEDULABLE_MAX_MS = 5 * 60 * 1000 };

/* ---- heaps ---- */

static bool sooner(const struct sched_pod *a, const struct sched_pod *b)
{
    if (a->state == POD_BACKOFF)
        return a->backoff_until_ms != b->backoff_until_ms ? a->backoff_until_ms < b->backoff_until_ms
                                                          : a->sequence < b->sequence;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return a->queued_us != b->queued_us ? a->queued_us < b->queued_us : a->sequence < b->sequence;
}

static void put(struct sched_pod **heap, size_t at, struct sched_pod *p)
{
    heap[at] = p;
    p->at = at;
}

static void rise(struct sched_pod **heap, size_t at, struct sched_pod *p)
{
    while (at && sooner(p, heap[(at - 1) / 2])) {
        put(heap, at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(heap, at, p);
}

static void sink(struct sched_pod **heap, size_t len, size_t at, struct sched_pod *p)
{
    for (size_t child; (child = 2 * at + 1) < len; at = child) {
        if (child + 1 < len && sooner(heap[child + 1], heap[child]))
            child++;
        if (!sooner(heap[child], p))
            break;
        put(heap, at, heap[child]);
    }
    put(heap, at, p);
}

static void heap_remove(struct sched_pod **heap, size_t *len, size_t at)
{
    struct sched_pod *last = heap[--*len];
    if (at == *len)
        return;
    if (at && sooner(last, heap[(at - 1) / 2]))
        rise(heap, at, last);
    else
        sink(heap, *len, at, last);
}

/* ---- moving ---- */

static void push_active(struct pod_queue *q, struct sched_pod *p)
{
    p->state = POD_ACTIVE;
    p->sequence = q->sequence++;
    vec_push(&q->active, p);
    rise(q->active.items, q->active.len - 1, p);
}

static void push_backoff(struct pod_queue *q, struct sched_pod *p)
{
    p->state = POD_BACKOFF;
    p->sequence = q->sequence++;
    vec_push(&q->backoff, p);
    rise(q->backoff.items, q->backoff.len - 1, p);
}

void pod_queue_add(struct pod_queue *q, struct sched_pod *p)
{
    assert(p->state == POD_IDLE);
    p->queued_us = clock_mono_us();
    push_active(q, p);
}

void pod_queue_remove(struct pod_queue *q, struct sched_pod *p)
{
    switch (p->state) {
    case POD_ACTIVE:
        heap_remove(q->active.items, &q->active.len, p->at);
        break;
    case POD_BACKOFF:
        heap_remove(q->backoff.items, &q->backoff.len, p->at);
        break;
    case POD_UNSCHEDULABLE:
        vec_remove_swap(&q->unschedulable, p->at);
        if (p->at < q->unschedulable.len)
            q->unschedulable.items[p->at]->at = p->at;
        break;
    default:
        break;
    }
    p->state = POD_IDLE;
}

static int64_t backoff_ms(const struct sched_pod *p)
{
    int64_t ms = BACKOFF_FIRST_MS;
    for (int i = 1; i < p->attempts && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static void move_on(struct pod_queue *q, struct sched_pod *p, int64_t now_ms)
{
    p->backoff_until_ms = p->failed_ms + backoff_ms(p);
    p->queued_us = clock_mono_us();
    if (p->backoff_until_ms > now_ms)
        push_backoff(q, p);
    else
        push_active(q, p);
}

static void failed(struct sched_pod *p, int64_t now_ms)
{
    p->failed_ms = now_ms;
    if (p->attempts < UINT16_MAX)
        p->attempts++;
}

void pod_queue_unschedulable(struct pod_queue *q, struct sched_pod *p, uint32_t refused_by, int64_t now_ms)
{
    assert(p->state == POD_IDLE);
    failed(p, now_ms);
    p->after_error = false;
    p->refused_by = refused_by;
    p->state = POD_UNSCHEDULABLE;
    p->at = q->unschedulable.len;
    vec_push(&q->unschedulable, p);
}

void pod_queue_retry(struct pod_queue *q, struct sched_pod *p, int64_t now_ms)
{
    assert(p->state == POD_IDLE);
    failed(p, now_ms);
    p->after_error = true;
    move_on(q, p, now_ms);
}

void pod_queue_activate(struct pod_queue *q, struct sched_pod *p, int64_t now_ms)
{
    if (p->state != POD_UNSCHEDULABLE)
        return;
    pod_queue_remove(q, p);
    move_on(q, p, now_ms);
}

void pod_queue_event(struct pod_queue *q, int64_t now_ms, bool (*helps)(void *arg, const struct sched_pod *p),
                     void *arg)
{
    for (size_t i = q->unschedulable.len; i-- > 0;) /* backwards: the last one takes a removed one's place */
        if (helps(arg, q->unschedulable.items[i]))
            pod_queue_activate(q, q->unschedulable.items[i], now_ms);
}

static bool waited_long(void *arg, const struct sched_pod *p)
{
    return *(const int64_t *)arg - p->failed_ms > UNSCHEDULABLE_MAX_MS;
}

void pod_queue_flush(struct pod_queue *q, int64_t now_ms)
{
    pod_queue_event(q, now_ms, waited_long, &now_ms);
}

static void wake_due(struct pod_queue *q, int64_t now_ms)
{
    while (q->backoff.len && q->backoff.items[0]->backoff_until_ms <= now_ms) {
        struct sched_pod *p = q->backoff.items[0];
        pod_queue_remove(q, p);
        push_active(q, p);
    }
}

bool pod_queue_ready(const struct pod_queue *q, int64_t now_ms)
{
    if (q->active.len)
        return true;
    return q->backoff.len && (q->backoff.items[0]->backoff_until_ms <= now_ms || !q->backoff.items[0]->after_error);
}

struct sched_pod *pod_queue_take(struct pod_queue *q, int64_t now_ms)
{
    wake_due(q, now_ms);
    struct sched_pod *p = NULL;
    if (q->active.len)
        p = q->active.items[0];
    else if (q->backoff.len && !q->backoff.items[0]->after_error)
        p = q->backoff.items[0];
    if (p)
        pod_queue_remove(q, p);
    return p;
}

int64_t pod_queue_next_ms(const struct pod_queue *q)
{
    return q->backoff.len ? q->backoff.items[0]->backoff_until_ms : -1;
}

void pod_queue_finish(struct pod_queue *q)
{
    vec_free(&q->active);
    vec_free(&q->backoff);
    vec_free(&q->unschedulable);
}
