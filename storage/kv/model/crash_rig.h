/* crash_rig: one seed: the driver on a local store over RocksDB over the fault environment, with faults, crashes and
 * restarts between and during its steps. Time is the fake clock's; nothing sleeps.
 */
#ifndef SKIFF_STORAGE_KV_MODEL_CRASH_RIG_H
#define SKIFF_STORAGE_KV_MODEL_CRASH_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crash_rig_counts {
    uint32_t path; /* a sum over all that was done and answered */
    size_t windows, crashes, crashes_while_opening, restarts, failures, recoveries, rotten, refused;
    size_t outcomes_open, revisions;
};

/* `crowded`: handing in, reading and background work go on side by side as the threads have it; otherwise the same seed
 * does the same. */
void crash_rig_run(uint64_t seed, unsigned n_steps, bool crowded, struct crash_rig_counts *counts);

#endif
