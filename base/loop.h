/* loop: one event loop per thread (libuv), with a mailbox for other threads.
 *
 * Everything created on a loop is used and destroyed on its thread. loop_post is the one call any thread may make:
 * posted functions run on the loop's thread in order of posting from one sender, a batch per wake-up.
 */
#ifndef SKIFF_BASE_LOOP_H
#define SKIFF_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop;

struct loop *loop_create(const char *name);
void loop_destroy(struct loop *l); /* after it stopped; NULL is fine */
uv_loop_t *loop_uv(struct loop *l);
struct loop *loop_current(void); /* the loop running on this thread, or NULL */

void loop_run(struct loop *l);   /* on the calling thread until loop_stop */
void loop_start(struct loop *l); /* loop_run on a thread of its own */
void loop_stop(struct loop *l);  /* any thread; ends after the posts already queued */
void loop_join(struct loop *l);  /* waits for loop_start's thread */

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg); /* any thread */

/* A timer embedded in its owner. Zero-initialise; start again to move it; stop before the owner goes.
 * Firing order is by due time. Owned by the loop's thread. Backed by one heap per loop, not one uv handle each. */
struct timer {
    struct loop *loop;
    int64_t due_ms;   /* monotonic; meaningful while armed */
    uint32_t heap_at; /* 0 = not armed */
    void (*fn)(void *arg);
    void *arg;
};
void timer_start(struct timer *t, struct loop *l, int64_t after_ms, void (*fn)(void *arg), void *arg);
void timer_stop(struct timer *t);

/* Work that would block (files, DNS look-ups, process waits) on libuv's small pool; `done` runs on the loop. */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

#endif
