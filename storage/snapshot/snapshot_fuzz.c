#include "base/mem.h"
#include "storage/snapshot/identities.h"
#include "storage/snapshot/reader.h"

#include <stdlib.h>
#include <zlib.h>

struct bytes {
    const uint8_t *p;
    size_t len;
};

static int64_t take(void *arg, void *p, size_t n, struct err *err)
{
    struct bytes *b = arg;
    size_t got = n < b->len ? n : b->len;
    (void)err;
    if (got)
        memcpy(p, b->p, got);
    b->p += got;
    b->len -= got;
    return (int64_t)got;
}

/* Numbers and checksums are put right, or hardly any input would come past them. */
static void mend(uint8_t *p, size_t size)
{
    size_t at = SNAPSHOT_MAGIC.len;
    for (uint32_t number = 0; at + SNAPSHOT_CHUNK_HEAD <= size; number++) {
        size_t len = snapshot_get32((char *)p + at + 8);
        if (len > size - at - SNAPSHOT_CHUNK_HEAD || size - at - SNAPSHOT_CHUNK_HEAD - len < 4)
            return;
        struct buf fixed = {0};
        snapshot_add32(&fixed, number);
        memcpy(p + at + 4, fixed.p, 4);
        fixed.len = 0;
        snapshot_add32(&fixed, (uint32_t)crc32(0, p + at, (uInt)(len + SNAPSHOT_CHUNK_HEAD)));
        memcpy(p + at + SNAPSHOT_CHUNK_HEAD + len, fixed.p, 4);
        buf_free(&fixed);
        at += SNAPSHOT_CHUNK_HEAD + len + 4;
    }
}

static void read_all(const uint8_t *data, size_t size)
{
    struct bytes b = {data, size};
    struct snapshot_reader *r = snapshot_reader_create(take, &b);
    struct snapshot_head head;
    struct snapshot_entry entry;
    struct err err = ERR_INIT;
    int rc = snapshot_reader_head(r, &head, &err);
    while (rc == 0)
        rc = snapshot_reader_next(r, &entry, &err);
    struct snapshot_identities ids;
    struct arena *a = arena_create(0);
    identities_parse(a, snapshot_reader_identities(r), &ids, &err);
    arena_destroy(a);
    snapshot_reader_destroy(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *mended = mem_dup(data, size);
    read_all(data, size);
    mend(mended, size);
    read_all(mended, size);
    free(mended);
    return 0;
}
