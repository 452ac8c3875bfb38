/* file: a snapshot file while it is written: beside its place (FILE.partial), synced, read back and checked, and only
 * then moved there. A failure leaves what was at FILE before. */
#ifndef SKIFF_STORAGE_SNAPSHOT_FILE_H
#define SKIFF_STORAGE_SNAPSHOT_FILE_H

#include "storage/snapshot/summary.h"
#include "storage/snapshot/writer.h"

#include <sys/types.h>

struct snapshot_file {
    int fd;
    char path[4096], partial[4200];
    uint64_t bytes;
    off_t begun, waited; /* how far writing it to the disk has begun, and has ended */
};

int snapshot_file_create(struct snapshot_file *f, const char *path, struct err *err);
int snapshot_file_add(struct snapshot_file *f, struct str bytes, struct err *err);
/* Ends f, whatever it answers. */
int snapshot_file_commit(struct snapshot_file *f, struct arena *a, struct snapshot_summary *ret, struct err *err);
void snapshot_file_abandon(struct snapshot_file *f);

typedef void snapshot_progress(void *arg, uint64_t bytes);
/* Of a store of this process; `identities`, packed (identities.h), go along unless they are empty. `stop` (may be NULL)
 * turning true ends it with ERR_CANCELED. */
int snapshot_save(struct kv *kv, const struct crypt *crypt, struct str identities, const char *path,
                  snapshot_progress *progress, void *arg, const _Atomic(bool) *stop, struct arena *a,
                  struct snapshot_summary *ret, struct err *err);

#endif
