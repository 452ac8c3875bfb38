/* What the C interface of RocksDB lacks: DB::Resume after a background error. */
#ifndef SKIFF_STORAGE_KV_ROCKSDB_RESUME_H
#define SKIFF_STORAGE_KV_ROCKSDB_RESUME_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif
/* *ret_error is malloc'd, NULL when the database can be written again. */
void rocksdb_resume(rocksdb_t *db, char **ret_error);
/* After an error it waits for rocksdb_resume, or to be opened anew. */
void rocksdb_resume_never_by_itself(rocksdb_options_t *options);
#ifdef __cplusplus
}
#endif

#endif
