/* backoff: how long a failing thing waits before it is tried again: 10 s, doubling to 300 s, forgotten after twice the
 * longest wait without a failure. Pure: the times come from the caller (milliseconds of one clock).
 */
#ifndef SKIFF_NODE_POD_BACKOFF_H
#define SKIFF_NODE_POD_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_MS 10000
#define BACKOFF_MAX_MS 300000

struct backoff {
    int64_t wait_ms;    /* 0 = never failed */
    int64_t updated_ms; /* when wait_ms was last raised */
};

static inline bool backoff_expired(const struct backoff *b, int64_t event_ms)
{
    return event_ms - b->updated_ms > 2 * (int64_t)BACKOFF_MAX_MS;
}

/* Must a failure at event_ms still wait at now_ms? ret_until_ms: when it may go on. */
static inline bool backoff_waits(const struct backoff *b, int64_t event_ms, int64_t now_ms, int64_t *ret_until_ms)
{
    if (!b->wait_ms || backoff_expired(b, event_ms))
        return false;
    *ret_until_ms = event_ms + b->wait_ms;
    return now_ms < *ret_until_ms;
}

/* A new try starts now, after a failure at event_ms. */
static inline struct backoff backoff_next(const struct backoff *b, int64_t event_ms, int64_t now_ms)
{
    struct backoff next = {.wait_ms = BACKOFF_FIRST_MS, .updated_ms = now_ms};
    if (b->wait_ms && !backoff_expired(b, event_ms))
        next.wait_ms = b->wait_ms * 2 < BACKOFF_MAX_MS ? b->wait_ms * 2 : BACKOFF_MAX_MS;
    return next;
}

#endif
