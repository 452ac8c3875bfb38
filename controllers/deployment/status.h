/* status: what a Deployment says about itself: counts, conditions Available, Progressing and ReplicaFailure, its
 * revision annotation.
 */
#ifndef SKIFF_CONTROLLERS_DEPLOYMENT_STATUS_H
#define SKIFF_CONTROLLERS_DEPLOYMENT_STATUS_H

#include "controllers/deployment/rollout.h"

/* All pods are of today's template and available. */
bool status_is_complete(const struct rollout *r);
/* One update, if anything differs. `failure` is why the last run's writes failed, or empty. */
void status_write(const struct rollout *r, struct str failure, int64_t now_ms, struct outcome *out);

#endif
