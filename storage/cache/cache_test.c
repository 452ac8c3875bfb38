/* The cache over the memory engine (and RocksDB for loading): single rules. */
#include "storage/cache/cache_for_test.h"

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
        cmocka_unit_test(writes_and_snapshots),
        cmocka_unit_test(waiting),
        cmocka_unit_test(keys_without_objects),
        cmocka_unit_test(loads_what_was_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
