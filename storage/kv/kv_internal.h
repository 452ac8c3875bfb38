/* The inside of the local store, shared by its own files: committer.c owns the queue and all changes, lease.c the
 * leases' clock, compact.c the background thread, read.c everything that only reads. */
#ifndef SKIFF_STORAGE_KV_KV_INTERNAL_H
#define SKIFF_STORAGE_KV_KV_INTERNAL_H

#include "base/map.h"
#include "base/vec.h"
#include "storage/kv/kv_ops.h"
#include "storage/kv/record.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KV_TRANSFORMS_MAX = 16, KV_SHARED_LEASES = 16, KV_SAMPLES = 128 };

enum request_kind { REQUEST_TXN, REQUEST_GRANT, REQUEST_REVOKE, REQUEST_KEPT, REQUEST_PROBE, REQUEST_WRITES };

struct request {
    struct request *next;
    enum request_kind kind;
    const struct kv_txn *txn;
    const int64_t *leases; /* GRANT, KEPT: one; REVOKE: n_leases */
    size_t n_leases;
    int64_t ttl_s;
    const struct kv_write *writes; /* WRITES: into the engine as they are */
    size_t n_writes;
    bool owned; /* made by kv_txn: the committer frees it */
    kv_txn_done *done;
    void *arg;
};

struct lease {
    int64_t id, ttl_ms;
    int64_t due_ms; /* monotonic */
    size_t heap_at;
    bool kept, ending;
};

struct pin { /* a reader at work: compaction stays at or below its revision */
    struct pin *prev, *next;
    int64_t revision;
    bool held; /* a kv_hold: reads from there on need not ask what is compacted */
};

struct shared_lease { /* the open lease that puts of one TTL join */
    int64_t ttl_s, id, until_ms, n_keys;
};

struct batch; /* committer.c */
void local_txn(struct kv *base, const struct kv_txn *txn, kv_txn_done *done, void *arg);
const char *local_trouble(struct kv *base);

struct local {
    struct kv kv;
    struct kv_engine *engine;
    int64_t history_ms;
    _Atomic int64_t history_bytes; /* at most so much of it is kept */
    _Atomic int64_t revision, compacted;
    _Atomic int64_t history_written; /* since the store was opened */

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_ready;
    struct request *queue_head, **queue_tail;
    size_t queue_len;
    bool stopping;
    pthread_t committers[2]; /* committer.c */
    int n_committers;
    /* all below under queue_lock */
    pthread_cond_t turn; /* to prepare */
    bool preparing, writing;
    struct batch *flying; /* the one that is being written */
    int64_t assigned;     /* the newest revision of a batch that was written or is being */
    uint64_t failures, failures_seen;

    pthread_mutex_t pins_lock;
    struct pin pins; /* ring head */

    pthread_mutex_t lease_lock;
    struct map leases; /* by id, 8 bytes */
    VEC(struct lease *) lease_heap;
    struct shared_lease shared[KV_SHARED_LEASES]; /* the committer's */
    uint64_t lease_seed;

    pthread_mutex_t keeper_lock;
    pthread_cond_t keeper_wake, keeper_idle;
    int64_t compact_to; /* asked for */
    bool keeper_stop, compacting;
    pthread_t keeper;
    struct {
        int64_t at_ms, revision, written;
    } samples[KV_SAMPLES];
    size_t n_samples;
    int64_t compacted_written; /* of history_written, what is compacted */

    pthread_mutex_t trouble_lock;
    atomic_bool in_trouble;
    enum err_code trouble_code;
    char trouble_text[512];
};

static inline struct local *local_of(struct kv *kv)
{
    return (struct local *)kv;
}

static inline bool kv_on_committer(const struct local *kv)
{
    return pthread_equal(pthread_self(), kv->committers[0]) ||
           (kv->n_committers > 1 && pthread_equal(pthread_self(), kv->committers[1]));
}

/* read.c */
int local_range(struct kv *base, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
                void *arg, int64_t *ret_revision, struct err *err);
int local_history(struct kv *base, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                  struct err *err);
int64_t local_revision(struct kv *base);
int64_t local_compacted_revision(struct kv *base);
int local_hold(struct kv *base, int64_t revision, struct kv_hold **ret, struct err *err);
void local_hold_end(struct kv *base, struct kv_hold *h);
void kv_pin(struct local *kv, struct pin *p, int64_t revision);
void kv_unpin(struct local *kv, struct pin *p);
int64_t kv_pinned_revision(struct local *kv, int64_t at_most);
/* A version's value, opened; appended to out. 1 = not there. */
int kv_read_version(struct local *kv, struct arena *a, struct str key, int64_t revision, struct version_head *ret_head,
                    struct buf *out, struct err *err);

/* committer.c */
void local_txn(struct kv *base, const struct kv_txn *txn, kv_txn_done *done, void *arg);
const char *local_trouble(struct kv *base);
void *kv_committer_main(void *arg);
void kv_submit(struct local *kv, struct request *r);
int kv_submit_wait(struct local *kv, struct request *r, struct err *err);

void kv_set_trouble(struct local *kv, const struct err *err); /* NULL: over */
int kv_trouble_err(struct local *kv, struct err *err);

/* lease.c: under lease_lock unless they say otherwise */
int local_lease_grant(struct kv *base, int64_t id, int64_t ttl_s, int64_t *ret_id,
                      struct err *err);                                   /* takes the lock */
int local_lease_keep_alive(struct kv *base, int64_t id, struct err *err); /* takes the lock */
int local_lease_revoke(struct kv *base, int64_t id, struct err *err);     /* takes the lock */
int local_leases(struct kv *base, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n,
                 struct err *err); /* takes the lock */
struct lease *kv_lease_find(struct local *kv, int64_t id);
struct lease *kv_lease_add(struct local *kv, int64_t id, int64_t ttl_ms, int64_t due_ms, bool kept);
void kv_lease_drop(struct local *kv, int64_t id);
int kv_leases_load(struct local *kv, struct err *err); /* takes the lock */
void kv_leases_finish(struct local *kv);
int64_t kv_lease_new_id(struct local *kv); /* takes the lock; committer only */
/* Ends due leases; answers when to look again (monotonic ms). Takes the lock. */
int64_t kv_leases_expire(struct local *kv, int64_t now_ms);
struct str kv_lease_record(struct arena *a, int64_t ttl_ms, int64_t expiry_wall_ms, bool kept);

/* compact.c */
int local_compact(struct kv *base, int64_t revision, struct err *err);
void local_compact_wait(struct kv *base);
int local_scrub(struct kv *base, struct err *err);
void *kv_keeper_main(void *arg);
void kv_keeper_poke(struct local *kv);

#endif
