/* protobuf: request bodies in Kubernetes' binary encoding, decoded by the schema tables into value trees.
 *
 * Go clients (kubectl's typed commands among them) write `application/vnd.kubernetes.protobuf`: four magic bytes and a
 * runtime.Unknown that wraps the object. Fields and messages unknown to the tables are skipped, as Go does.
 *
 * Go writes every field that is not a pointer, zero or not; JSON leaves those out (omitempty). The result is what the
 * JSON of the same object would have decoded to: zero scalars are kept only where the field is a pointer in Go or has
 * no omitempty.
 */
#ifndef SKIFF_OPENAPI_PROTOBUF_H
#define SKIFF_OPENAPI_PROTOBUF_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

#define PROTOBUF_MEDIA_TYPE "application/vnd.kubernetes.protobuf"

struct protobuf_envelope {
    struct str api_version, kind; /* may be empty */
    struct str raw;               /* the object's message */
};

/* ERR_BAD_REQUEST when the magic or the wrapping message is wrong. Points into `bytes`. */
int protobuf_open(struct str bytes, struct protobuf_envelope *ret, struct err *err);
/* One message of schema `m`; ERR_BAD_REQUEST with Go's words ("proto: illegal wireType 7", "unexpected EOF"). */
int protobuf_decode(struct arena *a, const struct schema_message *m, struct str bytes, struct value **ret,
                    struct err *err);

#endif
