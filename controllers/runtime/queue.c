#include "controllers/runtime/queue.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST_MS 5
#define BACKOFF_MAX_MS 1000000

void queue_init(struct queue *q, struct loop *loop, void (*on_ready)(void *arg), void *arg)
{
    *q = (struct queue){.loop = loop, .on_ready = on_ready, .arg = arg};
    q->last = &q->first;
}

static void item_free(struct queue_item *item)
{
    timer_stop(&item->timer);
    free(item->namespace_);
    free(item->name);
    free(item->failure);
    free(item);
}

void queue_finish(struct queue *q)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, &q->items);
    while (map_iter_next(&it, &key, &value))
        item_free(value);
    map_finish(&q->items);
    *q = (struct queue){0};
}

static struct str key_of(struct str namespace_, struct str name, char buffer[600])
{
    int n = snprintf(buffer, 600, STR_FMT "/" STR_FMT, STR_ARG(namespace_), STR_ARG(name));
    return (struct str){buffer, (size_t)n};
}

static struct queue_item *find_or_make(struct queue *q, struct str namespace_, struct str name)
{
    char buffer[600];
    struct str key = key_of(namespace_, name, buffer);
    struct queue_item *item = map_get(&q->items, key);
    if (item)
        return item;
    item = calloc(1, sizeof *item);
    assert(item);
    item->queue = q;
    item->since_ms = clock_wall_ms();
    item->namespace_ = strndup(namespace_.p ? namespace_.p : "", namespace_.len);
    item->name = strndup(name.p ? name.p : "", name.len);
    assert(item->namespace_ && item->name);
    map_put(&q->items, key, item);
    return item;
}

static void make_ready(struct queue *q, struct queue_item *item)
{
    item->dirty = true;
    if (item->running || item->queued)
        return;
    item->queued = true;
    item->next = NULL;
    *q->last = item;
    q->last = &item->next;
    q->n_ready++;
    q->on_ready(q->arg);
}

void queue_add(struct queue *q, struct str namespace_, struct str name)
{
    make_ready(q, find_or_make(q, namespace_, name));
}

static void on_timer(void *arg)
{
    struct queue_item *item = arg;
    make_ready(item->queue, item);
}

void queue_add_after(struct queue *q, struct str namespace_, struct str name, int64_t after_ms)
{
    struct queue_item *item = find_or_make(q, namespace_, name);
    if (after_ms <= 0)
        make_ready(q, item);
    else
        timer_start(&item->timer, q->loop, after_ms, on_timer, item);
}

struct queue_item *queue_take(struct queue *q)
{
    struct queue_item *item = q->first;
    if (!item)
        return NULL;
    q->first = item->next;
    if (!q->first)
        q->last = &q->first;
    q->n_ready--;
    q->n_running++;
    item->queued = item->dirty = false;
    item->running = true;
    return item;
}

void queue_done(struct queue *q, struct queue_item *item, bool failed)
{
    item->running = false;
    q->n_running--;
    if (failed) {
        int64_t after_ms = BACKOFF_FIRST_MS << (item->failures < 20 ? item->failures : 20);
        item->failures++;
        item->dirty = false; /* the retry sees what came meanwhile */
        timer_start(&item->timer, q->loop, after_ms < BACKOFF_MAX_MS ? after_ms : BACKOFF_MAX_MS, on_timer, item);
        return;
    }
    item->failures = 0;
    if (item->dirty) {
        make_ready(q, item);
    } else if (!item->timer.heap_at) { /* idle keys cost nothing */
        char buffer[600];
        map_remove(&q->items, key_of(str_from(item->namespace_), str_from(item->name), buffer));
        item_free(item);
    }
}
