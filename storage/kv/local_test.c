/* What is the local store's alone: trouble that passes, history that goes by itself, the data directory, and kill -9.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/kv/kv_engine.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
/* RocksDB itself is not built for the sanitizer, which cannot see how its writers hand over to each other. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rocksdb::\n";
}
enum { CAN_FORK = 0 };
#else
enum { CAN_FORK = 1 };
#endif

static char dir[] = "/tmp/skiff-local-test-XXXXXX";
static struct err err;

static void remove_dir(const char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static struct kv *reopen(void)
{
    struct kv *kv;
    struct kv_rocksdb_options opt = {.dir = dir};
    if (kv_open_rocksdb(&opt, &kv, &err) < 0)
        fail_msg("%s", err.message);
    return kv;
}

static int run(struct kv *kv, struct arena *a, struct kv_txn txn, struct kv_txn_result *ret)
{
    static struct kv_txn_result dummy;
    return kv_txn_wait(kv, a, &txn, ret ? ret : &dummy, &err);
}

static int64_t put(struct kv *kv, struct str key, struct str value)
{
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_PUT, .key = key, .value = value};
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    arena_destroy(a);
    return result.revision;
}

struct list {
    char text[4096];
    size_t len;
};

static bool list_pair(void *arg, const struct kv_pair *p)
{
    struct list *l = arg;
    l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, STR_FMT "=" STR_FMT "@%lld/%lld/%lld ",
                               STR_ARG(p->key), STR_ARG(p->value), (long long)p->create_revision,
                               (long long)p->mod_revision, (long long)p->version);
    return true;
}

static const char *range(struct kv *kv, const char *key, const char *end, int64_t revision)
{
    static struct list l;
    l.len = 0;
    l.text[0] = 0;
    int rc = kv_range(kv, str_from(key), str_from(end), revision, 0, list_pair, &l, NULL, &err);
    if (rc < 0)
        snprintf(l.text, sizeof l.text, "%s", err_code_name(rc));
    return l.text;
}

/* ---- trouble ---- */

static struct faulty {
    struct kv_engine engine;
    struct kv_engine *inner;
    struct kv_engine_ops ops;
    atomic_bool full;
} faulty;

static int faulty_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *er)
{
    (void)e;
    return faulty.inner->ops->get(faulty.inner, space, key, out, er);
}
static struct kv_cursor *faulty_cursor(struct kv_engine *e, enum kv_space space)
{
    (void)e;
    return faulty.inner->ops->cursor_open(faulty.inner, space);
}
static int faulty_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *er)
{
    (void)e;
    if (atomic_load(&faulty.full))
        return err_set(er, ERR_NO_SPACE, "write: No space left on device");
    return faulty.inner->ops->write(faulty.inner, writes, n, sync, er);
}
static int faulty_recover(struct kv_engine *e, struct err *er)
{
    (void)e;
    return atomic_load(&faulty.full) ? err_set(er, ERR_NO_SPACE, "still full") : 0;
}
static void faulty_close(struct kv_engine *e)
{
    (void)e;
    faulty.inner->ops->close(faulty.inner);
}

static void trouble_passes(void **state)
{
    (void)state;
    struct kv *kv;
    struct arena *a = arena_create(0);
    struct kv_txn_result result;
    struct kv_op op = {.kind = KV_PUT, .key = STR("b"), .value = STR("2"), .ttl_s = 100};

    faulty.inner = kv_engine_memory();
    faulty.ops = *faulty.inner->ops;
    faulty.ops.get = faulty_get;
    faulty.ops.cursor_open = faulty_cursor;
    faulty.ops.write = faulty_write;
    faulty.ops.recover = faulty_recover;
    faulty.ops.close = faulty_close;
    faulty.engine.ops = &faulty.ops;
    assert_int_equal(kv_create(&faulty.engine, 0, &kv, &err), 0);
    put(kv, STR("a"), STR("1"));
    assert_null(kv_trouble(kv));
    atomic_store(&faulty.full, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), ERR_NO_SPACE);
        assert_non_null(strstr(kv_trouble(kv), "no space left"));
        assert_string_equal(range(kv, "a", "c", 0), "a=1@2/2/1 ");
        assert_int_equal(kv_revision(kv), 2);
    }
    op.kind = KV_RANGE; /* reading goes on */
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    op.kind = KV_PUT;
    atomic_store(&faulty.full, false);
    for (int i = 0; i < 500 && kv_trouble(kv); i++)
        usleep(10000);
    assert_null(kv_trouble(kv));
    assert_int_equal(run(kv, a, (struct kv_txn){.success = &op, .n_success = 1}, &result), 0);
    assert_string_equal(range(kv, "a", "c", 0), "a=1@2/2/1 b=2@3/3/1 ");
    arena_destroy(a);
    kv_close(kv);
}

static void old_history_goes_by_itself(void **state)
{
    (void)state;
    struct kv *kv;
    assert_int_equal(kv_create(kv_engine_memory(), 200, &kv, &err), 0);
    put(kv, STR("a"), STR("1"));
    put(kv, STR("a"), STR("2"));
    for (int i = 0; i < 1000 && kv_compacted_revision(kv) < 3; i++)
        usleep(10000);
    assert_int_equal(kv_compacted_revision(kv), 3);
    assert_string_equal(range(kv, "a", NULL, 0), "a=2@2/3/2 ");
    assert_string_equal(range(kv, "a", NULL, 2), "expired");
    kv_close(kv);
}

/* ---- RocksDB alone ---- */

static void directory(void **state)
{
    (void)state;
    remove_dir(dir);
    struct kv *kv = reopen(), *second;
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    struct kv_rocksdb_options opt = {.dir = dir};
    assert_int_equal(kv_open_rocksdb(&opt, &second, &err), ERR_BUSY);
    assert_non_null(strstr(err.message, dir));
    kv_close(kv);
    opt.dir = "/proc/nowhere/at/all";
    assert_true(kv_open_rocksdb(&opt, &second, &err) < 0);
}

/* A child writes pairs of keys in one transaction, reports each answer through a pipe, and is killed: every reported
 * pair is there, and no half of one. */
static void crash(void **state)
{
    (void)state;
    if (!CAN_FORK)
        return;
    remove_dir(dir);
    uint32_t reported = 0;
    for (int round = 0; round < 6; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            struct kv *kv = reopen();
            struct arena *a = arena_create(0);
            char value[2000] = {0};
            for (uint32_t n = reported + 1;; n++) {
                char left[32], right[32];
                struct kv_txn_result result;
                int len = snprintf(left, sizeof left, "left/%08u", n);
                snprintf(right, sizeof right, "rite/%08u", n);
                struct kv_op ops[] = {{.kind = KV_PUT, .key = {left, (size_t)len}, .value = {value, 10 + n % 1900}},
                                      {.kind = KV_PUT, .key = {right, (size_t)len}, .value = {value, 10 + n % 1900}}};
                if (run(kv, a, (struct kv_txn){NULL, 0, ops, 2, NULL, 0}, &result) < 0)
                    _exit(1);
                if (write(pipes[1], &n, sizeof n) != sizeof n)
                    _exit(0);
                arena_reset(a);
            }
        }
        close(pipes[1]);
        uint32_t n, until = reported + 50 + (uint32_t)round * 97;
        while (read(pipes[0], &n, sizeof n) == sizeof n) {
            reported = n;
            if (n == until)
                kill(child, SIGKILL);
        }
        close(pipes[0]);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        struct kv *kv = reopen();
        int64_t revision = kv_revision(kv);
        assert_true(revision - 1 >= reported);
        for (uint32_t i = 1; i <= (uint32_t)(revision - 1); i++) {
            char key[32], want[2][64];
            snprintf(key, sizeof key, "left/%08u", i);
            snprintf(want[0], sizeof want[0], "@%u/%u/1 ", i + 1, i + 1);
            assert_non_null(strstr(range(kv, key, NULL, 0), "="));
            snprintf(key, sizeof key, "rite/%08u", i);
            assert_non_null(strstr(range(kv, key, NULL, 0), "="));
        }
        assert_string_equal(range(kv, "left/99999999", NULL, 0), "");
        reported = (uint32_t)(revision - 1);
        kv_close(kv);
    }
}
int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trouble_passes),
        cmocka_unit_test(old_history_goes_by_itself),
        cmocka_unit_test(directory),
        cmocka_unit_test(crash),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_dir(dir);
    return failed;
}
