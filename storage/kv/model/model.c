#include "storage/kv/model/model.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/vec.h"
#include "storage/kv/kv_ops.h"

#include <stdlib.h>

struct version {
    struct str value; /* owned */
    int64_t create_revision, mod_revision, version, lease;
    bool deleted;
};

struct key {
    struct str name; /* owned */
    VEC(struct version) versions;
};

struct change {
    int64_t revision;
    struct key *key;
    size_t version; /* of the key: what it became */
};

struct lease {
    int64_t id, ttl_s, due_ms;
};

struct model {
    struct kv kv;
    pthread_mutex_t lock;
    VEC(struct key *) keys;
    VEC(struct change) changes;
    VEC(struct lease) leases;
    int64_t revision, compacted;
    bool by_hand;
};

static struct model *model_of(struct kv *kv)
{
    return (struct model *)kv;
}

static struct str own(struct str s)
{
    char *p = mem_alloc(s.len + 1);

    if (s.len)
        memcpy(p, s.p, s.len);
    return (struct str){p, s.len};
}

/* ---- keys ---- */

/* Where the key is or belongs. */
static size_t place_of(const struct model *m, struct str name)
{
    size_t low = 0, high = m->keys.len;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (str_cmp(m->keys.items[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct key *find(const struct model *m, struct str name)
{
    size_t at = place_of(m, name);

    return at < m->keys.len && str_eq(m->keys.items[at]->name, name) ? m->keys.items[at] : NULL;
}

static struct key *find_or_add(struct model *m, struct str name)
{
    struct key *k = find(m, name);

    if (k)
        return k;
    size_t at = place_of(m, name);
    k = MEM_NEW(struct key);
    k->name = own(name);
    vec_push(&m->keys, NULL);
    memmove(m->keys.items + at + 1, m->keys.items + at, (m->keys.len - 1 - at) * sizeof *m->keys.items);
    m->keys.items[at] = k;
    return k;
}

/* As it was at the revision; NULL when it was not there. */
static const struct version *version_at(const struct key *k, int64_t revision)
{
    const struct version *found = NULL;

    for (size_t i = 0; k && i < k->versions.len && k->versions.items[i].mod_revision <= revision; i++)
        found = &k->versions.items[i];
    return found && !found->deleted ? found : NULL;
}

static const struct version *newest(const struct key *k)
{
    const struct version *v = k && k->versions.len ? &k->versions.items[k->versions.len - 1] : NULL;

    return v && !v->deleted ? v : NULL;
}

static struct kv_pair pair_of(const struct key *k, const struct version *v)
{
    return (struct kv_pair){k->name, v->value, v->create_revision, v->mod_revision, v->version, v->lease};
}

static bool in_range(struct str name, struct str key, struct str end)
{
    return end.p ? str_cmp(name, key) >= 0 && str_cmp(name, end) < 0 : str_eq(name, key);
}

/* ---- changes ---- */

static void put(struct model *m, struct str name, struct str value, int64_t lease)
{
    struct key *k = find_or_add(m, name);
    const struct version *old = newest(k);
    struct version v = {
        .value = own(value),
        .create_revision = old ? old->create_revision : m->revision,
        .mod_revision = m->revision,
        .version = old ? old->version + 1 : 1,
        .lease = lease,
    };

    vec_push(&k->versions, v);
    vec_push(&m->changes, (struct change){m->revision, k, k->versions.len - 1});
}

static void delete (struct model *m, struct key *k)
{
    vec_push(&k->versions, (struct version){.value = own(STR("")), .mod_revision = m->revision, .deleted = true});
    vec_push(&m->changes, (struct change){m->revision, k, k->versions.len - 1});
}

/* Calls the hook with everything from changes[from] on. */
static void publish(struct model *m, size_t from)
{
    size_t n = m->changes.len - from;
    struct kv_event *events = mem_alloc((n + 1) * sizeof *events);
    struct kv_pair *prevs = mem_alloc((n + 1) * sizeof *prevs);

    for (size_t i = 0; i < n; i++) {
        const struct change *c = &m->changes.items[from + i];
        const struct version *v = &c->key->versions.items[c->version];

        events[i] = (struct kv_event){.kind = v->deleted ? KV_EVENT_DELETE : KV_EVENT_PUT, .pair = pair_of(c->key, v)};
        if (v->deleted)
            events[i].pair = (struct kv_pair){.key = c->key->name, .mod_revision = c->revision};
        if (c->version && !v[-1].deleted) {
            prevs[i] = pair_of(c->key, v - 1);
            events[i].prev = &prevs[i];
        }
    }
    if (n)
        kv_publish(&m->kv, events, n, m->revision);
    free(events);
    free(prevs);
}

/* ---- leases ---- */

static struct lease *find_lease(struct model *m, int64_t id)
{
    for (size_t i = 0; i < m->leases.len; i++)
        if (m->leases.items[i].id == id)
            return &m->leases.items[i];
    return NULL;
}

static void add_lease(struct model *m, int64_t id, int64_t ttl_s)
{
    if (!find_lease(m, id))
        vec_push(&m->leases, (struct lease){id, ttl_s, clock_mono_ms() + ttl_s * 1000});
}

static void end_leases(struct model *m, const int64_t *ids, size_t n)
{
    size_t from = m->changes.len;
    bool begun = false;

    for (size_t l = 0; l < n; l++) {
        struct lease *lease = find_lease(m, ids[l]);

        for (size_t i = 0; i < m->keys.len; i++) {
            const struct version *v = newest(m->keys.items[i]);

            if (!v || v->lease != ids[l])
                continue;
            m->revision += !begun;
            begun = true;
            delete (m, m->keys.items[i]);
        }
        if (lease)
            *lease = m->leases.items[--m->leases.len];
    }
    publish(m, from);
}

/* What every call begins with. */
static struct model *enter(struct kv *kv)
{
    struct model *m = model_of(kv);

    pthread_mutex_lock(&m->lock);
    if (m->by_hand)
        return m;
    for (size_t i = 0; i < m->leases.len;)
        if (m->leases.items[i].due_ms <= clock_mono_ms())
            end_leases(m, &m->leases.items[i].id, 1);
        else
            i++;
    return m;
}

static void leave(struct model *m)
{
    pthread_mutex_unlock(&m->lock);
}

/* ---- transactions ---- */

static bool holds(const struct model *m, const struct kv_compare *c)
{
    const struct version none = {0}, *v = newest(find(m, c->key));
    int64_t number = 0;
    int order;

    v = v ? v : &none;
    if (c->target == KV_TARGET_MOD)
        number = v->mod_revision;
    else if (c->target == KV_TARGET_CREATE)
        number = v->create_revision;
    else if (c->target == KV_TARGET_VERSION)
        number = v->version;
    else if (c->target == KV_TARGET_LEASE)
        number = v->lease;
    order = c->target == KV_TARGET_VALUE ? str_cmp(v->value, c->value) : (number > c->number) - (number < c->number);
    switch (c->relation) {
    case KV_EQUAL:
        return order == 0;
    case KV_NOT_EQUAL:
        return order != 0;
    case KV_GREATER:
        return order > 0;
    case KV_LESS:
        return order < 0;
    }
    return false;
}

static int check(struct model *m, const struct kv_op *ops, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind != KV_PUT)
            continue;
        if (!ops[i].key.len)
            return err_set(err, ERR_BAD_REQUEST, "key is not provided");
        if (ops[i].value.len > KV_VALUE_MAX)
            return err_set(err, ERR_TOO_LARGE, "request is too large");
        for (size_t j = 0; j < n; j++)
            if ((ops[j].kind == KV_PUT && j != i && str_eq(ops[i].key, ops[j].key)) ||
                (ops[j].kind == KV_DELETE && in_range(ops[i].key, ops[j].key, ops[j].end)))
                return err_set(err, ERR_BAD_REQUEST, "duplicate key given in txn request");
    }
    for (size_t i = 0; i < n; i++)
        if (ops[i].kind == KV_PUT && ops[i].lease && !find_lease(m, ops[i].lease))
            return err_set(err, ERR_NOT_FOUND, "requested lease not found");
    return 0;
}

static void run_op(struct model *m, struct arena *a, const struct kv_op *op, bool *begun, struct kv_op_result *ret)
{
    size_t cap = 0;
    struct kv_pair *pairs = NULL;

    if (op->kind == KV_PUT) {
        int64_t lease = op->lease;

        if (!lease && op->ttl_s > 0) { /* one of its own */
            lease = INT64_MAX - (int64_t)m->changes.len;
            add_lease(m, lease, op->ttl_s);
        }
        m->revision += !*begun;
        *begun = true;
        put(m, op->key, op->value, lease);
        return;
    }
    for (size_t i = 0; i < m->keys.len; i++) {
        struct key *k = m->keys.items[i];
        const struct version *v = newest(k);

        if (!v || !in_range(k->name, op->key, op->end))
            continue;
        ret->count++;
        if (op->kind == KV_DELETE) {
            m->revision += !*begun;
            *begun = true;
            delete (m, k);
        } else if (!op->limit || ret->n_pairs < (size_t)op->limit) {
            ARENA_PUSH(a, pairs, ret->n_pairs, cap, pair_of(k, v));
        }
    }
    ret->pairs = pairs;
}

static void model_txn(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg)
{
    struct model *m = enter(kv);
    struct arena *a = arena_create(0);
    struct kv_txn_result result = {.succeeded = true};
    bool begun = false;
    struct err err;
    size_t from = m->changes.len;

    for (size_t i = 0; i < txn->n_compares; i++)
        result.succeeded &= holds(m, &txn->compares[i]);
    const struct kv_op *ops = result.succeeded ? txn->success : txn->failure;
    result.n_ops = result.succeeded ? txn->n_success : txn->n_failure;
    int rc = check(m, ops, result.n_ops, &err);
    struct kv_op_result *results = ARENA_ARRAY(a, struct kv_op_result, result.n_ops + 1);
    for (size_t i = 0; rc == 0 && i < result.n_ops; i++)
        run_op(m, a, &ops[i], &begun, &results[i]);
    result.ops = results;
    result.revision = m->revision;
    publish(m, from);
    done(arg, &result, rc ? &err : NULL);
    leave(m);
    arena_destroy(a);
}

/* ---- reading ---- */

static int model_range(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn,
                       void *arg, int64_t *ret_revision, struct err *err)
{
    struct model *m = enter(kv);
    int64_t at = revision ? revision : m->revision;
    size_t n = 0;
    int rc = 0;

    if (at > m->revision)
        rc = err_set(err, ERR_TIMEOUT, "Too large resource version");
    else if (at < m->compacted)
        rc = err_set(err, ERR_EXPIRED, "The provided resource version is too old");
    for (size_t i = 0; rc == 0 && i < m->keys.len && (!limit || n < limit); i++) {
        const struct version *v = version_at(m->keys.items[i], at);

        if (!v || !in_range(m->keys.items[i]->name, key, end))
            continue;
        struct kv_pair pair = pair_of(m->keys.items[i], v);
        n++;
        if (!fn(arg, &pair))
            break;
    }
    leave(m);
    if (ret_revision)
        *ret_revision = at;
    return rc;
}

static int model_history(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
                         struct err *err)
{
    struct model *m = enter(kv);
    bool go_on = true;
    int rc = after < m->compacted ? err_set(err, ERR_EXPIRED, "too old resource version") : 0;

    for (size_t i = 0; rc == 0 && go_on && i < m->changes.len; i++) {
        const struct change *c = &m->changes.items[i];
        const struct version *v = &c->key->versions.items[c->version];
        struct kv_event e = {.kind = v->deleted ? KV_EVENT_DELETE : KV_EVENT_PUT, .pair = pair_of(c->key, v)};
        struct kv_pair prev;

        if (c->revision <= after || !in_range(c->key->name, key, end))
            continue;
        if (v->deleted)
            e.pair = (struct kv_pair){.key = c->key->name, .mod_revision = c->revision};
        if (c->version && !v[-1].deleted) {
            prev = pair_of(c->key, v - 1);
            e.prev = &prev;
        }
        go_on = fn(arg, &e);
    }
    leave(m);
    return rc;
}

static int64_t model_revision(struct kv *kv)
{
    struct model *m = enter(kv);
    int64_t revision = m->revision;

    leave(m);
    return revision;
}

static int64_t model_compacted(struct kv *kv)
{
    struct model *m = enter(kv);
    int64_t compacted = m->compacted;

    leave(m);
    return compacted;
}

static void model_newest(struct kv *kv, kv_newest_done *done, void *arg)
{
    done(arg, model_revision(kv), NULL);
}

static int model_compact(struct kv *kv, int64_t revision, struct err *err)
{
    struct model *m = enter(kv);
    int rc = 0;

    if (revision > m->revision)
        rc = err_set(err, ERR_BAD_REQUEST, "required revision is a future revision");
    else if (revision <= m->compacted)
        rc = err_set(err, ERR_EXPIRED, "required revision has been compacted");
    else
        m->compacted = revision;
    leave(m);
    return rc;
}

static void model_compact_wait(struct kv *kv)
{
    (void)kv;
}

/* ---- calls about leases ---- */

static int model_lease_grant(struct kv *kv, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err)
{
    struct model *m = enter(kv);
    int rc = 0;

    if (!id)
        for (id = 1; find_lease(m, id);)
            id++;
    if (ttl_s <= 0 || ttl_s > 9000000000)
        rc = err_set(err, ERR_BAD_REQUEST, "too large lease TTL");
    else if (find_lease(m, id))
        rc = err_set(err, ERR_ALREADY_EXISTS, "lease already exists");
    else
        add_lease(m, *ret_id = id, ttl_s);
    leave(m);
    return rc;
}

static int model_lease_keep_alive(struct kv *kv, int64_t id, struct err *err)
{
    struct model *m = enter(kv);
    struct lease *l = find_lease(m, id);

    (void)err;
    if (l)
        l->due_ms = clock_mono_ms() + l->ttl_s * 1000;
    leave(m);
    return !l;
}

static int model_lease_revoke(struct kv *kv, int64_t id, struct err *err)
{
    struct model *m = enter(kv);
    bool found = find_lease(m, id);

    (void)err;
    if (found)
        end_leases(m, &id, 1);
    leave(m);
    return !found;
}

static int model_lease_list(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n,
                            struct err *err)
{
    struct model *m = enter(kv);
    struct kv_lease_state *all = ARENA_ARRAY(a, struct kv_lease_state, m->leases.len + 1);

    (void)err;
    for (size_t i = 0; i < m->leases.len; i++) {
        const struct lease *l = &m->leases.items[i];
        int64_t left_ms = l->due_ms - clock_mono_ms();

        all[i] = (struct kv_lease_state){l->id, l->ttl_s, left_ms > 0 ? (left_ms + 999) / 1000 : 0};
    }
    *ret = all;
    *ret_n = m->leases.len;
    leave(m);
    return 0;
}

static const char *model_trouble(struct kv *kv)
{
    (void)kv;
    return NULL;
}

/* ---- the whole ---- */

static void model_close(struct kv *kv)
{
    struct model *m = model_of(kv);

    for (size_t i = 0; i < m->keys.len; i++) {
        struct key *k = m->keys.items[i];

        for (size_t j = 0; j < k->versions.len; j++)
            free((char *)(uintptr_t)k->versions.items[j].value.p);
        vec_free(&k->versions);
        free((char *)(uintptr_t)k->name.p);
        free(k);
    }
    vec_free(&m->keys);
    vec_free(&m->changes);
    vec_free(&m->leases);
    pthread_mutex_destroy(&m->lock);
    kv_finish(kv);
    free(m);
}

int kv_open_model(struct kv **ret, struct err *err)
{
    static const struct kv_ops ops = {
        .txn_max = SIZE_MAX,
        .txn = model_txn,
        .range = model_range,
        .history = model_history,
        .revision = model_revision,
        .compacted_revision = model_compacted,
        .newest = model_newest,
        .compact = model_compact,
        .compact_wait = model_compact_wait,
        .lease_grant = model_lease_grant,
        .lease_keep_alive = model_lease_keep_alive,
        .lease_revoke = model_lease_revoke,
        .leases = model_lease_list,
        .trouble = model_trouble,
        .close = model_close,
    };
    struct model *m = MEM_NEW(struct model);
    pthread_mutexattr_t again;

    (void)err;
    kv_init(&m->kv, &ops);
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE); /* `done` may call */
    pthread_mutex_init(&m->lock, &again);
    pthread_mutexattr_destroy(&again);
    m->revision = 1;
    *ret = &m->kv;
    return 0;
}

void model_leases_by_hand(struct kv *kv)
{
    model_of(kv)->by_hand = true;
}

void model_expire(struct kv *kv, const int64_t *leases, size_t n)
{
    struct model *m = enter(kv);

    end_leases(m, leases, n);
    leave(m);
}

void model_add_lease(struct kv *kv, int64_t id, int64_t ttl_s)
{
    struct model *m = enter(kv);

    add_lease(m, id, ttl_s);
    leave(m);
}

void model_undo(struct kv *kv, int64_t revision)
{
    struct model *m = enter(kv);

    while (m->changes.len && m->changes.items[m->changes.len - 1].revision > revision) {
        struct key *k = m->changes.items[--m->changes.len].key;

        free((char *)(uintptr_t)k->versions.items[--k->versions.len].value.p);
    }
    m->revision = revision;
    leave(m);
}

void model_set_compacted(struct kv *kv, int64_t revision)
{
    struct model *m = enter(kv);

    m->compacted = revision;
    leave(m);
}
