/* driver: random operations on a store beside the model, and everything that must hold between them.
 *
 * Transactions are handed in several at a time; their answers come in the order in which they were carried out, so the
 * model does the same in that order and must answer the same: with every answer later than its question this is what
 * linearizable means. What the publish hook hears must be the model's changes, each once, in order; so must what
 * kv_history tells from any retained revision, and what kv_range reads at one.
 *
 * After a crash (driver_reopened) all that was answered must be there at its revision; what was answered with an error
 * may be there whole, or not at all, in the order of asking.
 *
 * A breach prints the seed and the last steps, and ends the process.
 */
#ifndef SKIFF_STORAGE_KV_MODEL_DRIVER_H
#define SKIFF_STORAGE_KV_MODEL_DRIVER_H

#include "base/vec.h"
#include "storage/kv/kv.h"

#include <pthread.h>

struct driver_lease {
    int64_t id, ttl_s;
    int64_t due_from_ms, due_by_ms; /* when it may end, when it must have ended */
    int64_t unkept_due_ms;          /* had it never been kept alive */
    int64_t was_due_ms;             /* before the restart: it may have ended then, unheard */
    bool kept, maybe_kept;          /* kept alive: it has its whole time after a restart */
    bool maybe_granted, maybe_revoked;
    bool shared; /* chosen by the store for puts with a time to live, which may still join it */
};

struct driver_txn { /* handed in */
    struct driver *driver;
    struct kv_txn txn;
    struct str text; /* of the answer */
    int64_t revision;
    int rc;
};

struct driver_event { /* heard from the publish hook */
    int64_t revision, lease;
    bool deleted;
    struct str key, text;
};

struct driver {
    uint64_t seed, random;
    struct kv *kv, *model;
    /* How to hand in so that the store takes the first alone and the others together; each may be NULL. `until_stands`
     * answers whether the store stands now, false: all n are answered already. */
    void (*before)(void *arg);
    bool (*until_stands)(void *arg, const size_t *n_answered, size_t n);
    void (*after_last)(void *arg);
    void *arg;
    bool repeatable; /* nothing goes on beside the calls: reads meanwhile only where the store stands still */
    bool remote;     /* one at a time, nothing that is wrong in itself, leases by another's clock */

    struct arena *arena; /* for what is open: reset when nothing is */
    VEC(struct driver_txn *) open;
    VEC(struct driver_lease) leases;
    int64_t next_lease;
    unsigned next_value;

    pthread_mutex_t lock; /* what follows comes from the committer's thread */
    pthread_cond_t answered;
    VEC(struct driver_txn *) answers;
    size_t n_answered;
    VEC(struct driver_event) events;
    int64_t heard; /* the newest revision */

    struct buf trace;
};

void driver_init(struct driver *d, uint64_t seed);
void driver_finish(struct driver *d);
uint32_t driver_draw(struct driver *d, uint32_t below);
void driver_trace(struct driver *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void driver_fail(struct driver *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A store that begins empty, or (reopened) the same again after a crash: takes the hook, finds out what became of what
 * was open. `leases_settled` says that all due leases have ended already. */
void driver_begin(struct driver *d, struct kv *kv);
void driver_reopened(struct driver *d, struct kv *kv);
/* Trouble is over without a crash: nothing that failed may be there, ever. */
void driver_recovered(struct driver *d);

void driver_window(struct driver *d);     /* some transactions at once */
void driver_lease_call(struct driver *d); /* grant, keep alive, revoke */
void driver_compact(struct driver *d);
/* After the clock was moved and due leases had time to end: their keys, and no others, went. */
void driver_leases_ended(struct driver *d);
void driver_leases_late(struct driver *d); /* those due could not be ended; they will within a second */
int driver_read_newest(struct kv *kv, int64_t revision, struct buf *out, int64_t *ret_at, struct err *err);
void driver_check_range(struct driver *d);
void driver_check_history(struct driver *d);
void driver_check_all(struct driver *d);
/* Every answer is right or an error: for a store whose disk was tampered with. */
void driver_check_rotten(struct driver *d, size_t *ret_refused);

#endif
