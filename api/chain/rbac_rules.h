/* rbac rules: one compilation of Roles, ClusterRoles and bindings: which rules each user and group has, and where.
 * Internal to rbac.c and its tests. Immutable once compiled.
 */
#ifndef SKIFF_API_CHAIN_RBAC_RULES_H
#define SKIFF_API_CHAIN_RBAC_RULES_H

#include "api/chain/rbac.h"
#include "openapi/object/tree.h"

enum { RBAC_ROLES, RBAC_CLUSTER_ROLES, RBAC_ROLE_BINDINGS, RBAC_CLUSTER_ROLE_BINDINGS, RBAC_KINDS };

struct rbac_rules;

/* `trees` is indexed by the enum above and borrowed for the call. */
struct rbac_rules *rbac_rules_compile(struct object_tree *const *trees);
/* The same from value trees (tests): lists of objects by kind. */
struct rbac_rules *rbac_rules_from_values(const struct value *const *lists);
void rbac_rules_destroy(struct rbac_rules *r);

/* *ret_by_name turns true when some rule would allow it for certain resourceNames. */
bool rbac_rules_allow(const struct rbac_rules *r, const struct api_user *user, const struct api_attributes *at,
                      bool *ret_by_name);
struct str rbac_rules_missing(const struct rbac_rules *r, struct arena *a, const struct api_user *user,
                              struct str namespace_);
struct value *rbac_rules_list(const struct rbac_rules *r, struct arena *a, const struct api_user *user,
                              struct str namespace_);
int rbac_rules_cover(const struct rbac_rules *r, struct arena *a, const struct api_user *user, struct str namespace_,
                     const struct value *rules, struct str *ret_missing);

#endif
