/* The cache over the memory engine (and RocksDB for loading): single rules, then random writes with many watchers on
 * two loops, each of which must see exactly the changes of what its filter selects, in order. */
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

static struct object *make(const struct resource *r, const char *ns, const char *name, const char *node, unsigned n)
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

static void finish(int rc, int64_t revision)
{
    pthread_mutex_lock(&reply.lock);
    reply.over = true;
    reply.rc = rc;
    reply.revision = revision;
    pthread_cond_signal(&reply.ready);
    pthread_mutex_unlock(&reply.lock);
}
static int await(void)
{
    pthread_mutex_lock(&reply.lock);
    while (!reply.over)
        pthread_cond_wait(&reply.ready, &reply.lock);
    reply.over = false;
    pthread_mutex_unlock(&reply.lock);
    return reply.rc;
}
static void committed(void *arg, int rc, int64_t revision, const struct object *const *objects, const struct err *e)
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
static int commit(struct cache_write w)
{
    cache_commit(cache, &w, 1, NULL, 0, NULL, 0, loops[0], committed, NULL);
    return await();
}
static int create(const char *ns, const char *name, const char *node, unsigned n)
{
    return commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&things, ns, name, node, n)});
}
static int update(const char *ns, const char *name, const char *node, unsigned n)
{
    const struct object *old = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = commit((struct cache_write){.kind = CACHE_UPDATE, .object = make(&things, ns, name, node, n), .old = old});
    object_put(old);
    return rc;
}
static int delete (const char *ns, const char *name)
{
    const struct object *old = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = commit((struct cache_write){.kind = CACHE_DELETE, .old = old});
    object_put(old);
    return rc;
}

static void sync_done(void *arg)
{
    (void)arg;
    finish(0, 0);
}
static void nothing(void *arg)
{
    (void)arg;
}
static void run_on(struct loop *l, void (*fn)(void *), void *arg)
{
    loop_post(l, fn, arg);
    loop_post(l, sync_done, NULL);
    await();
}

static int setup(void **state)
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
static int teardown(void **state)
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

static bool check_stored(void *arg, const struct kv_pair *p)
{
    (void)arg;
    assert_true(
        str_starts(p->value, STR("{\"kind\":\"Thing\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"a\",")));
    assert_true(str_ends(p->value, STR("}}\n")));
    assert_true(str_eqz(p->key, "/registry/things/ns/a"));
    return true;
}

static void writes_and_snapshots(void **state)
{
    (void)state;
    assert_int_equal(create("ns", "a", "n1", 1), 0);
    struct object_tree *first = cache_snapshot(cache, &things);
    assert_int_equal(object_tree_revision(first), 2);
    assert_int_equal(create("ns", "a", "n1", 1), ERR_ALREADY_EXISTS);
    const struct object *old = cache_find(cache, &things, STR("ns"), STR("a"));
    assert_int_equal(old->revision, 2);
    assert_int_equal(old->create_revision, 2);
    assert_int_equal(
        kv_range(kv, STR("/registry/things/"), STR("/registry/things0"), 0, 0, check_stored, NULL, NULL, &err), 0);
    assert_int_equal(update("ns", "a", "n2", 2), 0);
    struct cache_write late = {.kind = CACHE_UPDATE, .object = make(&things, "ns", "a", "n3", 3), .old = old};
    assert_int_equal(commit(late), ERR_CONFLICT);
    late.object = NULL;
    late.kind = CACHE_DELETE;
    assert_int_equal(commit(late), ERR_CONFLICT);
    object_put(old);
    assert_int_equal(commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&others, "", "o", "", 1)}), 0);
    assert_int_equal(delete ("ns", "a"), 0);
    assert_int_equal(reply.revision, 5);
    assert_null(cache_find(cache, &things, STR("ns"), STR("a")));

    struct object_tree *t = cache_snapshot(cache, &others);
    assert_int_equal(object_tree_revision(t), 5);
    assert_int_equal(object_tree_len(t), 1);
    object_tree_put(t);
    assert_int_equal(cache_snapshot_at(cache, &things, 6, &t, &err), ERR_TIMEOUT);
    assert_string_equal(err.message, "Too large resource version: 6, current: 5");
    static const int64_t want[] = {0, 0, 2, 3, 3, 0}; /* the revision of "a" at each revision */
    for (int64_t r = 1; r <= 5; r++) {
        assert_int_equal(cache_snapshot_at(cache, &things, r, &t, &err), 0);
        assert_int_equal(object_tree_revision(t), r);
        const struct object *o = object_tree_find(t, STR("ns"), STR("a"));
        assert_int_equal(o ? o->revision : 0, want[r]);
        object_tree_put(t);
    }
    assert_int_equal(object_tree_len(first), 1);
    object_tree_put(first);
    assert_int_equal(kv_compact(kv, 4, &err), 0);
    assert_int_equal(cache_snapshot_at(cache, &things, 3, &t, &err), ERR_EXPIRED);
}

static int put_raw(const char *key, enum kv_op_kind kind)
{
    struct kv_op op = {.kind = kind, .key = str_from(key), .value = STR("x")};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    struct arena *a = arena_create(0);
    int rc = kv_txn_wait(kv, a, &txn, &result, &err);
    arena_destroy(a);
    return rc;
}
static void keys_without_objects(void **state)
{
    (void)state;
    assert_false(cache_has_key(cache, STR("/ports/1")));
    assert_int_equal(put_raw("/ports/1", KV_PUT), 0);
    assert_int_equal(cache_add_keys(cache, STR("/ports/"), &err), 0);
    assert_true(cache_has_key(cache, STR("/ports/1")));
    assert_int_equal(put_raw("/ports/2", KV_PUT), 0);
    assert_true(cache_has_key(cache, STR("/ports/2")));
    assert_int_equal(put_raw("/ports/1", KV_DELETE), 0);
    assert_false(cache_has_key(cache, STR("/ports/1")));
}

struct read_past {
    struct object_tree *tree;
    int64_t revision;
};
static void past_read(void *arg, struct object_tree *tree, const struct err *e)
{
    struct read_past *p = arg;
    assert_true(loop_current() == loops[1]);
    p->tree = tree;
    finish(e ? e->code : 0, 0);
}
static void read_past(void *arg)
{
    struct read_past *p = arg;
    cache_snapshot_read(cache, &things, p->revision, loops[1], past_read, p);
}
static int snapshot_of(int64_t revision, struct object_tree **ret)
{
    struct read_past p = {.revision = revision};
    loop_post(loops[1], read_past, &p);
    int rc = await();
    *ret = p.tree;
    return rc;
}

static void waited(void *arg, int rc)
{
    (void)arg;
    finish(rc, 0);
}
static void waited_newest(void *arg, int rc, const struct err *e)
{
    (void)arg;
    assert_true(loop_current() == loops[1]);
    assert_int_equal(rc < 0, e != NULL);
    finish(rc, 0);
}
static void waiting(void **state)
{
    (void)state;
    assert_true(cache_always_newest(cache));
    cache_wait_newest(cache, 1000, loops[1], waited_newest, NULL);
    assert_int_equal(await(), 0);
    cache_wait_revision(cache, 1, 1000, loops[1], waited, NULL);
    assert_int_equal(await(), 0);
    cache_wait_revision(cache, cache_revision(cache) + 1, 30, loops[1], waited, NULL);
    assert_int_equal(await(), ERR_TIMEOUT);
    cache_wait_revision(cache, cache_revision(cache) + 1, 10000, loops[1], waited, NULL);
    struct kv_op op = {.kind = KV_PUT, .key = STR("/else/where"), .value = STR("x")};
    struct kv_txn txn = {.success = &op, .n_success = 1};
    struct kv_txn_result result;
    struct arena *a = arena_create(0);
    assert_int_equal(kv_txn_wait(kv, a, &txn, &result, &err), 0);
    arena_destroy(a);
    assert_int_equal(await(), 0);
}

/* ---- watchers with a memory of their own ---- */

enum { NAMES = 40, WATCHERS = 24 };

struct seer {
    struct watch_filter filter;
    struct loop *loop;
    struct watch *watch;
    bool pauses, stopped;
    struct timer timer;
    int64_t start, last;
    int64_t seen[4][NAMES]; /* revision of each object it believes to be there; 0 = none */
    unsigned n_events, n_bookmarks;
    int ended;
};

static bool even(void *arg, const struct object *o)
{
    (void)arg;
    return str_eqz(object_label(o, STR("even")), "yes");
}

static void wake(void *arg)
{
    struct seer *s = arg;
    if (!s->stopped)
        watch_resume(s->watch);
}

static void see(void *arg, const struct watch_delivery *d, size_t n)
{
    struct seer *s = arg;
    assert_true(loop_current() == s->loop);
    for (size_t i = 0; i < n; i++) {
        if (d[i].type == WATCH_ERROR) {
            s->ended = d[i].err->code;
            continue;
        }
        assert_true(d[i].revision >= s->last);
        s->last = d[i].revision;
        if (d[i].type == WATCH_BOOKMARK) {
            s->n_bookmarks++;
            continue;
        }
        const struct object *o = d[i].event->object;
        int ns = o->namespace_.p[2] - '0', name = atoi(o->name.p + 1);
        int64_t *slot = &s->seen[ns][name];
        assert_true(d[i].revision > *slot);
        assert_int_equal(d[i].type == WATCH_ADDED, *slot == 0);
        *slot = d[i].type == WATCH_DELETED ? 0 : o->revision;
        s->n_events++;
    }
    if (s->pauses && s->n_events % 7 == 0) {
        watch_pause(s->watch);
        timer_start(&s->timer, s->loop, (int64_t)(s->n_events % 3), wake, s);
    }
}

static void start_seer(void *arg)
{
    struct seer *s = arg;
    assert_int_equal(watch_start(cache, &s->filter, s->start, s->loop, see, s, &s->watch, &err), 0);
    watch_bookmarks(s->watch, true);
}
static void stop_seer(void *arg)
{
    struct seer *s = arg;
    s->stopped = true;
    timer_stop(&s->timer);
    watch_stop(s->watch);
}
static void ask_bookmark(void *arg)
{
    struct seer *s = arg;
    watch_bookmarks(s->watch, true);
}

static struct {
    struct seer *of;
    int64_t last;
    unsigned n_bookmarks;
    int ended;
} peek;
static void take_peek(void *arg)
{
    (void)arg;
    peek.last = peek.of->last;
    peek.n_bookmarks = peek.of->n_bookmarks;
    peek.ended = peek.of->ended;
}
/* Ask for a bookmark, and read on the seer's own thread how far it is. */
static int64_t last_of(struct seer *s)
{
    run_on(s->loop, ask_bookmark, s);
    peek.of = s;
    run_on(s->loop, take_peek, NULL);
    return peek.last;
}

static uint64_t seed = 7;
static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void random_write(void)
{
    char ns[8], name[8], node[8];
    snprintf(ns, sizeof ns, "ns%u", rnd(4));
    snprintf(name, sizeof name, "n%u", rnd(NAMES));
    snprintf(node, sizeof node, "node%u", rnd(5));
    const struct object *now = cache_find(cache, &things, str_from(ns), str_from(name));
    int rc = !now ? create(ns, name, node, rnd(100)) : rnd(4) ? update(ns, name, node, rnd(100)) : delete (ns, name);
    object_put(now);
    assert_int_equal(rc, 0);
}

static bool selects(const struct seer *s, const struct object *o)
{
    const struct watch_filter *f = &s->filter;
    return (!f->namespace_.len || str_eq(f->namespace_, o->namespace_)) && (!f->name.p || str_eq(f->name, o->name)) &&
           (f->field < 0 || str_eq(f->field_value, o->fields[0])) && (!f->match || f->match(NULL, o));
}

static struct seer seers[WATCHERS];

static void init_seer(struct seer *s, int i)
{
    static char text[WATCHERS][8];
    struct object_tree *t = cache_snapshot(cache, &things);
    struct object_tree_iter it;
    const struct object *o;

    memset(s, 0, sizeof *s);
    s->filter = (struct watch_filter){.resource = &things, .field = -1};
    s->loop = loops[i % 2];
    s->pauses = i % 3 == 0;
    switch (i % 6) {
    case 1:
        s->filter.namespace_ = STR("ns2");
        break;
    case 2:
        s->filter.field = 0;
        snprintf(text[i], sizeof text[i], "node%d", i % 5);
        s->filter.field_value = str_from(text[i]);
        break;
    case 3:
        s->filter.match = even;
        break;
    case 4:
        s->filter.namespace_ = STR("ns1");
        s->filter.name = STR("n7");
        break;
    case 5:
        s->filter.name = STR("n11");
        s->filter.match = i > 12 ? even : NULL;
        break;
    }
    s->start = s->last = object_tree_revision(t);
    object_tree_iter_init(&it, t, STR_NULL);
    while ((o = object_tree_next(&it)))
        if (selects(s, o))
            s->seen[o->namespace_.p[2] - '0'][atoi(o->name.p + 1)] = o->revision;
    object_tree_put(t);
}

static void check_seer(struct seer *s)
{
    struct object_tree *t = cache_snapshot(cache, &things);
    for (int ns = 0; ns < 4; ns++)
        for (int name = 0; name < NAMES; name++) {
            char a[16], b[16];
            snprintf(a, sizeof a, "ns%d", ns);
            snprintf(b, sizeof b, "n%d", name);
            const struct object *o = object_tree_find(t, str_from(a), str_from(b));
            assert_int_equal(s->seen[ns][name], o && selects(s, o) ? o->revision : 0);
        }
    object_tree_put(t);
}

static void await_seers(void)
{
    int64_t revision = cache_revision(cache);
    for (int i = 0; i < WATCHERS; i++) {
        struct seer *s = &seers[i];
        bool there = false;
        for (int tries = 0; tries < 3000 && !there; tries++) {
            there = last_of(s) >= revision;
            if (!there)
                usleep(1000);
        }
        assert_true(there);
        assert_true(peek.n_bookmarks > 0);
        assert_int_equal(peek.ended, 0);
        check_seer(s);
    }
}

static void watchers_see_what_they_select(void **state)
{
    (void)state;
    struct object_tree *kept[20] = {0};

    for (int i = 0; i < 300; i++)
        random_write();
    int64_t begin = cache_revision(cache);
    for (int i = 0; i < WATCHERS; i++)
        init_seer(&seers[i], i);
    for (int i = 0; i < 2000; i++) {
        if (i % 50 == 0 && i / 50 < WATCHERS) /* started late: the older they are the more they replay */
            run_on(seers[i / 50].loop, start_seer, &seers[i / 50]);
        if (i % 100 == 0)
            kept[i / 100] = cache_snapshot(cache, &things);
        random_write();
    }
    await_seers();
    /* the past, undone from the newest */
    for (int i = 0; i < 20; i++) {
        struct object_tree *t;
        struct object_tree_iter a, b;
        const struct object *o;
        if (i % 2)
            assert_int_equal(snapshot_of(object_tree_revision(kept[i]), &t), 0);
        else
            assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(kept[i]), &t, &err), 0);
        assert_int_equal(object_tree_len(t), object_tree_len(kept[i]));
        object_tree_iter_init(&a, t, STR_NULL);
        object_tree_iter_init(&b, kept[i], STR_NULL);
        while ((o = object_tree_next(&a)))
            assert_ptr_equal(o, object_tree_next(&b));
        object_tree_put(t);
        object_tree_put(kept[i]);
    }
    for (int i = 0; i < WATCHERS; i++)
        run_on(seers[i].loop, stop_seer, &seers[i]);
    struct watch_filter all = {.resource = &things, .field = -1};
    struct watch *w;
    assert_int_equal(kv_compact(kv, begin, &err), 0);
    assert_int_equal(watch_start(cache, &all, begin - 1, loops[0], see, NULL, &w, &err), ERR_EXPIRED);
}

static void assert_same_objects(const struct object_tree *a, const struct object_tree *b)
{
    struct object_tree_iter i, j;
    const struct object *o;

    assert_int_equal(object_tree_revision(a), object_tree_revision(b));
    assert_int_equal(object_tree_len(a), object_tree_len(b));
    object_tree_iter_init(&i, a, STR_NULL);
    object_tree_iter_init(&j, b, STR_NULL);
    while ((o = object_tree_next(&i))) {
        const struct object *other = object_tree_next(&j);
        assert_true(str_eq(o->name, other->name) && str_eq(o->body, other->body) && o->revision == other->revision);
    }
}

/* A list in pages goes on over its revision whatever else is written; what the store gives back of a revision shares
 * what has not changed since. */
static void pages_stay(void **state)
{
    (void)state;
    struct object_tree *first, *again, *now;
    struct object_tree_iter it;
    const struct object *o;
    size_t shared = 0;

    for (int i = 0; i < 100; i++)
        random_write();
    first = cache_snapshot(cache, &things);
    cache_keep(cache, &things, first);
    cache_keep(cache, &things, first); /* once more is no more */
    struct object_tree *lost = NULL;
    for (int i = 0; i < 40; i++) { /* more than are kept */
        random_write();
        struct object_tree *t = cache_snapshot(cache, &things);
        cache_keep(cache, &things, t);
        if (i == 0)
            lost = object_tree_get(t);
        object_tree_put(t);
        assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(first), &again, &err), 0);
        object_tree_put(again);
    }
    for (int i = 0; i < 9000; i++)
        random_write();
    assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(first), &again, &err), 0);
    assert_ptr_equal(again, first);
    object_tree_put(again);
    assert_int_equal(cache_snapshot_at(cache, &things, object_tree_revision(lost), &again, &err), 0);
    assert_ptr_not_equal(again, lost);
    assert_same_objects(again, lost);
    object_tree_put(again);
    object_tree_put(lost);
    object_tree_put(first);
    /* far back, and hardly anything has changed since */
    int64_t before = cache_revision(cache);
    const struct object *one = cache_find(cache, &things, STR("ns0"), STR("n0"));
    if (!one)
        assert_int_equal(create("ns0", "n0", "node0", 0), 0);
    object_put(one);
    for (int i = 0; i < 9000; i++)
        assert_int_equal(update("ns0", "n0", "node0", rnd(100)), 0);
    assert_int_equal(cache_snapshot_at(cache, &things, before, &again, &err), 0);
    now = cache_snapshot(cache, &things);
    object_tree_iter_init(&it, again, STR_NULL);
    while ((o = object_tree_next(&it)))
        shared += object_tree_find(now, o->namespace_, o->name) == o;
    assert_true(shared + 1 >= object_tree_len(again) && shared > 10);
    object_tree_put(now);
    object_tree_put(again);
}

/* More events than the ring holds: the rest comes from the store. */
static void history_beyond_the_ring(void **state)
{
    (void)state;
    init_seer(&seers[0], 0);
    init_seer(&seers[1], 3);
    for (int i = 0; i < 9500; i++)
        random_write();
    seers[0].pauses = false;
    struct object_tree *t;
    assert_int_equal(cache_snapshot_at(cache, &things, seers[0].start, &t, &err), 0);
    for (int i = 0; i < 2; i++)
        run_on(seers[i].loop, start_seer, &seers[i]);
    for (int i = 0; i < 500; i++)
        random_write();
    int64_t revision = cache_revision(cache);
    for (int i = 0; i < 2; i++) {
        for (int tries = 0; tries < 3000 && last_of(&seers[i]) < revision; tries++)
            usleep(1000);
        check_seer(&seers[i]);
        run_on(seers[i].loop, stop_seer, &seers[i]);
    }
    object_tree_put(t);
}

static void expiry_is_seen(void **state)
{
    (void)state;
    init_seer(&seers[0], 0);
    run_on(seers[0].loop, start_seer, &seers[0]);
    assert_int_equal(
        commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&things, "ns0", "n39", "x", 1), .ttl_s = 1}),
        seers[0].seen[0][39] ? ERR_ALREADY_EXISTS : 0);
    if (!seers[0].seen[0][39]) {
        const struct object *o;
        for (int i = 0; i < 400 && (o = cache_find(cache, &things, STR("ns0"), STR("n39"))); i++) {
            object_put(o);
            usleep(10000);
        }
        run_on(seers[0].loop, ask_bookmark, &seers[0]);
        run_on(seers[0].loop, nothing, NULL);
        check_seer(&seers[0]);
    }
    run_on(seers[0].loop, stop_seer, &seers[0]);
}

static void rss(const char *when)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size, pages = 0;
    if (f && fscanf(f, "%ld %ld", &size, &pages) == 2)
        print_message("%s: %.1f MiB resident\n", when, (double)pages * 4 / 1024);
    fclose(f);
}

static struct {
    int next, done, total;
    char pad[4000];
} load;
static void load_next(void *arg);
static void load_done(void *arg, int rc, int64_t revision, const struct object *const *objects, const struct err *e)
{
    (void)revision, (void)objects, (void)e;
    assert_int_equal(rc, 0);
    if (++load.done == load.total)
        finish(0, 0);
    load_next(arg);
}
static void load_next(void *arg)
{
    if (load.next >= load.total)
        return;
    struct arena *a = arena_create(0);
    struct object *o;
    struct str text = arena_printf(a,
                                   "{\"metadata\":{\"name\":\"pod-%06d\",\"namespace\":\"default\",\"uid\":\"u\"},"
                                   "\"spec\":{\"pad\":\"%s\"}}",
                                   load.next++, load.pad);
    assert_int_equal(object_from_stored(a, &things, text, 0, 0, &o, &err), 0);
    arena_destroy(a);
    struct cache_write w = {.kind = CACHE_CREATE, .object = o};
    cache_commit(cache, &w, 1, NULL, 0, NULL, 0, loops[0], load_done, arg);
}
static void load_start(void *arg)
{
    for (int i = 0; i < 64; i++)
        load_next(arg);
}

static void loads_what_was_written(void **state)
{
    (void)state;
    char dir[] = "/tmp/skiff-cache-test-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    struct kv_rocksdb_options opt = {.dir = dir};
    struct kv *memory = kv;
    struct cache *before = cache;
    const char *size = getenv("SKIFF_LOAD");

    load.total = size ? atoi(size) : 5000;
    memset(load.pad, 'x', sizeof load.pad - 1);
    int64_t t0 = clock_mono_us();
    assert_int_equal(kv_open_rocksdb(&opt, &kv, &err), 0);
    print_message("empty open %.1f ms\n", (double)(clock_mono_us() - t0) / 1000);
    assert_int_equal(cache_create(kv, both, 1, &cache, &err), 0);
    rss("empty");
    t0 = clock_mono_us();
    loop_post(loops[0], load_start, NULL);
    await();
    print_message("%.0f creates/s through the cache\n", load.total * 1e6 / (double)(clock_mono_us() - t0));
    rss("after creating");
    cache_destroy(cache);
    kv_close(kv);
    t0 = clock_mono_us();
    assert_int_equal(kv_open_rocksdb(&opt, &kv, &err), 0);
    int64_t t1 = clock_mono_us();
    assert_int_equal(cache_create(kv, both, 1, &cache, &err), 0);
    print_message("open %.1f ms, load %.1f ms\n", (double)(t1 - t0) / 1000, (double)(clock_mono_us() - t1) / 1000);
    rss("after loading");
    struct object_tree *t = cache_snapshot(cache, &things);
    assert_int_equal(object_tree_len(t), load.total);
    assert_int_equal(object_tree_revision(t), 1 + load.total);
    object_tree_put(t);
    const struct object *o = cache_find(cache, &things, STR("default"), STR("pod-000100"));
    assert_non_null(o);
    assert_true(o->revision > 1 && o->revision == o->create_revision);
    object_put(o);
    /* a resource that comes later, in the middle of writes */
    assert_int_equal(cache_add_resource(cache, &others, &err), 0);
    assert_int_equal(commit((struct cache_write){.kind = CACHE_CREATE, .object = make(&others, "", "o", "", 1)}), 0);
    cache_destroy(cache);
    kv_close(kv);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
    kv = memory;
    cache = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_snapshots),    cmocka_unit_test(waiting),
        cmocka_unit_test(keys_without_objects),    cmocka_unit_test(watchers_see_what_they_select),
        cmocka_unit_test(history_beyond_the_ring), cmocka_unit_test(pages_stay),
        cmocka_unit_test(expiry_is_seen),          cmocka_unit_test(loads_what_was_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
