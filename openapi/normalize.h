/* normalize: bring an edited value tree into the form objects have on the wire.
 *
 * Members stand in the schema's (protobuf-number) order, fields without omitempty (FIELD_ALWAYS) are present, null
 * members and empty lists and maps are gone, numbers that came as integral doubles are integers, quantities and times
 * canonical. Run it after whatever edits without a schema (patches, conversion). defaults_apply ends with it. Unknown
 * members stay, at the end: pruning is decoding's business.
 */
#ifndef SKIFF_OPENAPI_NORMALIZE_H
#define SKIFF_OPENAPI_NORMALIZE_H

#include "openapi/schema.h"
#include "openapi/value.h"

void normalize(struct arena *a, const struct schema_message *m, struct value *v);

#endif
