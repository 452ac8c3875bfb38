/* merge: the three patch formats, each from an object to a new object.
 *
 * The original and the patch are only read; the result shares no nodes with them (strings are shared). Results are not
 * normalized (normalize.h) nor checked against the schema: encode and decode, or validate, as the verb needs.
 */
#ifndef SKIFF_OPENAPI_MERGE_H
#define SKIFF_OPENAPI_MERGE_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

#define JSON_PATCH_MAX_OPERATIONS 10000

/* RFC 6902. Malformed: ERR_BAD_REQUEST; cannot be applied (missing path, failed test): ERR_INVALID (no causes);
 * more than JSON_PATCH_MAX_OPERATIONS: ERR_TOO_LARGE. */
int json_patch_apply(struct arena *a, const struct value *original, const struct value *patch, struct value **ret,
                     struct err *err);
/* RFC 7386. The patch must be an object: ERR_BAD_REQUEST. */
int merge_patch_apply(struct arena *a, const struct value *original, const struct value *patch, struct value **ret,
                      struct err *err);
/* Strategic merge by the schema's patch strategies and merge keys, with $patch, $setElementOrder/…,
 * $deleteFromPrimitiveList/… and $retainKeys. ERR_BAD_REQUEST with upstream's text when a directive or a merge key is
 * wrong. */
int strategic_merge_apply(struct arena *a, const struct schema_message *m, const struct value *original,
                          const struct value *patch, struct value **ret, struct err *err);

#endif
