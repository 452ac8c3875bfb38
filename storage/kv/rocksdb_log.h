/* Where RocksDB's own messages go: to our log (debug), not to a file beside the data. A file of messages on a full disk
 * ends the process: once a write to it has failed, the library's next message is an assertion. */
#ifndef SKIFF_STORAGE_KV_ROCKSDB_LOG_H
#define SKIFF_STORAGE_KV_ROCKSDB_LOG_H

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif
void rocksdb_log_here(rocksdb_options_t *options); /* errors alone */
#ifdef __cplusplus
}
#endif

#endif
