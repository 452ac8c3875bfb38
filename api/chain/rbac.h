/* rbac: who may do what, compiled from Roles, ClusterRoles and their bindings.
 *
 * The compiled rules belong to one revision of the four RBAC resources in the cache; a request that finds the cache's
 * trees changed compiles anew first, so an answer always reflects every write answered before. Decisions are remembered
 * per (user, verb, resource, namespace) for the life of a compilation. Any thread may ask.
 *
 * Members of system:masters may do everything. Subresources are matched as "pods/log", "pods/x", "x/log";
 * resourceNames, nonResourceURLs (with a trailing *) and service-account subjects behave as upstream's.
 */
#ifndef SKIFF_API_CHAIN_RBAC_H
#define SKIFF_API_CHAIN_RBAC_H

#include "api/request.h"

struct rbac;
struct cache;

struct api_attributes {
    struct str verb; /* "list", "deletecollection", "impersonate", …; lower-case HTTP method for paths */
    struct str group, resource, subresource, namespace_, name;
    bool non_resource; /* then only verb and path count */
    struct str path;
};

int rbac_create(struct cache *cache, struct rbac **ret, struct err *err);
void rbac_destroy(struct rbac *r);

/* 0 allowed, 1 denied. */
int rbac_authorize(struct rbac *r, const struct api_user *user, const struct api_attributes *attributes);
/* Sets ERR_FORBIDDEN with upstream's whole sentence: `pods is forbidden: User "x" cannot list resource "pods" in …`. */
int rbac_forbid(const struct api_user *user, const struct api_attributes *attributes, struct err *err);
/* Why a denial came about beyond "no rule" (a binding that names a missing role), in the arena; STR_NULL mostly. */
struct str rbac_reason(struct rbac *r, struct arena *a, const struct api_user *user,
                       const struct api_attributes *attributes);

/* The attributes of a routed request. */
struct api_attributes api_request_attributes(const struct api_request *req);

/* All rules that apply to the user in a namespace, as a SelfSubjectRulesReview's status (resourceRules,
 * nonResourceRules, incomplete). */
struct value *rbac_rules_review(struct rbac *r, struct arena *a, const struct api_user *user, struct str namespace_);
/* May the user hand out these rules (a list of PolicyRule values) in the namespace ("" = cluster)? Privilege escalation
 * check of Roles and bindings. 0 yes; 1 no, and ret_missing says which in upstream's words. */
int rbac_covers(struct rbac *r, struct arena *a, const struct api_user *user, struct str namespace_,
                const struct value *rules, struct str *ret_missing);

bool api_user_in_group(const struct api_user *user, struct str group);

#endif
