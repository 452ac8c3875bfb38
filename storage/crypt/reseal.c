#include "storage/crypt/reseal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#include <pthread.h>
#include <stdlib.h>

#define MARK "/skiff/encryption/sealed-with" /* what this server last brought the store to */
#define UNCLEAN "/skiff/encryption/unclean"  /* its files hold what was rewritten, up to that revision */
#define FIRST STR("/registry/")

enum {
    SLICE_PAIRS = 2000,
    SLICE_BYTES = 4 << 20,
    SLICE_WRITES = 64,
    PROGRESS_MS = 5000,
    RETRY_MS = 30 * 1000,
    SCRUB_MS = 10 * 1000, /* how often to look whether history has been compacted far enough */
};

static struct metric *seen_total, *written_total, *running;
static pthread_once_t figures_once = PTHREAD_ONCE_INIT;

static void register_figures(void)
{
    seen_total = metric_register(METRIC_COUNTER, "skiff_encryption_reseal_seen_total",
                                 "Stored values looked at after a change of encryption keys or rules.", NULL, NULL);
    written_total = metric_register(METRIC_COUNTER, "skiff_encryption_reseal_written_total",
                                    "Stored values sealed anew after such a change.", NULL, NULL);
    running = metric_register(METRIC_GAUGE, "skiff_encryption_reseal_running",
                              "Whether stored values are being sealed anew.", NULL, NULL);
}

struct reseal {
    struct crypt *crypt;
    struct kv *kv;
    pthread_t thread;
    atomic_bool stop;
};

struct slice_state {
    struct crypt *crypt;
    struct arena *arena; /* of the pairs to write */
    struct kv_pair stale[SLICE_WRITES];
    size_t n_stale, n, bytes;
    struct buf next; /* where the next slice begins */
    bool more;
};

static bool look(void *arg, const struct kv_pair *p)
{
    struct slice_state *s = arg;
    enum crypt_seen seen = crypt_seen();
    bool wants = crypt_wants(s->crypt, p->key);
    crypt_seen_reset();
    if (wants ? seen != CRYPT_SEEN_CURRENT : seen != CRYPT_SEEN_PLAIN) {
        struct kv_pair copy = *p;
        copy.key = arena_str(s->arena, p->key);
        copy.value = arena_str(s->arena, p->value);
        s->stale[s->n_stale++] = copy;
    }
    s->n++;
    s->bytes += p->value.len;
    s->next.len = 0;
    buf_add_str(&s->next, p->key);
    buf_add_char(&s->next, 0);
    s->more = s->n == SLICE_PAIRS || s->bytes >= SLICE_BYTES || s->n_stale == SLICE_WRITES;
    return !s->more;
}

/* Whoever changed it in between has sealed it as it should be. */
static int rewrite(struct kv *kv, struct arena *a, const struct kv_pair *p, bool *ret_written, struct err *err)
{
    struct kv_compare unchanged = {
        .key = p->key, .target = KV_TARGET_MOD, .relation = KV_EQUAL, .number = p->mod_revision};
    struct kv_op put = {.kind = KV_PUT, .key = p->key, .value = p->value, .lease = p->lease};
    struct kv_txn txn = {.compares = &unchanged, .n_compares = 1, .success = &put, .n_success = 1};
    struct kv_txn_result result;
    int rc = kv_txn_wait(kv, a, &txn, &result, err);
    if (rc == ERR_NOT_FOUND) /* its lease has ended, and it with it */
        return 0;
    *ret_written = rc == 0 && result.succeeded;
    return rc;
}

static bool copy_value(void *arg, const struct kv_pair *p)
{
    buf_add_str(arg, p->value);
    return false;
}

static struct str own_key(const struct crypt *c, struct arena *a, const char *what)
{
    struct str id = crypt_server_id(c, a);
    return arena_printf(a, "%s/" STR_FMT, what, STR_ARG(id));
}

static int mark_read(struct kv *kv, struct str mark, struct buf *out, struct err *err)
{
    return kv_range(kv, mark, STR_NULL, 0, 1, copy_value, out, NULL, err);
}

static int mark_write(struct kv *kv, struct arena *a, struct str mark, struct str value, struct err *err)
{
    struct kv_op put = {.kind = KV_PUT, .key = mark, .value = value};
    struct kv_txn txn = {.success = &put, .n_success = 1};
    struct kv_txn_result result;
    return kv_txn_wait(kv, a, &txn, &result, err);
}

/* ---- files that are to be cleaned ---- */

static int unclean_write(struct crypt *c, struct kv *kv, struct err *err)
{
    struct arena *a = arena_create(0);
    int rc = mark_write(kv, a, own_key(c, a, UNCLEAN), arena_printf(a, "%lld", (long long)kv_revision(kv)), err);
    arena_destroy(a);
    return rc;
}

/* 0: they are clean. */
static int64_t unclean_read(struct crypt *c, struct kv *kv)
{
    struct arena *a = arena_create(0);
    struct buf text = {0};
    struct err err;
    int64_t revision = 0;
    if (mark_read(kv, own_key(c, a, UNCLEAN), &text, &err) < 0 || !str_to_i64(buf_str(&text), &revision))
        revision = 0;
    buf_free(&text);
    arena_destroy(a);
    return revision;
}

static void unclean_remove(struct crypt *c, struct kv *kv)
{
    struct arena *a = arena_create(0);
    struct kv_op op = {.kind = KV_DELETE, .key = own_key(c, a, UNCLEAN)};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    struct err err;
    if (kv_txn_wait(kv, a, &txn, &result, &err) < 0)
        log_warn("storage", "files that are clean will be cleaned again: %s", err.message);
    arena_destroy(a);
}

/* ---- one run ---- */

static int run_slice(struct kv *kv, struct slice_state *s, struct reseal_counts *counts, struct err *err)
{
    struct buf from = s->next;
    s->next = (struct buf){0};
    s->n = s->bytes = s->n_stale = 0;
    s->more = false;
    crypt_seen_reset();
    int rc = kv_range(kv, buf_str(&from), kv_prefix_end(s->arena, FIRST), 0, 0, look, s, NULL, err);
    if (rc == 0 && s->n_stale && !counts->written) /* first, so that a crash forgets nothing */
        rc = unclean_write(s->crypt, kv, err);
    for (size_t i = 0; rc == 0 && i < s->n_stale; i++) {
        bool written = false;
        rc = rewrite(kv, s->arena, &s->stale[i], &written, err);
        counts->written += written;
        metric_add(written_total, NULL, written);
    }
    counts->seen += (int64_t)s->n;
    metric_add(seen_total, NULL, (double)s->n);
    arena_reset(s->arena);
    buf_free(&from);
    return rc;
}

static int run_slices(struct crypt *c, struct kv *kv, atomic_bool *stop, struct reseal_counts *ret, bool *ret_done,
                      struct err *err)
{
    struct slice_state *s = MEM_NEW(struct slice_state);
    int64_t told_ms = clock_mono_ms();
    int rc = 0;
    s->crypt = c;
    s->arena = arena_create(0);
    s->more = true;
    buf_add_str(&s->next, FIRST);
    metric_set(running, NULL, 1);
    while (rc == 0 && s->more && !atomic_load(stop)) {
        rc = run_slice(kv, s, ret, err);
        if (rc == 0 && clock_mono_ms() - told_ms > PROGRESS_MS) {
            told_ms = clock_mono_ms();
            log_info("storage", "sealing stored values anew: %lld read, %lld written so far, at \"" STR_FMT "\"",
                     (long long)ret->seen, (long long)ret->written, (int)(s->next.len ? s->next.len - 1 : 0),
                     s->next.p ? s->next.p : "");
        }
    }
    metric_set(running, NULL, 0);
    *ret_done = rc == 0 && !s->more;
    buf_free(&s->next);
    arena_destroy(s->arena);
    free(s);
    return rc;
}

int reseal_run(struct crypt *c, struct kv *kv, atomic_bool *stop, struct reseal_counts *ret, struct err *err)
{
    struct arena *a = arena_create(0);
    struct str wanted = crypt_fingerprint(c, a), mark = own_key(c, a, MARK);
    struct buf had = {0};
    bool done = false;
    pthread_once(&figures_once, register_figures);
    *ret = (struct reseal_counts){0};
    int rc = mark_read(kv, mark, &had, err);
    /* a store shared with others that never was to be sealed is neither read nor marked */
    bool current = str_eq(buf_str(&had), wanted) || (!had.len && crypt_is_empty(c));
    ret->changed = had.len > 0;
    buf_free(&had);
    if (rc == 0 && current)
        rc = 1;
    if (rc == 0)
        rc = run_slices(c, kv, stop, ret, &done, err);
    /* the keys may have changed meanwhile: then it is the next run's */
    if (done && str_eq(crypt_fingerprint(c, a), wanted))
        rc = mark_write(kv, a, mark, wanted, err);
    arena_destroy(a);
    return rc;
}

/* ---- in the background ---- */

/* A store that was plain when it was written holds that in its files until they are rewritten. */
static void scrub(struct reseal *r)
{
    struct err err;
    int64_t started_ms = clock_mono_ms();
    int rc = kv_scrub(r->kv, &err);
    if (rc >= 0)
        unclean_remove(r->crypt, r->kv);
    if (rc < 0)
        log_warn("storage", "files could not be cleaned of what was sealed anew: %s", err.message);
    else if (rc == 0)
        log_info("storage", "files are clean of what was stored before it was sealed anew (%lld ms)",
                 (long long)(clock_mono_ms() - started_ms));
}

/* What to wait for until the next thing is to be done. */
static void pause_ms(struct reseal *r, uint64_t generation, int64_t ms)
{
    if (!atomic_load(&r->stop))
        crypt_wait_change(r->crypt, generation, ms);
}

static void *run(void *arg)
{
    struct reseal *r = arg;
    int64_t scrub_above = unclean_read(r->crypt, r->kv); /* once history is compacted to here; 0 = nothing to clean */
    while (!atomic_load(&r->stop)) {
        struct reseal_counts counts;
        struct err err = ERR_INIT;
        uint64_t generation = crypt_generation(r->crypt);
        int rc = reseal_run(r->crypt, r->kv, &r->stop, &counts, &err);
        if (rc < 0)
            log_warn("storage", "stored values could not be sealed anew, tried again in %d s: %s", RETRY_MS / 1000,
                     err.message);
        else if (rc == 0 && (counts.written || counts.changed) && !atomic_load(&r->stop))
            log_info("storage", "all stored values are sealed as configured: %lld read, %lld sealed anew",
                     (long long)counts.seen, (long long)counts.written);
        if (counts.written) {
            scrub_above = kv_revision(r->kv);
            if (unclean_write(r->crypt, r->kv, &err) < 0)
                log_warn("storage", "that files are to be cleaned is not noted: %s", err.message);
        }
        while (scrub_above && rc >= 0 && !atomic_load(&r->stop) && crypt_generation(r->crypt) == generation) {
            if (kv_compacted_revision(r->kv) >= scrub_above) {
                scrub(r);
                scrub_above = 0;
                break;
            }
            pause_ms(r, generation, SCRUB_MS);
        }
        pause_ms(r, generation, rc < 0 ? RETRY_MS : INT64_C(24) * 3600 * 1000);
    }
    return NULL;
}

struct reseal *reseal_start(struct crypt *c, struct kv *kv)
{
    struct reseal *r = MEM_NEW(struct reseal);
    r->crypt = c;
    r->kv = kv;
    if (pthread_create(&r->thread, NULL, run, r))
        abort();
    return r;
}

void reseal_stop(struct reseal *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    crypt_wake(r->crypt);
    pthread_join(r->thread, NULL);
    free(r);
}
