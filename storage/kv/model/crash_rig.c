#include "storage/kv/model/crash_rig.h"

#include "base/clock.h"
#include "base/log.h"
#include "storage/kv/kv_internal.h"
#include "storage/kv/model/driver.h"
#include "storage/kv/model/fault_env.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define START_WALL_MS 1700000000000

enum { PATIENCE = 20000 }; /* rounds of waiting, 50 us each or longer */
enum { PUMP_BYTES = 96 << 10, ANY_PROBES = 1 << 20 };

struct rig {
    struct kv_engine engine; /* what the store stands on: passes everything on, but can keep the committer waiting */
    struct kv_engine_ops ops;
    struct kv_engine *inner;
    struct driver d;
    struct fault_env *env;
    char dir[64];
    struct kv *_Atomic kv;
    bool crowded, failing; /* a fault is armed */
    bool for_good;         /* and does not pass by itself */
    struct crash_rig_counts *counts;

    pthread_mutex_t gate_lock;
    pthread_cond_t gate_changed;
    bool gate_shut, gate_waits;
    atomic_int n_recovers, n_probes; /* so many were made; so many more may be */
    size_t unpumped;                 /* bytes */
    atomic_bool watched;             /* the driver hears what is published */
    char recovery[200];              /* how the last attempt went; for the report only */

    pthread_t reader;
    atomic_bool reader_over;
};

static struct rig *rig_of(struct kv_engine *e)
{
    return (struct rig *)e;
}

/* ---- the engine between ---- */

static void pass_gate(struct rig *r)
{
    struct kv *kv = atomic_load(&r->kv);

    if (!kv || !kv_on_committer(local_of(kv)))
        return;
    pthread_mutex_lock(&r->gate_lock);
    while (r->gate_shut) {
        r->gate_waits = true;
        pthread_cond_broadcast(&r->gate_changed);
        pthread_cond_wait(&r->gate_changed, &r->gate_lock);
    }
    r->gate_waits = false;
    pthread_mutex_unlock(&r->gate_lock);
}

static int rig_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *err)
{
    struct rig *r = rig_of(e);

    pass_gate(r);
    return r->inner->ops->get(r->inner, space, key, out, err);
}

static struct kv_cursor *rig_cursor_open(struct kv_engine *e, enum kv_space space)
{
    struct rig *r = rig_of(e);

    pass_gate(r);
    return r->inner->ops->cursor_open(r->inner, space);
}

static int rig_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *err)
{
    struct rig *r = rig_of(e);
    struct kv *kv = atomic_load(&r->kv);

    for (size_t i = 0; i < n; i++)
        r->unpumped += writes[i].key.len + writes[i].head.len + writes[i].body.len;
    if (!r->crowded && r->unpumped > PUMP_BYTES) { /* before RocksDB waits for a flush */
        fault_env_pump(r->env);
        r->unpumped = 0;
    }
    int rc = r->inner->ops->write(r->inner, writes, n, sync, err);

    /* written is not published: nobody may see it yet */
    if (kv && atomic_load(&r->watched) && kv_on_committer(local_of(kv)) && kv_revision(kv) != r->d.heard)
        driver_fail(&r->d, "revision %lld can be read before it was published", (long long)kv_revision(kv));
    return rc;
}

static int rig_recover(struct kv_engine *e, struct err *err)
{
    struct rig *r = rig_of(e);

    if (!r->crowded && atomic_load(&r->n_probes) <= 0)
        return err_set(err, ERR_IO, "no time for it");
    atomic_fetch_sub(&r->n_probes, 1);
    if (!r->crowded) {
        fault_env_pump(r->env);
        fault_env_jobs(r->env, FAULT_JOBS_FLUSH);
    }
    int rc = r->inner->ops->recover(r->inner, err);
    if (!r->crowded) {
        fault_env_jobs(r->env, FAULT_JOBS_HELD);
        fault_env_pump(r->env);
    }
    snprintf(r->recovery, sizeof r->recovery, "%s", rc < 0 ? err->message : "done");
    atomic_fetch_add(&r->n_recovers, 1);
    return rc;
}

static void rig_engine_close(struct kv_engine *e)
{
    struct rig *r = rig_of(e);

    if (!r->crowded) {
        fault_env_pump(r->env);
        fault_env_jobs(r->env, FAULT_JOBS_FLUSH);
    }
    r->inner->ops->close(r->inner);
    if (!r->crowded)
        fault_env_jobs(r->env, FAULT_JOBS_HELD);
}

/* ---- several at once ---- */

static void shut_gate(void *arg)
{
    struct rig *r = arg;

    pthread_mutex_lock(&r->gate_lock);
    r->gate_shut = true;
    pthread_mutex_unlock(&r->gate_lock);
}

/* Until the committer has taken the first, and stands. */
static bool wait_at_gate(void *arg, const size_t *n_answered, size_t n)
{
    struct rig *r = arg;
    bool stands = false, answered = false;

    while (!stands && !answered) {
        struct timespec until;

        pthread_mutex_lock(&r->d.lock);
        answered = *n_answered >= n;
        pthread_mutex_unlock(&r->d.lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000;
        if (until.tv_nsec >= 1000000000)
            until.tv_sec++, until.tv_nsec -= 1000000000;
        pthread_mutex_lock(&r->gate_lock);
        if (!answered && !r->gate_waits)
            pthread_cond_timedwait(&r->gate_changed, &r->gate_lock, &until);
        stands = r->gate_waits;
        pthread_mutex_unlock(&r->gate_lock);
    }
    return stands;
}

static void open_gate(void *arg)
{
    struct rig *r = arg;

    pthread_mutex_lock(&r->gate_lock);
    r->gate_shut = false;
    pthread_cond_broadcast(&r->gate_changed);
    pthread_mutex_unlock(&r->gate_lock);
}

/* ---- opening and closing ---- */

/* The committer is done with what it was at. */
static void come_round(struct rig *r)
{
    struct kv_txn_result result;
    struct kv_txn nothing = {0};
    struct err err;
    struct arena *a = arena_create(0);

    kv_txn_wait(r->kv, a, &nothing, &result, &err);
    arena_destroy(a);
}

/* Pokes the keeper until no lease is due. False: it could not end one. */
static bool settle_leases(struct rig *r)
{
    struct local *kv = local_of(r->kv);
    bool due = true, failed = false;

    for (int i = 0; due && !failed; i++) {
        if (i == PATIENCE)
            driver_fail(&r->d, "a lease that is due does not end");
        int64_t now_ms = clock_mono_ms();

        due = false;
        pthread_mutex_lock(&kv->lease_lock);
        struct map_iter it;
        struct str id;
        void *lease;
        map_iter_init(&it, &kv->leases);
        while (map_iter_next(&it, &id, &lease))
            due |= ((struct lease *)lease)->due_ms <= now_ms || ((struct lease *)lease)->ending;
        pthread_mutex_unlock(&kv->lease_lock);
        failed = kv_trouble(&kv->kv) || fault_env_frozen(r->env);
        if (due && !failed) {
            kv_keeper_poke(kv);
            usleep(50);
        }
    }
    if (!failed)
        come_round(r); /* what ended is published */
    return !failed;
}

static void *read_on(void *arg)
{
    struct rig *r = arg;
    struct kv *kv = r->kv;
    int64_t last = 0;

    while (!atomic_load(&r->reader_over)) {
        int64_t before = kv_revision(kv), at = 0;
        struct buf text = {0}, again = {0};
        struct err err;

        int rc = driver_read_newest(kv, 0, &text, &at, &err);
        if (rc == 0 && (at < before || at < last))
            driver_fail(&r->d, "a read at %lld after one at %lld", (long long)at, (long long)last);
        if (rc == 0) {
            last = at;
            rc = driver_read_newest(kv, at, &again, &at, &err);
            if (rc == 0 && !str_eq(buf_str(&text), buf_str(&again)))
                driver_fail(&r->d, "two reads at %lld differ: " STR_FMT "\n" STR_FMT, (long long)at,
                            STR_ARG(buf_str(&text)), STR_ARG(buf_str(&again)));
        }
        buf_free(&text);
        buf_free(&again);
        sched_yield();
    }
    return NULL;
}

static int open_store(struct rig *r, struct err *err)
{
    struct kv *kv;
    int rc = kv_engine_rocksdb_in(r->dir, fault_env_rocksdb(r->env), &r->inner, err);

    if (rc < 0)
        return rc;
    const struct kv_engine_ops *inner = r->inner->ops;
    r->ops = (struct kv_engine_ops){
        .name = inner->name,
        .overlap = r->crowded, /* else the seed alone says what happens when */
        .get = rig_get,
        .write = rig_write,
        .cursor_open = rig_cursor_open,
        .cursor_seek = inner->cursor_seek,
        .cursor_read = inner->cursor_read,
        .cursor_next = inner->cursor_next,
        .cursor_close = inner->cursor_close,
        .recover = rig_recover,
        .close = rig_engine_close,
    };
    r->engine.ops = &r->ops;
    rc = kv_create(&r->engine, 1000000000, &kv, err);
    if (rc < 0)
        return rc;
    atomic_store(&r->kv, kv);
    if (r->crowded) {
        atomic_store(&r->reader_over, false);
        pthread_create(&r->reader, NULL, read_on, r);
    }
    return 0;
}

static void close_store(struct rig *r)
{
    struct kv *kv = atomic_load(&r->kv);

    if (r->crowded) {
        atomic_store(&r->reader_over, true);
        pthread_join(r->reader, NULL);
    }
    atomic_store(&r->watched, false);
    kv_close(kv);
    atomic_store(&r->kv, NULL);
}

static void disarm(struct rig *r)
{
    fault_env_heal(r->env);
    fault_env_crash_after(r->env, 0);
    r->failing = r->for_good = false;
}

/* Comes back from wherever the disk is, with mishaps on the way. */
static void reopen(struct rig *r)
{
    struct err err;

    for (int tries = 0;; tries++) {
        bool hurt = tries < 3 && driver_draw(&r->d, 4) == 0;
        bool power_lost = driver_draw(&r->d, 4) != 0;

        r->d.heard = 0;
        driver_trace(&r->d, "restart%s%s", fault_env_frozen(r->env) ? power_lost ? " without power" : " killed" : "",
                     hurt ? ", to crash soon" : "");
        fault_env_restart(r->env, power_lost);
        disarm(r);
        if (hurt)
            fault_env_crash_after(r->env, 1 + driver_draw(&r->d, 40));
        int rc = open_store(r, &err);
        if (rc < 0) {
            if (!fault_env_frozen(r->env))
                driver_fail(&r->d, "the store does not open: %s", err.message);
            r->counts->crashes_while_opening++;
            continue;
        }
        r->d.heard = kv_revision(r->kv);
        if (settle_leases(r) && !fault_env_frozen(r->env)) {
            fault_env_crash_after(r->env, 0);
            fault_env_pump(r->env);
            if (!fault_env_frozen(r->env))
                break;
        }
        if (!fault_env_frozen(r->env))
            driver_fail(&r->d, "trouble without a cause: %s", kv_trouble(r->kv));
        r->counts->crashes_while_opening++;
        close_store(r);
    }
    driver_reopened(&r->d, r->kv);
    atomic_store(&r->watched, true);
    r->counts->restarts++;
}

/* ---- steps ---- */

static void crash(struct rig *r)
{
    driver_trace(&r->d, "crash");
    r->counts->crashes++;
    r->counts->outcomes_open += r->d.open.len;
    fault_env_freeze(r->env);
    open_gate(r);
    close_store(r);
    reopen(r);
}

/* False: it went down instead, and is back. */
static bool mend(struct rig *r)
{
    disarm(r);
    driver_trace(&r->d, "heal");
    atomic_store(&r->n_probes, ANY_PROBES);
    for (int i = 0; kv_trouble(r->kv); i++) {
        if (fault_env_frozen(r->env)) {
            atomic_store(&r->n_probes, 0);
            crash(r);
            return false;
        }
        if (i == PATIENCE)
            driver_fail(&r->d, "trouble does not end: %s; the last attempt: %s", kv_trouble(r->kv), r->recovery);
        kv_keeper_poke(local_of(r->kv));
        usleep(50);
    }
    atomic_store(&r->n_probes, 0);
    come_round(r);
    r->counts->recoveries++;
    return true;
}

static void recover(struct rig *r)
{
    if (mend(r))
        driver_recovered(&r->d);
}

/* Whether a lease is there still that should have ended: a try has failed, and the next comes in a second. */
static bool is_any_late(struct rig *r)
{
    struct local *kv = local_of(r->kv);
    bool late = false;

    pthread_mutex_lock(&kv->lease_lock);
    for (size_t i = 0; i < r->d.leases.len; i++)
        late |= r->d.leases.items[i].due_by_ms <= clock_mono_ms() && kv_lease_find(kv, r->d.leases.items[i].id);
    pthread_mutex_unlock(&kv->lease_lock);
    return late;
}

static void advance(struct rig *r)
{
    int64_t ms = 100 + driver_draw(&r->d, driver_draw(&r->d, 4) ? 8000 : 80000);
    bool late = false;

    for (;;) {
        driver_trace(&r->d, "%lld ms pass", (long long)ms);
        clock_fake_advance(ms);
        bool well = settle_leases(r);
        if (fault_env_frozen(r->env))
            return; /* what became of them is seen when it is back */
        if (well && !is_any_late(r))
            break;
        ms = 1000; /* those that could not be ended are tried again then */
        late = true;
        driver_leases_late(&r->d);
        if (!mend(r))
            return;
    }
    driver_leases_ended(&r->d);
    if (late)
        driver_recovered(&r->d);
}

static void arm(struct rig *r)
{
    static const unsigned calls[] = {FAULT_SYNC,     FAULT_APPEND, FAULT_SYNC | FAULT_APPEND,
                                     FAULT_CHANGES,  FAULT_CREATE, FAULT_READ,
                                     FAULT_DIR_SYNC, FAULT_NAMES};
    static const unsigned files[] = {FAULT_LOG,      FAULT_LOG,  FAULT_ALL_FILES,          FAULT_TABLE,
                                     FAULT_MANIFEST, FAULT_BLOB, FAULT_TABLE | FAULT_BLOB, FAULT_OTHER};
    struct fault_rule rule = {
        .calls = calls[driver_draw(&r->d, 8)],
        .files = files[driver_draw(&r->d, 8)],
        .skip = driver_draw(&r->d, 6),
        .times = driver_draw(&r->d, 3) ? 1 + driver_draw(&r->d, 3) : UINT32_MAX,
        .no_space = driver_draw(&r->d, 3) == 0,
    };

    driver_trace(&r->d, "arm: calls %u of files %u fail after %u, %d times%s", rule.calls, rule.files, rule.skip,
                 (int)rule.times, rule.no_space ? ", no space" : "");
    fault_env_fail(r->env, &rule);
    r->failing = true;
    r->for_good = rule.times == UINT32_MAX;
    r->counts->failures++;
}

static void step(struct rig *r)
{
    struct driver *d = &r->d;

    switch (driver_draw(d, 24)) {
    default:
        driver_trace(d, "window");
        r->counts->windows++;
        driver_window(d);
        break;
    case 0:
    case 1:
        driver_lease_call(d);
        break;
    case 2:
        advance(r);
        break;
    case 3:
        driver_compact(d);
        break;
    case 4:
    case 5:
        driver_check_history(d);
        driver_check_range(d);
        break;
    case 6:
        driver_trace(d, "background");
        fault_env_pump(r->env);
        break;
    case 7:
    case 8:
        arm(r);
        break;
    case 9:
    case 10:
        driver_trace(d, "a crash comes");
        fault_env_crash_after(r->env, 1 + driver_draw(d, driver_draw(d, 2) ? 5 : 60));
        break;
    case 11:
        if (kv_trouble(r->kv))
            break;
        driver_trace(d, "close");
        close_store(r);
        reopen(r);
        break;
    case 12:
        crash(r);
        break;
    }
}

static void after_step(struct rig *r)
{
    if (fault_env_frozen(r->env)) {
        crash(r);
    } else if (kv_trouble(r->kv)) {
        int before = atomic_load(&r->n_recovers);

        /* the first probe follows at once: the next step comes after it */
        atomic_store(&r->n_probes, 1);
        for (int i = 0; i < PATIENCE && kv_trouble(r->kv) && atomic_load(&r->n_recovers) == before; i++) {
            kv_keeper_poke(local_of(r->kv));
            usleep(50);
        }
        come_round(r);
        if (fault_env_frozen(r->env)) {
            crash(r);
            return;
        }
        uint32_t what = driver_draw(&r->d, 4);
        if (what == 0)
            crash(r);
        else if (what < 3 || !r->for_good)
            recover(r);
    } else if (r->d.open.len) {
        driver_recovered(&r->d); /* the fault was of a kind that left nothing behind */
    }
}

static void make_dir(struct rig *r)
{
    snprintf(r->dir, sizeof r->dir, "%s/skiff-model-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(r->dir))
        driver_fail(&r->d, "no directory %s", r->dir);
}

static void remove_dir(const char *dir)
{
    DIR *list = opendir(dir);
    struct dirent *entry;

    while (list && (entry = readdir(list)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(list), entry->d_name, 0);
    if (list)
        closedir(list);
    rmdir(dir);
}

void crash_rig_run(uint64_t seed, unsigned n_steps, bool crowded, struct crash_rig_counts *counts)
{
    struct rig *r = calloc(1, sizeof *r);
    struct err err;

    if (!r)
        abort();
    clock_fake(START_WALL_MS, 1000000);
    r->counts = counts;
    r->crowded = crowded;
    pthread_mutex_init(&r->gate_lock, NULL);
    pthread_cond_init(&r->gate_changed, NULL);
    driver_init(&r->d, seed);
    make_dir(r);
    r->env = fault_env_create(seed ^ 0x5eed, r->dir);
    r->d.arg = r;
    if (!crowded) {
        r->d.before = shut_gate;
        r->d.until_stands = wait_at_gate;
        r->d.after_last = open_gate;
        r->d.repeatable = true;
        fault_env_jobs(r->env, FAULT_JOBS_HELD);
    }
    r->d.heard = 1;
    if (open_store(r, &err) < 0)
        driver_fail(&r->d, "a new store does not open: %s", err.message);
    if (crowded)
        fault_env_delay(r->env, 200);
    driver_begin(&r->d, r->kv);
    atomic_store(&r->watched, true);
    for (unsigned i = 0; i < n_steps; i++) {
        step(r);
        after_step(r);
    }
    if (kv_trouble(r->kv))
        recover(r);
    disarm(r);
    driver_check_all(&r->d);
    counts->revisions += (size_t)kv_revision(r->kv);
    close_store(r);
    if (driver_draw(&r->d, 4) == 0 && fault_env_rot(r->env)) {
        driver_trace(&r->d, "a bit turns");
        counts->rotten++;
        if (open_store(r, &err) < 0) {
            counts->refused++;
        } else {
            r->d.kv = r->kv;
            driver_check_rotten(&r->d, &counts->refused);
            close_store(r);
        }
    }
    for (size_t i = 0; i < r->d.trace.len; i++)
        counts->path = (counts->path ^ (uint8_t)r->d.trace.p[i]) * 16777619;
    fault_env_destroy(r->env);
    remove_dir(r->dir);
    driver_finish(&r->d);
    pthread_mutex_destroy(&r->gate_lock);
    pthread_cond_destroy(&r->gate_changed);
    free(r);
    clock_real();
}
