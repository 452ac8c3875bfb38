/* What every store shares: the calls of kv.h, the publish hook, transforms, and waiting for a transaction. */
#include "storage/kv/kv_ops.h"

#include "base/mem.h"

#include <stdlib.h>

void kv_init(struct kv *kv, const struct kv_ops *ops)
{
    kv->ops = ops;
    pthread_mutex_init(&kv->publish_lock, NULL);
}

void kv_finish(struct kv *kv)
{
    pthread_mutex_destroy(&kv->publish_lock);
}

/* ---- the calls ---- */

void kv_txn(struct kv *kv, const struct kv_txn *txn, kv_txn_done *done, void *arg)
{
    kv->ops->txn(kv, txn, done, arg);
}

int kv_txn_wait(struct kv *kv, struct arena *a, const struct kv_txn *txn, struct kv_txn_result *ret, struct err *err)
{
    struct kv_waiter w;

    kv_waiter_init(&w, a, ret, err);
    kv->ops->txn(kv, txn, kv_waiter_done, &w);
    return kv_waiter_wait(&w);
}

size_t kv_txn_max(const struct kv *kv)
{
    return kv->ops->txn_max;
}

int kv_range(struct kv *kv, struct str key, struct str end, int64_t revision, size_t limit, kv_range_fn *fn, void *arg,
             int64_t *ret_revision, struct err *err)
{
    return kv->ops->range(kv, key, end, revision, limit, fn, arg, ret_revision, err);
}

int kv_history(struct kv *kv, struct str key, struct str end, int64_t after, kv_event_fn *fn, void *arg,
               struct err *err)
{
    return kv->ops->history(kv, key, end, after, fn, arg, err);
}

int64_t kv_revision(struct kv *kv)
{
    return kv->ops->revision(kv);
}

int64_t kv_compacted_revision(struct kv *kv)
{
    return kv->ops->compacted_revision(kv);
}

void kv_newest(struct kv *kv, kv_newest_done *done, void *arg)
{
    kv->ops->newest(kv, done, arg);
}

bool kv_shared(const struct kv *kv)
{
    return kv->ops->shared;
}

int kv_compact(struct kv *kv, int64_t revision, struct err *err)
{
    return kv->ops->compact(kv, revision, err);
}

void kv_compact_wait(struct kv *kv)
{
    kv->ops->compact_wait(kv);
}

int kv_hold(struct kv *kv, int64_t revision, struct kv_hold **ret, struct err *err)
{
    *ret = NULL;
    return kv->ops->hold ? kv->ops->hold(kv, revision, ret, err) : 0;
}

void kv_hold_end(struct kv *kv, struct kv_hold *h)
{
    if (h)
        kv->ops->hold_end(kv, h);
}

int kv_scrub(struct kv *kv, struct err *err)
{
    return kv->ops->scrub ? kv->ops->scrub(kv, err) : 1;
}

int kv_lease_grant(struct kv *kv, int64_t id, int64_t ttl_s, int64_t *ret_id, struct err *err)
{
    return kv->ops->lease_grant(kv, id, ttl_s, ret_id, err);
}

int kv_lease_keep_alive(struct kv *kv, int64_t id, struct err *err)
{
    return kv->ops->lease_keep_alive(kv, id, err);
}

int kv_lease_revoke(struct kv *kv, int64_t id, struct err *err)
{
    return kv->ops->lease_revoke(kv, id, err);
}

int kv_leases(struct kv *kv, struct arena *a, const struct kv_lease_state **ret, size_t *ret_n, struct err *err)
{
    if (!kv->ops->leases)
        return err_set(err, ERR_METHOD_NOT_ALLOWED, "this store does not list its leases");
    return kv->ops->leases(kv, a, ret, ret_n, err);
}

const char *kv_trouble(struct kv *kv)
{
    return kv->ops->trouble(kv);
}

void kv_close(struct kv *kv)
{
    if (kv)
        kv->ops->close(kv);
}

/* ---- publishing ---- */

void kv_set_publish(struct kv *kv, kv_publish_fn *fn, void *arg)
{
    pthread_mutex_lock(&kv->publish_lock);
    kv->publish = fn;
    kv->publish_arg = arg;
    pthread_mutex_unlock(&kv->publish_lock);
}

void kv_publish(struct kv *kv, const struct kv_event *events, size_t n, int64_t revision)
{
    pthread_mutex_lock(&kv->publish_lock);
    if (kv->publish)
        kv->publish(kv->publish_arg, events, n, revision);
    for (struct kv_listener *l = kv->listeners; l; l = l->next)
        l->fn(l->arg, events, n, revision);
    pthread_mutex_unlock(&kv->publish_lock);
}

void kv_set_restart(struct kv *kv, kv_restart_fn *fn, void *arg)
{
    pthread_mutex_lock(&kv->publish_lock);
    kv->restart = fn;
    kv->restart_arg = arg;
    pthread_mutex_unlock(&kv->publish_lock);
}

void kv_restart(struct kv *kv, enum kv_restart step, const struct kv_pair *pairs, size_t n, int64_t revision)
{
    pthread_mutex_lock(&kv->publish_lock);
    if (kv->restart)
        kv->restart(kv->restart_arg, step, pairs, n, revision);
    pthread_mutex_unlock(&kv->publish_lock);
}

void kv_add_listener(struct kv *kv, struct kv_listener *l)
{
    pthread_mutex_lock(&kv->publish_lock);
    l->next = kv->listeners;
    kv->listeners = l;
    pthread_mutex_unlock(&kv->publish_lock);
}

void kv_remove_listener(struct kv *kv, struct kv_listener *l)
{
    pthread_mutex_lock(&kv->publish_lock);
    for (struct kv_listener **at = &kv->listeners; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    pthread_mutex_unlock(&kv->publish_lock);
}

/* ---- transforms ---- */

void kv_set_transforms(struct kv *kv, const struct kv_transform *const *known, size_t n,
                       const struct kv_transform *(*choose)(void *arg, struct str key), void *arg)
{
    for (size_t i = 0; i < n; i++)
        kv->transforms[known[i]->id] = known[i];
    kv->choose = choose;
    kv->choose_arg = arg;
}

int kv_open_value(struct kv *kv, struct str key, uint8_t transform, struct str payload, struct buf *out,
                  struct err *err)
{
    if (!transform) {
        buf_add_str(out, payload);
        return 0;
    }
    const struct kv_transform *t = kv->transforms[transform];
    if (!t)
        return err_set(err, ERR_CORRUPT, "the value of key \"" STR_FMT "\" is sealed in an unknown way (%u)",
                       STR_ARG(key), transform);
    if (t->open(t->arg, key, payload, out, err) < 0)
        return err_context(err, "key \"" STR_FMT "\"", STR_ARG(key));
    return 0;
}

/* ---- waiting ---- */

void kv_txn_result_copy(struct arena *a, const struct kv_txn_result *from, struct kv_txn_result *to)
{
    struct kv_op_result *ops = ARENA_ARRAY(a, struct kv_op_result, from->n_ops + 1);

    *to = *from;
    for (size_t i = 0; i < from->n_ops; i++) {
        struct kv_pair *pairs = ARENA_ARRAY(a, struct kv_pair, from->ops[i].n_pairs + 1);

        ops[i] = from->ops[i];
        for (size_t j = 0; j < ops[i].n_pairs; j++) {
            pairs[j] = from->ops[i].pairs[j];
            pairs[j].key = arena_str(a, pairs[j].key);
            pairs[j].value = arena_str(a, pairs[j].value);
        }
        ops[i].pairs = pairs;
    }
    to->ops = ops;
}

void kv_waiter_init(struct kv_waiter *w, struct arena *a, struct kv_txn_result *ret, struct err *err)
{
    *w = (struct kv_waiter){.arena = a, .ret = ret, .err = err};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ready, NULL);
}

void kv_waiter_done(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct kv_waiter *w = arg;

    pthread_mutex_lock(&w->lock);
    if (err) {
        *w->err = *err;
        w->rc = err->code;
    } else if (w->ret) {
        kv_txn_result_copy(w->arena, result, w->ret);
    }
    w->over = true;
    pthread_cond_signal(&w->ready);
    pthread_mutex_unlock(&w->lock);
}

int kv_waiter_wait(struct kv_waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->over)
        pthread_cond_wait(&w->ready, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->ready);
    return w->rc;
}

struct str kv_prefix_end(struct arena *a, struct str prefix)
{
    char *p = arena_memdup(a, prefix.p, prefix.len);
    size_t n = prefix.len;

    while (n && (uint8_t)p[n - 1] == 0xff)
        n--;
    if (!n)
        return STR("\xff\xff\xff\xff\xff\xff\xff\xff");
    p[n - 1] = (char)((uint8_t)p[n - 1] + 1);
    return (struct str){p, n};
}
