#include "storage/crypt/reseal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define MARK STR("/skiff/encryption/sealed-with")
#define FIRST STR("/registry/")

enum { SLICE_PAIRS = 2000, SLICE_BYTES = 4 << 20, SLICE_WRITES = 64, PROGRESS_MS = 5000 };

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

static int mark_read(struct kv *kv, struct buf *out, struct err *err)
{
    return kv_range(kv, MARK, STR_NULL, 0, 1, copy_value, out, NULL, err);
}

static int mark_write(struct kv *kv, struct arena *a, struct str value, struct err *err)
{
    struct kv_op put = {.kind = KV_PUT, .key = MARK, .value = value};
    struct kv_txn txn = {.success = &put, .n_success = 1};
    struct kv_txn_result result;
    return kv_txn_wait(kv, a, &txn, &result, err);
}

static int run_slice(struct kv *kv, struct slice_state *s, struct reseal_counts *counts, struct err *err)
{
    struct buf from = s->next;
    s->next = (struct buf){0};
    s->n = s->bytes = s->n_stale = 0;
    s->more = false;
    crypt_seen_reset();
    int rc = kv_range(kv, buf_str(&from), kv_prefix_end(s->arena, FIRST), 0, 0, look, s, NULL, err);
    for (size_t i = 0; rc == 0 && i < s->n_stale; i++) {
        bool written = false;
        rc = rewrite(kv, s->arena, &s->stale[i], &written, err);
        counts->written += written;
    }
    counts->seen += (int64_t)s->n;
    arena_reset(s->arena);
    buf_free(&from);
    return rc;
}

int reseal_run(struct crypt *c, struct kv *kv, atomic_bool *stop, struct reseal_counts *ret, struct err *err)
{
    struct arena *a = arena_create(0);
    struct str wanted = crypt_fingerprint(c, a);
    struct buf mark = {0};
    *ret = (struct reseal_counts){0};
    int rc = mark_read(kv, &mark, err);
    /* a store shared with others that never was to be sealed is neither read nor marked */
    bool current = str_eq(buf_str(&mark), wanted) || (!mark.len && crypt_is_empty(c));
    buf_free(&mark);
    if (rc < 0 || current) {
        arena_destroy(a);
        return rc < 0 ? rc : 1;
    }
    struct slice_state *s = MEM_NEW(struct slice_state);
    s->crypt = c;
    s->arena = arena_create(0);
    s->more = true;
    buf_add_str(&s->next, FIRST);
    int64_t told_ms = clock_mono_ms();
    while (rc == 0 && s->more && !atomic_load(stop)) {
        rc = run_slice(kv, s, ret, err);
        if (rc == 0 && clock_mono_ms() - told_ms > PROGRESS_MS) {
            told_ms = clock_mono_ms();
            log_info("storage", "sealing stored values anew: %lld read, %lld written so far", (long long)ret->seen,
                     (long long)ret->written);
        }
    }
    if (rc == 0 && !s->more)
        rc = mark_write(kv, a, wanted, err);
    buf_free(&s->next);
    arena_destroy(s->arena);
    arena_destroy(a);
    free(s);
    return rc;
}

static void *run(void *arg)
{
    struct reseal *r = arg;
    struct reseal_counts counts;
    struct err err = ERR_INIT;
    int rc = reseal_run(r->crypt, r->kv, &r->stop, &counts, &err);
    if (rc < 0)
        log_warn("storage", "stored values could not be sealed anew (tried again at the next start): %s", err.message);
    else if (rc == 0 && counts.written && !atomic_load(&r->stop))
        log_info("storage", "all stored values are sealed as configured: %lld read, %lld sealed anew",
                 (long long)counts.seen, (long long)counts.written);
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
    pthread_join(r->thread, NULL);
    free(r);
}
