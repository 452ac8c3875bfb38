/* What etcd refuses before it looks at any key, in its words. */
#include "base/map.h"
#include "base/vec.h"
#include "storage/serve_etcd/serve_internal.h"

#include <stdlib.h>

static const char no_key[] = "etcdserver: key is not provided";
static const char duplicate[] = "etcdserver: duplicate key given in txn request";
static const char too_many[] = "etcdserver: too many operations in txn request";

const char *serve_check_range(const Etcdserverpb__RangeRequest *q)
{
    if (!q->key.len)
        return no_key;
    return (unsigned)q->sort_order > 2 || (unsigned)q->sort_target > 4 ? "etcdserver: invalid sort option" : NULL;
}

const char *serve_check_put(const Etcdserverpb__PutRequest *q)
{
    if (!q->key.len)
        return no_key;
    if (q->ignore_value && q->value.len)
        return "etcdserver: value is provided";
    return q->ignore_lease && q->lease ? "etcdserver: lease is provided" : NULL;
}

/* ---- transactions: each operation by itself ---- */

static const char *check_shape(const Etcdserverpb__TxnRequest *q, size_t most, size_t *left);

static const char *check_op(const Etcdserverpb__RequestOp *q, size_t most, size_t *left)
{
    if (!(*left)--)
        return too_many;
    switch (q->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return serve_check_range(q->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return serve_check_put(q->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return q->request_delete_range->key.len ? NULL : no_key;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return check_shape(q->request_txn, most, left);
    default:
        return "etcdserver: key not found";
    }
}

static const char *check_shape(const Etcdserverpb__TxnRequest *q, size_t most, size_t *left)
{
    size_t n = q->n_compare;
    const char *why = NULL;

    n = q->n_success > n ? q->n_success : n;
    n = q->n_failure > n ? q->n_failure : n;
    if (n > most)
        return too_many;
    for (size_t i = 0; i < q->n_compare && !why; i++)
        if (!q->compare[i]->key.len)
            why = no_key;
        else if ((unsigned)q->compare[i]->target > 4 || (unsigned)q->compare[i]->result > 3)
            why = "etcdserver: unknown compare";
    for (size_t i = 0; i < q->n_success && !why; i++)
        why = check_op(q->success[i], most - n, left);
    for (size_t i = 0; i < q->n_failure && !why; i++)
        why = check_op(q->failure[i], most - n, left);
    return why;
}

/* ---- transactions: no key is put twice, or put and deleted, whichever way it goes ---- */

struct interval {
    struct str key, end;
};

struct touched {
    struct map puts;
    VEC(struct interval) deletes;
};

static bool deletes(const struct touched *t, struct str key)
{
    for (size_t i = 0; i < t->deletes.len; i++) {
        const struct interval *d = &t->deletes.items[i];

        if (d->end.p ? str_cmp(key, d->key) >= 0 && str_cmp(key, d->end) < 0 : str_eq(key, d->key))
            return true;
    }
    return false;
}

static void touched_finish(struct touched *t)
{
    map_finish(&t->puts);
    vec_free(&t->deletes);
}

/* What a nested branch puts joins what stands beside it; `other` is the branch that cannot run with it. */
static bool join(struct touched *t, const struct touched *branch, const struct touched *other)
{
    struct map_iter it;
    struct str key;
    void *any;

    map_iter_init(&it, &branch->puts);
    while (map_iter_next(&it, &key, &any)) {
        if (map_get(&t->puts, key) && !(other && map_get(&other->puts, key)))
            return false;
        if (deletes(t, key))
            return false;
        map_put(&t->puts, key, t);
    }
    return true;
}

static bool touch(Etcdserverpb__RequestOp **ops, size_t n, struct touched *t);

static bool touch_nested(const Etcdserverpb__TxnRequest *q, struct touched *t)
{
    struct touched then = {0}, otherwise = {0};
    bool fits = touch(q->success, q->n_success, &then) && touch(q->failure, q->n_failure, &otherwise) &&
                join(t, &then, NULL) && join(t, &otherwise, &then);

    for (size_t i = 0; i < then.deletes.len; i++)
        vec_push(&t->deletes, then.deletes.items[i]);
    for (size_t i = 0; i < otherwise.deletes.len; i++)
        vec_push(&t->deletes, otherwise.deletes.items[i]);
    touched_finish(&then);
    touched_finish(&otherwise);
    return fits;
}

static bool touch(Etcdserverpb__RequestOp **ops, size_t n, struct touched *t)
{
    bool fits = true;

    for (size_t i = 0; i < n; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            const Etcdserverpb__DeleteRangeRequest *q = ops[i]->request_delete_range;
            vec_push(&t->deletes, (struct interval){serve_str(q->key), serve_end(q->range_end)});
        }
    for (size_t i = 0; i < n && fits; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            fits = touch_nested(ops[i]->request_txn, t);
    for (size_t i = 0; i < n && fits; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            struct str key = serve_str(ops[i]->request_put->key);

            fits = !map_get(&t->puts, key) && !deletes(t, key);
            map_put(&t->puts, key, t);
        }
    return fits;
}

const char *serve_check_txn(const Etcdserverpb__TxnRequest *q)
{
    size_t left = SERVE_MAX_ALL_OPS;
    const char *why = check_shape(q, SERVE_MAX_OPS, &left);

    for (int branch = 0; branch < 2 && !why; branch++) {
        struct touched t = {0};

        if (!touch(branch ? q->failure : q->success, branch ? q->n_failure : q->n_success, &t))
            why = duplicate;
        touched_finish(&t);
    }
    return why;
}

/* ---- depth, before the message is unpacked ---- */

static bool get_varint(struct str *s, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
        uint8_t b = (uint8_t)*s->p;

        *s = str_sub(*s, 1, s->len);
        *ret |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

/* Of a message's fields that are bytes, `in` is told; what cannot be read is left to the real decoder. */
static bool each_field(struct str s, unsigned depth, bool (*in)(uint64_t field, struct str bytes, unsigned depth))
{
    uint64_t tag, n;

    while (s.len && get_varint(&s, &tag)) {
        switch (tag & 7) {
        case 0:
            if (!get_varint(&s, &n))
                return true;
            break;
        case 1:
        case 5:
            n = (tag & 7) == 1 ? 8 : 4;
            s = str_sub(s, n < s.len ? n : s.len, s.len);
            break;
        case 2:
            if (!get_varint(&s, &n) || n > s.len)
                return true;
            if (!in(tag >> 3, str_sub(s, 0, n), depth))
                return false;
            s = str_sub(s, n, s.len);
            break;
        default:
            return true;
        }
    }
    return true;
}

static bool in_op(uint64_t field, struct str bytes, unsigned depth);

static bool in_txn(uint64_t field, struct str bytes, unsigned depth)
{
    return (field != 2 && field != 3) || each_field(bytes, depth, in_op);
}

static bool in_op(uint64_t field, struct str bytes, unsigned depth)
{
    return field != 4 || (depth < SERVE_MAX_OPS && each_field(bytes, depth + 1, in_txn));
}

bool serve_txn_fits(struct str message)
{
    return each_field(message, 0, in_txn);
}
