/* answer: stored objects in the shape a request asked for: version, Table, metadata alone, pretty.
 *
 * Objects in their storage version and plain JSON are never parsed: their body is written as it lies (native).
 */
#ifndef SKIFF_API_ANSWER_H
#define SKIFF_API_ANSWER_H

#include "api/request.h"

/* The resource whose storage the request works on. */
const struct resource *api_store(const struct api_request *req);
struct str api_request_version(const struct api_request *req); /* apiVersion as asked for */

bool answer_is_native(const struct api_request *req);
bool answer_is_pretty(const struct api_request *req);
const char *answer_content_type(const struct api_request *req);

/* The object as a tree in the version asked for. */
struct value *answer_value(struct api_request *req, const struct object *o, struct err *err);
/* One object as text: in the version asked for, or PartialObjectMetadata; of a Table, one row. `revision` 0 = its own.
 */
int answer_item(struct api_request *req, struct buf *out, const struct object *o, bool with_type, int64_t revision,
                struct err *err);
/* What stands before the items of a list, up to and with the opening bracket, and the first members of a Table. */
void answer_list_head(struct api_request *req, struct buf *out, int64_t revision, struct str continue_,
                      int64_t remaining /* -1 = unknown */);
/* A whole Table of one row (GET, watch events). */
int answer_table(struct api_request *req, struct buf *out, const struct object *o, int64_t revision, struct err *err);

/* Ends the request: status and size are recorded, the builder frees it. Streaming verbs call it after http_finish. */
void answer_end(struct api_request *req, int status);
/* Start a streamed answer with the request's warnings. */
void answer_start(struct api_request *req, int status, const char *content_type);

#endif
