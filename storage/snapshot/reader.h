/* reader: a snapshot file entry by entry, every byte of it checked: kinds, numbers, lengths, checksums, the order of
 * keys, the count and the digest of the whole. ERR_CORRUPT names the place ("chunk 12 at byte 1572882: …").
 */
#ifndef SKIFF_STORAGE_SNAPSHOT_READER_H
#define SKIFF_STORAGE_SNAPSHOT_READER_H

#include "base/err.h"
#include "storage/snapshot/format.h"

struct snapshot_reader;

/* Fills p as far as it can; a short count is the end, negative a failure with err set. */
typedef int64_t snapshot_read_fn(void *arg, void *p, size_t n, struct err *err);

struct snapshot_head {
    int64_t revision, time_us;
    char program[64];
};

struct snapshot_reader *snapshot_reader_create(snapshot_read_fn *fn, void *arg);
void snapshot_reader_destroy(struct snapshot_reader *r); /* NULL is fine */
/* Once, before the first entry. */
int snapshot_reader_head(struct snapshot_reader *r, struct snapshot_head *ret, struct err *err);
/* The identities packed in it (identities.h), known once an entry was read; empty: it has none. */
struct str snapshot_reader_identities(const struct snapshot_reader *r);
/* 1 = the end, and everything was as it should be. The entry's bytes live until the next call. */
int snapshot_reader_next(struct snapshot_reader *r, struct snapshot_entry *ret, struct err *err);
uint64_t snapshot_reader_bytes(const struct snapshot_reader *r);     /* read so far */
const char *snapshot_reader_sha256(const struct snapshot_reader *r); /* hex, after the end */

/* A snapshot_read_fn over a file descriptor: arg is an int *. */
int64_t snapshot_read_fd(void *arg, void *p, size_t n, struct err *err);

#endif
