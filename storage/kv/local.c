/* Opening and closing a local store over whatever engine. */
#include "base/clock.h"
#include "base/mem.h"
#include "storage/kv/kv_internal.h"

#include <stdlib.h>

enum { HISTORY_MS = 5 * 60 * 1000, FORMAT = 2 };

#define HISTORY_BYTES (1ll << 30)

static int load_number(struct local *kv, const char *name, int64_t absent, int64_t *ret, struct err *err)
{
    struct arena *a = arena_create(0);
    struct buf value = {0};
    int rc = kv->engine->ops->get(kv->engine, KV_SPACE_META, record_meta_key(a, 'm', str_from(name)), &value, err);

    if (rc == 1) {
        *ret = absent;
        rc = 0;
    } else if (rc == 0) {
        if (value.len != 8)
            rc = err_set(err, ERR_CORRUPT, "the store's %s is damaged", name);
        else
            *ret = record_get64(value.p);
    }
    buf_free(&value);
    arena_destroy(a);
    return rc;
}

static int load(struct local *kv, struct err *err)
{
    int64_t revision, compacted, format;
    int rc;

    if ((rc = load_number(kv, "format", 0, &format, err)) < 0 ||
        (rc = load_number(kv, "revision", 1, &revision, err)) < 0 ||
        (rc = load_number(kv, "compacted", 0, &compacted, err)) < 0 || (rc = kv_leases_load(kv, err)) < 0)
        return rc;
    if (format > FORMAT)
        return err_set(err, ERR_CORRUPT, "the store was written by a newer version (format %lld, this one reads %d)",
                       (long long)format, FORMAT);
    if (format < FORMAT) {
        struct arena *a = arena_create(0);
        struct kv_write note = {
            .space = KV_SPACE_META, .key = record_meta_key(a, 'm', STR("format")), .head = record_number(a, FORMAT)};
        rc = kv->engine->ops->write(kv->engine, &note, 1, true, err);
        arena_destroy(a);
    }
    atomic_store(&kv->revision, revision);
    atomic_store(&kv->compacted, compacted);
    return rc;
}

static void local_close(struct kv *base)
{
    struct local *kv = local_of(base);

    pthread_mutex_lock(&kv->keeper_lock);
    kv->keeper_stop = true;
    pthread_cond_signal(&kv->keeper_wake);
    pthread_mutex_unlock(&kv->keeper_lock);
    pthread_join(kv->keeper, NULL);
    pthread_mutex_lock(&kv->queue_lock);
    kv->stopping = true;
    pthread_cond_signal(&kv->queue_ready);
    pthread_mutex_unlock(&kv->queue_lock);
    for (int i = 0; i < kv->n_committers; i++)
        pthread_join(kv->committers[i], NULL);
    kv->engine->ops->close(kv->engine);
    kv_leases_finish(kv);
    kv_finish(base);
    free(kv);
}

/* One process, one store: what is newest here is newest. */
static void local_newest(struct kv *base, kv_newest_done *done, void *arg)
{
    done(arg, local_revision(base), NULL);
}

static const struct kv_ops local_ops = {
    .txn_max = SIZE_MAX,
    .txn = local_txn,
    .range = local_range,
    .history = local_history,
    .revision = local_revision,
    .compacted_revision = local_compacted_revision,
    .newest = local_newest,
    .compact = local_compact,
    .compact_wait = local_compact_wait,
    .scrub = local_scrub,
    .hold = local_hold,
    .hold_end = local_hold_end,
    .lease_grant = local_lease_grant,
    .lease_keep_alive = local_lease_keep_alive,
    .lease_revoke = local_lease_revoke,
    .leases = local_leases,
    .trouble = local_trouble,
    .close = local_close,
};

int kv_create(struct kv_engine *e, int64_t history_ms, struct kv **ret, struct err *err)
{
    struct local *kv = MEM_NEW(struct local);
    pthread_condattr_t monotonic;

    kv_init(&kv->kv, &local_ops);
    kv->engine = e;
    kv->history_ms = history_ms > 0 ? history_ms : HISTORY_MS;
    atomic_store(&kv->history_bytes, HISTORY_BYTES);
    kv->queue_tail = &kv->queue_head;
    kv->pins.prev = kv->pins.next = &kv->pins;
    kv->lease_seed = (uint64_t)clock_wall_us();
    pthread_mutex_init(&kv->queue_lock, NULL);
    pthread_mutex_init(&kv->pins_lock, NULL);
    pthread_mutex_init(&kv->lease_lock, NULL);
    pthread_mutex_init(&kv->keeper_lock, NULL);
    pthread_mutex_init(&kv->trouble_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&kv->queue_ready, NULL);
    pthread_cond_init(&kv->turn, NULL);
    pthread_cond_init(&kv->keeper_wake, &monotonic);
    pthread_cond_init(&kv->keeper_idle, NULL);
    pthread_condattr_destroy(&monotonic);

    int rc = load(kv, err);
    if (rc < 0) {
        e->ops->close(e);
        kv_leases_finish(kv);
        kv_finish(&kv->kv);
        free(kv);
        return rc;
    }
    kv->assigned = local_revision(&kv->kv);
    kv->n_committers = e->ops->overlap ? 2 : 1;
    if (pthread_create(&kv->committers[0], NULL, kv_committer_main, kv) ||
        (kv->n_committers > 1 && pthread_create(&kv->committers[1], NULL, kv_committer_main, kv)) ||
        pthread_create(&kv->keeper, NULL, kv_keeper_main, kv))
        abort();
    *ret = &kv->kv;
    return 0;
}

int kv_open_memory(struct kv **ret, struct err *err)
{
    return kv_open_memory_for(0, ret, err);
}

int kv_open_memory_for(int64_t history_ms, struct kv **ret, struct err *err)
{
    return kv_create(kv_engine_memory(), history_ms, ret, err);
}

int kv_open_rocksdb(const struct kv_rocksdb_options *opt, struct kv **ret, struct err *err)
{
    struct kv_engine *e;
    int rc = kv_engine_rocksdb(opt->dir, &e, err);

    if (rc == 0)
        rc = kv_create(e, opt->history_ms, ret, err);
    if (rc == 0 && opt->history_bytes > 0)
        atomic_store(&local_of(*ret)->history_bytes, opt->history_bytes);
    return rc;
}
