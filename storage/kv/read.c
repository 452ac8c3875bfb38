/* Reading at a revision, on any thread. A reader pins its revision first and then looks whether it is still there;
 * compaction moves its mark first and then looks at the pins: so what a reader needs is never taken from under it. */
#include "base/mem.h"
#include "storage/kv/kv_internal.h"

#include <stdlib.h>

void kv_pin(struct local *kv, struct pin *p, int64_t revision)
{
    p->revision = revision;
    p->held = false;
    pthread_mutex_lock(&kv->pins_lock);
    p->prev = kv->pins.prev;
    p->next = &kv->pins;
    p->prev->next = p->next->prev = p;
    pthread_mutex_unlock(&kv->pins_lock);
}

void kv_unpin(struct local *kv, struct pin *p)
{
    pthread_mutex_lock(&kv->pins_lock);
    p->prev->next = p->next;
    p->next->prev = p->prev;
    pthread_mutex_unlock(&kv->pins_lock);
}

int64_t kv_pinned_revision(struct local *kv, int64_t at_most)
{
    pthread_mutex_lock(&kv->pins_lock);
    for (struct pin *p = kv->pins.next; p != &kv->pins; p = p->next)
        if (p->revision < at_most)
            at_most = p->revision;
    pthread_mutex_unlock(&kv->pins_lock);
    return at_most;
}

struct kv_hold {
    struct pin pin;
};

static bool gone(struct local *kv, int64_t revision)
{
    bool held = false;

    if (revision >= local_compacted_revision(&kv->kv))
        return false;
    pthread_mutex_lock(&kv->pins_lock);
    for (struct pin *p = kv->pins.next; p != &kv->pins && !held; p = p->next)
        held = p->held && p->revision <= revision;
    pthread_mutex_unlock(&kv->pins_lock);
    return !held;
}

int local_hold(struct kv *base, int64_t revision, struct kv_hold **ret, struct err *err)
{
    struct local *kv = local_of(base);
    struct kv_hold *h = MEM_NEW(struct kv_hold);

    kv_pin(kv, &h->pin, revision);
    if (gone(kv, revision)) {
        local_hold_end(base, h);
        return err_set(err, ERR_EXPIRED, "required revision has been compacted");
    }
    pthread_mutex_lock(&kv->pins_lock);
    h->pin.held = true;
    pthread_mutex_unlock(&kv->pins_lock);
    *ret = h;
    return 0;
}

void local_hold_end(struct kv *base, struct kv_hold *h)
{
    kv_unpin(local_of(base), &h->pin);
    free(h);
}

int64_t local_revision(struct kv *base)
{
    struct local *kv = local_of(base);

    return atomic_load_explicit(&kv->revision, memory_order_acquire);
}

int64_t local_compacted_revision(struct kv *base)
{
    struct local *kv = local_of(base);

    return atomic_load(&kv->compacted);
}

/* ---- values ---- */

static int damaged(struct str key, int64_t revision, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the record of key \"" STR_FMT "\" at revision %lld is damaged", STR_ARG(key),
                   (long long)revision);
}

int kv_read_version(struct local *kv, struct arena *a, struct str key, int64_t revision, struct version_head *ret_head,
                    struct buf *out, struct err *err)
{
    struct kv_engine *e = kv->engine;
    struct buf raw = {0};
    struct str payload;
    int rc = e->ops->get(e, KV_SPACE_VERSIONS, record_version_key(a, key, revision), &raw, err);

    if (rc == 0) {
        if (!record_parse_version(buf_str(&raw), ret_head, &payload))
            rc = damaged(key, revision, err);
        else
            rc = kv_open_value(&kv->kv, key, ret_head->transform, payload, out, err);
    }
    buf_free(&raw);
    return rc;
}

/* ---- ranges ---- */

struct range_reader {
    struct local *kv;
    struct kv_cursor *cursor;
    int64_t revision;
    size_t limit, n;
    kv_range_fn *fn;
    void *arg;
    struct buf seek, unescaped, key, value;
};

/* Hands on the entry the cursor stands at. 1 = stop. */
static int emit(struct range_reader *r, struct str key, int64_t mod_revision, struct str record, struct err *err)
{
    struct version_head head;
    struct kv_pair pair;
    struct str payload;

    if (!record_parse_version(record, &head, &payload))
        return damaged(key, mod_revision, err);
    if (head.flags & RECORD_TOMBSTONE)
        return 0;
    if (head.transform) {
        r->value.len = 0;
        int rc = kv_open_value(&r->kv->kv, key, head.transform, payload, &r->value, err);
        if (rc < 0)
            return rc;
        payload = buf_str(&r->value);
    }
    pair = (struct kv_pair){key, payload, head.create_revision, mod_revision, head.version, head.lease};
    r->n++;
    return !r->fn(r->arg, &pair) || (r->limit && r->n == r->limit);
}

static int read_range(struct range_reader *r, struct str key, struct str end, struct err *err)
{
    const struct kv_engine_ops *ops = r->kv->engine->ops;
    struct str entry, record, at;
    int64_t mod_revision;
    int rc;

    record_version_start(&r->seek, key, r->revision);
    ops->cursor_seek(r->cursor, buf_str(&r->seek));
    while ((rc = ops->cursor_read(r->cursor, &entry, &record, err)) == 0) {
        if (!record_parse_version_key(entry, &r->unescaped, &at, &mod_revision))
            return err_set(err, ERR_CORRUPT, "an entry of %zu bytes in the store is no version of a key", entry.len);
        if (end.p ? str_cmp(at, end) >= 0 : !str_eq(at, key))
            return 0;
        if (mod_revision > r->revision) {
            record_version_start(&r->seek, at, r->revision);
            ops->cursor_seek(r->cursor, buf_str(&r->seek));
            continue;
        }
        rc = emit(r, at, mod_revision, record, err);
        if (rc)
            return rc < 0 ? rc : 0;
        /* past the older versions: usually there are none, or few */
        r->key.len = 0;
        buf_add_str(&r->key, at);
        bool same = true;
        for (int tries = 0; same && tries < 3; tries++) {
            ops->cursor_next(r->cursor);
            rc = ops->cursor_read(r->cursor, &entry, &record, err);
            if (rc)
                return rc < 0 ? rc : 0;
            same = record_parse_version_key(entry, &r->unescaped, &at, &mod_revision) && str_eq(at, buf_str(&r->key));
        }
        if (same) {
            record_version_end(&r->seek, buf_str(&r->key));
            ops->cursor_seek(r->cursor, buf_str(&r->seek));
        }
    }
    return rc < 0 ? rc : 0;
}

int local_range(struct kv *base, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
                void *arg, int64_t *ret_revision, struct err *err)
{
    struct local *kv = local_of(base);
    struct range_reader r = {.kv = kv, .limit = limit, .fn = fn, .arg = arg};
    struct pin pin;
    int64_t newest = local_revision(&kv->kv);
    int rc;

    r.revision = revision ? revision : newest;
    if (r.revision > newest)
        return err_set(err, ERR_TIMEOUT, "Too large resource version: %lld, current: %lld", (long long)revision,
                       (long long)newest);
    kv_pin(kv, &pin, r.revision);
    if (gone(kv, r.revision)) {
        kv_unpin(kv, &pin);
        return err_set(err, ERR_EXPIRED, "The provided resource version %lld is too old: history begins at %lld",
                       (long long)r.revision, (long long)local_compacted_revision(&kv->kv));
    }
    r.cursor = kv->engine->ops->cursor_open(kv->engine, KV_SPACE_VERSIONS);
    rc = read_range(&r, key, end, err);
    kv->engine->ops->cursor_close(r.cursor);
    kv_unpin(kv, &pin);
    buf_free(&r.seek);
    buf_free(&r.unescaped);
    buf_free(&r.key);
    buf_free(&r.value);
    if (ret_revision)
        *ret_revision = r.revision;
    return rc;
}

/* ---- history ---- */

/* The pair as it stood at `revision`; its value is in `out`. */
static int pair_at(struct local *kv, struct arena *a, struct str key, int64_t revision, struct buf *out,
                   struct kv_pair *ret, struct err *err)
{
    struct version_head head;

    out->len = 0;
    int rc = kv_read_version(kv, a, key, revision, &head, out, err);
    if (rc > 0)
        rc = damaged(key, revision, err);
    if (rc < 0)
        return rc;
    *ret = (struct kv_pair){key, buf_str(out), head.create_revision, revision, head.version, head.lease};
    return 0;
}

static int replay(struct local *kv, struct arena *a, const struct log_entry *e, struct buf bufs[2], kv_event_fn *fn,
                  void *arg, struct err *err)
{
    struct kv_event event = {.kind = e->kind, .pair = {.key = e->key, .mod_revision = e->revision}};
    struct kv_pair prev;
    int rc;

    if (e->kind == KV_EVENT_PUT && (rc = pair_at(kv, a, e->key, e->revision, &bufs[0], &event.pair, err)) < 0)
        return rc;
    if (e->prev_mod_revision) {
        if ((rc = pair_at(kv, a, e->key, e->prev_mod_revision, &bufs[1], &prev, err)) < 0)
            return rc;
        event.prev = &prev;
    }
    return !fn(arg, &event);
}

int local_history(struct kv *base, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                  struct err *err)
{
    struct local *kv = local_of(base);

    const struct kv_engine_ops *ops = kv->engine->ops;
    int64_t newest = local_revision(&kv->kv);
    struct buf bufs[2] = {0};
    struct str log_key, log_value;
    struct log_entry entry;
    struct pin pin;
    int rc = 0;

    kv_pin(kv, &pin, after);
    if (gone(kv, after)) {
        kv_unpin(kv, &pin);
        return err_set(err, ERR_EXPIRED, "too old resource version: %lld (%lld)", (long long)after,
                       (long long)local_compacted_revision(&kv->kv));
    }
    struct arena *a = arena_create(0);
    struct kv_cursor *c = ops->cursor_open(kv->engine, KV_SPACE_LOG);
    ops->cursor_seek(c, record_log_key(a, after + 1, 0));
    while (rc == 0 && (rc = ops->cursor_read(c, &log_key, &log_value, err)) == 0) {
        if (!record_parse_log(log_key, log_value, &entry)) {
            rc = err_set(err, ERR_CORRUPT, "an entry of the revision log is damaged");
            break;
        }
        if (entry.revision > newest)
            break;
        if (end.p ? str_cmp(entry.key, key) >= 0 && str_cmp(entry.key, end) < 0 : str_eq(entry.key, key))
            rc = replay(kv, a, &entry, bufs, fn, arg, err);
        arena_reset(a);
        if (rc == 0)
            ops->cursor_next(c);
    }
    ops->cursor_close(c);
    arena_destroy(a);
    kv_unpin(kv, &pin);
    buf_free(&bufs[0]);
    buf_free(&bufs[1]);
    return rc < 0 ? rc : 0;
}
