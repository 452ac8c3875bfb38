/* bench snapshot: a store of so many MB, saved to a file while a writer goes on, and restored: MB/s of both, beside
 * writing and syncing the same bytes to a file; and how long the writer's commits take meanwhile, beside how long they
 * took before. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"
#include "storage/snapshot/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 64, SAMPLES_MAX = 1 << 20, QUIET_MS = 2000, LONG_US = 10000 };

struct snapshot_load {
    struct kv *kv;
    char *value;
    int64_t value_len;
    atomic_bool stop;
    int64_t *times;
    size_t n_times;
    int64_t longest;
};

/* Letters that do not repeat: values of a cluster are text, yet no zeros. */
static void fill_value(char *p, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = (char)('!' + (seed >> 33) % 90);
    }
}

static void fill(struct snapshot_load *l, int64_t total)
{
    char keys[BATCH][64];
    struct kv_op ops[BATCH];
    struct kv_txn_result result;
    struct err err = ERR_INIT;
    struct arena *a = arena_create(0);

    for (int64_t at = 0, n = 0; at < total;) {
        size_t in_batch = 0;
        for (; in_batch < BATCH && at < total; in_batch++, at += l->value_len, n++) {
            char *value = arena_alloc(a, (size_t)l->value_len);
            fill_value(value, l->value_len, (uint64_t)n);
            snprintf(keys[in_batch], sizeof keys[0], "/registry/configmaps/default/c-%010lld", (long long)n);
            ops[in_batch] =
                (struct kv_op){.kind = KV_PUT, .key = str_from(keys[in_batch]), .value = {value, (size_t)l->value_len}};
        }
        if (kv_txn_wait(l->kv, a, &(struct kv_txn){.success = ops, .n_success = in_batch}, &result, &err) < 0)
            die("%s", err.message);
        arena_reset(a);
    }
    arena_destroy(a);
}

static void *write_on(void *arg)
{
    struct snapshot_load *l = arg;
    struct kv_op op = {.kind = KV_PUT, .key = STR("/registry/leases/default/beat"), .value = {l->value, 400}};
    struct kv_txn_result result;
    struct err err = ERR_INIT;

    l->n_times = 0;
    l->longest = 0;
    while (!atomic_load(&l->stop) && l->n_times < SAMPLES_MAX) {
        struct arena *a = arena_create(0);
        int64_t began_us = clock_mono_us();
        if (kv_txn_wait(l->kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err) < 0)
            die("%s", err.message);
        int64_t took_us = clock_mono_us() - began_us;
        l->times[l->n_times++] = took_us;
        l->longest = took_us > l->longest ? took_us : l->longest;
        arena_destroy(a);
        usleep(500);
    }
    return NULL;
}

static void tell_commits(struct snapshot_load *l, const char *when)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n_times; i++)
        n += l->times[i] > LONG_US;
    printf("commit_p50_us_%s %lld\n", when, (long long)percentile(l->times, l->n_times, 50));
    printf("commit_p99_us_%s %lld\n", when, (long long)percentile(l->times, l->n_times, 99));
    printf("commit_max_us_%s %lld\n", when, (long long)l->longest);
    printf("commits_above_10_ms_%s %zu\n", when, n);
}

/* The same bytes, written and synced, nothing else. */
static double plain_mb_s(struct snapshot_load *l, const char *path, uint64_t size)
{
    int64_t began_us = clock_mono_us();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < size; at += (uint64_t)l->value_len)
        if (fd < 0 || write(fd, l->value, (size_t)l->value_len) != l->value_len)
            die("%s: %s", path, strerror(errno));
    fsync(fd);
    close(fd);
    unlink(path);
    return (double)size / (double)(clock_mono_us() - began_us);
}

static void measure(struct snapshot_load *l, const char *dir, int64_t total)
{
    char file[4096], restored[4096], plain[4096];
    struct arena *a = arena_create(0);
    struct snapshot_summary s;
    struct err err = ERR_INIT;
    pthread_t writer;
    int64_t left_out;

    snprintf(file, sizeof file, "%s/f.snapshot", dir);
    snprintf(plain, sizeof plain, "%s/plain", dir);
    snprintf(restored, sizeof restored, "%s/restored", dir);
    pthread_create(&writer, NULL, write_on, l);
    usleep(QUIET_MS * 1000);
    atomic_store(&l->stop, true);
    pthread_join(writer, NULL);
    tell_commits(l, "before");

    atomic_store(&l->stop, false);
    struct crypt *crypt;
    if (crypt_open(dir, NULL, true, &crypt, &err) < 0)
        die("%s", err.message);
    pthread_create(&writer, NULL, write_on, l);
    int64_t began_us = clock_mono_us();
    if (snapshot_save(l->kv, crypt, STR_NULL, file, NULL, NULL, NULL, a, &s, &err) < 0)
        die("%s", err.message);
    int64_t took_us = clock_mono_us() - began_us;
    atomic_store(&l->stop, true);
    pthread_join(writer, NULL);
    printf("snapshot_bytes %llu\n", (unsigned long long)s.size);
    printf("save_mb_s %.0f\n", (double)s.size / (double)took_us);
    tell_commits(l, "saving");
    atomic_store(&l->stop, false);
    pthread_create(&writer, NULL, write_on, l);
    printf("plain_mb_s %.0f\n", plain_mb_s(l, plain, s.size));
    atomic_store(&l->stop, true);
    pthread_join(writer, NULL);
    tell_commits(l, "plain");

    began_us = clock_mono_us();
    if (snapshot_restore(&(struct snapshot_restore){.file = file, .data_dir = restored}, a, &s, &left_out, &err) < 0)
        die("%s", err.message);
    printf("restore_mb_s %.0f\n", (double)total / (double)(clock_mono_us() - began_us));
    crypt_destroy(crypt);
    arena_destroy(a);
}

static int run(int argc, char **argv)
{
    struct snapshot_load l = {.value_len = 4096};
    const char *dir = NULL;
    int64_t mb = 200;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"dir", OPTION_STRING, &dir, "DIR", "an empty folder to work in", .required = true},
        {"mb", OPTION_INT, &mb, "N", "how many MB the store holds (200)", NULL, 1, 100000},
        {"bytes", OPTION_INT, &l.value_len, "N", "a value's (4096)", NULL, 512, 1 << 20},
        {0},
    };
    if (options_parse(&bench_snapshot, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    char path[4096];
    struct err err = ERR_INIT;
    log_set_level(LOG_ERROR);
    snprintf(path, sizeof path, "%s/store", dir);
    if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = path}, &l.kv, &err) < 0)
        die("%s", err.message);
    l.value = malloc((size_t)l.value_len);
    l.times = malloc(SAMPLES_MAX * sizeof *l.times);
    fill_value(l.value, l.value_len, 7);
    fill(&l, mb * 1000000);
    measure(&l, dir, mb * 1000000);
    kv_close(l.kv);
    free(l.value);
    free(l.times);
    return 0;
}

const struct command bench_snapshot = {"snapshot", "--dir DIR [--mb N] [--bytes N]",
                                       "a snapshot saved beside a writer, and restored", run};
