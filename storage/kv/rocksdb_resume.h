/* What the C interface of RocksDB lacks: DB::Resume after a background error. */
#ifndef SKIFF_STORAGE_KV_ROCKSDB_RESUME_H
#define SKIFF_STORAGE_KV_ROCKSDB_RESUME_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif
/* *ret_error is malloc'd, NULL when the database can be written again. */
void rocksdb_resume(rocksdb_t *db, char **ret_error);
#ifdef __cplusplus
}
#endif

#endif
