/* batch: the state a run of transactions works on before any of it is written: keys as the engine has them, overlaid by
 * what earlier transactions of the same batch did, and the writes and events that come of it. Committer's thread only.
 */
#ifndef SKIFF_STORAGE_KV_BATCH_H
#define SKIFF_STORAGE_KV_BATCH_H

#include "storage/kv/kv_internal.h"

struct pending { /* a key someone in this batch looked at */
    struct str key;
    struct key_state state; /* all 0: absent */
    struct str value;
    bool value_known;
    bool listed;
    struct pending *next;
};

struct outcome {
    struct request *request;
    struct err *err; /* NULL: done */
    struct kv_txn_result result;
};

struct batch {
    struct local *kv;
    const struct batch *under; /* written meanwhile: what it did holds, unless it fails */
    uint64_t failures;         /* of the store's, when this one was begun */
    VEC(struct outcome) outcomes;
    struct arena *arena; /* reset from batch to batch */
    struct pending **table;
    size_t n_slots, n_pending;
    VEC(struct pending *) all;
    VEC(struct kv_write) writes;
    VEC(struct kv_event) events;
    VEC(int64_t) granted, ended; /* leases */
    int64_t revision;            /* newest assigned */
    uint32_t index;              /* of the next event within it */
    int64_t history_bytes;       /* what became history, about */
    struct buf scratch;
    int64_t now_ms;
};

/* Everything but the requests. */
void batch_reset(struct batch *b, struct local *kv, int64_t revision);
void batch_finish(struct batch *b);

/* Waits until the batch under this one is on disk, where cursors and values are read. Fails when that failed. */
int batch_settle(struct batch *b, struct err *err);

/* Failures (negative) are the engine's: the batch as a whole cannot go on. */
int batch_find(struct batch *b, struct str key, struct pending **ret, struct err *err);
int batch_value(struct batch *b, struct pending *p, struct err *err); /* makes value known */
/* Living keys in [key, end) in order; end STR_NULL = one key. */
int batch_range(struct batch *b, struct str key, struct str end, struct pending ***ret, size_t *ret_n, struct err *err);

void batch_write(struct batch *b, enum kv_space space, struct str key, struct str head, struct str body);
void batch_remove(struct batch *b, enum kv_space space, struct str key);
/* At b->revision, which the caller has advanced. */
int batch_put(struct batch *b, const struct kv_op *op, int64_t lease, struct err *err);
int batch_delete(struct batch *b, struct pending *p, void *cookie, struct err *err);

/* transaction.c: runs a request. Negative: the engine failed, with the batch; its own failure goes to o->err. */
int batch_run(struct batch *b, struct outcome *o, struct err *err);

#endif
