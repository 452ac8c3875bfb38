/* rocksdb_crc32c: what stands between RocksDB and its checksum function, and the same function for reading its files.
 */
#ifndef SKIFF_STORAGE_KV_ROCKSDB_CRC32C_H
#define SKIFF_STORAGE_KV_ROCKSDB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C; `crc` is the checksum so far, 0 at the start. */
uint32_t rocksdb_crc32c(uint32_t crc, const char *p, size_t len);

/* The names are what the linker makes of rocksdb::crc32c::Extend. */
uint32_t __wrap__ZN7rocksdb6crc32c6ExtendEjPKcm(uint32_t crc, const char *p, size_t len); // NOLINT
uint32_t __real__ZN7rocksdb6crc32c6ExtendEjPKcm(uint32_t crc, const char *p, size_t len); // NOLINT

#endif
