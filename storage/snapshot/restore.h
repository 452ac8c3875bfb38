/* restore: a snapshot into a new data directory.
 *
 * The file is checked whole before anything is written; the store is made beside its place (DIR/store.partial) and
 * moved there at the end, so a restore that was interrupted leaves no store. Every value that was sealed is opened and
 * sealed anew, so its key must be there: DIR/pki/encryption.yaml or the file given (which is copied there).
 *
 * The store begins SNAPSHOT_REVISION_BUMP revisions later: whatever revision a client of the former cluster holds, also
 * of changes made after the snapshot, it is answered 410 Gone and lists again.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_RESTORE_H
#define SKIFF_STORAGE_SNAPSHOT_RESTORE_H

#include "storage/snapshot/file.h"

#define SNAPSHOT_REVISION_BUMP INT64_C(1000000000)

struct snapshot_restore {
    const char *file, *data_dir;
    bool from_etcd;                /* the file is etcd's: see etcd_file.h */
    const char *encryption_config; /* NULL = DIR/pki/encryption.yaml */
    bool without_sealed;           /* the key is lost: restore the rest */
    snapshot_progress *progress;   /* bytes read of the file, first pass and second; NULL = nobody asks */
    void *progress_arg;
};

/* `ret` tells what the file held (of etcd's: revision and entries only); *ret_left_out how many entries were not
 * restored. ERR_ALREADY_EXISTS: the directory holds a store. */
int snapshot_restore(const struct snapshot_restore *opt, struct arena *a, struct snapshot_summary *ret,
                     int64_t *ret_left_out, struct err *err);

#endif
