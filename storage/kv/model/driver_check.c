#include "storage/kv/model/driver_internal.h"

#include "base/clock.h"
#include "storage/kv/model/model.h"

#include <stdlib.h>
#include <unistd.h>

void driver_init(struct driver *d, uint64_t seed)
{
    struct err err;

    *d = (struct driver){.seed = seed, .random = seed * 2654435761u, .next_lease = 100};
    d->arena = arena_create(0);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->answered, NULL);
    if (kv_open_model(&d->model, &err) < 0)
        abort();
    model_leases_by_hand(d->model);
}

void driver_finish(struct driver *d)
{
    kv_close(d->model);
    arena_destroy(d->arena);
    vec_free(&d->open);
    vec_free(&d->leases);
    vec_free(&d->answers);
    vec_free(&d->events);
    buf_free(&d->trace);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->answered);
}

void driver_begin(struct driver *d, struct kv *kv)
{
    d->kv = kv;
    d->heard = kv_revision(kv);
    if (d->heard != kv_revision(d->model))
        driver_fail(d, "an empty store is at revision %lld", (long long)d->heard);
    kv_set_publish(kv, driver_on_publish, d);
}

/* ---- reading ---- */

int driver_read_newest(struct kv *kv, int64_t revision, struct buf *out, int64_t *ret_at, struct err *err)
{
    return kv_range(kv, driver_first_key, driver_last_key, revision, 0, driver_said_pair, out, ret_at, err);
}

static void compare_range(struct driver *d, struct str key, struct str end, int64_t revision, size_t limit)
{
    struct buf is = {0}, want = {0};
    struct err err, ignored;
    int64_t at = 0, want_at = 0;
    int rc = kv_range(d->kv, key, end, revision, limit, driver_said_pair, &is, &at, &err);
    int want_rc = kv_range(d->model, key, end, revision, limit, driver_said_pair, &want, &want_at, &ignored);

    if (driver_is_trouble(rc)) {
        driver_trace(d, "  range: %s", err_code_name(rc));
    } else if (rc != want_rc || (rc == 0 && (at != want_at || !str_eq(buf_str(&is), buf_str(&want))))) {
        driver_fail(d, "range at %lld (%s) answers at %lld: " STR_FMT "\nshould be (%d) at %lld: " STR_FMT,
                    (long long)revision, rc ? err.message : "fine", (long long)at, STR_ARG(buf_str(&is)), want_rc,
                    (long long)want_at, STR_ARG(buf_str(&want)));
    }
    buf_free(&is);
    buf_free(&want);
}

void driver_check_range(struct driver *d)
{
    struct str key = driver_keys[driver_draw(d, DRIVER_KEYS)], end = driver_keys[driver_draw(d, DRIVER_KEYS)];
    int64_t newest = kv_revision(d->model), compacted = kv_compacted_revision(d->model);
    int64_t revision = driver_draw(d, 2) ? 0 : 1 + driver_draw(d, (uint32_t)newest + 1);

    if (driver_draw(d, 2) && newest > compacted)
        revision = compacted + driver_draw(d, (uint32_t)(newest - compacted));
    if (driver_draw(d, 3) == 0)
        end = STR_NULL;
    else if (driver_draw(d, 2) == 0)
        key = driver_first_key, end = driver_last_key;
    compare_range(d, key, end, revision, driver_draw(d, 4) ? 0 : 1 + driver_draw(d, 4));
}

static void compare_history(struct driver *d, struct str key, struct str end, int64_t after)
{
    struct buf is = {0}, want = {0};
    struct err err, ignored;
    int rc = kv_history(d->kv, key, end, after, driver_said_event, &is, &err);
    int want_rc = kv_history(d->model, key, end, after, driver_said_event, &want, &ignored);

    if (driver_is_trouble(rc))
        driver_trace(d, "  history: %s", err_code_name(rc));
    else if (rc != want_rc || (rc == 0 && !str_eq(buf_str(&is), buf_str(&want))))
        driver_fail(d, "history after %lld (%s):\n" STR_FMT "should be (%d):\n" STR_FMT, (long long)after,
                    rc ? err.message : "fine", STR_ARG(buf_str(&is)), want_rc, STR_ARG(buf_str(&want)));
    buf_free(&is);
    buf_free(&want);
}

void driver_check_history(struct driver *d)
{
    struct str key = driver_keys[driver_draw(d, DRIVER_KEYS)], end = driver_keys[driver_draw(d, DRIVER_KEYS)];
    int64_t newest = kv_revision(d->model), compacted = kv_compacted_revision(d->model);
    int64_t after = driver_draw(d, 4) ? compacted + driver_draw(d, (uint32_t)(newest - compacted) + 1)
                                      : (int64_t)driver_draw(d, (uint32_t)newest + 1);

    if (driver_draw(d, 3) == 0)
        end = STR_NULL;
    else if (driver_draw(d, 2) == 0)
        key = driver_first_key, end = driver_last_key;
    compare_history(d, key, end, after);
}

static void check_leases(struct driver *d)
{
    struct arena *a = arena_create(0);
    const struct kv_lease_state *all;
    struct err err;
    size_t n;
    int64_t now_ms = clock_mono_ms();

    if (kv_leases(d->kv, a, &all, &n, &err) < 0)
        n = SIZE_MAX;
    for (size_t i = 0; i < n && n != SIZE_MAX; i++) {
        const struct driver_lease *l = driver_lease_of(d, all[i].id);

        if (!l)
            driver_fail(d, "lease %llx is nobody's", (unsigned long long)all[i].id);
        int64_t from_s = (l->due_from_ms - now_ms + 999) / 1000, by_s = (l->due_by_ms - now_ms + 999) / 1000;
        if (d->remote)
            continue;
        if (all[i].ttl_s != l->ttl_s || (all[i].left_s < from_s && all[i].left_s > 0) || all[i].left_s > by_s)
            driver_fail(d, "lease %llx has %lld of %lld s, should have %lld to %lld of %lld",
                        (unsigned long long)all[i].id, (long long)all[i].left_s, (long long)all[i].ttl_s,
                        (long long)from_s, (long long)by_s, (long long)l->ttl_s);
    }
    for (size_t i = 0; i < d->leases.len && n != SIZE_MAX; i++) {
        size_t j = 0;

        while (j < n && all[j].id != d->leases.items[i].id)
            j++;
        if (j == n && !d->leases.items[i].maybe_granted)
            driver_fail(d, "lease %llx is gone", (unsigned long long)d->leases.items[i].id);
    }
    arena_destroy(a);
}

void driver_check_all(struct driver *d)
{
    int64_t newest = kv_revision(d->model), compacted = kv_compacted_revision(d->model);

    if (kv_revision(d->kv) != newest)
        driver_fail(d, "the store is at revision %lld, should be at %lld", (long long)kv_revision(d->kv),
                    (long long)newest);
    compare_range(d, driver_first_key, driver_last_key, 0, 0);
    compare_range(d, driver_first_key, driver_last_key, compacted ? compacted : 1, 0);
    compare_range(d, driver_first_key, driver_last_key, compacted + (newest - compacted) / 2 + 1, 0);
    compare_history(d, driver_first_key, driver_last_key, compacted);
    check_leases(d);
}

void driver_check_rotten(struct driver *d, size_t *ret_refused)
{
    for (int64_t at = kv_compacted_revision(d->model); at <= kv_revision(d->model); at++)
        for (int history = 0; history < 2; history++) {
            struct buf is = {0}, want = {0};
            struct err err;
            int rc;

            if (history) {
                rc = kv_history(d->kv, driver_first_key, driver_last_key, at, driver_said_event, &is, &err);
                kv_history(d->model, driver_first_key, driver_last_key, at, driver_said_event, &want, &err);
            } else {
                rc = kv_range(d->kv, driver_first_key, driver_last_key, at, 0, driver_said_pair, &is, NULL, &err);
                kv_range(d->model, driver_first_key, driver_last_key, at, 0, driver_said_pair, &want, NULL, &err);
            }
            if (rc < 0 ? !str_starts(buf_str(&want), buf_str(&is)) : !str_eq(buf_str(&is), buf_str(&want)))
                driver_fail(d, "from a damaged file at %lld (%d): " STR_FMT "\nshould be: " STR_FMT, (long long)at, rc,
                            STR_ARG(buf_str(&is)), STR_ARG(buf_str(&want)));
            *ret_refused += rc < 0;
            buf_free(&is);
            buf_free(&want);
        }
}

void driver_compact(struct driver *d)
{
    int64_t newest = kv_revision(d->model), compacted = kv_compacted_revision(d->model);
    int64_t to = compacted + 1 + driver_draw(d, (uint32_t)(newest - compacted) + 1);
    struct err err, ignored;

    driver_trace(d, "compact to %lld", (long long)to);
    int rc = kv_compact(d->kv, to, &err), want = kv_compact(d->model, to, &ignored);
    if (rc != want)
        driver_fail(d, "compacting %lld answers %d, should be %d", (long long)to, rc, want);
    if (driver_draw(d, 4) || d->repeatable)
        kv_compact_wait(d->kv);
}

/* ---- leases ---- */

static void forget_lease(struct driver *d, int64_t id)
{
    struct driver_lease *l = driver_lease_of(d, id);

    if (l)
        *l = d->leases.items[--d->leases.len];
}

/* A remote store may publish the end of a lease after it has answered. */
static void wait_heard(struct driver *d)
{
    for (int i = 0; d->remote && i < 10000; i++) {
        pthread_mutex_lock(&d->lock);
        bool heard = d->heard >= kv_revision(d->model);
        pthread_mutex_unlock(&d->lock);
        if (heard)
            return;
        usleep(1000);
    }
}

void driver_lease_call(struct driver *d)
{
    uint32_t what = driver_draw(d, 4);
    struct driver_lease *l = d->leases.len ? &d->leases.items[driver_draw(d, (uint32_t)d->leases.len)] : NULL;
    int64_t now_ms = clock_mono_ms(), id = 0;
    struct err err = ERR_INIT;
    int rc;

    if (!l || what < 2) {
        static const int64_t ttls_s[] = {5, 20, 60, 3600}, remote_ttl_s = 3600;
        struct driver_lease new = {.id = d->next_lease++,
                                   .ttl_s = d->remote ? remote_ttl_s : ttls_s[driver_draw(d, 4)],
                                   .was_due_ms = INT64_MAX};

        rc = kv_lease_grant(d->kv, new.id, new.ttl_s, &id, &err);
        new.due_from_ms = new.due_by_ms = new.unkept_due_ms = now_ms + new.ttl_s * 1000;
        new.maybe_granted = rc < 0;
        driver_trace(d, "grant %llx for %lld s: %s", (unsigned long long)new.id, (long long)new.ttl_s,
                     rc ? err_code_name(rc) : "done");
        if (rc == 0)
            model_add_lease(d->model, new.id, new.ttl_s);
        vec_push(&d->leases, new);
    } else if (what == 2) {
        if (l->maybe_granted || l->shared)
            return;
        rc = kv_lease_keep_alive(d->kv, l->id, &err);
        driver_trace(d, "keep %llx alive: %d", (unsigned long long)l->id, rc);
        if (rc > 0)
            driver_fail(d, "lease %llx is not found", (unsigned long long)l->id);
        l->due_by_ms = now_ms + l->ttl_s * 1000;
        if (rc == 0)
            l->due_from_ms = l->due_by_ms;
        l->kept |= rc == 0;
        l->maybe_kept |= rc < 0;
    } else {
        bool gone = l->maybe_granted;

        id = l->id;
        int64_t before = kv_revision(d->model);
        rc = kv_lease_revoke(d->kv, id, &err);
        driver_trace(d, "revoke %llx: %d", (unsigned long long)id, rc);
        if (rc == 1 && !gone)
            driver_fail(d, "lease %llx is not found", (unsigned long long)id);
        if (rc < 0) {
            l->maybe_revoked = true;
        } else if (rc == 0) {
            model_expire(d->model, &id, 1);
            wait_heard(d);
            driver_compare_heard(d, before);
            forget_lease(d, id);
        }
    }
    if (rc < 0 && !driver_is_trouble(rc))
        driver_fail(d, "a call about a lease answers %d: %s", rc, err.message);
}

static bool is_due(const struct driver_lease *l)
{
    return l->due_from_ms <= clock_mono_ms();
}

/* In a crash: revoking it had no answer; or keeping it alive had none, and the store forgot that it was tried. */
static bool may_have_gone(const struct driver_lease *l)
{
    return l->maybe_revoked || (l->maybe_kept && !l->kept && l->unkept_due_ms <= clock_mono_ms());
}

/* Events of one revision that no transaction made: the end of leases, whole. Answers whether they are that. */
static bool explain_by_leases(struct driver *d, const struct driver_event *events, size_t n, bool crashed)
{
    int64_t ids[32], before = kv_revision(d->model);
    size_t n_ids = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t lease = 0;

        if (!events[i].deleted)
            return false;
        /* the lease stands in the words of what was: "… was key=value@1/2/3~lease " */
        for (size_t at = events[i].text.len; at > 0 && !lease; at--)
            if (events[i].text.p[at - 1] == '~')
                lease = (int64_t)strtoull(events[i].text.p + at, NULL, 16);
        const struct driver_lease *l = driver_lease_of(d, lease);
        if (!l || !(is_due(l) || (crashed && may_have_gone(l))))
            return false;
        bool known = false;
        for (size_t k = 0; k < n_ids; k++)
            known |= ids[k] == lease;
        if (!known && n_ids < 32)
            ids[n_ids++] = lease;
    }
    model_expire(d->model, ids, n_ids);
    for (size_t k = 0; k < n_ids; k++)
        forget_lease(d, ids[k]);
    return driver_changes_are(d, before, events, n);
}

void driver_leases_late(struct driver *d)
{
    int64_t then_ms = clock_mono_ms() + 1000;

    for (size_t i = 0; i < d->leases.len; i++)
        if (d->leases.items[i].due_by_ms <= then_ms)
            d->leases.items[i].due_by_ms = then_ms;
}

static size_t of_revision(const struct driver_event *events, size_t n, int64_t revision)
{
    size_t i = 0;

    while (i < n && events[i].revision == revision)
        i++;
    return i;
}

/* Compares the store's leases with ours: forgets those that had reason to go, which had no keys any more. */
static void sort_out_leases(struct driver *d)
{
    struct arena *a = arena_create(0);
    const struct kv_lease_state *all;
    struct err err;
    size_t n;
    int64_t now_ms = clock_mono_ms(), before = kv_revision(d->model);

    if (kv_leases(d->kv, a, &all, &n, &err) < 0) {
        arena_destroy(a);
        return;
    }
    for (size_t i = 0; i < d->leases.len;) {
        struct driver_lease *l = &d->leases.items[i];
        size_t j = 0;

        while (j < n && all[j].id != l->id)
            j++;
        if (j < n && d->remote) {
            i++;
            continue;
        }
        if (j < n) { /* and now it is known for how long */
            int64_t by_ms = now_ms + all[j].left_s * 1000, from_ms = by_ms - 999;

            l->due_by_ms = l->due_by_ms < by_ms ? l->due_by_ms : by_ms;
            l->due_from_ms = l->due_from_ms > from_ms ? l->due_from_ms : from_ms;
            if (l->due_from_ms > l->due_by_ms)
                driver_fail(d, "lease %llx has %lld s left, which it never had", (unsigned long long)l->id,
                            (long long)all[j].left_s);
            if (l->maybe_granted)
                model_add_lease(d->model, l->id, l->ttl_s);
            l->maybe_granted = l->maybe_revoked = false;
            l->was_due_ms = INT64_MAX;
            i++;
            continue;
        }
        if (!l->maybe_granted && !l->maybe_revoked && l->due_from_ms > now_ms && l->was_due_ms > now_ms)
            driver_fail(d, "lease %llx is gone, %lld ms early", (unsigned long long)l->id,
                        (long long)(l->due_from_ms - now_ms));
        int64_t id = l->id;
        forget_lease(d, id);
        model_expire(d->model, &id, 1);
        if (kv_revision(d->model) != before)
            driver_fail(d, "lease %llx is gone, its keys are not", (unsigned long long)id);
    }
    arena_destroy(a);
    check_leases(d);
}

void driver_leases_ended(struct driver *d)
{
    size_t at = 0;

    while (at < d->events.len) {
        size_t n = of_revision(d->events.items + at, d->events.len - at, kv_revision(d->model) + 1);

        if (!n || !explain_by_leases(d, d->events.items + at, n, false))
            driver_fail(d, "published without cause: " STR_FMT, STR_ARG(d->events.items[at].text));
        at += n;
    }
    d->events.len = 0;
    if (!d->open.len)
        arena_reset(d->arena);
    sort_out_leases(d);
}

/* ---- after a crash ---- */

static bool collect(void *arg, const struct kv_event *e)
{
    struct driver *d = arg;
    struct buf text = {0};

    driver_said_event(&text, e);
    text.len--;
    vec_push(&d->events, (struct driver_event){.revision = e->pair.mod_revision,
                                               .lease = e->pair.lease,
                                               .deleted = e->kind == KV_EVENT_DELETE,
                                               .key = arena_str(d->arena, e->pair.key),
                                               .text = arena_str(d->arena, buf_str(&text))});
    buf_free(&text);
    return true;
}

/* Whether the events are what the open transaction does. */
static bool explain_by_txn(struct driver *d, const struct driver_txn *t, const struct driver_event *events, size_t n)
{
    int64_t before = kv_revision(d->model);
    VEC(struct driver_lease) leases = {0};
    struct buf text = {0};

    for (size_t i = 0; i < d->leases.len; i++)
        vec_push(&leases, d->leases.items[i]);
    bool fits;
    struct kv_txn txn = driver_with_leases(d, &t->txn, events, n, &fits);
    if (fits)
        driver_on_model(d, &txn, &text);
    bool same = fits && kv_revision(d->model) == before + 1 && driver_changes_are(d, before, events, n);
    if (!same) {
        model_undo(d->model, before);
        d->leases.len = 0;
        for (size_t i = 0; i < leases.len; i++)
            vec_push(&d->leases, leases.items[i]);
    }
    vec_free(&leases);
    buf_free(&text);
    return same;
}

static void restart_leases(struct driver *d)
{
    int64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < d->leases.len; i++) {
        struct driver_lease *l = &d->leases.items[i];
        int64_t whole_ms = now_ms + l->ttl_s * 1000;

        l->was_due_ms = l->due_from_ms;
        if (!l->kept && !l->maybe_kept)
            continue;
        l->due_by_ms = whole_ms;
        l->due_from_ms = l->kept ? whole_ms : l->unkept_due_ms;
    }
}

void driver_reopened(struct driver *d, struct kv *kv)
{
    struct err err;
    size_t at = 0, next = 0;
    int64_t newest = kv_revision(kv), known = kv_revision(d->model), compacted = kv_compacted_revision(kv);

    d->kv = kv;
    d->events.len = 0;
    driver_trace(d, "reopened at %lld, was at %lld, %zu open, compacted to %lld", (long long)newest, (long long)known,
                 d->open.len, (long long)compacted);
    if (newest < known)
        driver_fail(d, "acknowledged and lost: revisions after %lld", (long long)newest);
    if (compacted > kv_compacted_revision(d->model))
        driver_fail(d, "compacted to %lld, which nobody asked for", (long long)compacted);
    model_set_compacted(d->model, compacted);
    if (kv_history(kv, driver_first_key, driver_last_key, known, collect, d, &err) < 0)
        driver_fail(d, "history after %lld: %s", (long long)known, err.message);
    while (at < d->events.len) {
        size_t n = of_revision(d->events.items + at, d->events.len - at, kv_revision(d->model) + 1), try = next;

        while (n && try < d->open.len && !explain_by_txn(d, d->open.items[try], d->events.items + at, n))
            try++;
        if (n && try < d->open.len)
            next = try + 1;
        else if (!n || !explain_by_leases(d, d->events.items + at, n, true))
            driver_fail(d, "revision %lld comes from nowhere: " STR_FMT, (long long)d->events.items[at].revision,
                        STR_ARG(d->events.items[at].text));
        at += n;
    }
    d->open.len = d->events.len = d->answers.len = 0;
    arena_reset(d->arena);
    d->heard = newest;
    kv_set_publish(kv, driver_on_publish, d);
    restart_leases(d);
    sort_out_leases(d);
    driver_check_all(d);
}

void driver_recovered(struct driver *d)
{
    driver_trace(d, "recovered, %zu failed", d->open.len);
    d->open.len = 0;
    arena_reset(d->arena);
    for (size_t i = 0; i < d->leases.len;)
        if (d->leases.items[i].maybe_granted) {
            forget_lease(d, d->leases.items[i].id);
        } else {
            d->leases.items[i].maybe_revoked = false;
            i++;
        }
    driver_check_all(d);
}
