/* bbolt_writer: a file that bbolt opens (the format is told in bbolt.c), written from front to back without ever going
 * back: so it can be sent while it is made.
 *
 * What stands at the front depends on all that follows. Hence the same buckets and pairs are told twice: first to
 * measure, where only the lengths of values matter, then, after bbolt_writer_start, to write. Buckets come in ascending
 * order of their names, pairs in ascending order of keys; an empty bucket is fine.
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_BBOLT_WRITER_H
#define SKIFF_STORAGE_SNAPSHOT_BBOLT_WRITER_H

#include "base/err.h"
#include "base/str.h"

struct bbolt_writer;

struct bbolt_writer *bbolt_writer_create(void);
void bbolt_writer_destroy(struct bbolt_writer *w); /* NULL is fine */

/* `name` must stay valid until the end. Finished pages are appended to `out`, which is NULL while measuring. */
void bbolt_writer_bucket(struct bbolt_writer *w, struct str name, struct buf *out);
/* While measuring value.p may be NULL. */
void bbolt_writer_add(struct bbolt_writer *w, struct str key, struct str value, struct buf *out);
/* The measuring is over: answers how long the file becomes. The front of it is appended to `out`. */
uint64_t bbolt_writer_start(struct bbolt_writer *w, struct buf *out);
/* The rest. ERR_INTERNAL: what was written is not what was measured. */
int bbolt_writer_finish(struct bbolt_writer *w, struct buf *out, struct err *err);

#endif
