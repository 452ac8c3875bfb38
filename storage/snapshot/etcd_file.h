/* etcd file: the cluster in a file that `etcdctl snapshot save` wrote (or an etcd's member/snap/db, stopped), as a
 * snapshot's entries: the newest state of every key, values as JSON in the version they are stored in here.
 *
 * Values may be JSON or protobuf, and sealed as upstream seals them if the keys are there. Keys of no resource (address
 * bitmaps, the servers' own leases) are left out: they are found again from the objects. So are kinds and versions that
 * are not served, each told by name.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_ETCD_FILE_H
#define SKIFF_STORAGE_SNAPSHOT_ETCD_FILE_H

#include "base/arena.h"
#include "storage/crypt/crypt.h"
#include "storage/snapshot/format.h"

struct etcd_file;

/* Checks the digest at its end, when there is one, and reads which keys live. ERR_CORRUPT names the place. */
int etcd_file_open(const char *path, struct etcd_file **ret, struct err *err);
void etcd_file_close(struct etcd_file *f); /* NULL is fine */
int64_t etcd_file_revision(const struct etcd_file *f);
int64_t etcd_file_keys(const struct etcd_file *f);

/* How many values are encrypted, and whether their keys are there: ERR_BAD_REQUEST names the resource and the key.
 * `where` is the configuration that was looked into. */
int64_t etcd_file_sealed(const struct etcd_file *f);
int etcd_file_check_keys(const struct etcd_file *f, const struct crypt *crypt, const char *where, struct err *err);

/* Every entry, in no order; negative ends it. `skip` is told what each entry was that is left out; with
 * `without_sealed` that is also what is encrypted with a key that is not there. */
typedef int etcd_file_fn(void *arg, const struct snapshot_entry *e, struct err *err);
typedef void etcd_file_skip_fn(void *arg, struct str what);
int etcd_file_entries(struct etcd_file *f, const struct crypt *crypt, bool without_sealed, etcd_file_fn *fn,
                      etcd_file_skip_fn *skip, void *arg, struct err *err);

#endif
