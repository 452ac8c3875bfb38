/* owners: how many pods of one owner (a ReplicaSet, a StatefulSet) are on which node, kept while pods come and go, so
 * that replicas can keep their distance without counting anew each time.
 */
#ifndef SKIFF_SCHEDULER_OWNERS_H
#define SKIFF_SCHEDULER_OWNERS_H

#include "base/map.h"

struct sched_node;

struct owner_slot {
    const struct sched_node *node; /* NULL = free */
    int32_t n;
};

struct owner_pods {
    char *uid;
    size_t n_users;           /* pods that refer to this */
    size_t n_pods;            /* of them placed */
    struct owner_slot *slots; /* open addressing by node */
    size_t len, cap;
};

/* One user more; made when new. */
struct owner_pods *owner_pods_get(struct map *owners, struct str uid);
void owner_pods_put(struct map *owners, struct owner_pods *o); /* NULL is fine; freed with the last user */
void owner_pods_add(struct owner_pods *o, const struct sched_node *n, int32_t by); /* 1 or -1 */
int32_t owner_pods_on(const struct owner_pods *o, const struct sched_node *n);

#endif
