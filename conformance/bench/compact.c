/* bench compact: what writers and readers notice of history being forgotten. A store gets so many versions, then two
 * writers and a reader go on alone for a while, and once more while all that history leaves the disk. */
#include "base/clock.h"
#include "base/vec.h"
#include "conformance/bench/bench.h"
#include "storage/kv/kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEYS = 2000, VALUE = 1024, BATCH = 200, QUIET_MS = 2000 };

struct user { /* a thread that writes or reads over and over */
    struct kv *kv;
    atomic_bool *stop;
    bool reads;
    unsigned number;
    VEC(int64_t) times;
};

static char value[VALUE];

static struct str key_of(unsigned n, char to[static 40])
{
    return (struct str){to, (size_t)snprintf(to, 40, "/registry/pods/default/pod-%06u", n % KEYS * 7919 % KEYS)};
}

static bool seen(void *arg, const struct kv_pair *p)
{
    (void)p;
    *(bool *)arg = true;
    return true;
}

static void *use(void *arg)
{
    struct user *u = arg;
    struct arena *a = arena_create(0);
    struct err err;
    char name[40];
    while (!atomic_load(u->stop)) {
        int64_t began_us = clock_mono_us();
        struct kv_op op = {.kind = KV_PUT, .key = key_of(u->number += 17, name), .value = {value, VALUE}, .cookie = u};
        struct kv_txn_result result;
        bool found = false;
        int rc = u->reads ? kv_range(u->kv, op.key, STR_NULL, 0, 0, seen, &found, NULL, &err)
                          : kv_txn_wait(u->kv, a, &(struct kv_txn){.success = &op, .n_success = 1}, &result, &err);
        if (rc < 0)
            die("%s", err.message);
        vec_push(&u->times, clock_mono_us() - began_us);
        arena_reset(a);
        if (u->reads)
            usleep(200);
    }
    arena_destroy(a);
    return NULL;
}

static void phase(struct kv *kv, const char *name, bool compacting)
{
    struct user users[3] = {{.reads = true}};
    pthread_t threads[3];
    atomic_bool stop = false;
    int64_t began_ms = clock_mono_ms();
    for (unsigned i = 0; i < 3; i++) {
        users[i].kv = kv;
        users[i].stop = &stop;
        users[i].number = i * 1000;
        pthread_create(&threads[i], NULL, use, &users[i]);
    }
    if (compacting)
        kv_compact_wait(kv);
    int64_t took_ms = clock_mono_ms() - began_ms;
    if (!compacting)
        usleep(QUIET_MS * 1000);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < users[2].times.len; i++)
        vec_push(&users[1].times, users[2].times.items[i]);
    for (unsigned i = 0; i < 2; i++) {
        const char *what = users[i].reads ? "read" : "write";
        printf("%s_%s_p99_ms %.2f\n", name, what,
               (double)percentile(users[i].times.items, users[i].times.len, 99) / 1000);
        printf("%s_%s_worst_ms %.2f\n", name, what,
               (double)percentile(users[i].times.items, users[i].times.len, 100) / 1000);
    }
    if (compacting)
        printf("compacted_in_ms %lld\n", (long long)took_ms);
    for (unsigned i = 0; i < 3; i++)
        vec_free(&users[i].times);
}

static void fill(struct kv *kv, int64_t versions)
{
    struct kv_op ops[BATCH];
    char names[BATCH][40];
    struct err err;
    struct arena *a = arena_create(0);
    for (int64_t n = 0; n < versions; n += BATCH) {
        struct kv_txn_result result;
        for (unsigned i = 0; i < BATCH; i++)
            ops[i] = (struct kv_op){
                .kind = KV_PUT, .key = key_of((unsigned)n + i, names[i]), .value = {value, VALUE}, .cookie = ops};
        if (kv_txn_wait(kv, a, &(struct kv_txn){.success = ops, .n_success = BATCH}, &result, &err) < 0)
            die("%s", err.message);
        arena_reset(a);
    }
    arena_destroy(a);
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    int64_t versions = 200000;
    struct kv *kv;
    struct err err;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"dir", OPTION_STRING, &dir, "DIR", "an empty directory", .required = true},
        {"versions", OPTION_INT, &versions, "N", "of 1 KB, of 2,000 keys (200000)", .min = KEYS, .max = 100000000},
        {0},
    };
    if (options_parse(&bench_compact, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(' ' + (i * i + i / 7) % 90);
    if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = dir}, &kv, &err) < 0)
        die("%s", err.message);
    fill(kv, versions);
    phase(kv, "quiet", false);
    if (kv_compact(kv, kv_revision(kv), &err) < 0)
        die("%s", err.message);
    phase(kv, "compacting", true);
    kv_close(kv);
    return 0;
}

const struct command bench_compact = {"compact", "--dir DIR [--versions N]", "writes and reads while history goes",
                                      run};
