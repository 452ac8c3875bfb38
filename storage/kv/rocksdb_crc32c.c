/* RocksDB's checksum with the processor's own instruction. Every byte that is written is summed twice (log and blob);
 * Debian's build of RocksDB does it by table, because it is compiled for the oldest processors and does not look at the
 * one it runs on. The linker directs its calls here (--wrap in CMakeLists.txt); where the instruction is missing they
 * go on to RocksDB's own. */
#include "storage/kv/rocksdb_crc32c.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const char *p, size_t len)
{
    uint64_t sum = crc ^ 0xffffffffu, word;
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    uint32_t rest = (uint32_t)sum;
    for (; len; p++, len--)
        rest = __builtin_ia32_crc32qi(rest, (unsigned char)*p);
    return rest ^ 0xffffffffu;
}
#endif

static uint32_t crc32c_bits(uint32_t crc, const char *p, size_t len)
{
    crc = ~crc;
    for (; len; p++, len--) {
        crc ^= (unsigned char)*p;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

uint32_t rocksdb_crc32c(uint32_t crc, const char *p, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_hardware(crc, p, len);
#endif
    return crc32c_bits(crc, p, len);
}

#ifndef __SANITIZE_THREAD__ /* RocksDB is a shared library then, and keeps its calls to itself */
/* rocksdb::crc32c::Extend(unsigned int, char const*, unsigned long) */
uint32_t __wrap__ZN7rocksdb6crc32c6ExtendEjPKcm(uint32_t crc, const char *p, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_hardware(crc, p, len);
#endif
    return __real__ZN7rocksdb6crc32c6ExtendEjPKcm(crc, p, len);
}
#endif
