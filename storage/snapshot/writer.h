/* writer: a snapshot of a whole store at one revision, made piece by piece: whoever sends it somewhere asks for the
 * next piece when there is room. Each call reads a slice of about 128 KiB, so nobody waits for the whole.
 *
 * The store goes on meanwhile, and keeps what the writer has yet to read (kv_hold), so a writer must not be kept for
 * ever. In an etcd cluster that cannot be asked for: there a writer asked so slowly that its revision has been
 * compacted ends with ERR_EXPIRED. What is left of leases is what was left when the writing began.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_WRITER_H
#define SKIFF_STORAGE_SNAPSHOT_WRITER_H

#include "storage/crypt/crypt.h"
#include "storage/kv/kv.h"

struct snapshot_writer;

/* Both stay the caller's. The revision is fixed here: the newest one. */
struct snapshot_writer *snapshot_writer_create(struct kv *kv, const struct crypt *crypt);
void snapshot_writer_destroy(struct snapshot_writer *w); /* NULL is fine */
int64_t snapshot_writer_revision(const struct snapshot_writer *w);
/* Before the first piece: packed identities (identities.h) that the file is to hold, too; copied. */
void snapshot_writer_identities(struct snapshot_writer *w, struct str packed);
/* Appends the next bytes of the file. 0 = more follows, 1 = that was the end. */
int snapshot_writer_next(struct snapshot_writer *w, struct buf *out, struct err *err);

#endif
