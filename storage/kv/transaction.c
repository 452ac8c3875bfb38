/* One request within a batch: compares against the state so far, and the operations of the branch that they choose. */
#include "storage/kv/batch.h"

#include "base/clock.h"

#include <stdlib.h>

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int holds_of(struct batch *b, const struct kv_compare *c, struct pending *p, bool *ret, struct err *err)
{
    int order = 0, rc;

    switch (c->target) {
    case KV_TARGET_MOD:
        order = compare_numbers(p->state.mod_revision, c->number);
        break;
    case KV_TARGET_CREATE:
        order = compare_numbers(p->state.create_revision, c->number);
        break;
    case KV_TARGET_VERSION:
        order = compare_numbers(p->state.version, c->number);
        break;
    case KV_TARGET_LEASE:
        order = compare_numbers(p->state.lease, c->number);
        break;
    case KV_TARGET_VALUE:
        rc = batch_value(b, p, err);
        if (rc < 0)
            return rc;
        order = str_cmp(p->value, c->value);
        break;
    }
    *ret = c->relation == KV_EQUAL       ? order == 0
           : c->relation == KV_NOT_EQUAL ? order != 0
           : c->relation == KV_GREATER   ? order > 0
                                         : order < 0;
    return 0;
}

static int holds(struct batch *b, const struct kv_compare *c, bool *ret, struct err *err)
{
    struct pending *one, absent = {0}, *none = &absent, **list = &none;
    size_t n = 1;
    int rc;

    if (!c->end.p) {
        rc = batch_find(b, c->key, &one, err);
        list = &one;
    } else {
        rc = batch_range(b, c->key, c->end, &list, &n, err);
        if (rc == 0 && !n && c->target == KV_TARGET_VALUE) {
            *ret = false;
            return 0;
        }
        if (rc == 0 && !n) {
            list = &none;
            n = 1;
        }
    }
    *ret = true;
    for (size_t i = 0; rc == 0 && *ret && i < n; i++)
        rc = holds_of(b, c, list[i], ret, err);
    return rc;
}

static bool covers(const struct kv_op *op, struct str key)
{
    return op->end.p ? str_cmp(key, op->key) >= 0 && str_cmp(key, op->end) < 0 : str_eq(key, op->key);
}

/* What is wrong with the operations themselves; 0 when nothing is. Nothing has been touched yet. */
static int check_ops(struct batch *b, const struct kv_op *ops, size_t n, struct err *err)
{
    struct local *kv = b->kv;

    for (size_t i = 0; i < n; i++) {
        if (ops[i].kind == KV_RANGE && ops[i].revision > local_revision(&kv->kv))
            return err_set(err, ERR_BAD_REQUEST, "required revision is a future revision");
        if (ops[i].kind == KV_RANGE && ops[i].revision && ops[i].revision < local_compacted_revision(&kv->kv))
            return err_set(err, ERR_EXPIRED, "required revision has been compacted");
        if (ops[i].kind != KV_PUT)
            continue;
        if (!ops[i].key.len)
            return err_set(err, ERR_BAD_REQUEST, "key is not provided");
        const struct kv_transform *t = kv->kv.choose ? kv->kv.choose(kv->kv.choose_arg, ops[i].key) : NULL;
        if (t && t->ready && t->ready(t->arg, ops[i].key, err) < 0)
            return err->code;
        if (ops[i].value.len > KV_VALUE_MAX)
            return err_set(err, ERR_TOO_LARGE, "request is too large: %zu bytes, at most %u", ops[i].value.len,
                           KV_VALUE_MAX);
        for (size_t j = 0; j < n; j++)
            if (j != i && ((ops[j].kind == KV_PUT && j < i && str_eq(ops[i].key, ops[j].key)) ||
                           (ops[j].kind == KV_DELETE && covers(&ops[j], ops[i].key))))
                return err_set(err, ERR_BAD_REQUEST, "duplicate key given in txn request");
        struct pending *p;
        if (ops[i].keep_value || ops[i].keep_lease) {
            if (batch_find(b, ops[i].key, &p, err) < 0)
                return err->code;
            if (!p->state.mod_revision)
                return err_set(err, ERR_BAD_REQUEST, "key not found");
        }
    }
    for (size_t i = 0; i < n; i++) { /* what is wrong with the asking comes first */
        if (ops[i].kind != KV_PUT || !ops[i].lease)
            continue;
        pthread_mutex_lock(&kv->lease_lock);
        struct lease *l = kv_lease_find(kv, ops[i].lease);
        bool usable = l && !l->ending;
        pthread_mutex_unlock(&kv->lease_lock);
        if (!usable)
            return err_set(err, ERR_NOT_FOUND, "requested lease not found");
    }
    return 0;
}

static void grant(struct batch *b, int64_t id, int64_t ttl_ms, int64_t due_ms)
{
    struct local *kv = b->kv;

    pthread_mutex_lock(&kv->lease_lock);
    kv_lease_add(kv, id, ttl_ms, due_ms, false);
    pthread_mutex_unlock(&kv->lease_lock);
    vec_push(&b->granted, id);
    batch_write(b, KV_SPACE_META, record_lease_key(b->arena, 'l', id, STR_NULL),
                kv_lease_record(b->arena, ttl_ms, clock_wall_ms() + due_ms - clock_mono_ms(), false), STR_NULL);
}

/* Keys of one TTL put within a twentieth of it (a minute at most) share a lease that outlives the last of them. */
static int64_t shared_lease(struct batch *b, int64_t ttl_s)
{
    struct local *kv = b->kv;
    struct shared_lease *slot = &kv->shared[0];

    if (!b->now_ms)
        b->now_ms = clock_mono_ms();
    for (size_t i = 0; i < KV_SHARED_LEASES; i++) {
        if (kv->shared[i].ttl_s == ttl_s) {
            slot = &kv->shared[i];
            break;
        }
        if (kv->shared[i].until_ms < slot->until_ms)
            slot = &kv->shared[i];
    }
    if (slot->ttl_s != ttl_s || slot->until_ms <= b->now_ms || slot->n_keys >= 1000) {
        int64_t window_ms = ttl_s * 50 < 60000 ? ttl_s * 50 : 60000;

        *slot = (struct shared_lease){.ttl_s = ttl_s, .id = kv_lease_new_id(kv), .until_ms = b->now_ms + window_ms};
        grant(b, slot->id, ttl_s * 1000, slot->until_ms + ttl_s * 1000);
    }
    slot->n_keys++;
    return slot->id;
}

static void begin_revision(struct batch *b, bool *begun)
{
    if (*begun)
        return;
    *begun = true;
    b->revision++;
    b->index = 0;
}

struct older { /* pairs as of a revision, copied */
    struct arena *arena;
    struct kv_pair *items;
    size_t n, cap, limit;
    int64_t count;
};

static bool take_older(void *arg, const struct kv_pair *p)
{
    struct older *o = arg;

    o->count++;
    if (o->limit && o->n == o->limit)
        return true;
    ARENA_PUSH(o->arena, o->items, o->n, o->cap, *p);
    o->items[o->n - 1].key = arena_str(o->arena, p->key);
    o->items[o->n - 1].value = arena_str(o->arena, p->value);
    return true;
}

static int run_older(struct batch *b, const struct kv_op *op, struct kv_op_result *ret, struct err *err)
{
    struct older o = {.arena = b->arena, .limit = (size_t)op->limit};
    int rc = local_range(&b->kv->kv, op->key, op->end, op->revision, 0, take_older, &o, NULL, err);

    *ret = (struct kv_op_result){.pairs = o.items, .n_pairs = o.n, .count = o.count};
    return rc == ERR_EXPIRED ? 0 : rc; /* compacted since it was looked at: nobody can tell any more */
}

static int run_range(struct batch *b, const struct kv_op *op, struct kv_op_result *ret, struct err *err)
{
    struct pending **list;
    size_t n;
    int rc = batch_range(b, op->key, op->end, &list, &n, err);

    if (rc < 0)
        return rc;
    ret->count = (int64_t)n;
    if (op->limit && n > (size_t)op->limit)
        n = (size_t)op->limit;
    struct kv_pair *pairs = ARENA_ARRAY(b->arena, struct kv_pair, n + 1);
    for (size_t i = 0; i < n; i++) {
        rc = batch_value(b, list[i], err);
        if (rc < 0)
            return rc;
        const struct key_state *s = &list[i]->state;
        pairs[i] =
            (struct kv_pair){list[i]->key, list[i]->value, s->create_revision, s->mod_revision, s->version, s->lease};
    }
    ret->pairs = pairs;
    ret->n_pairs = n;
    return 0;
}

static int run_op(struct batch *b, const struct kv_op *op, bool *begun, struct kv_op_result *ret, struct err *err)
{
    struct pending **list;
    size_t n;
    int rc = 0;

    switch (op->kind) {
    case KV_PUT: {
        int64_t lease = op->lease ? op->lease : op->ttl_s > 0 ? shared_lease(b, op->ttl_s) : 0;
        begin_revision(b, begun);
        return batch_put(b, op, lease, err);
    }
    case KV_DELETE:
        rc = batch_range(b, op->key, op->end, &list, &n, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < n; i++) {
            begin_revision(b, begun);
            rc = batch_delete(b, list[i], op->end.p ? NULL : op->cookie, err);
            if (rc < 0)
                return rc;
        }
        ret->count = (int64_t)n;
        return 0;
    case KV_RANGE:
        return op->revision ? run_older(b, op, ret, err) : run_range(b, op, ret, err);
    case KV_NESTED: /* its branch follows */
        ret->count = op->limit;
        return 0;
    }
    return rc;
}

static int decide(struct batch *b, const struct kv_txn *txn, bool *ret, struct err *err)
{
    int rc = 0;

    *ret = true;
    for (size_t i = 0; i < txn->n_compares && *ret && rc >= 0; i++)
        rc = holds(b, &txn->compares[i], ret, err);
    return rc < 0 ? rc : 0;
}

struct path { /* the operations that run, those of nested branches among them */
    struct kv_op *ops;
    size_t n, cap;
};

static int follow(struct batch *b, const struct kv_op *ops, size_t n, struct path *p, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        ARENA_PUSH(b->arena, p->ops, p->n, p->cap, ops[i]);
        if (ops[i].kind != KV_NESTED)
            continue;
        const struct kv_txn *t = ops[i].nested;
        bool succeeded;
        rc = decide(b, t, &succeeded, err);
        p->ops[p->n - 1].limit = succeeded;
        if (rc == 0)
            rc = follow(b, succeeded ? t->success : t->failure, succeeded ? t->n_success : t->n_failure, p, err);
    }
    return rc;
}

/* Negative: the engine failed, with the batch. The transaction's own failure goes to o->err. */
static int run_txn(struct batch *b, const struct kv_txn *txn, struct outcome *o, struct err *err)
{
    bool succeeded, begun = false, nested = false;
    int rc = decide(b, txn, &succeeded, err);

    if (rc < 0)
        return rc;
    const struct kv_op *ops = succeeded ? txn->success : txn->failure;
    size_t n = succeeded ? txn->n_success : txn->n_failure;
    struct path path = {0};
    struct err own;

    for (size_t i = 0; i < n && !nested; i++)
        nested = ops[i].kind == KV_NESTED;
    if (nested) {
        rc = follow(b, ops, n, &path, err);
        if (rc < 0)
            return rc;
        ops = path.ops;
        n = path.n;
    }
    if (check_ops(b, ops, n, &own) < 0) {
        o->err = arena_memdup(b->arena, &own, sizeof own);
        return 0;
    }
    struct kv_op_result *results = ARENA_ARRAY(b->arena, struct kv_op_result, n + 1);
    for (size_t i = 0; i < n; i++) {
        rc = run_op(b, &ops[i], &begun, &results[i], err);
        if (rc < 0)
            return rc;
    }
    o->result = (struct kv_txn_result){
        .succeeded = succeeded, .changed = begun, .revision = b->revision, .ops = results, .n_ops = n};
    return 0;
}

static int run_revoke(struct batch *b, const struct request *r, struct err *err)
{
    struct kv_engine *e = b->kv->engine;
    bool begun = false;
    int rc = batch_settle(b, err);

    for (size_t i = 0; i < r->n_leases && rc >= 0; i++) {
        struct str prefix = record_lease_key(b->arena, 'a', r->leases[i], STR_NULL), at, value;
        struct kv_cursor *c = e->ops->cursor_open(e, KV_SPACE_META);
        VEC(struct pending *) keys = {0};

        e->ops->cursor_seek(c, prefix);
        while ((rc = e->ops->cursor_read(c, &at, &value, err)) == 0 && str_starts(at, prefix)) {
            struct pending *p;
            rc = batch_find(b, str_sub(at, prefix.len, at.len), &p, err);
            if (rc < 0)
                break;
            vec_push(&keys, p);
            e->ops->cursor_next(c);
        }
        e->ops->cursor_close(c);
        /* and what joined within this batch */
        for (size_t k = 0; k < b->all.len; k++)
            if (b->all.items[k]->state.lease == r->leases[i])
                vec_push(&keys, b->all.items[k]);
        for (size_t k = 0; k < keys.len && rc >= 0; k++) {
            if (keys.items[k]->state.lease != r->leases[i])
                continue; /* moved on, or seen twice */
            begin_revision(b, &begun);
            rc = batch_delete(b, keys.items[k], NULL, err);
        }
        vec_free(&keys);
        batch_remove(b, KV_SPACE_META, record_lease_key(b->arena, 'l', r->leases[i], STR_NULL));
        vec_push(&b->ended, r->leases[i]);
        for (size_t k = 0; k < KV_SHARED_LEASES; k++) /* no further put joins it */
            if (b->kv->shared[k].id == r->leases[i])
                b->kv->shared[k] = (struct shared_lease){0};
    }
    return rc < 0 ? rc : 0;
}

int batch_run(struct batch *b, struct outcome *o, struct err *err)
{
    struct request *r = o->request;
    struct local *kv = b->kv;

    switch (r->kind) {
    case REQUEST_TXN:
        return run_txn(b, r->txn, o, err);
    case REQUEST_GRANT:
        grant(b, r->leases[0], r->ttl_s * 1000, clock_mono_ms() + r->ttl_s * 1000);
        return 0;
    case REQUEST_REVOKE:
        return run_revoke(b, r, err);
    case REQUEST_KEPT: {
        pthread_mutex_lock(&kv->lease_lock);
        struct lease *l = kv_lease_find(kv, r->leases[0]);
        int64_t ttl_ms = l ? l->ttl_ms : 0;
        pthread_mutex_unlock(&kv->lease_lock);
        if (ttl_ms)
            batch_write(b, KV_SPACE_META, record_lease_key(b->arena, 'l', r->leases[0], STR_NULL),
                        kv_lease_record(b->arena, ttl_ms, 0, true), STR_NULL);
        return 0;
    }
    case REQUEST_WRITES:
        for (size_t i = 0; i < r->n_writes; i++)
            vec_push(&b->writes, r->writes[i]);
        return 0;
    case REQUEST_PROBE:
        batch_write(b, KV_SPACE_META, record_meta_key(b->arena, 'm', STR("probe")), STR_NULL, STR_NULL);
        return 0;
    }
    return 0;
}
