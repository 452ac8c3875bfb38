/* document: OpenAPI documents made from the schema tables on demand, a piece at a time, so that no document is ever
 * whole in memory unless the caller keeps it.
 */
#ifndef SKIFF_OPENAPI_DOCUMENT_H
#define SKIFF_OPENAPI_DOCUMENT_H

#include "base/str.h"
#include "openapi/schema.h"

#define DOCUMENT_HASH_LEN 64 /* upper-case hex */

/* The index at /openapi/v3: {"paths":{"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=…"}}} */
void document_v3_index(struct buf *out);
/* The ETag and the hash of the index; false when no resource is served in that group and version. */
bool document_v3_hash(struct str group, struct str version, char out[DOCUMENT_HASH_LEN + 1]);

/* Writes a document in pieces of some kilobytes: init, then next until it answers false.
 *     struct document_writer w;
 *     if (!document_v3_init(&w, group, version)) → 404
 *     while (document_next(&w, out)) send out;
 */
struct document_writer {
    struct str group, version; /* borrowed: keep alive */
    int kind, phase;
    size_t at;
    bool comma;
    uint64_t needed[64]; /* bit per message: those the paths refer to */
};
bool document_v3_init(struct document_writer *w, struct str group, struct str version);
void document_v2_init(struct document_writer *w);               /* /openapi/v2 as JSON, for older clients */
bool document_next(struct document_writer *w, struct buf *out); /* appends; false = nothing left, nothing appended */
void document_v3_write(struct buf *out, struct document_writer *w); /* all of it */

#endif
