/* The inside of the etcd store, shared by its own files.
 *
 * One loop on a thread of its own holds everything: the channel, the calls in flight, the one watch over the whole key
 * space, and what waits. Calls of kv.h come in by the loop's mailbox; those that block wait on the calling thread and
 * must not be made on this loop (in a publish hook or a `done`).
 *
 * Order. The watch is the only source of what is published, so that revisions come in order and none is missed,
 * whoever wrote them. An answered transaction waits until its revision has been published. In turn an event of a key
 * for which a transaction with a cookie is under way waits for that answer, which tells whether the event is its own.
 */
#ifndef SKIFF_STORAGE_KV_ETCD_ETCD_H
#define SKIFF_STORAGE_KV_ETCD_ETCD_H

#include "base/loop.h"
#include "base/map.h"
#include "base/net/grpc.h"
#include "base/vec.h"
#include "storage/kv/etcd/rpc.pb-c.h"
#include "storage/kv/kv_ops.h"

#include <stdatomic.h>

enum { ETCD_CALL_MS = 10000, ETCD_TRY_MS = 5000, ETCD_RETRY_MS = 100, ETCD_SILENCE_MS = 3000, ETCD_SHARED_LEASES = 16 };

#define ETCD_COMPACT_KEY "compact_rev_key" /* by which API servers agree on who compacts */

struct etcd_chunk { /* events of one watch response: whole revisions */
    struct etcd_chunk *next;
    struct arena *arena;
    struct kv_event *events;
    size_t n, cap, at;
};

struct etcd_wait { /* for a revision to be published; embedded in who waits */
    struct etcd_wait *next;
    int64_t revision;
    void (*fn)(struct etcd_wait *w, const struct err *err); /* err: the store closes */
};

struct etcd_txn;
struct etcd_lease_slot { /* the open lease that puts of one TTL join */
    struct etcd *store;
    int64_t ttl_s, id, until_ms, n_keys;
    bool granting;
    Etcdserverpb__LeaseGrantRequest request;
    struct etcd_txn *waiting;
};

struct etcd_probe {
    struct etcd_probe *next;
    struct etcd *store;
    kv_newest_done *done;
    void *arg;
};

struct etcd {
    struct kv kv;
    struct loop *loop;
    struct tls_context *tls;
    struct grpc_channel *channel;
    size_t n_endpoints;
    char *prefix, *user, *password;
    int64_t history_ms;
    _Atomic int64_t revision, compacted;
    bool closing;

    struct etcd_call *calls;
    bool authenticating;
    int64_t failed_over_ms, heard_ms; /* when the channel last brought anything */
    struct timer listening;           /* while calls are in flight */

    struct { /* watch.c */
        struct grpc_call *stream;
        struct timer retry;
        int64_t received; /* whole revisions that are in the queue or published */
        struct etcd_chunk *partial;
        struct etcd_chunk *first, *last;
    } watch;
    struct etcd_resync *resync; /* under way */
    bool full, went_back;       /* alarm.c */
    bool silent;                /* call.c: calls stay without an answer; nothing else is known to be wrong */
    struct timer asking;
    struct etcd_wait *waits;   /* by revision */
    struct map expected;       /* key -> how many transactions with a cookie for it are under way, as a pointer */
    struct etcd_txn *answered; /* with cookies, not yet published */

    struct etcd_lease_slot slots[ETCD_SHARED_LEASES];
    struct etcd_probe *probes, *probing;
    Etcdserverpb__RangeRequest probe_request;
    int64_t probe_floor; /* what was published here when it was asked */

    struct { /* compact.c */
        struct timer timer;
        int64_t version, revision; /* of the compact key; of the store when it was last looked at */
        struct arena *arena;
    } compactor;

    pthread_mutex_t trouble_lock;
    bool in_trouble;
    char trouble_text[512];
};

static inline struct etcd *etcd_of(struct kv *kv)
{
    return (struct etcd *)kv;
}

/* call.c: unary calls, on the loop. `request` stays valid until `done`; `safe`: may be sent again after an unknown
 * outcome. Errors come translated to what kv.h promises. */
typedef void etcd_call_done(void *arg, const ProtobufCMessage *response, const struct err *err);
void etcd_call(struct etcd *e, const char *path, const ProtobufCMessage *request,
               const ProtobufCMessageDescriptor *response, bool safe, etcd_call_done *done, void *arg);
/* The same from another thread; `take` (may be NULL) sees the response on the loop. */
int etcd_call_wait(struct etcd *e, const char *path, const ProtobufCMessage *request,
                   const ProtobufCMessageDescriptor *response, bool safe,
                   void (*take)(void *arg, const ProtobufCMessage *response), void *arg, struct err *err);
void etcd_calls_end(struct etcd *e, const struct err *err);
void etcd_translate(const struct etcd *e, const struct err *from, struct err *to);
bool etcd_token_refused(const char *message);
void etcd_authenticate(struct etcd *e); /* once more; calls that were refused go on */
int etcd_authenticate_wait(struct etcd *e, struct err *err);
void etcd_fail_over(struct etcd *e);
void etcd_trouble_set(struct etcd *e, const char *text); /* NULL: over */
const char *etcd_trouble(struct kv *kv);

/* alarm.c */
/* Whatever the majority answers is no older than what was known (`floor`) when it was asked. ERR_CORRUPT: another
 * history stands there now. */
int etcd_went_back(struct etcd *e, int64_t floor, int64_t answered, struct err *err);
void etcd_full(struct etcd *e); /* a write was refused */
void etcd_full_over(struct etcd *e);

/* form.c: keys and values as they stand in etcd. */
ProtobufCBinaryData etcd_key(const struct etcd *e, struct arena *a, struct str key);
ProtobufCBinaryData etcd_end(const struct etcd *e, struct arena *a, struct str end); /* STR_NULL: empty */
ProtobufCBinaryData etcd_end_of_all(void);
bool etcd_our_key(const struct etcd *e, ProtobufCBinaryData key, struct str *ret); /* false: outside the prefix */
int etcd_seal(struct etcd *e, struct arena *a, struct str key, struct str value, ProtobufCBinaryData *ret,
              struct err *err);
int etcd_open(struct etcd *e, struct arena *a, struct str key, struct str stored, struct str *ret, struct err *err);
/* Copied into the arena, the value as it is stored. */
struct kv_pair etcd_pair(struct etcd *e, struct arena *a, const Etcdserverpb__KeyValue *kv);
/* Copied and opened; false: outside the prefix. */
bool etcd_event(struct etcd *e, struct arena *a, const Etcdserverpb__Event *from, struct kv_event *ret);

/* txn.c */
void etcd_txn(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg);
void etcd_txn_lease_ready(struct etcd *e, struct etcd_txn *list, const struct err *err);
/* The transaction whose revision this is gives its cookies. */
void etcd_txn_claim(struct etcd *e, struct kv_event *events, size_t n);
bool etcd_txn_may_claim(struct etcd *e, const struct kv_event *events, size_t n); /* not yet known whose these are */
void etcd_txn_link(struct etcd_txn **list, struct etcd_txn *t);

/* watch.c */
void etcd_watch_start(struct etcd *e);
void etcd_watch_stop(struct etcd *e);
void etcd_watch_pump(struct etcd *e); /* publishes what need not wait any more */
void etcd_wait(struct etcd *e, struct etcd_wait *w);
void etcd_waits_end(struct etcd *e, const struct err *err);

void etcd_watch_from(struct etcd *e, int64_t revision); /* everything up to there is known */

/* resync.c */
void etcd_resync_start(struct etcd *e);
void etcd_resync_end(struct etcd *e); /* the store closes */

/* range.c, history.c: on the caller's thread */
int etcd_range(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
               void *arg, int64_t *ret_revision, struct err *err);
int etcd_history(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                 struct err *err);
void etcd_newest(struct kv *kv, kv_newest_done *done, void *arg);
void etcd_probes_end(struct etcd *e, const struct err *err);
int etcd_find_compacted(struct etcd *e, struct err *err); /* asks etcd */

/* lease.c */
int etcd_lease_grant(struct kv *kv, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err);
int etcd_lease_keep_alive(struct kv *kv, int64_t id, struct err *err);
int etcd_lease_revoke(struct kv *kv, int64_t id, struct err *err);
int etcd_leases(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n, struct err *err);
/* The shared lease for puts of this TTL; 0: it is being granted, t will hear (etcd_txn_lease_ready). */
int64_t etcd_shared_lease(struct etcd *e, int64_t ttl_s, struct etcd_txn *t);
void etcd_shared_leases_forget(struct etcd *e); /* they may be gone */

/* compact.c */
int etcd_compact(struct kv *kv, int64_t revision, struct err *err);
void etcd_compact_wait(struct kv *kv);
void etcd_compactor_start(struct etcd *e);
void etcd_compacted_raise(struct etcd *e, int64_t revision);

#endif
