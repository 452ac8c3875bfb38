/* bbolt: reading the B+tree file that etcd keeps its data in (github.com/etcd-io/bbolt), every offset checked: a
 * damaged file is refused with the page named, never followed out of bounds or in circles. */
#ifndef SKIFF_STORAGE_SNAPSHOT_BBOLT_H
#define SKIFF_STORAGE_SNAPSHOT_BBOLT_H

#include "base/err.h"
#include "base/str.h"

/* Negative ends the walk. The bytes lie in the file's. */
typedef int bbolt_fn(void *arg, struct str key, struct str value, struct err *err);
/* All pairs of a top-level bucket in key order, nested buckets left out. ERR_NOT_FOUND: no such bucket. */
int bbolt_walk(struct str file, struct str bucket, bbolt_fn *fn, void *arg, struct err *err);

#endif
