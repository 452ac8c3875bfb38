/* The keeper: the background thread that forgets old history, ends leases and looks whether trouble is over.
 *
 * Compaction needs no scan: the revision log names, for every change, the version it superseded. Walking the log up to
 * the mark and removing those versions (and tombstones, and the log's own entries) leaves just what was newest at the
 * mark. It goes in slices with pauses between them, and stays at or below what any reader has pinned.
 */
#include "base/clock.h"
#include "base/log.h"
#include "storage/kv/kv_internal.h"

#include <stdlib.h>
#include <time.h>

enum { SLICE_ENTRIES = 256, PAUSE_MS = 4, PROBE_FIRST_MS = 125, PROBE_LAST_MS = 2000, REST_MS = 3000 };

void kv_keeper_poke(struct local *kv)
{
    pthread_mutex_lock(&kv->keeper_lock);
    pthread_cond_signal(&kv->keeper_wake);
    pthread_mutex_unlock(&kv->keeper_lock);
}

int local_compact(struct kv *base, int64_t revision, struct err *err)
{
    struct local *kv = local_of(base);

    if (revision > local_revision(&kv->kv))
        return err_set(err, ERR_BAD_REQUEST, "required revision is a future revision");
    pthread_mutex_lock(&kv->keeper_lock);
    if (revision <= local_compacted_revision(&kv->kv)) {
        pthread_mutex_unlock(&kv->keeper_lock);
        return err_set(err, ERR_EXPIRED, "required revision has been compacted");
    }
    kv->compact_to = revision;
    atomic_store(&kv->compacted, revision);
    pthread_cond_signal(&kv->keeper_wake);
    pthread_mutex_unlock(&kv->keeper_lock);
    return 0;
}

void local_compact_wait(struct kv *base)
{
    struct local *kv = local_of(base);

    pthread_mutex_lock(&kv->keeper_lock);
    while (kv->compacting || kv->compact_to)
        pthread_cond_wait(&kv->keeper_idle, &kv->keeper_lock);
    pthread_mutex_unlock(&kv->keeper_lock);
}

int local_scrub(struct kv *base, struct err *err)
{
    struct kv_engine *e = local_of(base)->engine;

    return e->ops->scrub ? e->ops->scrub(e, err) : 1;
}

/* Remember when each revision was the newest and how much had become history by then. */
static void sample(struct local *kv, int64_t now_ms)
{
    int64_t written = atomic_load(&kv->history_written);
    int64_t every_ms = kv->history_ms / (KV_SAMPLES / 2), every_bytes = atomic_load(&kv->history_bytes) / 32;

    if (kv->n_samples && now_ms - kv->samples[kv->n_samples - 1].at_ms < every_ms &&
        written - kv->samples[kv->n_samples - 1].written < every_bytes)
        return;
    if (kv->n_samples == KV_SAMPLES)
        memmove(kv->samples, kv->samples + 1, --kv->n_samples * sizeof kv->samples[0]);
    kv->samples[kv->n_samples].at_ms = now_ms;
    kv->samples[kv->n_samples].written = written;
    kv->samples[kv->n_samples++].revision = local_revision(&kv->kv);
}

/* The newest sampled revision that has become too old, or behind which there is too much (then a quarter goes at once).
 * 0 = none. */
static int64_t outdated(struct local *kv, int64_t now_ms)
{
    int64_t limit = atomic_load(&kv->history_bytes), written = atomic_load(&kv->history_written), old = 0;
    bool too_much = written - kv->compacted_written > limit;
    size_t n = 0;

    while (n < kv->n_samples && (now_ms - kv->samples[n].at_ms >= kv->history_ms ||
                                 (too_much && written - kv->samples[n].written > limit / 4 * 3)))
        n++;
    if (too_much && n < kv->n_samples)
        n++; /* the first that leaves little enough */
    if (n) {
        old = kv->samples[n - 1].revision;
        kv->compacted_written = kv->samples[n - 1].written;
        kv->n_samples -= n;
        memmove(kv->samples, kv->samples + n, kv->n_samples * sizeof kv->samples[0]);
    }
    return old;
}

/* Through the committer, into its next batch: one thread writes, and every batch is synced before the next (wal.h). */
static int hand_in(struct local *kv, const struct kv_write *writes, size_t n, struct err *err)
{
    struct request r = {.kind = REQUEST_WRITES, .writes = writes, .n_writes = n};

    return kv_submit_wait(kv, &r, err);
}

/* Up to SLICE_ENTRIES of the log, from behind *at, up to `bound`. Answers how many there were, or a failure. */
static int compact_slice(struct local *kv, int64_t *at, int64_t bound, struct err *err)
{
    struct kv_engine *e = kv->engine;
    struct arena *a = arena_create(0);
    struct kv_cursor *c = e->ops->cursor_open(e, KV_SPACE_LOG);
    VEC(struct kv_write) writes = {0};
    struct str key, value;
    struct log_entry entry;
    int64_t reached = *at;
    int n = 0, rc = 0;

    e->ops->cursor_seek(c, record_log_key(a, *at, 0));
    while (n < SLICE_ENTRIES && (rc = e->ops->cursor_read(c, &key, &value, err)) == 0) {
        if (!record_parse_log(key, value, &entry)) {
            rc = err_set(err, ERR_CORRUPT, "an entry of the revision log is damaged");
            break;
        }
        if (entry.revision > bound)
            break;
        if (entry.prev_mod_revision)
            vec_push(&writes, (struct kv_write){.space = KV_SPACE_VERSIONS,
                                                .remove = true,
                                                .key = record_version_key(a, entry.key, entry.prev_mod_revision)});
        if (entry.kind == KV_EVENT_DELETE)
            vec_push(&writes, (struct kv_write){.space = KV_SPACE_VERSIONS,
                                                .remove = true,
                                                .key = record_version_key(a, entry.key, entry.revision)});
        vec_push(&writes, (struct kv_write){.space = KV_SPACE_LOG, .remove = true, .key = arena_str(a, key)});
        reached = entry.revision;
        n++;
        e->ops->cursor_next(c);
    }
    e->ops->cursor_close(c);
    if (rc >= 0 && writes.len)
        rc = hand_in(kv, writes.items, writes.len, err);
    if (rc >= 0) /* else once more: a version that stays behind comes to light when the deletion after it has gone */
        *at = reached;
    vec_free(&writes);
    arena_destroy(a);
    return rc < 0 ? rc : n;
}

static void wait_ms(struct local *kv, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&kv->keeper_wake, &kv->keeper_lock, &until);
}

/* Under keeper_lock, which is let go while slices run. */
static void compact(struct local *kv, int64_t mark, int64_t *at)
{
    struct err err;
    int n;

    kv->compacting = true;
    pthread_mutex_unlock(&kv->keeper_lock);
    struct arena *a = arena_create(0);
    struct kv_write note = {
        .space = KV_SPACE_META, .key = record_meta_key(a, 'm', STR("compacted")), .head = record_number(a, mark)};
    n = hand_in(kv, &note, 1, &err);
    arena_destroy(a);
    while (n >= 0) {
        int64_t bound = kv_pinned_revision(kv, mark);

        n = compact_slice(kv, at, bound, &err);
        if (n < 0 || (n == 0 && bound == mark))
            break;
        pthread_mutex_lock(&kv->keeper_lock);
        if (!kv->keeper_stop)
            wait_ms(kv, n ? PAUSE_MS : 20);
        bool stop = kv->keeper_stop;
        pthread_mutex_unlock(&kv->keeper_lock);
        if (stop)
            break;
        kv_leases_expire(kv, clock_mono_ms());
    }
    if (n < 0 && !atomic_load(&kv->in_trouble))
        kv_set_trouble(kv, &err); /* the log cannot be read */
    pthread_mutex_lock(&kv->keeper_lock);
    kv->compacting = false;
}

static int64_t due_revision(struct local *kv, int64_t now_ms)
{
    int64_t old, mark = kv->compact_to;

    kv->compact_to = 0;
    sample(kv, now_ms);
    for (size_t i = 0; i < kv->n_samples && kv->samples[i].revision <= mark; i++)
        kv->compacted_written = kv->samples[i].written;
    old = outdated(kv, now_ms);
    if (old > local_compacted_revision(&kv->kv)) {
        atomic_store(&kv->compacted, old);
        mark = old;
    }
    return mark;
}

/* While in trouble: whether it is over, ever more rarely unless somebody pokes. Answers how long to wait at most. */
static int64_t look_at_trouble(struct local *kv, int64_t *pause_ms)
{
    struct request probe = {.kind = REQUEST_PROBE};
    struct err err;

    if (atomic_load(&kv->in_trouble))
        (void)kv_submit_wait(kv, &probe, &err); /* a failure leaves the trouble as it is */
    if (!atomic_load(&kv->in_trouble))
        *pause_ms = 0;
    else
        *pause_ms = !*pause_ms ? PROBE_FIRST_MS : *pause_ms < PROBE_LAST_MS ? *pause_ms * 2 : PROBE_LAST_MS;
    return *pause_ms ? *pause_ms : 1000;
}

struct rest {
    int64_t revision, since_ms;
    bool settled;
};

/* Once nothing has been written for a while. */
static void look_at_rest(struct local *kv, struct rest *r, int64_t now_ms)
{
    int64_t revision = local_revision(&kv->kv);

    if (revision != r->revision)
        *r = (struct rest){.revision = revision, .since_ms = now_ms};
    if (r->settled || now_ms - r->since_ms < REST_MS || atomic_load(&kv->in_trouble) || !kv->engine->ops->settle)
        return;
    kv->engine->ops->settle(kv->engine);
    r->settled = true;
}

void *kv_keeper_main(void *arg)
{
    struct local *kv = arg;
    int64_t at = 0;       /* a crash may have left entries below the mark: the first walk starts at the beginning */
    int64_t pause_ms = 0; /* between probes */
    struct rest rest = {.settled = true, .revision = local_revision(&kv->kv)};

    pthread_mutex_lock(&kv->keeper_lock);
    while (!kv->keeper_stop) {
        int64_t now_ms = clock_mono_ms(), mark = due_revision(kv, now_ms);

        if (mark)
            compact(kv, mark, &at);
        pthread_cond_broadcast(&kv->keeper_idle);
        if (kv->keeper_stop)
            break;
        pthread_mutex_unlock(&kv->keeper_lock);
        look_at_rest(kv, &rest, now_ms);
        int64_t longest_ms = look_at_trouble(kv, &pause_ms), next_ms = kv_leases_expire(kv, now_ms);
        pthread_mutex_lock(&kv->keeper_lock);
        int64_t left_ms = next_ms - clock_mono_ms();
        if (!kv->keeper_stop && !kv->compact_to && left_ms > 0)
            wait_ms(kv, left_ms < longest_ms ? left_ms : longest_ms);
    }
    kv->compact_to = 0;
    pthread_cond_broadcast(&kv->keeper_idle);
    pthread_mutex_unlock(&kv->keeper_lock);
    return NULL;
}
