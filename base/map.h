/* map: a hash table from byte strings to pointers, on the heap. Keys are copied in; values stay the caller's.
 * Iteration order is unspecified. Not thread-safe. Removing the entry just visited is allowed while iterating.
 */
#ifndef SKIFF_BASE_MAP_H
#define SKIFF_BASE_MAP_H

#include "base/str.h"

struct map_entry;
struct map {
    struct map_entry **buckets;
    size_t n_buckets, len;
};

void map_finish(struct map *m);                            /* frees the table and its keys, not the values */
void *map_get(const struct map *m, struct str key);        /* NULL when absent */
void *map_put(struct map *m, struct str key, void *value); /* returns the value replaced, or NULL */
void *map_remove(struct map *m, struct str key);           /* returns the value, or NULL */

struct map_iter {
    const struct map *map;
    size_t bucket;
    struct map_entry *entry, *next;
};
void map_iter_init(struct map_iter *it, const struct map *m);
bool map_iter_next(struct map_iter *it, struct str *ret_key, void **ret_value);

#endif
