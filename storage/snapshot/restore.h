/* restore: a snapshot into a new data directory, or into an empty etcd.
 *
 * The file is checked whole before anything is written; the store is made beside its place (DIR/store.partial) and
 * moved there at the end, so a restore that was interrupted leaves no store. Every value that was sealed is opened and
 * sealed anew, so its key must be there: DIR/pki/encryption.yaml or the file given (which is copied there).
 *
 * The store begins SNAPSHOT_REVISION_BUMP revisions later: whatever revision a client of the former cluster holds, also
 * of changes made after the snapshot, it is answered 410 Gone and lists again. In etcd (restore_etcd.c) revisions count
 * writes, so they are made: the snapshot's and `revision_bump` more, before the first object, and forgotten after the
 * last. /skiff/restoring stands there until all is done; a restore that finds it begins again.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_RESTORE_H
#define SKIFF_STORAGE_SNAPSHOT_RESTORE_H

#include "storage/kv/kv.h"
#include "storage/snapshot/file.h"

#define SNAPSHOT_REVISION_BUMP INT64_C(1000000000)

/* In etcd a revision cannot be set, only reached: by so many writes of one key. By default changes made after the
 * snapshot are taken to be no more than this. */
#define SNAPSHOT_ETCD_REVISION_BUMP INT64_C(100000)

struct snapshot_restore {
    const char *file, *data_dir;
    const char *store; /* "URL,…": into this etcd, which must be empty; the directory is that of the keys, or NULL */
    int64_t revision_bump;
    void (*bumping)(void *arg, int64_t done, int64_t all); /* progress of that */
    bool from_etcd;                                        /* the file is etcd's: see etcd_file.h */
    const char *encryption_config;                         /* NULL = DIR/pki/encryption.yaml */
    bool without_sealed;                                   /* the key is lost: restore the rest */
    snapshot_progress *progress; /* bytes read of the file, first pass and second; NULL = nobody asks */
    void *progress_arg;
};

/* `ret` tells what the file held (of etcd's: revision and entries only); *ret_left_out how many entries were not
 * restored. ERR_ALREADY_EXISTS: the directory holds a store, the etcd has keys. */
int snapshot_restore(const struct snapshot_restore *opt, struct arena *a, struct snapshot_summary *ret,
                     int64_t *ret_left_out, struct err *err);
/* ERR_BUSY where a restore into an etcd has begun and not ended: no server may start on that. Waits for the store. */
int snapshot_restore_unfinished(struct kv *kv, struct err *err);

#endif
