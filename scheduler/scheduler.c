#include "scheduler/scheduler_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/random.h>

enum {
    TURN_US = 2000,       /* then others on this loop have their turn */
    BINDING_MAX = 1024,   /* requests in flight */
    FLUSH_MS = 30 * 1000, /* how often long waiters are looked for */
};

/* ---- deciding ---- */

static void not_schedulable(struct scheduler *s, struct sched_pod *p)
{
    struct cycle *c = &s->cycle;
    struct str message = cycle_message(c), nominated = STR_NULL;
    uint32_t refused_by = c->refused_by;
    if (s->snapshot.nodes.len) {
        struct str more = scheduler_preempt(s, p, &nominated);
        if (more.p)
            message = arena_printf(c->arena, STR_FMT " " STR_FMT, STR_ARG(message), STR_ARG(more));
    }
    if (nominated.p)
        snapshot_nominate(&s->snapshot, p, nominated);
    pod_queue_unschedulable(&s->queue, p, refused_by, clock_mono_ms());
    scheduler_report_failure(s, p->object, "Unschedulable", message, nominated);
}

static void decide(struct scheduler *s, struct sched_pod *p)
{
    struct sched_node *n = cycle_run(&s->cycle, p);
    if (n)
        scheduler_bind(s, p, n);
    else
        not_schedulable(s, p);
}

/* ---- turns ---- */

static void release(struct scheduler *s)
{
    if (!s->n_posted)
        free(s);
}

static void on_wake(void *arg)
{
    scheduler_take_turn(arg);
}

static void turn(void *arg)
{
    struct scheduler *s = arg;
    s->n_posted--;
    if (s->stopped) {
        release(s);
        return;
    }
    s->turn_posted = false;
    scheduler_apply_events(s);
    int64_t until_us = clock_mono_us() + TURN_US;
    while (s->n_binding < BINDING_MAX) {
        struct sched_pod *p = pod_queue_take(&s->queue, clock_mono_ms());
        if (!p)
            break;
        decide(s, p);
        if (clock_mono_us() >= until_us)
            break;
    }
    scheduler_take_turn(s);
}

void scheduler_take_turn(struct scheduler *s)
{
    if (s->turn_posted || s->stopped || !scheduler_synced(s))
        return;
    int64_t now_ms = clock_mono_ms(), next_ms = pod_queue_next_ms(&s->queue);
    bool ready = s->events || (s->n_binding < BINDING_MAX && pod_queue_ready(&s->queue, now_ms));
    if (ready) {
        s->turn_posted = true;
        s->n_posted++;
        loop_post(s->loop, turn, s);
    } else if (next_ms >= 0) {
        timer_start(&s->wake, s->loop, next_ms > now_ms ? next_ms - now_ms : 1, on_wake, s);
    }
}

static void on_flush(void *arg)
{
    struct scheduler *s = arg;
    pod_queue_flush(&s->queue, clock_mono_ms());
    scheduler_take_turn(s);
    timer_start(&s->flush, s->loop, FLUSH_MS, on_flush, s);
}

/* ---- life ---- */

int scheduler_start(struct api_server *server, struct loop *loop, const struct client_fence *fence,
                    struct scheduler **ret, struct err *err)
{
    static const char *const groups[] = {"system:authenticated", NULL};
    struct scheduler *s = MEM_NEW(struct scheduler);
    uint64_t seed;
    (void)err;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)clock_mono_us();
    s->loop = loop;
    s->client = client_create_local(server, loop, "system:kube-scheduler", groups);
    if (fence)
        client_fence(s->client, fence);
    snapshot_init(&s->snapshot);
    cycle_init(&s->cycle, &s->snapshot, seed);
    scheduler_watch(s);
    timer_start(&s->flush, loop, FLUSH_MS, on_flush, s);
    *ret = s;
    return 0;
}

void scheduler_stop(struct scheduler *s)
{
    if (!s)
        return;
    s->stopped = true;
    timer_stop(&s->wake);
    timer_stop(&s->flush);
    scheduler_unwatch(s);
    client_destroy(s->client); /* answers that are still out do not come any more */
    scheduler_drop_bindings(s);
    scheduler_drop_evictions(s);
    scheduler_forget_all(s);
    pod_queue_finish(&s->queue);
    cycle_finish(&s->cycle);
    snapshot_finish(&s->snapshot);
    release(s);
}
