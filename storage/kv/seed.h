/* seed: a new local store whose history begins at a given revision, everything before it counting as compacted: watches
 * and reads of earlier revisions answer ERR_EXPIRED. For restoring: clients of the former store notice. */
#ifndef SKIFF_STORAGE_KV_SEED_H
#define SKIFF_STORAGE_KV_SEED_H

#include "base/err.h"

#include <stdint.h>

/* `dir` must not exist yet, or be empty. Open it with kv_open_rocksdb afterwards. */
int kv_seed_rocksdb(const char *dir, int64_t revision, struct err *err);

#endif
