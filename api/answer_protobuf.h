/* answer_protobuf: answers in Kubernetes' protobuf (API_PROTOBUF), for the kinds that have it (openapi/protobuf.h), and
 * of the metadata of every kind (table_version set: PartialObjectMetadata).
 *
 * Objects are stored as JSON: each is decoded and encoded when first asked for in one version, and what came of it is
 * kept in a bounded cache by uid, revision and version, so that the watchers of an event share the work.
 */
#ifndef SKIFF_API_ANSWER_PROTOBUF_H
#define SKIFF_API_ANSWER_PROTOBUF_H

#include "api/request.h"

/* One whole object in the version asked for. */
int answer_protobuf_object(struct api_request *req, struct buf *out, const struct object *o, struct err *err);
/* A value of a known type (a Status, a Scale); 1 = it has no protobuf form. `schema` NULL: by its kind. */
int answer_protobuf_value(struct buf *out, const struct schema_message *schema, const struct value *v);

/* A list: what stands before its items, which together have a length; the items, one after the other; what stands
 * behind them. An object always has the same length. */
void answer_protobuf_list_head(struct api_request *req, struct buf *out, size_t items_len, int64_t revision,
                               struct str continue_, int64_t remaining /* -1 = unknown */);
int answer_protobuf_item(struct api_request *req, struct buf *items, const struct object *o, struct err *err);
void answer_protobuf_list_tail(struct buf *out);

/* Frames of a watch. `revision` 0 = the object's own. */
int answer_protobuf_event(struct api_request *req, struct buf *out, const char *type, const struct object *o,
                          int64_t revision, struct err *err);
void answer_protobuf_bookmark(struct api_request *req, struct buf *out, int64_t revision, bool initial_end);
void answer_protobuf_error(struct api_request *req, struct buf *out, const struct value *status);

#endif
