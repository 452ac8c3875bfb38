#include "base/loop.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The mailbox is a stack that senders push onto without a lock; the loop takes it whole and turns it round, which
 * restores each sender's order. Only the sender who found it empty wakes the loop. */
struct loop_letter {
    struct loop_letter *next;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t clock;
    _Atomic(struct loop_letter *) mailbox;
    VEC(struct timer *) heap; /* items[0] unused: heap_at 0 means not armed */
    int64_t clock_due_ms;     /* what `clock` is armed for; INT64_MAX = not armed */
    bool firing, stopping, has_thread;
    pthread_t thread;
    char name[16];
};

static _Thread_local struct loop *current;

/* ---- timers ---- */

static void heap_place(struct loop *l, uint32_t at, struct timer *t)
{
    l->heap.items[at] = t;
    t->heap_at = at;
}

static void heap_up(struct loop *l, uint32_t at, struct timer *t)
{
    while (at > 1 && l->heap.items[at / 2]->due_ms > t->due_ms) {
        heap_place(l, at, l->heap.items[at / 2]);
        at /= 2;
    }
    heap_place(l, at, t);
}

static void heap_down(struct loop *l, uint32_t at, struct timer *t)
{
    uint32_t n = (uint32_t)l->heap.len;
    for (uint32_t child; (child = at * 2) < n; at = child) {
        if (child + 1 < n && l->heap.items[child + 1]->due_ms < l->heap.items[child]->due_ms)
            child++;
        if (l->heap.items[child]->due_ms >= t->due_ms)
            break;
        heap_place(l, at, l->heap.items[child]);
    }
    heap_place(l, at, t);
}

static void heap_remove(struct loop *l, struct timer *t)
{
    uint32_t at = t->heap_at;
    assert(at && at < l->heap.len && l->heap.items[at] == t);
    struct timer *last = l->heap.items[--l->heap.len];
    t->heap_at = 0;
    if (last == t)
        return;
    if (at > 1 && l->heap.items[at / 2]->due_ms > last->due_ms)
        heap_up(l, at, last);
    else
        heap_down(l, at, last);
}

static void loop_fire(struct loop *l);

static void on_clock(uv_timer_t *handle)
{
    struct loop *l = handle->data;
    l->clock_due_ms = INT64_MAX;
    loop_fire(l);
}

/* The uv timer is moved only to an earlier time: a stopped or moved timer costs one idle wake-up at most. */
static void loop_arm(struct loop *l)
{
    if (l->firing || l->heap.len <= 1 || l->heap.items[1]->due_ms >= l->clock_due_ms)
        return;
    l->clock_due_ms = l->heap.items[1]->due_ms;
    int64_t wait = l->clock_due_ms - clock_mono_ms();
    uv_update_time(&l->uv);
    uv_timer_start(&l->clock, on_clock, wait > 0 ? (uint64_t)wait : 0, 0);
}

static void loop_fire(struct loop *l)
{
    if (l->firing)
        return;
    l->firing = true;
    int64_t now = clock_mono_ms();
    while (l->heap.len > 1 && l->heap.items[1]->due_ms <= now) {
        struct timer *t = l->heap.items[1];
        heap_remove(l, t);
        t->fn(t->arg);
    }
    l->firing = false;
    loop_arm(l);
}

void timer_start(struct timer *t, struct loop *l, int64_t after_ms, void (*fn)(void *arg), void *arg)
{
    if (t->heap_at)
        heap_remove(t->loop, t);
    /* One millisecond at least while firing: a timer that restarts itself with 0 must let others run. */
    int64_t least_ms = l->firing ? 1 : 0;
    t->loop = l;
    t->due_ms = clock_mono_ms() + (after_ms > least_ms ? after_ms : least_ms);
    t->fn = fn;
    t->arg = arg;
    if (!l->heap.len)
        vec_push(&l->heap, NULL);
    vec_push(&l->heap, t);
    heap_up(l, (uint32_t)l->heap.len - 1, t);
    loop_arm(l);
}

void timer_stop(struct timer *t)
{
    if (t->heap_at)
        heap_remove(t->loop, t);
}

/* ---- mailbox ---- */

static struct loop_letter *loop_take_mail(struct loop *l)
{
    struct loop_letter *stack = atomic_exchange_explicit(&l->mailbox, NULL, memory_order_acquire), *queue = NULL;
    while (stack) {
        struct loop_letter *next = stack->next;
        stack->next = queue;
        queue = stack;
        stack = next;
    }
    return queue;
}

static void on_wake(uv_async_t *handle)
{
    struct loop *l = handle->data;
    for (struct loop_letter *m = loop_take_mail(l), *next; m; m = next) {
        next = m->next;
        m->fn(m->arg);
        free(m);
    }
    loop_fire(l); /* lets a test move the clock and wake the loop */
    if (l->stopping)
        uv_stop(&l->uv);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    struct loop_letter *m = mem_alloc(sizeof *m);
    struct loop_letter *top = atomic_load_explicit(&l->mailbox, memory_order_relaxed);
    do
        *m = (struct loop_letter){top, fn, arg};
    while (!atomic_compare_exchange_weak_explicit(&l->mailbox, &top, m, memory_order_release, memory_order_relaxed));
    if (!top) /* m itself may be gone by now */
        uv_async_send(&l->wake);
}

/* ---- life ---- */

struct loop *loop_create(const char *name)
{
    struct loop *l = MEM_NEW(struct loop);
    strncpy(l->name, name, sizeof l->name - 1);
    l->clock_due_ms = INT64_MAX;
    if (uv_loop_init(&l->uv) || uv_async_init(&l->uv, &l->wake, on_wake) || uv_timer_init(&l->uv, &l->clock))
        abort();
    l->uv.data = l;
    l->wake.data = l;
    l->clock.data = l;
    return l;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_destroy(struct loop *l)
{
    if (!l)
        return;
    assert(!l->has_thread);
    struct loop *outer = current;
    current = l;
    uv_walk(&l->uv, close_handle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&l->uv))
        abort();
    current = outer;
    for (struct loop_letter *m = loop_take_mail(l), *next; m; m = next) {
        next = m->next;
        free(m);
    }
    for (size_t i = 1; i < l->heap.len; i++)
        l->heap.items[i]->heap_at = 0;
    vec_free(&l->heap);
    free(l);
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

struct loop *loop_current(void)
{
    return current;
}

void loop_run(struct loop *l)
{
    struct loop *outer = current;
    current = l;
    while (!l->stopping)
        uv_run(&l->uv, UV_RUN_DEFAULT);
    l->stopping = false; /* it can run again */
    current = outer;
}

static void *loop_thread(void *arg)
{
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    loop_run(l);
    return NULL;
}

void loop_start(struct loop *l)
{
    assert(!l->has_thread);
    if (pthread_create(&l->thread, NULL, loop_thread, l))
        abort();
    l->has_thread = true;
}

static void stop_here(void *arg)
{
    ((struct loop *)arg)->stopping = true;
}

void loop_stop(struct loop *l)
{
    loop_post(l, stop_here, l);
}

void loop_join(struct loop *l)
{
    if (!l->has_thread)
        return;
    pthread_join(l->thread, NULL);
    l->has_thread = false;
}

/* ---- blocking work ---- */

struct loop_job {
    uv_work_t req;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void job_work(uv_work_t *req)
{
    struct loop_job *job = req->data;
    job->work(job->arg);
}

static void job_done(uv_work_t *req, int status)
{
    (void)status;
    struct loop_job *job = req->data;
    if (job->done)
        job->done(job->arg);
    free(job);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct loop_job *job = mem_alloc(sizeof *job);
    *job = (struct loop_job){.work = work, .done = done, .arg = arg};
    job->req.data = job;
    if (uv_queue_work(&l->uv, &job->req, job_work, job_done))
        abort();
}
