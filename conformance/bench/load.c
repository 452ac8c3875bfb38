/* bench load: what a server does before it can answer, on a data directory that one has left: RocksDB opens, and every
 * object of it is read and decoded. In a process of its own, so that the time it takes and the processor time are those
 * of just that. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"
#include "openapi/schema.h"
#include "storage/cache/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static bool add_size(void *arg, const struct kv_pair *p)
{
    *(int64_t *)arg += (int64_t)(p->key.len + p->value.len);
    return true;
}

static int run(int argc, char **argv)
{
    const char *dir = NULL;
    char store[4096];
    struct err err;
    struct kv *kv;
    struct cache *cache;
    size_t n, n_stored = 0;
    int64_t bytes = 0, revision;
    int n_positional, exit_code;
    const struct option_spec specs[] = {
        {"data-dir", OPTION_STRING, &dir, "DIR", "that a server has left", .required = true},
        {0},
    };
    if (options_parse(&bench_load, specs, argc, argv, 0, &n_positional, &exit_code) < 0)
        return exit_code;
    const struct resource *const *all = resources_builtin(&n);
    const struct resource **stored = MEM_ARRAY(const struct resource *, n);
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && !str_eqz(all[i]->name, "secrets") &&
            (!all[i]->stored_as || all[i]->stored_as == all[i]))
            stored[n_stored++] = all[i];
    snprintf(store, sizeof store, "%s/store", dir);
    int64_t began_us = clock_mono_us();
    if (kv_open_rocksdb(&(struct kv_rocksdb_options){.dir = store}, &kv, &err) < 0)
        die("%s", err.message);
    int64_t opened_us = clock_mono_us();
    double opened_cpu = cpu_ms();
    if (cache_create(kv, stored, n_stored, &cache, &err) < 0)
        die("%s", err.message);
    int64_t loaded_us = clock_mono_us();
    double loaded_cpu = cpu_ms();
    if (kv_range(kv, STR("/registry/"), STR("/registry0"), 0, 0, add_size, &bytes, &revision, &err) < 0)
        die("%s", err.message);
    printf("open_ms %.1f\nload_ms %.0f\nload_cpu_ms %.0f\nbytes %lld\nmb_per_s %.0f\n",
           (double)(opened_us - began_us) / 1e3, (double)(loaded_us - opened_us) / 1e3, loaded_cpu - opened_cpu,
           (long long)bytes, (double)bytes / (double)(loaded_us - opened_us));
    free(stored);
    _exit(0); /* freeing it all is not what is measured */
}

const struct command bench_load = {"load", "--data-dir DIR", "opening a store and loading its objects", run};
