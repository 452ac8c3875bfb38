/* validate: upstream's own validation rules (not OpenAPI's required and enum), with its field paths and texts.
 *
 * Objects are in the storage version, defaulted and complete with their metadata (name generated, namespace filled in).
 * `r` is the resource as asked for (events of both groups differ in their rules). Problems are appended; none = valid.
 *     struct problems *p = problems_create(arena);
 *     validate_create(p, r, obj);
 *     return problems_err(p, err);
 */
#ifndef SKIFF_OPENAPI_VALIDATE_H
#define SKIFF_OPENAPI_VALIDATE_H

#include "openapi/problems.h"
#include "openapi/schema.h"
#include "openapi/value.h"

void validate_create(struct problems *p, const struct resource *r, const struct value *obj);
/* `obj` is the proposed object with what the strategy carries over already carried over (status, for spec updates). */
void validate_update(struct problems *p, const struct resource *r, const struct value *obj, const struct value *old);
/* The status subresource; spec and most metadata come from `old`. */
void validate_update_status(struct problems *p, const struct resource *r, const struct value *obj,
                            const struct value *old);
/* Other subresource bodies: pods/ephemeralcontainers, pods/resize (`what` is the subresource's name). */
void validate_update_subresource(struct problems *p, const struct resource *r, struct str what, const struct value *obj,
                                 const struct value *old);
/* ObjectMeta alone, under metadata: for bodies that are stored nowhere (Scale, Eviction, Binding). */
void validate_object_meta(struct problems *p, const struct value *meta, bool namespaced, enum field_format name_format);

#endif
