/* Files of a store with bytes changed: whatever is read is what was written, or the read fails and says where. Every
 * trial runs in a process of its own, since a library that aborts on bad bytes would be a failure too. */
#include "base/arena.h"
#include "storage/kv/kv_engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEYS = 400 };

static char root[] = "/tmp/skiff-damage-test-XXXXXX", made[300], dir[300];
static struct err err;

static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        abort();
}

/* Values of 64 bytes to 6 KB: in tables and in blob files. */
static struct str value_of(int key, int round, char *to)
{
    size_t n = 64 + (size_t)(key * 37 % 60) * 100;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)('a' + ((size_t)(key * 7 + round * 3) + i * i / 5) % 26);
    return (struct str){to, n};
}

static int key_of(struct str key)
{
    return atoi(key.p + 11); /* "/registry/k…" */
}

static void fill(const char *path)
{
    struct kv *kv;
    struct arena *a = arena_create(0);
    char value[8192], name[32];
    if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = path}, &kv, &err) < 0)
        _exit(1);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < KEYS; i++) {
            struct kv_op op = {.kind = KV_PUT,
                               .key = {name, (size_t)snprintf(name, sizeof name, "/registry/k%04d", i)},
                               .value = value_of(i, round, value)};
            struct kv_txn_result result;
            if (kv_txn_wait(kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err) < 0)
                _exit(2);
            arena_reset(a);
        }
    arena_destroy(a);
    kv_close(kv);
}

static int make(void **state)
{
    (void)state;
    snprintf(made, sizeof made, "%s/made", root);
    snprintf(dir, sizeof dir, "%s/case", root);
    int status;
    pid_t child = fork(); /* RocksDB's threads would be missing in later children of a process that had used it */
    if (child == 0) {
        fill(made);
        struct kv *kv; /* so that tables and blob files exist: opened again, what the logs hold is flushed */
        if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = made}, &kv, &err) < 0)
            _exit(3);
        kv_close(kv);
        _exit(0);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return 0;
}

struct reading {
    int n;
    bool wrong;
};

static bool check_pair(void *arg, const struct kv_pair *p)
{
    struct reading *r = arg;
    char value[8192];
    r->wrong |= key_of(p->key) != r->n || !str_eq(p->value, value_of(r->n, 1, value));
    r->n++;
    return !r->wrong;
}

static bool check_event(void *arg, const struct kv_event *e)
{
    struct reading *r = arg;
    char value[8192];
    int at = (int)e->pair.mod_revision - 2;
    r->wrong |= key_of(e->pair.key) != at % KEYS || !str_eq(e->pair.value, value_of(at % KEYS, at / KEYS, value));
    r->n++;
    return !r->wrong;
}

enum { ALL_WELL = 10, REFUSED = 11, WRONG = 12, MISSING = 13, VAGUE = 14 };

static int report(const char *message)
{
    int fd = open("/dev/stderr", O_WRONLY);
    if (getenv("SKIFF_SHOW"))
        dprintf(fd, "%s\n", message);
    return strstr(message, "orrupt") || strstr(message, "damage") || strstr(message, "missing") ||
                   strstr(message, "acknowledged") || strstr(message, "no value") || strstr(message, "open the store")
               ? REFUSED
               : VAGUE;
}

/* In a child: everything is read, then something written. */
static int use(void)
{
    struct kv *kv;
    struct reading r = {0};
    bool refused = false;
    if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err) < 0)
        return report(err.message);
    int rc = kv_range(kv, STR("/"), STR("0"), 0, 0, check_pair, &r, NULL, &err);
    if (r.wrong)
        return WRONG;
    if (rc < 0) {
        refused = true;
        if (report(err.message) != REFUSED)
            return VAGUE;
    } else if (r.n != KEYS) {
        return MISSING;
    }
    for (int i = 0; i < KEYS; i++) {
        char name[32];
        struct reading one = {.n = i};
        struct str key = {name, (size_t)snprintf(name, sizeof name, "/registry/k%04d", i)};
        rc = kv_range(kv, key, STR_NULL, 0, 0, check_pair, &one, NULL, &err);
        if (one.wrong)
            return WRONG;
        if (rc == 0 && one.n != i + 1)
            return MISSING;
        refused |= rc < 0;
    }
    r = (struct reading){0};
    rc = kv_history(kv, STR("/"), STR("0"), 1, check_event, &r, &err);
    if (r.wrong)
        return WRONG;
    if (rc == 0 && r.n != 2 * KEYS)
        return MISSING;
    refused |= rc < 0;
    struct arena *a = arena_create(0);
    struct kv_op op = {.kind = KV_PUT, .key = STR("/other"), .value = STR("x")};
    struct kv_txn_result result;
    (void)kv_txn_wait(kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err);
    kv_close(kv);
    return refused ? REFUSED : ALL_WELL;
}

static int trial(const char *file, size_t at, unsigned char mask, int n_bytes)
{
    char path[600];
    shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_RDWR), status;
    for (int i = 0; i < n_bytes; i++) {
        unsigned char c;
        if (pread(fd, &c, 1, (off_t)at + i) != 1)
            break;
        c ^= mask;
        if (pwrite(fd, &c, 1, (off_t)at + i) != 1)
            abort();
    }
    close(fd);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        if (!getenv("SKIFF_SHOW") && !freopen("/dev/null", "w", stderr))
            _exit(1);
        alarm(20);
        _exit(use());
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void every_file(void **state)
{
    (void)state;
    int counts[3] = {0}, n_trials = getenv("SKIFF_LONG") ? 40 : 5;
    DIR *d = opendir(made);
    uint64_t draw = 88172645463325252u;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", made, e->d_name);
        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size || !strncmp(e->d_name, "LOG", 3))
            continue;
        bool manifest = !strncmp(e->d_name, "MANIFEST", 8); /* its end may be cut off, if it was torn off */
        for (int i = 0; i < (manifest ? 4 * n_trials : n_trials); i++) {
            draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
            size_t at = i == 0 ? 0 : i == 1 ? (size_t)st.st_size - 1 : draw % (size_t)st.st_size;
            int got = trial(e->d_name, at, (unsigned char)(1 + draw % 255), i % 2 ? 1 : 16);
            if (got != ALL_WELL && got != REFUSED)
                fail_msg("%s, byte %zu of %zu: %d (%s)", e->d_name, at, (size_t)st.st_size, got,
                         got == WRONG     ? "served what was never written"
                         : got == MISSING ? "left something out"
                         : got == VAGUE   ? "said nothing of damage"
                                          : "the process ended");
            counts[got - ALL_WELL]++;
        }
    }
    closedir(d);
    print_message("%d times nothing was lost, %d times it was refused\n", counts[0], counts[1]);
    assert_true(counts[1] > 0);
}

/* A table in the middle: reads of its keys fail and name the range, others go on. */
static void named(void **state)
{
    (void)state;
    DIR *d = opendir(made);
    int found = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        struct stat st;
        struct kv *kv;
        struct reading r = {0};
        snprintf(path, sizeof path, "%s/%s", made, e->d_name);
        bool blob = str_ends(str_from(e->d_name), STR(".blob"));
        if (stat(path, &st) < 0 || (!blob && !str_ends(str_from(e->d_name), STR(".sst"))) || st.st_size < 20000)
            continue;
        shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDWR);
        assert_int_equal(pwrite(fd, "damage", 6, blob ? st.st_size / 2 : 3000), 6);
        close(fd);
        assert_int_equal(kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err), 0);
        int rc = kv_range(kv, STR("/"), STR("0"), 0, 0, check_pair, &r, NULL, &err);
        assert_false(r.wrong);
        if (rc < 0) {
            found++;
            assert_int_equal(rc, ERR_CORRUPT);
            print_message("%s\n", err.message);
            assert_non_null(strstr(err.message, "/registry/k"));
        }
        kv_close(kv);
    }
    closedir(d);
    assert_true(found > 0);
}

int main(void)
{
    if (!mkdtemp(root))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_file), cmocka_unit_test(named)};
    int failed = cmocka_run_group_tests(tests, make, NULL);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) || failed;
}
