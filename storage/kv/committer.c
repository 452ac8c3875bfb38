/* The committer: what makes all changes, one batch after the other.
 *
 * It takes everything that waits, runs each transaction against the engine's state overlaid by what the earlier ones of
 * the batch did (batch.h), writes the whole with one sync, publishes the events in order and answers. Two threads take
 * turns at it: while one has its batch written, the other prepares the next, on top of what the first did; so the
 * number of syncs adapts to the load by itself, and neither the disk nor the processor waits for the other. Only one
 * prepares at a time, and only one writes.
 *
 * Failures. A transaction's own (a lease that is not there, a key put twice) answers it alone, before it has touched
 * anything. The engine's fails the batch: nothing of it was made visible, every transaction in it gets the error, and
 * the store is in trouble: writes are refused with that sentence until a probe of the background thread gets through.
 * What was prepared on top of a batch that failed is prepared once more, without it.
 */
#include "storage/kv/batch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH_MAX = 4096, WAKE_WHILE_WRITING = 32 };

/* ---- trouble ---- */

void kv_set_trouble(struct local *kv, const struct err *err)
{
    pthread_mutex_lock(&kv->trouble_lock);
    if (err) {
        const char *what = "the store's disk reports an error; writes go on by themselves once it works again";

        if (err->code == ERR_NO_SPACE)
            what = "no space left for the store; free some and writes go on by themselves";
        else if (err->code == ERR_CORRUPT)
            what = "the store is damaged and takes no more writes; restore a snapshot into a new data directory";
        else if (strstr(err->message, "Read-only file system"))
            what = "the store's file system is read-only; writes go on by themselves once it can be written";
        snprintf(kv->trouble_text, sizeof kv->trouble_text, "%s (%.400s)", what, err->message);
        kv->trouble_code = err->code;
    }
    bool was = atomic_exchange(&kv->in_trouble, err != NULL);
    pthread_mutex_unlock(&kv->trouble_lock);
    if (err && !was) {
        log_error("storage", "%s", local_trouble(&kv->kv));
        kv_keeper_poke(kv);
    } else if (!err && was) {
        log_info("storage", "the store can be written again");
    }
}

const char *local_trouble(struct kv *base)
{
    struct local *kv = local_of(base);
    static _Thread_local char text[sizeof kv->trouble_text];

    if (!atomic_load(&kv->in_trouble))
        return NULL;
    pthread_mutex_lock(&kv->trouble_lock);
    memcpy(text, kv->trouble_text, sizeof text);
    pthread_mutex_unlock(&kv->trouble_lock);
    return text;
}

int kv_trouble_err(struct local *kv, struct err *err)
{
    const char *text = local_trouble(&kv->kv);

    return err_set(err, text ? kv->trouble_code : ERR_UNAVAILABLE, "%s", text ? text : "the store was in trouble");
}

/* ---- a batch ---- */

static void settle_leases(struct batch *b, bool failed)
{
    struct local *kv = b->kv;

    if (!b->granted.len && !b->ended.len)
        return;
    pthread_mutex_lock(&kv->lease_lock);
    if (failed) {
        for (size_t i = 0; i < b->granted.len; i++)
            kv_lease_drop(kv, b->granted.items[i]);
    } else {
        for (size_t i = 0; i < b->ended.len; i++)
            kv_lease_drop(kv, b->ended.items[i]);
    }
    pthread_mutex_unlock(&kv->lease_lock);
    if (!failed && b->granted.len)
        kv_keeper_poke(kv);
}

static int write_batch(struct batch *b, struct err *err)
{
    struct local *kv = b->kv;
    struct kv_engine *e = kv->engine;
    bool probe = false;
    int rc;

    if (!b->writes.len)
        return 0;
    for (size_t i = 0; i < b->outcomes.len; i++)
        probe |= b->outcomes.items[i].request->kind == REQUEST_PROBE;
    if (atomic_load(&kv->in_trouble)) {
        if (!probe)
            return kv_trouble_err(kv, err);
        rc = e->ops->recover(e, err);
        if (rc < 0)
            return rc;
    }
    if (b->events.len)
        batch_write(b, KV_SPACE_META, record_meta_key(b->arena, 'm', STR("revision")),
                    record_number(b->arena, b->revision), STR_NULL);
    rc = e->ops->write(e, b->writes.items, b->writes.len, true, err);
    if (rc < 0)
        kv_set_trouble(kv, err);
    else if (probe)
        kv_set_trouble(kv, NULL);
    return rc;
}

static void answer(struct request *r, const struct kv_txn_result *result, const struct err *err)
{
    kv_txn_done *done = r->done;
    void *arg = r->arg;

    if (r->owned)
        free(r);
    if (done)
        done(arg, result, err);
}

/* Write, publish, answer. `rc` < 0: it could not even be prepared. */
static int finish_batch(struct batch *b, int rc, struct err *err)
{
    struct local *kv = b->kv;
    struct kv_txn_result nothing = {0};

    if (rc == 0)
        rc = write_batch(b, err);
    settle_leases(b, rc < 0);
    if (rc == 0 && b->events.len) {
        atomic_store_explicit(&kv->revision, b->revision, memory_order_release);
        atomic_fetch_add(&kv->history_written, b->history_bytes);
        kv_publish(&kv->kv, b->events.items, b->events.len, b->revision);
    }
    for (size_t i = 0; i < b->outcomes.len; i++) {
        const struct outcome *o = &b->outcomes.items[i];
        const struct err *e = rc < 0 ? err : o->err;

        answer(o->request, e ? &nothing : &o->result, e);
    }
    return rc;
}

/* ---- two of them at work ---- */

/* All below: under queue_lock. */
static void begin_batch(struct batch *b, struct local *kv)
{
    if (kv->failures_seen != kv->failures) {
        memset(kv->shared, 0, sizeof kv->shared); /* they may never have come to be */
        kv->failures_seen = kv->failures;
    }
    batch_reset(b, kv, kv->assigned);
    b->failures = kv->failures;
    b->under = kv->writing ? kv->flying : NULL;
}

int batch_settle(struct batch *b, struct err *err)
{
    struct local *kv = b->kv;
    bool failed;

    if (!b->under)
        return 0;
    pthread_mutex_lock(&kv->queue_lock);
    while (kv->writing)
        pthread_cond_wait(&kv->queue_ready, &kv->queue_lock);
    failed = kv->failures != b->failures;
    pthread_mutex_unlock(&kv->queue_lock);
    b->under = NULL;
    return failed ? err_set(err, ERR_IO, "the writes before failed") : 0; /* it is prepared once more */
}

/* What waits, or in trouble only the first of it: reads go on, and the probe stands alone. */
static void take_requests(struct local *kv, struct batch *b)
{
    struct request *r = kv->queue_head, *next;

    for (; r; r = next) {
        next = r->next;
        vec_push(&b->outcomes, (struct outcome){.request = r});
        kv->queue_len--;
        if (atomic_load(&kv->in_trouble)) {
            r = next;
            break;
        }
    }
    kv->queue_head = r;
    if (!r)
        kv->queue_tail = &kv->queue_head;
}

/* In trouble, what was prepared before goes back but for the first. */
static void put_back(struct local *kv, struct batch *b)
{
    while (b->outcomes.len > 1) {
        struct request *r = b->outcomes.items[--b->outcomes.len].request;

        r->next = kv->queue_head;
        if (!kv->queue_head)
            kv->queue_tail = &r->next;
        kv->queue_head = r;
        kv->queue_len++;
    }
}

static int run_from(struct batch *b, size_t first, struct err *err)
{
    int rc = 0;

    for (size_t i = first; i < b->outcomes.len && rc >= 0; i++)
        rc = batch_run(b, &b->outcomes.items[i], err);
    return rc < 0 ? rc : 0;
}

static bool may_take_more(const struct local *kv, const struct batch *b, int rc)
{
    return !b->outcomes.len ||
           (rc == 0 && !atomic_load(&kv->in_trouble) && b->outcomes.len < BATCH_MAX && b->writes.len < BATCH_MAX * 4);
}

/* Fills the batch while another is written; when nothing is written any more it is done. False: the end. */
static bool prepare_batch(struct local *kv, struct batch *b, int *ret_rc, struct err *err)
{
    *ret_rc = 0;
    b->outcomes.len = 0;
    while (!b->outcomes.len || kv->writing) {
        bool more = may_take_more(kv, b, *ret_rc);

        if (kv->queue_head && more) {
            size_t n = b->outcomes.len;

            if (!n)
                begin_batch(b, kv);
            take_requests(kv, b);
            pthread_mutex_unlock(&kv->queue_lock);
            *ret_rc = run_from(b, n, err);
            pthread_mutex_lock(&kv->queue_lock);
        } else if (!b->outcomes.len && kv->stopping) {
            return false;
        } else {
            pthread_cond_wait(&kv->queue_ready, &kv->queue_lock);
        }
    }
    if (b->failures != kv->failures) { /* what this one stands on is not there */
        if (atomic_load(&kv->in_trouble))
            put_back(kv, b);
        for (size_t i = 0; i < b->outcomes.len; i++)
            b->outcomes.items[i] = (struct outcome){.request = b->outcomes.items[i].request};
        pthread_mutex_unlock(&kv->queue_lock);
        settle_leases(b, true);
        pthread_mutex_lock(&kv->queue_lock);
        begin_batch(b, kv);
        pthread_mutex_unlock(&kv->queue_lock);
        *ret_rc = run_from(b, 0, err);
        pthread_mutex_lock(&kv->queue_lock);
    }
    return true;
}

void *kv_committer_main(void *arg)
{
    struct local *kv = arg;
    struct batch b = {0};
    struct err err;
    int rc;

    pthread_mutex_lock(&kv->queue_lock);
    for (;;) {
        while (kv->preparing)
            pthread_cond_wait(&kv->turn, &kv->queue_lock);
        kv->preparing = true;
        bool any = prepare_batch(kv, &b, &rc, &err);
        kv->preparing = false;
        pthread_cond_signal(&kv->turn);
        if (!any)
            break;
        kv->writing = true;
        kv->flying = &b;
        if (rc == 0)
            kv->assigned = b.revision;
        pthread_mutex_unlock(&kv->queue_lock);
        rc = finish_batch(&b, rc, &err);
        pthread_mutex_lock(&kv->queue_lock);
        kv->writing = false;
        kv->flying = NULL;
        if (rc < 0) {
            kv->failures++;
            kv->assigned = local_revision(&kv->kv);
        }
        pthread_cond_signal(&kv->queue_ready);
    }
    pthread_mutex_unlock(&kv->queue_lock);
    batch_finish(&b);
    return NULL;
}

/* ---- handing in ---- */

void kv_submit(struct local *kv, struct request *r)
{
    r->next = NULL;
    pthread_mutex_lock(&kv->queue_lock);
    *kv->queue_tail = r;
    kv->queue_tail = &r->next;
    if (++kv->queue_len == (kv->writing ? WAKE_WHILE_WRITING : 1)) /* the end of a write wakes too */
        pthread_cond_signal(&kv->queue_ready);
    pthread_mutex_unlock(&kv->queue_lock);
}

void local_txn(struct kv *base, const struct kv_txn *txn, kv_txn_done *done, void *arg)
{
    struct local *kv = local_of(base);
    struct request *r = MEM_NEW(struct request);

    *r = (struct request){.kind = REQUEST_TXN, .txn = txn, .owned = true, .done = done, .arg = arg};
    kv_submit(kv, r);
}

int kv_submit_wait(struct local *kv, struct request *r, struct err *err)
{
    struct kv_waiter w;

    kv_waiter_init(&w, NULL, NULL, err);
    r->done = kv_waiter_done;
    r->arg = &w;
    kv_submit(kv, r);
    return kv_waiter_wait(&w);
}
