/* rollout: a Deployment with its ReplicaSets, as one run of the controller sees it, and the decisions of scale: pure
 * numbers from pure numbers (rolling update with surge and unavailability, recreate, proportional scaling).
 */
#ifndef SKIFF_CONTROLLERS_DEPLOYMENT_ROLLOUT_H
#define SKIFF_CONTROLLERS_DEPLOYMENT_ROLLOUT_H

#include "controllers/runtime/controller.h"
#include "openapi/views.h"

struct set { /* one ReplicaSet */
    const struct object *object;
    const struct apps_v1_replica_set *rs;
    int64_t replicas;                 /* spec.replicas, and what this run makes of it */
    int64_t was;                      /* spec.replicas as observed */
    int64_t available, ready, actual; /* of its status */
    int64_t revision;                 /* deployment.kubernetes.io/revision */
};

struct rollout {
    const struct object *object;
    const struct apps_v1_deployment *deployment;
    int64_t replicas, max_surge, max_unavailable; /* resolved */
    struct set *current;                          /* the ReplicaSet of today's template, NULL = none yet */
    struct set *old;                              /* the others, oldest first */
    size_t n_old;
    struct str created; /* the name of the ReplicaSet this run creates, STR_NULL = none */
    bool collision;     /* that name is taken: the next run tries another hash */
    bool scaling;       /* spec.replicas was changed: this run does nothing else */
};

/* maxSurge and maxUnavailable of the strategy as numbers: percentages round up and down; never both zero. */
void rollout_limits(struct rollout *r);
int64_t rollout_max_unavailable(const struct rollout *r);
/* How many replicas a new ReplicaSet begins with. */
int64_t rollout_first_replicas(const struct rollout *r);
/* Set `replicas` of every set to what it should be now. */
void rollout_rolling_update(struct rollout *r);
bool rollout_recreate_scale_down(struct rollout *r); /* whether there was anything left */
/* Whether spec.replicas is not what the sets with pods were last told of. */
bool rollout_is_scaled(const struct rollout *r);
/* Follow it: a single set takes it as it is, several get their shares. */
void rollout_scale(struct rollout *r);

#endif
