/* kv_ops: what a store is to its callers, whatever stands behind it. Two kinds exist: the local store (committer,
 * leases and history of our own over an engine of ordered bytes, kv_internal.h) and the client of an etcd cluster
 * (etcd/).
 *
 * Each embeds `struct kv` as its first member. kv.c holds what both share: the calls of kv.h, the publish hook, the
 * transforms, and waiting for a transaction.
 */
#ifndef SKIFF_STORAGE_KV_KV_OPS_H
#define SKIFF_STORAGE_KV_KV_OPS_H

#include "storage/kv/kv.h"

#include <pthread.h>

struct kv_ops { /* each as the function of that name in kv.h */
    size_t txn_max;
    bool shared;
    void (*txn)(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg);
    int (*range)(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
                 void *arg, int64_t *ret_revision, struct err *err);
    int (*history)(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                   struct err *err);
    int64_t (*revision)(struct kv *kv);
    int64_t (*compacted_revision)(struct kv *kv);
    void (*newest)(struct kv *kv, kv_newest_done *done, void *arg);
    int (*compact)(struct kv *kv, int64_t revision, struct err *err);
    void (*compact_wait)(struct kv *kv);
    int (*scrub)(struct kv *kv, struct err *err);                                        /* NULL: no files of its own */
    int (*hold)(struct kv *kv, int64_t revision, struct kv_hold **ret, struct err *err); /* NULL: cannot */
    void (*hold_end)(struct kv *kv, struct kv_hold *h);
    int (*lease_grant)(struct kv *kv, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err);
    int (*lease_keep_alive)(struct kv *kv, int64_t id, struct err *err);
    int (*lease_revoke)(struct kv *kv, int64_t id, struct err *err);
    int (*leases)(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n,
                  struct err *err); /* NULL: cannot tell */
    const char *(*trouble)(struct kv *kv);
    void (*close)(struct kv *kv); /* frees it, after kv_finish */
};

struct kv {
    const struct kv_ops *ops;
    pthread_mutex_t publish_lock;
    kv_publish_fn *publish;
    void *publish_arg;
    kv_restart_fn *restart;
    void *restart_arg;
    struct kv_listener *listeners;
    const struct kv_transform *transforms[256];
    const struct kv_transform *(*choose)(void *arg, struct str key);
    void *choose_arg;
};

void kv_init(struct kv *kv, const struct kv_ops *ops);
void kv_finish(struct kv *kv);
/* Calls the hook, if there is one. */
void kv_publish(struct kv *kv, const struct kv_event *events, size_t n, int64_t revision);
void kv_restart(struct kv *kv, enum kv_restart step, const struct kv_pair *pairs, size_t n, int64_t revision);
/* A stored value, its transform byte taken off, opened; appended to out. */
int kv_open_value(struct kv *kv, struct str key, uint8_t transform, struct str payload, struct buf *out,
                  struct err *err);

/* Waiting on the calling thread for a kv_txn_done. */
struct kv_waiter {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool over;
    int rc;
    struct arena *arena;       /* the result is copied there; */
    struct kv_txn_result *ret; /* NULL when nobody wants it */
    struct err *err;
};
void kv_waiter_init(struct kv_waiter *w, struct arena *a, struct kv_txn_result *ret, struct err *err);
void kv_waiter_done(void *arg, const struct kv_txn_result *result, const struct err *err); /* arg is the waiter */
int kv_waiter_wait(struct kv_waiter *w);
/* The result's pairs, copied. */
void kv_txn_result_copy(struct arena *a, const struct kv_txn_result *from, struct kv_txn_result *to);

#endif
