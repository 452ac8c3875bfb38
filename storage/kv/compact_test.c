/* History that is bounded by its size, and compaction beside writers and readers. */
#include "base/arena.h"
#include "base/clock.h"
#include "storage/kv/kv_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/skiff-compact-test-XXXXXX", dir[300];
static struct err err;

static void put(struct kv *kv, const char *key, size_t size)
{
    struct arena *a = arena_create(0);
    char *value = arena_zalloc(a, size + 1);
    struct kv_op op = {.kind = KV_PUT, .key = str_from(key), .value = {value, size}};
    struct kv_txn_result result;
    assert_int_equal(kv_txn_wait(kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err), 0);
    arena_destroy(a);
}

static bool count(void *arg, const struct kv_event *e)
{
    (void)e;
    ++*(int *)arg;
    return true;
}

static int expect_compacted(struct kv *kv, int64_t at_least)
{
    for (int i = 0; i < 500 && kv_compacted_revision(kv) < at_least; i++)
        usleep(10000);
    return kv_compacted_revision(kv) >= at_least;
}

/* Given updates of so much over one key, what history is left. */
static void by_size(void **state)
{
    (void)state;
    static const struct {
        int updates;
        size_t size;
        bool compacts;
    } rows[] = {{50, 1000, false}, {400, 10000, true}, {20, 200000, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char command[400];
        struct kv *kv;
        snprintf(command, sizeof command, "rm -rf '%s'", dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir, .history_bytes = 1 << 20}, &kv, &err),
                         0);
        for (int n = 0; n < rows[i].updates; n++) {
            put(kv, "/a", rows[i].size);
            if (n % 20 == 19) { /* as time passes, samples are taken */
                kv_keeper_poke(local_of(kv));
                usleep(2000);
            }
        }
        int64_t newest = kv_revision(kv);
        if (!rows[i].compacts) {
            usleep(50000);
            kv_keeper_poke(local_of(kv));
            usleep(50000);
            assert_int_equal(kv_compacted_revision(kv), 0);
        } else {
            int events = 0;
            kv_keeper_poke(local_of(kv));
            assert_true(expect_compacted(kv, 2));
            kv_compact_wait(kv);
            usleep(100000);
            kv_compact_wait(kv);
            assert_int_equal(kv_history(kv, STR("/a"), STR_NULL, kv_compacted_revision(kv), count, &events, &err), 0);
            assert_true((size_t)events * rows[i].size <= (1 << 20) + 20 * rows[i].size);
            assert_int_equal(kv_history(kv, STR("/a"), STR_NULL, 1, count, &events, &err), ERR_EXPIRED);
        }
        assert_int_equal(kv_revision(kv), newest);
        kv_close(kv);
    }
}

static void states(void **state)
{
    (void)state;
    struct arena *a = arena_create(0);
    struct key_state given = {5, 70000000000, 3, -2, 123456}, got;
    struct str text = record_state(a, &given);
    assert_true(record_parse_state(text, &got));
    assert_true(got.create_revision == 5 && got.mod_revision == 70000000000 && got.version == 3 && got.lease == -2);
    assert_int_equal(got.size, 123456);
    assert_true(record_parse_state(str_sub(text, 0, 32), &got)); /* format 1 */
    assert_int_equal(got.lease, -2);
    assert_int_equal(got.size, 0);
    assert_false(record_parse_state(str_sub(text, 0, 35), &got));
    arena_destroy(a);
}

int main(void)
{
    if (!mkdtemp(root))
        return 1;
    snprintf(dir, sizeof dir, "%s/store", root);
    const struct CMUnitTest tests[] = {cmocka_unit_test(states), cmocka_unit_test(by_size)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) || failed;
}
