/* The store against the model, under faults and crashes.
 *
 *   SKIFF_SEEDS=n   how many seeds (200)        SKIFF_FIRST_SEED=n   from which (1)
 *   SKIFF_SEED=n    one alone                   SKIFF_TRACE=1        with every step
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "storage/kv/model/crash_rig.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
enum { STEPS = 60, CROWDED_EVERY = 2, SEEDS = 40 };
/* RocksDB itself is not built for the sanitizer, which cannot see how its writers hand over to each other. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:rocksdb::\n";
}
#elif defined(__SANITIZE_ADDRESS__)
enum { STEPS = 40, CROWDED_EVERY = 8, SEEDS = 200 };
/* Most of the time goes into remembering who allocated what in RocksDB: a little of it will do. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "malloc_context_size=4:quarantine_size_mb=16";
}
#else
enum { STEPS = 60, CROWDED_EVERY = 8, SEEDS = 200 };
#endif

enum { REPEATED = 4 };

static uint64_t number(const char *name, uint64_t absent)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : absent;
}

static void crashes(void **state)
{
    (void)state;
    struct crash_rig_counts c = {0};
    uint64_t one = number("SKIFF_SEED", 0), first = one ? one : number("SKIFF_FIRST_SEED", 1);
    uint64_t n = one ? 1 : number("SKIFF_SEEDS", SEEDS);
    int64_t start_ms = clock_mono_ms();

    for (uint64_t seed = first; seed < first + n; seed++)
        crash_rig_run(seed, (unsigned)number("SKIFF_STEPS", STEPS), seed % CROWDED_EVERY == 0, &c);
    print_message("%llu seeds in %.1f s: %zu windows, %zu revisions, %zu crashes (%zu while opening), %zu restarts, "
                  "%zu faults armed, %zu recoveries, %zu outcomes left open, %zu files damaged, %zu reads refused\n",
                  (unsigned long long)n, (double)(clock_mono_ms() - start_ms) / 1000, c.windows, c.revisions, c.crashes,
                  c.crashes_while_opening, c.restarts, c.failures, c.recoveries, c.outcomes_open, c.rotten, c.refused);
}

/* What is told from a seed alone: the same every time. */
static void repeats(void **state)
{
    (void)state;
    struct crash_rig_counts first = {0}, second = {0};

    for (uint64_t seed = 1; seed <= REPEATED; seed++) {
        crash_rig_run(seed, STEPS, false, &first);
        crash_rig_run(seed, STEPS, false, &second);
        if (first.path != second.path)
            fail_msg("seed %llu took another path", (unsigned long long)seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(crashes), cmocka_unit_test(repeats)};

    log_set_level(getenv("SKIFF_TRACE") ? LOG_DEBUG : LOG_ERROR + 1); /* trouble is what it makes */
    if (getenv("SKIFF_SEED"))
        cmocka_set_test_filter("crashes");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
