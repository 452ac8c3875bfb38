/* patch: from a stored object and a PATCH body to the object as it shall be.
 *
 * The original is given in the version asked for, as any client would have read it; so is the result, which has been
 * through the schema (types checked, unknown fields dropped or reported).
 */
#ifndef SKIFF_API_PATCH_PATCH_H
#define SKIFF_API_PATCH_PATCH_H

#include "api/request.h"

/* By content type (in-process requests say it themselves). ERR_UNSUPPORTED_MEDIA. */
int patch_type_of(const struct api_request *req, enum patch_type *ret, struct err *err);
/* Decode the body once. */
int patch_decode(struct api_request *req, enum patch_type type, struct value **ret, struct err *err);
int patch_apply(struct api_request *req, enum patch_type type, const struct schema_message *schema,
                const struct value *original, const struct value *patch, struct value **ret, struct err *err);

#endif
