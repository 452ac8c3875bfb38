/* schedule: snapshots that a server takes by itself, every so often, keeping the newest few. Their names sort by time:
 * skiff-20260102T150405Z-REVISION.snapshot; the oldest is the one of the lowest revision. When the next is due follows
 * from the newest one that is there, so restarts neither skip nor repeat one. Other files in the folder are left alone.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_SCHEDULE_H
#define SKIFF_STORAGE_SNAPSHOT_SCHEDULE_H

#include "storage/crypt/crypt.h"
#include "storage/kv/kv.h"

struct snapshot_schedule;

struct snapshot_schedule_options {
    struct kv *kv;
    const struct crypt *crypt;
    const char *dir; /* made (0700) when absent */
    int64_t every_ms;
    int64_t keep; /* 0 = all */
};
int snapshot_schedule_start(const struct snapshot_schedule_options *opt, struct snapshot_schedule **ret,
                            struct err *err);
void snapshot_schedule_stop(struct snapshot_schedule *s); /* waits; one under way is given up. NULL is fine */

#endif
