/* Writes: objects become one kv transaction; the objects themselves ride along to the publish hook. */
#include "storage/cache/cache_internal.h"

#include <assert.h>
#include <stdlib.h>

struct commit {
    struct arena *arena;
    struct cache *cache;
    struct loop *loop;
    cache_commit_done *done;
    void *arg;
    struct kv_txn txn;
    size_t n;
    int64_t fence; /* its revision, 0 = none; its key is looked up after those of the writes */
    struct cache_write *writes;
    struct commit_item *items;
    const struct object **objects; /* the answer's */
    int rc;
    int64_t revision;
    struct err *err;
};

/* As upstream's encoder would write it: kind and apiVersion in front, a newline behind. */
static struct str stored_form(struct arena *a, const struct object *o)
{
    const struct resource *r = o->resource->stored_as ? o->resource->stored_as : o->resource;
    size_t cap = o->body.len + r->kind.len + r->storage_group.len + r->storage_version.len + 40;
    char *p = arena_alloc(a, cap), *to = p;
#define ADD(text, n) (memcpy(to, (text), (n)), to += (n))
    ADD("{\"kind\":\"", 9);
    ADD(r->kind.p, r->kind.len);
    ADD("\",\"apiVersion\":\"", 16);
    if (r->storage_group.len) {
        ADD(r->storage_group.p, r->storage_group.len);
        ADD("/", 1);
    }
    ADD(r->storage_version.p, r->storage_version.len);
    ADD("\",", 2);
    ADD(o->body.p + 1, o->body.len - 1);
    ADD("\n", 1);
#undef ADD
    assert((size_t)(to - p) <= cap);
    return (struct str){p, (size_t)(to - p)};
}

static void answer(void *arg)
{
    struct commit *k = arg;

    k->done(k->arg, k->rc, k->revision, k->objects, k->rc < 0 ? k->err : NULL);
    for (size_t i = 0; i < k->n; i++)
        object_put(k->items[i].object);
    arena_destroy(k->arena);
}

/* What stands against the writes: the failure branch has read every key of theirs. */
static int refusal(struct commit *k, const struct kv_txn_result *result)
{
    if (k->fence && (!result->ops[k->n].n_pairs || result->ops[k->n].pairs[0].mod_revision != k->fence))
        return err_set(k->err, ERR_FENCED, "the term of leadership this write belongs to is over");
    for (size_t i = 0; i < k->n; i++) {
        const struct cache_write *w = &k->writes[i];
        int64_t there = result->ops[i].n_pairs ? result->ops[i].pairs[0].mod_revision : 0;

        if (w->kind == CACHE_CREATE && there)
            return err_set(k->err, ERR_ALREADY_EXISTS, "\"" STR_FMT "\" already exists", STR_ARG(w->object->name));
        if (w->kind != CACHE_CREATE && there != w->old->revision)
            return err_set(k->err, ERR_CONFLICT,
                           "the object has been modified; please apply your changes to the latest version and "
                           "try again");
    }
    return err_set(k->err, ERR_CONFLICT, "a condition of the write no longer holds");
}

/* An object whose event never came by (the store has started over meanwhile) does not know its revision yet. */
static void number(struct commit *k)
{
    for (size_t i = 0; i < k->n; i++) {
        struct object *o = k->items[i].object;

        if (o && !o->revision)
            object_set_revision(o, k->revision, k->writes[i].old ? k->writes[i].old->create_revision : k->revision);
    }
}

static void committed(void *arg, const struct kv_txn_result *result, const struct err *err)
{
    struct commit *k = arg;

    k->revision = result->revision;
    if (err) {
        k->err = arena_memdup(k->arena, err, sizeof *err);
        k->rc = err->code;
    } else if (!result->succeeded) {
        k->err = ARENA_NEW(k->arena, struct err);
        k->rc = refusal(k, result);
    } else {
        number(k);
    }
    loop_post(k->loop, answer, k);
}

/* Compare, operation and (for the failure branch) look-up of one write. */
static void add_write(struct commit *k, size_t i, struct kv_compare *compare, struct kv_op *op, struct kv_op *look)
{
    const struct cache_write *w = &k->writes[i];
    const struct object *o = w->kind == CACHE_DELETE ? w->old : w->object;
    struct store *s = cache_store(k->cache, o->resource);
    struct str key = cache_key(k->arena, s->resource, o->namespace_, o->name);

    assert(w->kind == CACHE_CREATE || w->old);
    k->items[i] = (struct commit_item){.store = s, .object = w->kind == CACHE_DELETE ? NULL : w->object};
    k->objects[i] = k->items[i].object;
    *compare = (struct kv_compare){
        .key = key, .target = KV_TARGET_MOD, .number = w->kind == CACHE_CREATE ? 0 : w->old->revision};
    *op = (struct kv_op){.kind = KV_DELETE, .key = key, .cookie = &k->items[i]};
    if (w->kind != CACHE_DELETE) {
        op->kind = KV_PUT;
        op->value = stored_form(k->arena, w->object);
        op->ttl_s = w->ttl_s;
    }
    *look = (struct kv_op){.kind = KV_RANGE, .key = key};
}

static struct str copy(struct arena *a, struct str s)
{
    return s.p ? arena_str(a, s) : s;
}

void cache_commit(struct cache *c, const struct cache_write *writes, size_t n, const struct kv_compare *compares,
                  size_t n_compares, const struct kv_op *ops, size_t n_ops, struct loop *loop, cache_commit_done *done,
                  void *arg)
{
    cache_commit_fenced(c, NULL, writes, n, compares, n_compares, ops, n_ops, loop, done, arg);
}

void cache_commit_fenced(struct cache *c, const struct cache_fence *fence, const struct cache_write *writes, size_t n,
                         const struct kv_compare *compares, size_t n_compares, const struct kv_op *ops, size_t n_ops,
                         struct loop *loop, cache_commit_done *done, void *arg)
{
    struct arena *a = arena_create(0);
    struct commit *k = ARENA_NEW(a, struct commit);
    struct kv_compare *all_compares = ARENA_ARRAY(a, struct kv_compare, n + n_compares + 1);
    struct kv_op *all_ops = ARENA_ARRAY(a, struct kv_op, n + n_ops + 1), *looks = ARENA_ARRAY(a, struct kv_op, n + 1);
    size_t n_fences = fence != NULL;

    *k = (struct commit){.arena = a, .cache = c, .loop = loop, .done = done, .arg = arg, .n = n};
    k->writes = ARENA_ARRAY(a, struct cache_write, n + 1);
    k->items = ARENA_ARRAY(a, struct commit_item, n + 1);
    k->objects = ARENA_ARRAY(a, const struct object *, n + 1);
    if (n)
        memcpy(k->writes, writes, n * sizeof *writes);
    for (size_t i = 0; i < n; i++)
        add_write(k, i, &all_compares[i], &all_ops[i], &looks[i]);
    for (size_t i = 0; i < n_compares; i++) {
        all_compares[n + i] = compares[i];
        all_compares[n + i].key = copy(a, compares[i].key);
        all_compares[n + i].value = copy(a, compares[i].value);
    }
    for (size_t i = 0; i < n_ops; i++) {
        all_ops[n + i] = ops[i];
        all_ops[n + i].key = copy(a, ops[i].key);
        all_ops[n + i].end = copy(a, ops[i].end);
        all_ops[n + i].value = copy(a, ops[i].value);
        all_ops[n + i].cookie = NULL;
    }
    if (fence) {
        struct str key = copy(a, fence->key);
        k->fence = fence->revision;
        all_compares[n + n_compares] =
            (struct kv_compare){.key = key, .target = KV_TARGET_MOD, .number = fence->revision};
        looks[n] = (struct kv_op){.kind = KV_RANGE, .key = key};
    }
    k->txn = (struct kv_txn){all_compares, n + n_compares + n_fences, all_ops, n + n_ops, looks, n + n_fences};
    kv_txn(c->kv, &k->txn, committed, k);
}
