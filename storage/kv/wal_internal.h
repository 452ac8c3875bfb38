/* The inside of wal: wal_record.c reads records, wal_log.c and wal_manifest.c what is in them, wal.c has the files.
 *
 * The format is RocksDB's (and LevelDB's): blocks of 32 KiB hold records of checksum, length, type and payload; a
 * payload that does not fit goes on in the next block. Logs and the manifest share it.
 */
#ifndef SKIFF_STORAGE_KV_WAL_INTERNAL_H
#define SKIFF_STORAGE_KV_WAL_INTERNAL_H

#include "storage/kv/wal.h"

enum {
    WAL_BLOCK = 32768,
    WAL_HEADER = 7,
    WAL_BATCH_HEADER = 12,
    WAL_FULL = 1,
    WAL_FIRST = 2,
    WAL_MIDDLE = 3,
    WAL_LAST = 4
};

struct wal_reader {
    struct str text;
    size_t at, begin; /* where it stands; where the last payload began */
    struct buf pieces;
};

uint64_t wal_little(const char *p, int bytes);
/* Whether a whole physical record begins here; its payload. */
bool wal_record_at(struct str text, size_t at, int *ret_type, struct str *ret);
/* The next payload; 0 = the end (zeros count as that), -1 = something else stands at r->begin. */
int wal_next(struct wal_reader *r, struct str *ret);
/* Off the front; false: it is not whole. */
bool wal_take_varint(struct str *s, uint64_t *ret);
bool wal_take_string(struct str *s, struct str *ret);

/* Which revisions and keys stood where the damage is: from the batches around it and what can be read of its own. */
void wal_describe(struct str text, const struct wal_span *s, char *to, size_t size);

#endif
