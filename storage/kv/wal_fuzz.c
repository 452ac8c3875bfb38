/* A log, and a manifest, of any bytes: read without going out of them. */
#include "storage/kv/wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct wal_manifest manifest;
    struct wal_span span;

    wal_read(text, UINT64_MAX, &span);
    wal_read(text, 7, &span);
    (void)wal_manifest_read(text, &manifest);
    return 0;
}
