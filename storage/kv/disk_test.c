/* Disks that fail under a running store and one that is being opened: full, read-only, broken. The calls that change
 * files are this program's own here, and fail when told to. Trials run in processes of their own: a library that aborts
 * on such an error would be a failure too. */
#include "base/arena.h"
#include "base/clock.h"
#include "storage/kv/kv_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the calls ---- */

enum { WRITES = 1, SYNCS = 2, NAMES = 4, EVERYTHING = 7 };
static atomic_int failing_errno, failing_kinds, calls_left; /* calls_left: that still work */
static atomic_int n_calls;

static bool fails(int kind)
{
    int code = atomic_load(&failing_errno);
    atomic_fetch_add(&n_calls, 1);
    if (!code || !(kind & atomic_load(&failing_kinds)) || atomic_fetch_sub(&calls_left, 1) > 0)
        return false;
    errno = code;
    return true;
}

static void arm(int code, int kinds, int after)
{
    atomic_store(&calls_left, after);
    atomic_store(&failing_kinds, kinds);
    atomic_store(&failing_errno, code);
}

ssize_t write(int fd, const void *p, size_t n)
{
    return fd > 2 && fails(WRITES) ? -1 : syscall(SYS_write, fd, p, n);
}
ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails(WRITES) ? -1 : syscall(SYS_pwrite64, fd, p, n, at);
}
ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}
int fdatasync(int fd)
{
    return fails(SYNCS) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
int fsync(int fd)
{
    return fails(SYNCS) ? -1 : (int)syscall(SYS_fsync, fd);
}
int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
    return flags && fails(SYNCS) ? -1 : (int)syscall(SYS_sync_file_range, fd, at, n, flags);
}
int ftruncate(int fd, off_t n)
{
    return fails(WRITES) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}
int fallocate(int fd, int mode, off_t at, off_t n)
{
    return fails(WRITES) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, n);
}
int rename(const char *from, const char *to)
{
    return fails(NAMES) ? -1 : (int)syscall(SYS_rename, from, to);
}
int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int);
    va_end(args);
    return (flags & (O_CREAT | O_WRONLY | O_RDWR)) && fails(NAMES)
               ? -1
               : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = va_arg(args, int);
    va_end(args);
    return open(path, flags, mode);
}

/* ---- trials ---- */

static char root[] = "/tmp/skiff-disk-test-XXXXXX", dir[300];
static struct err err;

static void shell(const char *format, const char *path)
{
    char command[600];
    snprintf(command, sizeof command, format, path);
    assert_int_equal(system(command), 0);
}

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "line %d: %s; %s\n", __LINE__, #condition, err.message); \
            _exit(1);                                                                \
        }                                                                            \
    } while (0)

static struct kv *open_store(void)
{
    struct kv *kv = NULL;
    return kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err) < 0 ? NULL : kv;
}

static int put(struct kv *kv, const char *prefix, int n)
{
    struct arena *a = arena_create(0);
    char name[64], value[3000];
    struct kv_op op = {.kind = KV_PUT,
                       .key = {name, (size_t)snprintf(name, sizeof name, "/%s/%06d", prefix, n)},
                       .value = {value, 100 + (size_t)(n * 131 % 2900)}};
    struct kv_txn_result result;
    memset(value, 'a' + n % 26, sizeof value);
    int rc = kv_txn_wait(kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err);
    arena_destroy(a);
    return rc;
}

static bool check_pair(void *arg, const struct kv_pair *p)
{
    int *n = arg, number = atoi(p->key.p + p->key.len - 6);
    CHECK(p->value.len == 100 + (size_t)(number * 131 % 2900));
    CHECK(p->value.p[0] == 'a' + number % 26 && p->value.p[p->value.len - 1] == 'a' + number % 26);
    ++*n;
    return true;
}

/* How many keys begin so, every value as it was put. */
static int count(struct kv *kv, const char *prefix)
{
    char from[64], to[64];
    int n = 0;
    snprintf(from, sizeof from, "/%s/", prefix);
    snprintf(to, sizeof to, "/%s0", prefix);
    CHECK(kv_range(kv, str_from(from), str_from(to), 0, 0, check_pair, &n, NULL, &err) == 0);
    return n;
}

static void expect_recovery(struct kv *kv)
{
    int64_t until_ms = clock_mono_ms() + 15000;
    while (kv_trouble(kv) && clock_mono_ms() < until_ms)
        usleep(5000);
    if (kv_trouble(kv))
        fprintf(stderr, "%s\n", kv_trouble(kv));
    CHECK(!kv_trouble(kv));
}

struct fault {
    int code, kinds;
    const char *want;
    enum err_code rc;
};

/* A store at work, its disk fails, and is well again. Twice over, so that what recovery made fails too. */
static void at_run_time(const struct fault *f, int after)
{
    struct kv *kv = open_store();
    int acknowledged = 0, failed_writes = 0;
    CHECK(kv);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++, acknowledged++)
            CHECK(put(kv, "good", acknowledged) == 0);
        arm(f->code, f->kinds, after);
        for (int i = 0; i < 200 && !kv_trouble(kv); i++) {
            int rc = put(kv, "good", acknowledged);
            if (rc == 0)
                acknowledged++;
            else
                CHECK(rc == f->rc);
        }
        CHECK(kv_trouble(kv) && strstr(kv_trouble(kv), f->want));
        for (int i = 0; i < 5; i++)
            CHECK(put(kv, "bad", failed_writes++) == f->rc && strstr(err.message, f->want));
        CHECK(count(kv, "good") == acknowledged && count(kv, "bad") == 0);
        usleep(150000); /* probes fail meanwhile */
        CHECK(kv_trouble(kv) && count(kv, "good") == acknowledged);
        arm(0, 0, 0);
        expect_recovery(kv);
        CHECK(put(kv, "good", acknowledged++) == 0);
        CHECK(count(kv, "good") == acknowledged && count(kv, "bad") == 0);
    }
    int64_t revision = kv_revision(kv);
    if (after % 2)
        kv_close(kv); /* else it goes down as it is */
    else
        _exit(acknowledged);
    CHECK((kv = open_store()));
    CHECK(count(kv, "good") == acknowledged && count(kv, "bad") == 0 && kv_revision(kv) == revision);
    kv_close(kv);
    _exit(acknowledged);
}

static int in_child(void (*fn)(const struct fault *f, int n), const struct fault *f, int n)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(60);
        fn(f, n);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void check_after(const struct fault *f, int n)
{
    (void)f;
    struct kv *kv = open_store();
    CHECK(kv);
    CHECK(count(kv, "good") == n && count(kv, "bad") == 0);
    CHECK(put(kv, "good", n) == 0);
    kv_close(kv);
}

static const struct fault faults[] = {
    {EIO, EVERYTHING, "the store's disk reports an error; writes go on by themselves", ERR_IO},
    {EIO, SYNCS, "the store's disk reports an error; writes go on by themselves", ERR_IO},
    {EROFS, EVERYTHING, "the store's file system is read-only; writes go on by themselves", ERR_IO},
    {ENOSPC, WRITES | NAMES, "no space left for the store; free some", ERR_NO_SPACE},
};

static void running(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (int after = 0; after < 8; after += 1 + 2 * after) {
            shell("rm -rf '%s'", dir);
            int got = in_child(at_run_time, &faults[i], after);
            if (got < 20)
                fail_msg("errno %d on %d after %d calls: %d", faults[i].code, faults[i].kinds, after, got);
            int again = in_child(check_after, NULL, got);
            if (again != 0)
                fail_msg("errno %d on %d after %d calls, opened again: %d", faults[i].code, faults[i].kinds, after,
                         again);
        }
}

/* The n-th call and all that follow fail while a store is opened and first written. 0: it opened and all went well; 1:
 * refused in order; 2: opened, and in trouble. */
static void at_open(const struct fault *f, int n)
{
    arm(f->code, f->kinds, n);
    struct kv *kv = open_store();
    if (!kv) {
        if (!err.message[0])
            _exit(9);
        _exit(1);
    }
    int rc = put(kv, "extra", 0);
    _exit(rc == 0 ? 0 : 2);
}

static void fill(const struct fault *f, int n)
{
    (void)f;
    struct kv *kv = open_store();
    CHECK(kv);
    for (int i = 0; i < n; i++)
        CHECK(put(kv, "good", i) == 0);
    _exit(0); /* as a crash leaves it */
}

/* Every call of the first few, then a sample; each costs two processes, which the thread sanitizer makes slow. */
#ifdef __SANITIZE_THREAD__
#define FINE 3
#define COARSE 20
#else
#define FINE 1
#define COARSE 4
#endif

static void opening(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (int existing = 0; existing < 2; existing++) {
            int n = 0, got = 1, refused = 0;
            for (; got && n < 400; n += n < 9 ? FINE : COARSE) {
                shell("rm -rf '%s'", dir);
                if (existing)
                    assert_int_equal(in_child(fill, NULL, 30), 0);
                got = in_child(at_open, &faults[i], n);
                if (got < 0 || got > 2)
                    fail_msg("errno %d on %d from call %d on: %d", faults[i].code, faults[i].kinds, n, got);
                refused += got > 0;
                int again = in_child(check_after, NULL, existing ? 30 : 0);
                if (again != 0)
                    fail_msg("errno %d on %d from call %d on, then well again: %d", faults[i].code, faults[i].kinds, n,
                             again);
            }
            assert_true(refused > 0 && n < 400);
        }
}

int main(void)
{
    if (!mkdtemp(root))
        return 1;
    snprintf(dir, sizeof dir, "%s/store", root);
    const struct CMUnitTest tests[] = {cmocka_unit_test(running), cmocka_unit_test(opening)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) || failed;
}
