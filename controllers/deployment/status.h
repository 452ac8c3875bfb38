/* status: what a Deployment says about itself: counts, conditions Available and Progressing, its revision annotation. */
#ifndef SKIFF_CONTROLLERS_DEPLOYMENT_STATUS_H
#define SKIFF_CONTROLLERS_DEPLOYMENT_STATUS_H

#include "controllers/deployment/rollout.h"

/* This run creates the ReplicaSet of that name: progress. */
void status_note_created(struct rollout *r, struct str name);
/* All pods are of today's template and available, and the status says so for this generation. */
bool status_is_complete(const struct rollout *r);
void status_write(const struct rollout *r, int64_t now_ms, struct outcome *out);

#endif
