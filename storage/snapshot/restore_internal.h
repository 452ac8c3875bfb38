/* The inside of restore: what both kinds of place share. */
#ifndef SKIFF_STORAGE_SNAPSHOT_RESTORE_INTERNAL_H
#define SKIFF_STORAGE_SNAPSHOT_RESTORE_INTERNAL_H

#include "storage/snapshot/restore.h"

struct etcd_file;

/* All entries of the file into kv. */
int restore_fill(const struct snapshot_restore *opt, struct etcd_file *etcd, const struct crypt *crypt, struct kv *kv,
                 struct arena *a, struct snapshot_summary *s, int64_t *ret_left_out, struct err *err);
/* Opens opt->store, makes sure that it is empty, makes the revisions, fills it and makes it ready. */
int restore_etcd(const struct snapshot_restore *opt, struct etcd_file *etcd, struct crypt *crypt, struct arena *a,
                 struct snapshot_summary *s, int64_t *ret_left_out, struct err *err);

#endif
