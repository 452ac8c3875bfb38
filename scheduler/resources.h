/* resources: amounts of cpu (thousandths), memory and ephemeral storage (bytes) and extended resources (units), as
 * plain numbers. Extended resources are numbered in the order they are first seen.
 */
#ifndef SKIFF_SCHEDULER_RESOURCES_H
#define SKIFF_SCHEDULER_RESOURCES_H

#include "base/arena.h"
#include "openapi/views.h"

enum { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_EPHEMERAL_STORAGE, N_FIXED_RESOURCES };
enum { EXTENDED_MAX = 44 };

struct resource_names {
    char *names[EXTENDED_MAX];
    size_t len;
};
/* The number of an extended resource, made when new. -1: not one that nodes offer by count ("pods", "storage"), or more
 * than EXTENDED_MAX are in use. */
int resource_number(struct resource_names *names, struct str name);
void resource_names_finish(struct resource_names *names);

struct extended_amount {
    int number;
    int64_t amount;
};

struct requests {
    int64_t fixed[N_FIXED_RESOURCES];
    int64_t nonzero[2];               /* cpu and memory, where containers that say nothing count as 100m and 200Mi */
    struct extended_amount *extended; /* on the heap */
    uint16_t n_extended;
};

/* What a pod asks for: the sum of its containers, or the largest init container (beside the sidecars before it) where
 * that is more; pod-level requests where they are given; and overhead. Containers being resized count with the larger
 * amount. */
void requests_of_pod(const struct core_v1_pod *pod, struct resource_names *names, struct requests *ret);

#endif
