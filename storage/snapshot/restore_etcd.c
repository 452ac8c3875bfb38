/* Restore into an empty etcd.
 *
 * Clients hold revisions of the former cluster, and whoever asks with one must hear 410 Gone and list again, never wait
 * for a revision that lies far ahead, nor take another state for the one it knows. etcd's revision counts writes and
 * cannot be set: so one key is written until the revision is past all that the former cluster can have answered (the
 * snapshot's, and revision_bump more for what came after it); then the objects follow; then all before them is
 * compacted. That costs about a second per ten thousand. The key that is written says that a restore is under way:
 * one that was interrupted begins again, over what it left. */
#include "storage/snapshot/restore_internal.h"

#include <pthread.h>

#define MARK STR("/skiff/restoring")
#define COMPACT_KEY STR("compact_rev_key") /* stands in an empty etcd that an API server once looked at */
#define EVERYTHING_FROM STR("\0")
#define EVERYTHING_TO STR("\xff\xff\xff\xff\xff\xff\xff\xff")

enum { IN_FLIGHT = 512, FORGET_EVERY = 200000 };

struct bump {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t in_flight;
    int64_t revision; /* the newest answered */
    struct err err;
};

static void written(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct bump *b = arg;
    pthread_mutex_lock(&b->lock);
    b->in_flight--;
    if (err && !b->err.code)
        b->err = *err;
    if (!err && result->revision > b->revision)
        b->revision = result->revision;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

/* Writes until the store has reached `target`. */
static int reach(const struct snapshot_restore *opt, struct kv *kv, int64_t target, struct err *err)
{
    static const struct kv_op op = {.kind = KV_PUT, .key = {"/skiff/restoring", 16}, .value = {"1", 1}};
    static const struct kv_txn txn = {.success = &op, .n_success = 1};
    struct bump b = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    int64_t from = kv_revision(kv), forgotten = from;
    int rc = 0;
    b.revision = from;
    pthread_mutex_lock(&b.lock);
    while (!b.err.code && b.revision < target) {
        while (!b.err.code && b.in_flight < IN_FLIGHT && b.revision + (int64_t)b.in_flight < target) {
            b.in_flight++;
            pthread_mutex_unlock(&b.lock);
            kv_txn(kv, &txn, written, &b);
            pthread_mutex_lock(&b.lock);
        }
        pthread_cond_wait(&b.changed, &b.lock);
        int64_t now = b.revision;
        if (opt->bumping) {
            pthread_mutex_unlock(&b.lock);
            opt->bumping(opt->progress_arg, now - from, target - from);
            pthread_mutex_lock(&b.lock);
        }
        if (now - forgotten > FORGET_EVERY && rc == 0) {
            struct err ignored; /* it only saves room */
            pthread_mutex_unlock(&b.lock);
            kv_compact(kv, now - IN_FLIGHT, &ignored);
            forgotten = now;
            pthread_mutex_lock(&b.lock);
        }
    }
    while (b.in_flight)
        pthread_cond_wait(&b.changed, &b.lock);
    pthread_mutex_unlock(&b.lock);
    if (b.err.code) {
        *err = b.err;
        rc = b.err.code;
    }
    return rc;
}

/* ---- empty? ---- */

struct look {
    struct arena *arena;
    struct str found;
    bool mark;
};

static bool look_at(void *arg, const struct kv_pair *p)
{
    struct look *l = arg;
    if (str_eq(p->key, COMPACT_KEY))
        return true;
    l->found = arena_str(l->arena, p->key);
    return false;
}

static bool see_mark(void *arg, const struct kv_pair *p)
{
    struct look *l = arg;
    l->mark = p->key.len > 0;
    return true;
}

static int run(struct kv *kv, struct arena *a, const struct kv_op *ops, size_t n, struct err *err)
{
    struct kv_txn txn = {.success = ops, .n_success = n};
    struct kv_txn_result result;
    return kv_txn_wait(kv, a, &txn, &result, err);
}

static int make_room(struct kv *kv, const char *store, struct arena *a, struct err *err)
{
    struct look l = {.arena = a};
    int rc = kv_range(kv, MARK, STR_NULL, 0, 1, see_mark, &l, NULL, err);
    if (rc == 0 && !l.mark)
        rc = kv_range(kv, EVERYTHING_FROM, EVERYTHING_TO, 0, 2, look_at, &l, NULL, err);
    if (rc < 0)
        return rc;
    if (l.found.p)
        return err_set(err, ERR_ALREADY_EXISTS,
                       "etcd at %s is not empty (it has " STR_FMT
                       "), and is never overwritten: restore into one without any keys",
                       store, STR_ARG(l.found));
    /* a restore was interrupted: what it left goes, but for the mark */
    struct kv_op ops[] = {{.kind = KV_DELETE, .key = EVERYTHING_FROM, .end = MARK},
                          {.kind = KV_DELETE, .key = STR("/skiff/restoring\0"), .end = EVERYTHING_TO},
                          {.kind = KV_PUT, .key = MARK, .value = STR("1")}};
    return run(kv, a, ops, 3, err);
}

int snapshot_restore_unfinished(struct kv *kv, struct err *err)
{
    struct look l = {0};
    int rc = kv_range(kv, MARK, STR_NULL, 0, 1, see_mark, &l, NULL, err);
    if (rc == 0 && l.mark)
        rc =
            err_set(err, ERR_BUSY, "a restore into this etcd has not come to its end: run it again, or empty the etcd");
    return rc;
}

int restore_etcd(const struct snapshot_restore *opt, struct etcd_file *etcd, struct crypt *crypt, struct arena *a,
                 struct snapshot_summary *s, int64_t *ret_left_out, struct err *err)
{
    struct kv_op last = {.kind = KV_DELETE, .key = MARK};
    struct kv *kv;
    int rc = kv_open_etcd_text(opt->store, &kv, err);
    if (rc < 0)
        return rc;
    crypt_install(crypt, kv);
    int64_t target = s->head.revision + opt->revision_bump;
    rc = make_room(kv, opt->store, a, err);
    if (rc == 0)
        rc = reach(opt, kv, target, err);
    int64_t begun = kv_revision(kv);
    if (rc == 0)
        rc = restore_fill(opt, etcd, crypt, kv, a, s, ret_left_out, err);
    if (rc == 0)
        rc = run(kv, a, &last, 1, err);
    if (rc == 0)
        rc = kv_compact(kv, begun, err);
    kv_close(kv);
    return rc;
}
