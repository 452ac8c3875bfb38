/* convert: one object between the versions of its resource, through the storage version as the hub.
 *
 * Most versions are the same shape: only apiVersion changes. HorizontalPodAutoscaler v1 keeps what only v2 can say in
 * annotations; events.k8s.io names the fields of core events differently. Custom resources: by their strategy.
 */
#ifndef SKIFF_OPENAPI_CONVERT_H
#define SKIFF_OPENAPI_CONVERT_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

/* `from` and `to` are apiVersions as in the object ("v1", "autoscaling/v2"): they may differ in group for resources
 * that share storage. Consumes `obj` (it may be changed in place) and answers the converted object, with apiVersion and
 * kind set; NULL on failure. */
struct value *convert(struct arena *a, const struct resource *r, struct str from, struct str to, struct value *obj,
                      struct err *err);
/* Whether the two apiVersions have one shape: then bodies may be copied as bytes. */
bool convert_is_identity(const struct resource *r, struct str from, struct str to);
/* "v1" or "apps/v1" of the stored form. */
struct str convert_storage_api_version(struct arena *a, const struct resource *r);

#endif
