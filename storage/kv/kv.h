/* kv: the byte store under everything: etcd's data model over exchangeable engines (RocksDB, memory) or in an etcd
 * cluster.
 *
 * One revision orders everything; a transaction takes one revision for all its writes (or none when it wrote nothing).
 * Every key has create_revision, mod_revision, version (1 on creation) and a lease (0 = none).
 *
 * Writers hand in transactions from any thread. One committer checks compares against pending state, assigns revisions,
 * writes one batch with one sync, calls the engine's publish hook with the events in order, then the `done` callbacks:
 * sync -> publish -> answer. Nothing is visible before it is synced.
 *
 * Values carry one leading transform byte on disk (0 = plain), so that encryption at rest changes no format; the
 * transform gets the key as authenticated data. Readers of this interface see plain values.
 *
 * Errors: ERR_EXPIRED (revision compacted), ERR_TOO_LARGE, ERR_NO_SPACE, ERR_IO, ERR_CORRUPT, ERR_UNAVAILABLE.
 */
#ifndef SKIFF_STORAGE_KV_KV_H
#define SKIFF_STORAGE_KV_KV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define KV_VALUE_MAX (1536u * 1024u + 64u * 1024u) /* an object of 1.5 MB and its envelope */

struct kv;

struct kv_pair {
    struct str key, value;
    int64_t create_revision, mod_revision, version, lease;
};

enum kv_target { KV_TARGET_MOD, KV_TARGET_CREATE, KV_TARGET_VERSION, KV_TARGET_LEASE, KV_TARGET_VALUE };
enum kv_relation { KV_EQUAL, KV_NOT_EQUAL, KV_GREATER, KV_LESS };

struct kv_compare { /* an absent key has 0 for every number and an empty value */
    struct str key;
    struct str end; /* it must hold for all keys in [key, end); where there are none, as for one that is absent, but
                       never of a value. STR_NULL = the one key. Local stores only */
    enum kv_target target;
    enum kv_relation relation;
    int64_t number;
    struct str value;
};

enum kv_op_kind { KV_PUT, KV_DELETE, KV_RANGE, KV_NESTED };

struct kv_op {
    enum kv_op_kind kind;
    struct str key;
    struct str end;   /* KV_DELETE and KV_RANGE: keys in [key, end); STR_NULL = the one key */
    struct str value; /* KV_PUT; must stay valid until `done` */
    int64_t lease;    /* KV_PUT: lease id, 0 = none */
    int64_t ttl_s;    /* KV_PUT, lease 0: delete the key after so long, by a lease shared with keys of like age */
    int64_t limit;    /* KV_RANGE: 0 = all */
    /* Local stores only: */
    int64_t revision;            /* KV_RANGE: as of then; 0 = as the operations before it left things */
    bool keep_value, keep_lease; /* KV_PUT: what the key has (ERR_BAD_REQUEST "key not found" without one) */
    const struct kv_txn *nested; /* KV_NESTED: its compares, like all others, are decided before anything is done */
    void *cookie;                /* KV_PUT, KV_DELETE of one key: handed to the publish hook (never stored) */
};

struct kv_txn {
    const struct kv_compare *compares;
    size_t n_compares;
    const struct kv_op *success; /* run when every compare holds */
    size_t n_success;
    const struct kv_op *failure;
    size_t n_failure;
};

struct kv_op_result {            /* of the branch that ran, by its op; those of a nested branch follow its own */
    const struct kv_pair *pairs; /* KV_RANGE */
    size_t n_pairs;
    int64_t count; /* KV_RANGE: all that match, limit aside; KV_DELETE: how many were deleted;
                      KV_NESTED: whether its compares held */
};

struct kv_txn_result {
    bool succeeded;
    bool changed;     /* local stores: that revision is its own, something was written */
    int64_t revision; /* of the store after the transaction */
    const struct kv_op_result *ops;
    size_t n_ops;
};

/* Runs on the committer's thread and must be cheap (post to a loop). err is NULL on success. */
typedef void kv_txn_done(void *arg, const struct kv_txn_result *result, const struct err *err);

/* Hand in a transaction. Everything txn refers to must stay valid until `done`. */
void kv_txn(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg);
/* The same, waiting for the answer on the calling thread (start-up, tools and tests; never on a loop). */
int kv_txn_wait(struct kv *kv, struct arena *a, const struct kv_txn *txn, struct kv_txn_result *ret, struct err *err);

/* How many compares, and how many operations, one transaction may hold. */
size_t kv_txn_max(const struct kv *kv);

/* Pairs in [key, end) in key order as of `revision` (0 = newest synced), at most `limit` (0 = all). `end` STR_NULL =
 * one key. fn returns false to stop early. Any thread; blocks on disk only. Answers the revision read at. */
typedef bool kv_range_fn(void *arg, const struct kv_pair *pair);
int kv_range(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn, void *arg,
             int64_t *ret_revision, struct err *err);

enum kv_event_kind { KV_EVENT_PUT, KV_EVENT_DELETE };
struct kv_event {
    enum kv_event_kind kind;
    struct kv_pair pair;        /* of a delete: only key and mod_revision (the deletion's) */
    const struct kv_pair *prev; /* NULL when the key did not exist; when the op brought a cookie, without its value
                                   (who brings one knows what it replaces, and the committer reads nothing) */
    void *cookie;               /* from the op that made it, NULL otherwise */
};

/* The one publish hook: called on the committer's thread after sync, before `done`, with all events of one batch in
 * revision order. Set before the first transaction. */
typedef void kv_publish_fn(void *arg, const struct kv_event *events, size_t n, int64_t revision);
void kv_set_publish(struct kv *kv, kv_publish_fn *fn, void *arg);

/* A store that lost sight of its history (an etcd cluster that compacted past what this server had seen) starts over:
 * the hook is told all there is as of `revision`, in pieces, on the committer's thread; what is not among it is gone. A
 * new beginning before the end makes the one before void. Set before the first transaction. */
enum kv_restart { KV_RESTART_BEGIN, KV_RESTART_PAIRS, KV_RESTART_END };
typedef void kv_restart_fn(void *arg, enum kv_restart step, const struct kv_pair *pairs, size_t n, int64_t revision);
void kv_set_restart(struct kv *kv, kv_restart_fn *fn, void *arg);

/* Further listeners, called after the hook, on the same thread and terms: as cheap as can be. The listener is the
 * caller's, linked in until it is removed; no call is under way when kv_remove_listener returns. */
struct kv_listener {
    kv_publish_fn *fn;
    void *arg;
    struct kv_listener *next;
};
void kv_add_listener(struct kv *kv, struct kv_listener *l);
void kv_remove_listener(struct kv *kv, struct kv_listener *l);

/* Events of [key, end) with revision > `after`, up to the newest synced, in order, from the stored history.
 * ERR_EXPIRED when `after` is below the compacted revision. */
typedef bool kv_event_fn(void *arg, const struct kv_event *event);
int kv_history(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
               struct err *err);

int64_t kv_revision(struct kv *kv);           /* newest synced */
int64_t kv_compacted_revision(struct kv *kv); /* 0 = never */
/* What a read that must see every acknowledged write waits for: the newest revision anybody has been answered with,
 * through whatever server. Calls that come while one is being asked share the next question. May call back before it
 * returns; otherwise on the committer's thread. */
typedef void kv_newest_done(void *arg, int64_t revision, const struct err *err);
void kv_newest(struct kv *kv, kv_newest_done *done, void *arg);
/* Others may write to this store too: what has been published here need not be the newest. */
bool kv_shared(const struct kv *kv);
/* Forget versions that are not the newest at `revision`. Reads below it answer ERR_EXPIRED. Runs in the background. */
int kv_compact(struct kv *kv, int64_t revision, struct err *err);
/* What is readable at `revision` and after it stays readable, whatever is compacted meanwhile, until the hold ends: for
 * who comes back many times for one state (snapshots). History grows meanwhile, so it must end in bounded time.
 * ERR_EXPIRED: it is gone already. *ret may be NULL: a store that cannot (an etcd cluster). */
struct kv_hold;
int kv_hold(struct kv *kv, int64_t revision, struct kv_hold **ret, struct err *err);
void kv_hold_end(struct kv *kv, struct kv_hold *h); /* NULL is fine */
/* Block until what kv_compact was asked for has left the disk (tests, tools). */
void kv_compact_wait(struct kv *kv);

/* Rewrite the store's files so that nothing that was overwritten or compacted away can be read from them any more, the
 * log of changes included. Takes as long as copying them; everything goes on meanwhile, and files that a reader still
 * holds go when it ends. 1 = this store has no files of its own. */
int kv_scrub(struct kv *kv, struct err *err);

/* Leases: keys attached to a lease are deleted (one transaction, with events) when it ends. */
int kv_lease_grant(struct kv *kv, int64_t id /* 0 = choose */, int64_t ttl_s, int64_t *ret_id, struct err *err);
int kv_lease_keep_alive(struct kv *kv, int64_t id, struct err *err); /* 1 = not found */
int kv_lease_revoke(struct kv *kv, int64_t id, struct err *err);     /* 1 = not found */
struct kv_lease_state {
    int64_t id, ttl_s, left_s;
};
/* All of them, in no order. ERR_METHOD_NOT_ALLOWED from a store that cannot tell. */
int kv_leases(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n, struct err *err);

/* Changes bytes on their way to and from disk. `out` is appended to, the transform byte included by the caller. */
struct kv_transform {
    uint8_t id; /* the leading byte, not 0 */
    int (*seal)(void *arg, struct str key, struct str plain, struct buf *out, struct err *err);
    int (*open)(void *arg, struct str key, struct str sealed, struct buf *out, struct err *err);
    void *arg;
    /* Whether seal can do its work now, so that one transaction fails and not the batch it is in. NULL: always. */
    int (*ready)(void *arg, struct str key, struct err *err);
};
/* `known` open what was stored with their id; `choose` names the one new values of a key are sealed with (NULL answer:
 * plain). The transforms stay the caller's. Set before the first read. */
void kv_set_transforms(struct kv *kv, const struct kv_transform *const *known, size_t n,
                       const struct kv_transform *(*choose)(void *arg, struct str key), void *arg);

/* NULL when healthy, else one clear sentence (disk full, read-only, I/O error): for /readyz. */
const char *kv_trouble(struct kv *kv);

void kv_close(struct kv *kv); /* waits for the committer; NULL is fine */

/* Engines. The directory is made (0700) when absent and locked; ERR_BUSY when another process holds it. */
struct kv_rocksdb_options {
    const char *dir;
    int64_t history_ms;    /* how long old versions are kept, default 5 minutes */
    int64_t history_bytes; /* and how much of them, about, default 1 GiB; counted from opening */
};
int kv_open_rocksdb(const struct kv_rocksdb_options *opt, struct kv **ret, struct err *err);
int kv_open_memory(struct kv **ret, struct err *err);
int kv_open_memory_for(int64_t history_ms, struct kv **ret, struct err *err);

/* An etcd cluster (3.4 or later), whose keys and values stand there as a stock API server would write them. Waits up to
 * ten seconds for it. kv_range, kv_history and the calls that wait may take a network's time; none may be made inside
 * the publish hook or a `done`. Several processes may have it open: what others write is published here too. A
 * transaction whose outcome is unknown (the connection broke) ends with ERR_UNAVAILABLE. */
struct kv_etcd_options {
    const char *const *endpoints;               /* "http://host:port", "https://…"; NULL-terminated */
    const char *ca_file, *cert_file, *key_file; /* PEM, for https; each may be NULL */
    const char *user, *password;                /* NULL: none */
    const char *prefix;                         /* stands in front of every key there; NULL = none */
    int64_t history_ms;                         /* how long old versions are kept, default 5 minutes */
};
int kv_open_etcd(const struct kv_etcd_options *opt, struct kv **ret, struct err *err);
/* The same from text: "URL,URL…[;ca=FILE][;cert=FILE][;key=FILE][;user=NAME][;password-file=FILE][;prefix=TEXT]
 * [;history-ms=N]". */
int kv_open_etcd_text(const char *text, struct kv **ret, struct err *err);

/* The key after every key that starts with prefix. */
struct str kv_prefix_end(struct arena *a, struct str prefix);

#endif
