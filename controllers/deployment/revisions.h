/* revisions: a Deployment's ReplicaSets as its history: which one is of today's template, what a new one looks like,
 * which are old enough to go.
 */
#ifndef SKIFF_CONTROLLERS_DEPLOYMENT_REVISIONS_H
#define SKIFF_CONTROLLERS_DEPLOYMENT_REVISIONS_H

#include "controllers/deployment/rollout.h"

#define REVISION_ANNOTATION "deployment.kubernetes.io/revision"
#define HASH_LABEL "pod-template-hash"

/* Sort the Deployment's sets into current and old. */
void revisions_find(struct arena *a, struct rollout *r, struct set *sets, size_t n);
int64_t revisions_max_old(const struct rollout *r);
/* What the ReplicaSet of today's template is called: the Deployment's name and the template's hash. */
struct str revisions_name(const struct rollout *r, struct arena *a);
void revisions_create(const struct rollout *r, struct str name, struct outcome *out);
/* Bring revision, annotations, minReadySeconds and replicas of an existing set up to date, in one patch if need be. */
void revisions_update(const struct rollout *r, const struct set *s, struct outcome *out);
/* Delete the oldest beyond spec.revisionHistoryLimit. */
void revisions_clean_up(const struct rollout *r, struct outcome *out);

struct str annotation_of(const struct meta_v1_object_meta *meta, const char *key);

#endif
