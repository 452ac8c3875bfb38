/* resources: from a pod's requests and limits to what the kernel is told: quality of service, CPU shares and quota,
 * memory limit, out-of-memory score. Pure.
 */
#ifndef SKIFF_NODE_POD_RESOURCES_H
#define SKIFF_NODE_POD_RESOURCES_H

#include "openapi/meta/quantity.h"
#include "openapi/views.h"

#include <stdbool.h>
#include <stdint.h>

enum qos { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };

/* The value of `key` in a map of strings or quantities of a view; STR_NULL when absent. */
#define VIEW_MAP_GET(map, k)                           \
    ({                                                 \
        struct str found_ = STR_NULL, key_ = (k);      \
        for (size_t at_ = 0; at_ < (map).len; at_++) { \
            if (str_eq((map).items[at_].key, key_))    \
                found_ = (map).items[at_].value;       \
        }                                              \
        found_;                                        \
    })

enum qos qos_of(const struct core_v1_pod *pod);
const char *qos_name(enum qos q);   /* "BestEffort" */
const char *qos_cgroup(enum qos q); /* "", "burstable", "besteffort" */

struct amounts { /* absent = 0 */
    int64_t cpu_request_milli, cpu_limit_milli, memory_request, memory_limit, ephemeral_request, ephemeral_limit;
};
struct amounts container_amounts(const struct core_v1_container *c);
/* Of the whole pod: main containers and sidecars together, or the largest init container; the limit is 0 as soon as one
 * container has none. */
struct amounts pod_amounts(const struct core_v1_pod *pod);

int64_t cpu_shares(int64_t milli);   /* at least 2 */
int64_t cpu_weight(int64_t shares);  /* cgroup v2: 1..10000 */
int64_t cpu_quota_us(int64_t milli); /* of CPU_PERIOD_US; 0 = unlimited */
#define CPU_PERIOD_US 100000
int oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *c, int64_t memory_capacity);

#endif
