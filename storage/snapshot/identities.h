/* identities: what makes a cluster itself besides its objects: the files of DIR/pki (its CA, its key for
 * service-account tokens, the keys that values are sealed with). A snapshot has them only when they were asked for:
 * such a file is the cluster, whole, and opens everything.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_IDENTITIES_H
#define SKIFF_STORAGE_SNAPSHOT_IDENTITIES_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct snapshot_identity {
    struct str name, bytes; /* "ca.key" */
};

struct snapshot_identities { /* in the arena */
    struct snapshot_identity *items;
    size_t n, cap;
};

/* The files of DIR/pki; encryption.yaml from `encryption_config` when that is not NULL. */
int identities_read(struct arena *a, const char *data_dir, const char *encryption_config,
                    struct snapshot_identities *ret, struct err *err);
/* As they stand in a snapshot (chunk `i`), and back. ERR_CORRUPT: nothing of the kind. */
void identities_pack(const struct snapshot_identities *ids, struct buf *out);
int identities_parse(struct arena *a, struct str packed, struct snapshot_identities *ret, struct err *err);
/* Into DIR/pki (0700, files 0600, synced). What is there already and the same stays; ERR_ALREADY_EXISTS names a file
 * that is another. `made` (as long as ids->n) tells which are new, for identities_remove after a failure. */
int identities_write(const struct snapshot_identities *ids, const char *data_dir, bool *made, struct err *err);
void identities_remove(const struct snapshot_identities *ids, const char *data_dir, const bool *made);

#endif
