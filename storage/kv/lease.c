/* Leases: a table by id and a heap by due time. The record on disk says when a lease ends by the wall clock; one that
 * was ever kept alive gets its whole time again after a restart, since keeping alive writes nothing. */
#include "base/clock.h"
#include "base/mem.h"
#include "storage/kv/kv_internal.h"

#include <stdlib.h>

static struct str id_key(const int64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

/* ---- heap ---- */

static void heap_place(struct local *kv, size_t at, struct lease *l)
{
    kv->lease_heap.items[at] = l;
    l->heap_at = at + 1;
}

static void heap_up(struct local *kv, size_t at)
{
    struct lease *l = kv->lease_heap.items[at];

    while (at > 0 && kv->lease_heap.items[(at - 1) / 2]->due_ms > l->due_ms) {
        heap_place(kv, at, kv->lease_heap.items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_place(kv, at, l);
}

static void heap_down(struct local *kv, size_t at)
{
    struct lease *l = kv->lease_heap.items[at];

    for (;;) {
        size_t child = at * 2 + 1;

        if (child >= kv->lease_heap.len)
            break;
        if (child + 1 < kv->lease_heap.len &&
            kv->lease_heap.items[child + 1]->due_ms < kv->lease_heap.items[child]->due_ms)
            child++;
        if (kv->lease_heap.items[child]->due_ms >= l->due_ms)
            break;
        heap_place(kv, at, kv->lease_heap.items[child]);
        at = child;
    }
    heap_place(kv, at, l);
}

static void heap_add(struct local *kv, struct lease *l)
{
    vec_push(&kv->lease_heap, l);
    heap_place(kv, kv->lease_heap.len - 1, l);
    heap_up(kv, kv->lease_heap.len - 1);
}

static void heap_remove(struct local *kv, struct lease *l)
{
    if (!l->heap_at)
        return;
    size_t at = l->heap_at - 1;
    struct lease *last = kv->lease_heap.items[--kv->lease_heap.len];

    l->heap_at = 0;
    if (last == l)
        return;
    heap_place(kv, at, last);
    heap_up(kv, at);
    heap_down(kv, last->heap_at - 1);
}

/* ---- table ---- */

struct lease *kv_lease_find(struct local *kv, int64_t id)
{
    return map_get(&kv->leases, id_key(&id));
}

struct lease *kv_lease_add(struct local *kv, int64_t id, int64_t ttl_ms, int64_t due_ms, bool kept)
{
    struct lease *l = MEM_NEW(struct lease);

    *l = (struct lease){.id = id, .ttl_ms = ttl_ms, .due_ms = due_ms, .kept = kept};
    map_put(&kv->leases, id_key(&id), l);
    heap_add(kv, l);
    return l;
}

void kv_lease_drop(struct local *kv, int64_t id)
{
    struct lease *l = map_remove(&kv->leases, id_key(&id));

    if (!l)
        return;
    heap_remove(kv, l);
    free(l);
}

void kv_leases_finish(struct local *kv)
{
    for (struct map_iter it = {0}, *once = &it; once; once = NULL) {
        struct str key;
        void *lease;

        map_iter_init(&it, &kv->leases);
        while (map_iter_next(&it, &key, &lease))
            free(lease);
    }
    map_finish(&kv->leases);
    vec_free(&kv->lease_heap);
}

struct str kv_lease_record(struct arena *a, int64_t ttl_ms, int64_t expiry_wall_ms, bool kept)
{
    char *p = arena_alloc(a, 17);

    record_put64(p, ttl_ms);
    record_put64(p + 8, expiry_wall_ms);
    p[16] = kept;
    return (struct str){p, 17};
}

int kv_leases_load(struct local *kv, struct err *err)
{
    const struct kv_engine_ops *ops = kv->engine->ops;
    struct kv_cursor *c = ops->cursor_open(kv->engine, KV_SPACE_META);
    int64_t now_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    struct str key, value;
    int rc;

    pthread_mutex_lock(&kv->lease_lock);
    ops->cursor_seek(c, STR("l"));
    while ((rc = ops->cursor_read(c, &key, &value, err)) == 0 && key.p[0] == 'l') {
        if (key.len != 9 || value.len != 17) {
            rc = err_set(err, ERR_CORRUPT, "the record of a lease is damaged");
            break;
        }
        int64_t ttl_ms = record_get64(value.p), left_ms = record_get64(value.p + 8) - wall_ms;
        bool kept = value.p[16];

        kv_lease_add(kv, record_get64(key.p + 1), ttl_ms, now_ms + (kept ? ttl_ms : left_ms), kept);
        ops->cursor_next(c);
    }
    pthread_mutex_unlock(&kv->lease_lock);
    ops->cursor_close(c);
    return rc < 0 ? rc : 0;
}

int64_t kv_lease_new_id(struct local *kv)
{
    bool taken = true;
    int64_t id = 0;

    while (taken) {
        kv->lease_seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
        uint64_t z = kv->lease_seed;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        id = (int64_t)(z >> 1 | 1);
        pthread_mutex_lock(&kv->lease_lock); /* a clock that was set back begins the same row once more */
        taken = kv_lease_find(kv, id) != NULL;
        pthread_mutex_unlock(&kv->lease_lock);
    }
    return id;
}

/* ---- calls ---- */

int local_lease_grant(struct kv *base, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err)
{
    struct local *kv = local_of(base);

    if (ttl_s <= 0 || ttl_s > 9000000000)
        return err_set(err, ERR_BAD_REQUEST, "too large lease TTL");
    pthread_mutex_lock(&kv->lease_lock);
    if (!id) {
        struct str seed = {(const char *)&kv->lease_seed, sizeof kv->lease_seed};
        int64_t salt = clock_wall_us();

        do {
            salt++;
            id = (int64_t)((str_hash(seed) ^ str_hash(id_key(&salt))) >> 1 | 1);
        } while (kv_lease_find(kv, id));
    }
    bool taken = kv_lease_find(kv, id) != NULL;
    pthread_mutex_unlock(&kv->lease_lock);
    if (taken)
        return err_set(err, ERR_ALREADY_EXISTS, "lease already exists");
    struct request r = {.kind = REQUEST_GRANT, .leases = &id, .n_leases = 1, .ttl_s = ttl_s};
    int rc = kv_submit_wait(kv, &r, err);
    if (rc == 0)
        *ret_id = id;
    return rc;
}

int local_lease_keep_alive(struct kv *base, int64_t id, struct err *err)
{
    struct local *kv = local_of(base);
    bool first = false;

    pthread_mutex_lock(&kv->lease_lock);
    struct lease *l = kv_lease_find(kv, id);
    if (!l || l->ending) {
        pthread_mutex_unlock(&kv->lease_lock);
        return 1;
    }
    first = !l->kept;
    l->kept = true;
    heap_remove(kv, l);
    l->due_ms = clock_mono_ms() + l->ttl_ms;
    heap_add(kv, l);
    pthread_mutex_unlock(&kv->lease_lock);
    if (!first)
        return 0;
    struct request r = {.kind = REQUEST_KEPT, .leases = &id, .n_leases = 1};
    int rc = kv_submit_wait(kv, &r, err);
    if (rc < 0) { /* the next one writes it */
        pthread_mutex_lock(&kv->lease_lock);
        l = kv_lease_find(kv, id);
        if (l)
            l->kept = false;
        pthread_mutex_unlock(&kv->lease_lock);
    }
    return rc;
}

int local_lease_revoke(struct kv *base, int64_t id, struct err *err)
{
    struct local *kv = local_of(base);

    pthread_mutex_lock(&kv->lease_lock);
    struct lease *l = kv_lease_find(kv, id);
    bool found = l && !l->ending;
    if (found) {
        l->ending = true;
        heap_remove(kv, l);
    }
    pthread_mutex_unlock(&kv->lease_lock);
    if (!found)
        return 1;
    struct request r = {.kind = REQUEST_REVOKE, .leases = &id, .n_leases = 1};
    int rc = kv_submit_wait(kv, &r, err);
    if (rc < 0) {
        pthread_mutex_lock(&kv->lease_lock);
        l = kv_lease_find(kv, id);
        if (l) {
            l->ending = false;
            heap_add(kv, l);
        }
        pthread_mutex_unlock(&kv->lease_lock);
    }
    return rc;
}

int local_leases(struct kv *base, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n, struct err *err)
{
    struct local *kv = local_of(base);
    int64_t now_ms = clock_mono_ms();

    (void)err;
    pthread_mutex_lock(&kv->lease_lock);
    size_t n = kv->lease_heap.len; /* those that are ending stand there no more */
    struct kv_lease_state *all = ARENA_ARRAY(a, struct kv_lease_state, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct lease *l = kv->lease_heap.items[i];
        int64_t left_ms = l->due_ms > now_ms ? l->due_ms - now_ms : 0;

        all[i] = (struct kv_lease_state){l->id, l->ttl_ms / 1000, (left_ms + 999) / 1000};
    }
    pthread_mutex_unlock(&kv->lease_lock);
    *ret = all;
    *ret_n = n;
    return 0;
}

int64_t kv_leases_expire(struct local *kv, int64_t now_ms)
{
    enum { AT_ONCE = 32 };
    int64_t ids[AT_ONCE], next_ms;
    struct err err;
    size_t n;

    do {
        n = 0;
        pthread_mutex_lock(&kv->lease_lock);
        while (n < AT_ONCE && kv->lease_heap.len && kv->lease_heap.items[0]->due_ms <= now_ms) {
            struct lease *l = kv->lease_heap.items[0];

            heap_remove(kv, l);
            l->ending = true;
            ids[n++] = l->id;
        }
        next_ms = kv->lease_heap.len ? kv->lease_heap.items[0]->due_ms : INT64_MAX;
        pthread_mutex_unlock(&kv->lease_lock);
        if (!n)
            break;
        struct request r = {.kind = REQUEST_REVOKE, .leases = ids, .n_leases = n};
        if (kv_submit_wait(kv, &r, &err) == 0)
            continue;
        pthread_mutex_lock(&kv->lease_lock);
        for (size_t i = 0; i < n; i++) {
            struct lease *l = kv_lease_find(kv, ids[i]);
            if (!l)
                continue;
            l->ending = false;
            l->due_ms = now_ms + 1000;
            heap_add(kv, l);
        }
        pthread_mutex_unlock(&kv->lease_lock);
        return now_ms + 1000;
    } while (n == AT_ONCE);
    return next_ms;
}
