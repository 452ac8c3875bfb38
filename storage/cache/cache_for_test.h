/* cache_for_test: a cache over the memory engine with two loops, and ways to write to it and wait. */
#ifndef SKIFF_STORAGE_CACHE_CACHE_FOR_TEST_H
#define SKIFF_STORAGE_CACHE_CACHE_FOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/vec.h"
#include "storage/cache/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
/* RocksDB itself is not built for the sanitizer, which cannot see how its writers hand over to each other. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rocksdb::\n";
}
#endif

static const char *const selectable[] = {"spec.nodeName", NULL};
static const struct resource_version versions[] = {{.version = {"v1", 2}, .selectable = selectable}, {.version = {0}}};
static const struct resource things = {
    .group = {"apps", 4},
    .name = {"things", 6},
    .kind = {"Thing", 5},
    .namespaced = true,
    .index = 3,
    .storage_prefix = {"/registry/things/", 17},
    .storage_group = {"apps", 4},
    .storage_version = {"v1", 2},
    .versions = versions,
};
static const struct resource others = {
    .name = {"others", 6},
    .kind = {"Other", 5},
    .index = 900,
    .storage_prefix = {"/registry/things.example/", 25},
    .storage_version = {"v1", 2},
    .versions = versions,
};
static const struct resource *const both[] = {&things, &others};

static struct kv *kv;
static struct cache *cache;
static struct loop *loops[2];
static struct err err;

static inline struct object *make(const struct resource *r, const char *ns, const char *name, const char *node,
                                  unsigned n)
{
    struct arena *a = arena_create(0);
    struct str text =
        arena_printf(a,
                     "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"u\",\"labels\":{\"even\":\"%s\"}},"
                     "\"spec\":{\"nodeName\":\"%s\",\"n\":%u}}",
                     name, ns, n % 2 ? "no" : "yes", node, n);
    struct object *o;
    assert_int_equal(object_from_stored(a, r, text, 0, 0, &o, &err), 0);
    arena_destroy(a);
    return o;
}

/* ---- committing and waiting for the answer ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool over;
    int rc;
    int64_t revision;
};
static struct answer reply = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0};

static inline void finish(int rc, int64_t revision)
{
    pthread_mutex_lock(&reply.lock);
    reply.over = true;
    reply.rc = rc;
    reply.revision = revision;
    pthread_cond_signal(&reply.ready);
    pthread_mutex_unlock(&reply.lock);
}
static inline int await(void)
{
    pthread_mutex_lock(&reply.lock);
    while (!reply.over)
        pthread_cond_wait(&reply.ready, &reply.lock);
    reply.over = false;
    pthread_mutex_unlock(&reply.lock);
    return reply.rc;
}
static inline void committed(void *arg, int rc, int64_t revision, const struct object *const *objects,
                             const struct err *e)
{
    (void)arg;
    assert_true(loop_current() == loops[0]);
    assert_int_equal(rc < 0, e != NULL);
    if (rc == 0) {
        assert_true(cache_revision(cache) >= revision);
        if (objects[0])
            assert_int_equal(objects[0]->revision, revision);
    }
    finish(rc, revision);
}
static inline int commit(struct cache_write w)
{
    cache_commit(cache, &w, 1, NULL, 0, NULL, 0, loops[0], committed, NULL);
    return await();
}
static inline int create(const char *ns, const char *name, const char *node, unsigned n)
{
    return commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&things, ns, name, node, n)});
}
static inline int update(const char *ns, const char *name, const char *node, unsigned n)
{
    const struct object *old = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = commit((struct cache_write){.kind = CACHE_UPDATE, .object = make(&things, ns, name, node, n), .old = old});
    object_put(old);
    return rc;
}
static inline int delete (const char *ns, const char *name)
{
    const struct object *old = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = commit((struct cache_write){.kind = CACHE_DELETE, .old = old});
    object_put(old);
    return rc;
}

static inline void sync_done(void *arg)
{
    (void)arg;
    finish(0, 0);
}
static inline void nothing(void *arg)
{
    (void)arg;
}
static inline void run_on(struct loop *l, void (*fn)(void *), void *arg)
{
    loop_post(l, fn, arg);
    loop_post(l, sync_done, NULL);
    await();
}

static inline int setup(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        loops[i] = loop_create("test");
        loop_start(loops[i]);
    }
    assert_int_equal(kv_open_memory(&kv, &err), 0);
    assert_int_equal(cache_create(kv, both, 2, &cache, &err), 0);
    return 0;
}
static inline int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        loop_stop(loops[i]);
        loop_join(loops[i]);
    }
    cache_destroy(cache);
    kv_close(kv);
    for (int i = 0; i < 2; i++)
        loop_destroy(loops[i]);
    return 0;
}

#endif
