/* format: the bytes of a snapshot file, described in README.md: what the writer and the reader agree on. */
#ifndef SKIFF_STORAGE_SNAPSHOT_FORMAT_H
#define SKIFF_STORAGE_SNAPSHOT_FORMAT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define SNAPSHOT_MAGIC STR("\x89SKIFF\r\n")
#define SNAPSHOT_CHUNK_HEAD 12               /* kind, number, length */
#define SNAPSHOT_CHUNK_TARGET (128u * 1024u) /* data chunks are closed once they are this long */
#define SNAPSHOT_CHUNK_MAX (4u * 1024u * 1024u)
#define SNAPSHOT_ENTRY_HEAD 37
#define SNAPSHOT_SEALED 1       /* a flag of an entry */
#define SNAPSHOT_IDENTITIES 'i' /* a chunk's kind */

enum { SNAPSHOT_FORMAT = 1 };

struct snapshot_entry {
    struct str key, value;
    bool sealed; /* the value is as storage/crypt seals it */
    int64_t create_revision, mod_revision, version;
    uint32_t ttl_s; /* 0 = none: it had no lease */
};

static inline void snapshot_add32(struct buf *out, uint32_t v)
{
    char p[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    buf_add(out, p, 4);
}
static inline void snapshot_add64(struct buf *out, uint64_t v)
{
    snapshot_add32(out, (uint32_t)(v >> 32));
    snapshot_add32(out, (uint32_t)v);
}
static inline uint32_t snapshot_get32(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}
static inline uint64_t snapshot_get64(const char *p)
{
    return (uint64_t)snapshot_get32(p) << 32 | snapshot_get32(p + 4);
}

#endif
