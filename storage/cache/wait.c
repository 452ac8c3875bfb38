/* Waiting for a revision, and for the newest there is. A waiter belongs to its loop; the list is what the committer
 * sees of it. */
#include "storage/cache/cache_internal.h"

#include "base/mem.h"

#include <stdlib.h>

struct revision_waiter {
    struct cache *cache;
    struct revision_waiter *next;
    int64_t revision, timeout_ms;
    struct loop *loop;
    void (*fn)(void *arg, int rc);
    void *arg;
    struct timer timer;
    bool armed, over; /* the loop's */
    int rc;
};

static void finish(void *arg)
{
    struct revision_waiter *w = arg;

    timer_stop(&w->timer);
    w->over = true;
    w->fn(w->arg, w->rc);
    if (w->armed)
        free(w); /* else the message that arms it is still under way */
}

static void time_out(void *arg)
{
    struct revision_waiter *w = arg, **at;

    pthread_mutex_lock(&w->cache->waiters_lock);
    for (at = &w->cache->waiters; *at && *at != w; at = &(*at)->next)
        ;
    bool waiting = *at != NULL;
    if (waiting)
        *at = w->next;
    pthread_mutex_unlock(&w->cache->waiters_lock);
    if (!waiting)
        return; /* its answer is in the mailbox */
    w->rc = ERR_TIMEOUT;
    finish(w);
}

static void arm(void *arg)
{
    struct revision_waiter *w = arg;

    w->armed = true;
    if (w->over)
        free(w);
    else
        timer_start(&w->timer, w->loop, w->timeout_ms, time_out, w);
}

void cache_wait_revision(struct cache *c, int64_t revision, int64_t timeout_ms, struct loop *loop,
                         void (*fn)(void *arg, int rc), void *arg)
{
    struct revision_waiter *w = MEM_NEW(struct revision_waiter);

    *w = (struct revision_waiter){
        .cache = c, .revision = revision, .timeout_ms = timeout_ms, .loop = loop, .fn = fn, .arg = arg};
    pthread_mutex_lock(&c->waiters_lock);
    bool reached = cache_revision(c) >= revision;
    if (!reached) {
        w->next = c->waiters;
        c->waiters = w;
    } else {
        w->armed = true;
    }
    pthread_mutex_unlock(&c->waiters_lock);
    loop_post(loop, reached ? finish : arm, w);
}

void cache_wake_waiters(struct cache *c, int64_t revision)
{
    struct revision_waiter *ready = NULL, **at;

    pthread_mutex_lock(&c->waiters_lock);
    for (at = &c->waiters; *at;) {
        struct revision_waiter *w = *at;

        if (w->revision > revision) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = ready;
        ready = w;
    }
    pthread_mutex_unlock(&c->waiters_lock);
    while (ready) {
        struct revision_waiter *w = ready;

        ready = w->next;
        loop_post(w->loop, finish, w);
    }
}

/* ---- what is newest ---- */

struct newest_waiter {
    struct cache *cache;
    struct loop *loop;
    int64_t revision, timeout_ms;
    cache_newest_done *done;
    void *arg;
    int rc;
    struct err err;
};

static void newest_over(void *arg)
{
    struct newest_waiter *w = arg;

    w->done(w->arg, w->rc, w->rc < 0 ? &w->err : NULL);
    free(w);
}

static void newest_reached(void *arg, int rc)
{
    struct newest_waiter *w = arg;

    if (rc < 0)
        w->rc = err_set(&w->err, ERR_TIMEOUT, "Too large resource version: %lld, current: %lld", (long long)w->revision,
                        (long long)cache_revision(w->cache));
    newest_over(w);
}

static void newest_known(void *arg, int64_t revision, const struct err *err)
{
    struct newest_waiter *w = arg;

    w->revision = revision;
    if (err) {
        w->err = *err;
        w->rc = err->code;
    }
    if (err || revision <= cache_revision(w->cache))
        loop_post(w->loop, newest_over, w);
    else
        cache_wait_revision(w->cache, revision, w->timeout_ms, w->loop, newest_reached, w);
}

void cache_wait_newest(struct cache *c, int64_t timeout_ms, struct loop *loop, cache_newest_done *done, void *arg)
{
    struct newest_waiter *w = MEM_NEW(struct newest_waiter);

    *w = (struct newest_waiter){.cache = c, .loop = loop, .timeout_ms = timeout_ms, .done = done, .arg = arg};
    kv_newest(c->kv, newest_known, w);
}

bool cache_always_newest(const struct cache *c)
{
    return !kv_shared(c->kv);
}
