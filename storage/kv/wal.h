/* wal: RocksDB's write-ahead log and manifest, looked at as files before RocksDB opens them.
 *
 * One thread writes, and writes a batch only once the one before is synced. So after a crash the log may end in a batch
 * that is torn: that one was never acknowledged and goes. Anything else that does not fit (a damaged record with whole
 * batches behind it, numbers that skip, an end before what was acknowledged) is damage to what was synced, which
 * RocksDB by itself would pass over or not tell from a torn end. It is named and never passed over.
 *
 * The manifest, which says what files there are, is synced with every change, too: what is torn off its end happened to
 * nobody, for RocksDB deletes what a change replaces only afterwards. It is cut off, since RocksDB would refuse it,
 * unless whole records follow, or logs that it still needs are gone.
 *
 * How far the acknowledged writes go stands in the file `synced`, written without a sync of its own: what it says may
 * be older than the truth, never ahead of it.
 */
#ifndef SKIFF_STORAGE_KV_WAL_H
#define SKIFF_STORAGE_KV_WAL_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* 0: RocksDB may open `dir` (also when there is nothing yet), torn ends are cut off; ERR_CORRUPT names the file, the
 * place and the keys. */
int wal_check(const char *dir, struct err *err);
/* Takes every batch behind the sequence number off the logs: they were written, but their sync failed. */
int wal_cut(const char *dir, uint64_t sequence, struct err *err);

/* Opens the file; no file (-1) is no reason not to go on. */
int wal_synced_open(const char *dir);
void wal_synced_write(int fd, uint64_t sequence);
/* False: never written, or not whole. */
bool wal_synced_read(const char *dir, uint64_t *ret_sequence);

/* ---- the parts, for tests ---- */

struct wal_span {         /* whole batches of one file, from its beginning */
    uint64_t first, next; /* sequence numbers; 0, 0: there is none */
    size_t good_end;      /* behind the last of them */
    size_t last_begin;    /* where that one begins */
    bool damaged;         /* something that is no whole batch follows */
    size_t damage;        /* there */
    uint64_t resumes;     /* the sequence number of a whole batch behind the damage; 0: none */
    size_t resumes_at;
};
/* Reads a whole file's text. Stops before a batch above `until`, whose place is then in good_end. */
void wal_read(struct str text, uint64_t until, struct wal_span *ret);

struct wal_manifest { /* up to its end, or to where it is torn */
    uint64_t last_sequence, oldest_log;
    uint64_t newer_log; /* from which on the next space needs them; 0: all from the same */
    bool torn;          /* something that is no whole record stands at good_end */
    size_t good_end;
    bool damaged; /* and that was synced: what follows says so */
};
/* False: not to be understood (RocksDB will say why). */
bool wal_manifest_read(struct str text, struct wal_manifest *ret);

#endif
