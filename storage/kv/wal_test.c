/* The logs of a real store, cut and damaged at every place that matters: what was acknowledged is there, or the store
 * does not open and says what is wrong. */
#include "storage/kv/wal.h"

#include "base/arena.h"
#include "storage/kv/kv_engine.h"
#include "storage/kv/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { BATCHES = 12, VALUE = 5000 };

static char root[] = "/tmp/skiff-wal-test-XXXXXX";
static struct err err;

static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* A store whose process was killed: BATCHES puts of one key each, all acknowledged, none flushed. */
static void make_killed(const char *dir)
{
    shell("rm -rf '%s'", dir);
    pid_t child = fork();
    if (child == 0) {
        struct kv *kv;
        struct arena *a = arena_create(0);
        char value[VALUE], key[32];
        if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err) < 0)
            _exit(1);
        for (int i = 0; i < BATCHES; i++) {
            for (int j = 0; j < VALUE; j++)
                value[j] = (char)('a' + (i + j) % 26);
            struct str name = {key, (size_t)snprintf(key, sizeof key, "/registry/k%02d", i)};
            struct kv_op op = {.kind = KV_PUT, .key = name, .value = {value, VALUE}};
            struct kv_txn_result result;
            if (kv_txn_wait(kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err) < 0)
                _exit(2);
        }
        kill(getpid(), SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
}

static bool count_pair(void *arg, const struct kv_pair *p)
{
    int *n = arg;
    assert_int_equal(p->value.len, VALUE);
    for (int j = 0; j < VALUE; j++)
        assert_int_equal(p->value.p[j], 'a' + (*n + j) % 26);
    ++*n;
    return true;
}

/* How many keys there are, every value as it was written; or a negative code. */
static int open_and_count(const char *dir)
{
    struct kv *kv;
    int n = 0, rc = kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err);
    if (rc < 0)
        return rc;
    rc = kv_range(kv, STR("/"), STR("0"), 0, 0, count_pair, &n, NULL, &err);
    kv_close(kv);
    return rc < 0 ? rc : n;
}

/* The log that holds the batches. */
static size_t find_log(const char *dir, char *path, size_t size)
{
    struct stat st;
    size_t largest = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char candidate[600];
        snprintf(candidate, sizeof candidate, "%s/%s", dir, e->d_name);
        if (str_ends(str_from(e->d_name), STR(".log")) && stat(candidate, &st) == 0 && (size_t)st.st_size >= largest) {
            largest = (size_t)st.st_size;
            snprintf(path, size, "%s", candidate);
        }
    }
    closedir(d);
    return largest;
}

static char *read_all(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *text = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_len = (size_t)st.st_size;
    return text;
}

static void write_all(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static char made[600], dir[600];

static int make(void **state)
{
    (void)state;
    snprintf(made, sizeof made, "%s/made", root);
    snprintf(dir, sizeof dir, "%s/case", root);
    make_killed(made);
    return 0;
}

static void whole(void **state)
{
    (void)state;
    shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
    assert_int_equal(open_and_count(dir), BATCHES);
    assert_int_equal(open_and_count(dir), BATCHES);
}

enum harm { CUT, FLIP, ZERO, ZERO_TO_END, GARBAGE_TAIL };

/* The log as it is after the harm at `at`; opened with and without the note of what was acknowledged. */
static int harmed(enum harm harm, size_t at, bool noted)
{
    char path[600];
    size_t len;
    shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
    find_log(dir, path, sizeof path);
    char *text = read_all(path, &len);
    assert_true(at < len);
    switch (harm) {
    case CUT:
        len = at;
        break;
    case FLIP:
        text[at] ^= 0x10;
        break;
    case ZERO:
        memset(text + at, 0, len - at < 512 ? len - at : 512);
        break;
    case ZERO_TO_END:
        memset(text + at, 0, len - at);
        break;
    case GARBAGE_TAIL:
        for (size_t i = at; i < len; i++)
            text[i] = (char)(i * 2654435761u >> 13);
        break;
    }
    write_all(path, text, len);
    free(text);
    if (!noted)
        shell("rm -f '%s/synced'", dir);
    return open_and_count(dir);
}

static void damage(void **state)
{
    (void)state;
    char path[600];
    struct wal_span all;
    size_t len;
    find_log(made, path, sizeof path);
    char *text = read_all(path, &len);
    wal_read((struct str){text, len}, UINT64_MAX, &all);
    free(text);
    assert_false(all.damaged);
    assert_int_equal(all.good_end, len);
    size_t last = all.last_begin;
    assert_true(last > 40000 && last < len);
    static const enum harm kinds[] = {CUT, FLIP, ZERO, ZERO_TO_END, GARBAGE_TAIL};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool to_end = kinds[k] == CUT || kinds[k] == ZERO_TO_END || kinds[k] == GARBAGE_TAIL;
        for (size_t i = 0; i < 24; i++) {
            size_t at = i * (len - 1) / 23;
            /* with the note, nothing acknowledged may be missing */
            int rc = harmed(kinds[k], at, true);
            if (rc != BATCHES && rc != ERR_CORRUPT)
                fail_msg("harm %d at %zu of %zu: %d, %s", kinds[k], at, len, rc, rc < 0 ? err.message : "keys");
            if (rc == ERR_CORRUPT)
                assert_non_null(strstr(err.message, dir));
            /* without it, damage before the last batch is still told from a torn end */
            rc = harmed(kinds[k], at, false);
            if (!to_end && at + 512 < last ? rc != BATCHES && rc != ERR_CORRUPT : rc > BATCHES)
                fail_msg("without the note: harm %d at %zu of %zu: %d", kinds[k], at, len, rc);
            if (at >= last + 1 && rc != BATCHES - 1 && rc != BATCHES)
                fail_msg("a torn end at %zu of %zu does not open: %d, %s", at, len, rc, rc < 0 ? err.message : "");
        }
    }
}

static void named(void **state)
{
    (void)state;
    char path[600];
    find_log(made, path, sizeof path);
    assert_int_equal(harmed(FLIP, 20000, true), ERR_CORRUPT);
    assert_non_null(strstr(err.message, ".log is damaged at byte "));
    assert_non_null(strstr(err.message, "after revision "));
    assert_non_null(strstr(err.message, "keys from \"/registry/k0"));
    assert_non_null(strstr(err.message, "skiff snapshot restore"));
    /* and refused again, with nothing changed by the first attempt */
    char *before, *after;
    size_t len, len_after;
    find_log(dir, path, sizeof path);
    before = read_all(path, &len);
    assert_int_equal(open_and_count(dir), ERR_CORRUPT);
    after = read_all(path, &len_after);
    assert_int_equal(len, len_after);
    assert_memory_equal(before, after, len);
    free(before);
    free(after);
    /* a whole end that is missing */
    assert_int_equal(harmed(CUT, 0, true), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "were acknowledged"));
}

static void cuts(void **state)
{
    (void)state;
    char path[600];
    struct wal_span s, again;
    size_t len;
    shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
    find_log(dir, path, sizeof path);
    char *text = read_all(path, &len);
    wal_read((struct str){text, len}, UINT64_MAX, &s);
    assert_int_equal(wal_cut(dir, s.next - 1, &err), 0);
    free(text);
    text = read_all(path, &len);
    assert_int_equal(len, s.good_end);
    free(text);
    wal_synced_write(-1, 1);
    shell("rm '%s/synced'", dir);
    assert_int_equal(wal_cut(dir, s.next - 2, &err), 0); /* within the last batch: it goes as a whole */
    text = read_all(path, &len);
    assert_int_equal(len, s.last_begin);
    wal_read((struct str){text, len}, UINT64_MAX, &again);
    assert_false(again.damaged);
    assert_true(again.next < s.next);
    free(text);
    assert_int_equal(open_and_count(dir), BATCHES - 1);
}

static void find_manifest(const char *in, char *path, size_t size)
{
    size_t len;
    snprintf(path, size, "%s/CURRENT", in);
    char *current = read_all(path, &len);
    snprintf(path, size, "%s/%.*s", in, (int)len - 1, current);
    free(current);
}

static void manifests(void **state)
{
    (void)state;
    struct wal_manifest m;
    char path[1200];
    size_t len;
    find_manifest(made, path, sizeof path);
    char *text = read_all(path, &len);
    assert_true(wal_manifest_read((struct str){text, len}, &m));
    assert_true(m.oldest_log < 100);
    assert_false(m.torn);
    assert_int_equal(m.good_end, len);
    free(text);
    assert_false(wal_manifest_read(STR("this is no manifest"), &m));
    uint64_t sequence;
    assert_true(wal_synced_read(made, &sequence));
    assert_true(sequence >= BATCHES);
    assert_false(wal_synced_read("/nowhere", &sequence));
}

/* The manifest with `n_more` bytes of garbage behind it, or (0) a bit turned at `at`. */
static int manifest_harmed(size_t n_more, size_t at)
{
    char path[1200];
    size_t len;
    shell("rm -rf '%s' && cp -r '%s' '%s'", dir, made, dir);
    find_manifest(dir, path, sizeof path);
    char *text = read_all(path, &len);
    text = realloc(text, len + n_more + 1);
    assert_non_null(text);
    if (!n_more)
        text[at % len] ^= 0x10;
    for (size_t i = 0; i < n_more; i++)
        text[len + i] = (char)((i + at) * 2654435761u >> 13);
    write_all(path, text, len + n_more);
    free(text);
    return open_and_count(dir);
}

static void torn_manifests(void **state)
{
    (void)state;
    for (size_t n = 1; n < 2000; n = n * 2 + 1) {
        assert_int_equal(manifest_harmed(n, n), BATCHES);
        assert_int_equal(open_and_count(dir), BATCHES);
    }
    char path[1200];
    size_t len, refused = 0;
    find_manifest(made, path, sizeof path);
    free(read_all(path, &len));
    for (size_t at = 0; at < len; at += 1 + len / 60) {
        int rc = manifest_harmed(0, at);
        if (rc != BATCHES && rc != ERR_CORRUPT)
            fail_msg("a bit turned at %zu of %zu: %d, %s", at, len, rc, rc < 0 ? err.message : "keys");
        refused += rc == ERR_CORRUPT;
    }
    assert_true(refused > 0);
}

int main(void)
{
    if (!mkdtemp(root))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole), cmocka_unit_test(manifests), cmocka_unit_test(cuts),
        cmocka_unit_test(named), cmocka_unit_test(damage),    cmocka_unit_test(torn_manifests),
    };
    int failed = cmocka_run_group_tests(tests, make, NULL);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) || failed;
}
