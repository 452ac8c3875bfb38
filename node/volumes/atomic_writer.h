/* atomic writer: the files of a configMap, secret, projected or downwardAPI volume, replaced all at once.
 *
 * They live in a directory named by time (`..2026_01_02_…`), `..data` links to it, and every top name in the volume
 * links through `..data`: one rename of that link moves all readers from the old set to the new one. Nothing is written
 * when the set is already there. Blocking: called from the loop's pool.
 */
#ifndef SKIFF_NODE_VOLUMES_ATOMIC_WRITER_H
#define SKIFF_NODE_VOLUMES_ATOMIC_WRITER_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

struct volume_file {
    struct str path; /* relative, without "..", may hold slashes */
    struct str data;
    uint32_t mode;
    int64_t uid; /* -1 = ours */
};

/* gid -1: ours. */
int atomic_write(const char *dir, const struct volume_file *files, size_t n, int64_t gid, struct err *err);

#endif
