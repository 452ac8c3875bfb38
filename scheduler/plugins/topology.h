/* topology: counts by topology pair: the value that a node has for a label key ("topology.kubernetes.io/zone" = "a").
 */
#ifndef SKIFF_SCHEDULER_PLUGINS_TOPOLOGY_H
#define SKIFF_SCHEDULER_PLUGINS_TOPOLOGY_H

#include "base/arena.h"
#include "base/str.h"

struct topology_count {
    struct str key, value;
    int64_t n;
};

struct topology_counts { /* zero-initialised is empty; lives in an arena, strings are borrowed */
    struct topology_count **slots;
    size_t len, cap;
};

/* The count of a pair, made with 0 when new. */
int64_t *topology_count_at(struct arena *a, struct topology_counts *t, struct str key, struct str value);
const int64_t *topology_count_find(const struct topology_counts *t, struct str key, struct str value); /* NULL: none */

#endif
