#include "storage/kv/seed.h"

#include "storage/kv/record.h"

int kv_seed_rocksdb(const char *dir, int64_t revision, struct err *err)
{
    struct kv_engine *e;
    int rc = kv_engine_rocksdb(dir, &e, err);
    if (rc < 0)
        return rc;
    struct arena *a = arena_create(0);
    struct kv_write notes[] = {
        {.space = KV_SPACE_META, .key = record_meta_key(a, 'm', STR("revision")), .head = record_number(a, revision)},
        {.space = KV_SPACE_META, .key = record_meta_key(a, 'm', STR("compacted")), .head = record_number(a, revision)},
    };
    rc = e->ops->write(e, notes, 2, true, err);
    e->ops->close(e);
    arena_destroy(a);
    return rc;
}
