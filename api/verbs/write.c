/* One way to write: compute, commit, answer; and compute again when the store has moved on meanwhile.
 *
 * The happy path is one pass: compute() looks at what is stored (w->old) and says what shall be (w->now, w->remove or
 * w->nothing), the cache commits it together with the further writes and claims, the answer carries the committed
 * object. A conflict means somebody else was faster: when the client named no revision (w->retry) everything is
 * computed anew from what is stored then, a bounded number of times.
 */
#include "api/verbs/verb.h"

#include "openapi/normalize.h"
#include "openapi/object/object.h"

#include <assert.h>

#define WRITE_ATTEMPTS 1000 /* upstream goes on until the request times out */
#define WRITE_SOON_MS 100
#define OBJECT_MAX (1536u * 1024u)

static void attempt(void *arg);

struct write *write_create(struct api_request *req, int (*compute)(struct write *w, struct err *err))
{
    struct write *w = ARENA_NEW(req->arena, struct write);
    w->req = req;
    w->resource = api_store(req);
    w->compute = compute;
    w->status = 200;
    return w;
}

static void put_object(void *o)
{
    object_put(o);
}

const struct object *write_find(struct api_request *req, const struct resource *r, struct str namespace_,
                                struct str name)
{
    const struct object *o = cache_find(req->server->cache, r, r->namespaced ? namespace_ : STR(""), name);
    if (o)
        arena_defer(req->arena, put_object, (void *)o);
    return o;
}

int write_load(struct write *w, struct err *err)
{
    struct api_request *req = w->req;
    w->old = write_find(req, w->resource, req->namespace_, req->name);
    if (!w->old)
        return api_err_not_found(req, req->name, err);
    w->old_value = object_value(req->arena, w->old);
    return 0;
}

static struct cache_write *extra(struct write *w)
{
    assert(w->n_extra < WRITE_EXTRA_MAX - 1);
    return &w->extra[w->n_extra++];
}

/* Of what would not fit, the managed fields are left out. Upstream passes etcd's own words on, as a 500 without a
 * reason. */
static int make_object(struct write *w, const struct resource *r, struct value *v, struct object **ret, struct err *err)
{
    struct value *metadata = value_getz(v, "metadata");
    normalize(w->req->arena, resource_storage_version(r)->message, v);
    int rc = object_from_value(w->req->arena, r, v, 0, 0, ret, err);
    if (rc == 0 && (*ret)->body.len > OBJECT_MAX && value_getz(metadata, "managedFields")) {
        object_put(*ret);
        value_removez(metadata, "managedFields");
        rc = object_from_value(w->req->arena, r, v, 0, 0, ret, err);
    }
    if (rc < 0 || (*ret)->body.len <= OBJECT_MAX)
        return rc;
    object_put(*ret);
    return api_err_bare(w->req, err, "etcdserver: request is too large");
}

int write_also_create(struct write *w, const struct resource *r, struct value *v, struct err *err)
{
    struct object *o;
    int rc = make_object(w, r, v, &o, err);
    if (rc < 0)
        return rc;
    *extra(w) = (struct cache_write){.kind = CACHE_CREATE, .object = o};
    return 0;
}

int write_also_update(struct write *w, const struct resource *r, const struct object *old, struct value *v,
                      struct err *err)
{
    struct object *o;
    int rc = make_object(w, r, v, &o, err);
    if (rc < 0)
        return rc;
    *extra(w) = (struct cache_write){.kind = CACHE_UPDATE, .object = o, .old = old};
    return 0;
}

void write_also_delete(struct write *w, const struct object *old)
{
    *extra(w) = (struct cache_write){.kind = CACHE_DELETE, .old = old};
}

void write_claim(struct write *w, struct str key, struct str value)
{
    assert(w->n_ops < WRITE_EXTRA_MAX && w->n_compares < WRITE_EXTRA_MAX);
    w->compares[w->n_compares++] = (struct kv_compare){.key = key, .target = KV_TARGET_CREATE, .relation = KV_EQUAL};
    w->ops[w->n_ops++] = (struct kv_op){.kind = KV_PUT, .key = key, .value = value};
}

void write_release(struct write *w, struct str key)
{
    assert(w->n_ops < WRITE_EXTRA_MAX);
    w->ops[w->n_ops++] = (struct kv_op){.kind = KV_DELETE, .key = key};
}

static void drop_made(struct write *w)
{
    for (size_t i = 0; i < w->n_extra; i++)
        object_put(w->extra[i].object);
    w->n_extra = 0;
}

static void answer(struct write *w, const struct object *o)
{
    if (w->answer)
        w->answer(w, o);
    else
        api_answer_object(w->req, w->status, o);
}

static void fail(struct write *w, const struct err *err)
{
    drop_made(w);
    api_answer_err(w->req, err);
}

static bool again(struct write *w)
{
    return ++w->attempts < WRITE_ATTEMPTS;
}

static void committed(void *arg, int rc, int64_t revision, const struct object *const *objects, const struct err *err)
{
    struct write *w = arg;
    struct err e = ERR_INIT;
    w->n_extra = 0;
    w->revision = revision;
    if (rc == 0) {
        answer(w, w->now ? objects[0] : w->old);
        return;
    }
    if (rc == ERR_ALREADY_EXISTS && w->exists && w->exists(w) && again(w)) {
        attempt(w);
        return;
    }
    if (rc == ERR_ALREADY_EXISTS) {
        create_answer_exists(w->req, w->old);
        return;
    }
    if (rc == ERR_CONFLICT) {
        if (w->retry && again(w)) {
            attempt(w);
            return;
        }
        api_err_modified(w->req, w->req->name, &e);
        api_answer_err(w->req, &e);
        return;
    }
    verb_answer_store_err(w->req, err);
}

static void dry_run(struct write *w, struct object *made)
{
    if (!made) {
        answer(w, w->old);
        return;
    }
    object_set_revision(made, w->old ? w->old->revision : 0, w->old ? w->old->create_revision : 0);
    answer(w, made);
    object_put(made);
}

static void commit(struct write *w, struct object *made)
{
    struct cache_write writes[WRITE_EXTRA_MAX];
    size_t n = 0;
    if (w->now)
        writes[n++] = (struct cache_write){
            .kind = w->old ? CACHE_UPDATE : CACHE_CREATE, .object = made, .old = w->old, .ttl_s = w->ttl_s};
    else
        writes[n++] = (struct cache_write){.kind = CACHE_DELETE, .old = w->old};
    for (size_t i = 0; i < w->n_extra; i++)
        writes[n++] = w->extra[i];
    w->n_extra = 0; /* the cache has the objects now */
    cache_commit_fenced(w->req->server->cache, w->req->fence, writes, n, w->compares, w->n_compares, w->ops, w->n_ops,
                        w->req->loop, committed, w);
}

static void newest_here(void *arg, int rc, const struct err *err)
{
    struct write *w = arg;
    w->fresh = true;
    if (rc < 0)
        verb_answer_store_err(w->req, err);
    else
        attempt(w);
}

/* Where several servers share a store, what is here may be behind. What is committed is guarded by compares; what is
 * refused, or left as it is, is looked at once more in the newest state. */
static bool look_again(struct write *w)
{
    struct cache *c = w->req->server->cache;
    if (w->fresh || cache_always_newest(c))
        return false;
    drop_made(w);
    cache_wait_newest(c, VERB_NEWEST_MS, w->req->loop, newest_here, w);
    return true;
}

static void attempt(void *arg)
{
    struct write *w = arg;
    struct err err = ERR_INIT;
    struct object *made = NULL;
    w->old = NULL;
    w->old_value = w->now = NULL;
    w->remove = w->nothing = false;
    w->n_extra = w->n_compares = w->n_ops = 0;
    w->req->details = NULL;
    int rc = w->compute(w, &err);
    if (rc < 0 && look_again(w))
        return;
    if (rc < 0) {
        fail(w, &err);
        return;
    }
    if (rc == WRITE_SOON) {
        drop_made(w);
        w->waits++;
        timer_start(&w->soon, w->req->loop, WRITE_SOON_MS, attempt, w);
        return;
    }
    if (!w->nothing && w->now) {
        if (make_object(w, w->resource, w->now, &made, &err) < 0) {
            fail(w, &err);
            return;
        }
        if (w->old && !w->n_extra && !w->n_ops && str_eq(made->body, w->old->body)) {
            object_put(made); /* nothing would change: nothing is written */
            w->nothing = true;
        }
    }
    if (w->nothing) {
        if (look_again(w))
            return;
        drop_made(w);
        answer(w, w->old);
    } else if (w->req->options.dry_run) {
        drop_made(w);
        dry_run(w, made);
    } else {
        commit(w, made);
    }
}

void write_run(struct write *w)
{
    attempt(w);
}
