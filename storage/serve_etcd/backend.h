/* backend: the store as etcd's own file would hold it: every version that is retained, by revision, in order. What
 * snapshots and hashes are made of. While it is open nothing of it is forgotten, whatever is compacted (kv_hold).
 *
 * Of what was compacted only the newest versions are left, as in etcd; of several keys that one transaction wrote these
 * are numbered anew. Blocks on disk: for worker threads.
 */
#ifndef SKIFF_STORAGE_SERVE_ETCD_BACKEND_H
#define SKIFF_STORAGE_SERVE_ETCD_BACKEND_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct kv;
struct crypt;
struct backend;

/* revision 0 = the newest. Values are shown as `crypt` seals them (NULL: as they were written). */
int backend_open(struct kv *kv, const struct crypt *crypt, int64_t revision, struct backend **ret, struct err *err);
void backend_close(struct backend *b); /* NULL is fine */
int64_t backend_revision(const struct backend *b);
int64_t backend_compacted(const struct backend *b); /* 0 = never */

/* key: 17 bytes of revision, an 18th ('t') for a deletion; value: mvccpb.KeyValue. Negative ends the walk. */
typedef int backend_fn(void *arg, struct str key, struct str value, struct err *err);
/* From where *at says (start with 0s) about `bytes` further (0 = to the end); 1 = that was the end. */
struct backend_place {
    size_t compacted; /* how many of the compacted versions are done */
    int64_t revision; /* all up to it are done */
};
int backend_walk(struct backend *b, struct backend_place *at, size_t bytes, backend_fn *fn, void *arg, struct err *err);

/* etcd's HashKV: CRC-32C over what is left when everything up to the revision were compacted. Of the values as they
 * were written. */
int backend_hash(struct backend *b, uint32_t *ret, struct err *err);

#endif
