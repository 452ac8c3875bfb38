/* protobuf: Kubernetes' binary encoding, between bytes and value trees, by the schema tables.
 *
 * Go clients (kubectl's typed commands among them) speak `application/vnd.kubernetes.protobuf`: four magic bytes and a
 * runtime.Unknown that wraps the object. A stock API server stores most kinds so.
 *
 * Decoding. Fields and messages unknown to the tables are skipped, as Go does. Go writes every field that is not a
 * pointer, zero or not; JSON leaves those out (omitempty). The result is what the JSON of the same object would have
 * decoded to: zero scalars are kept only where the field is a pointer in Go (FIELD_POINTER) or has no omitempty.
 *
 * Encoding writes, byte for byte, what Go's marshalers write of the object that the tree's JSON decodes to: fields by
 * number, those that are no pointers always, maps by key. Members the tables do not know are left out. Kinds with
 * fields whose messages the tables do not describe (the schemas of CustomResourceDefinitions, custom resources) cannot
 * be encoded: protobuf_fits tells.
 */
#ifndef SKIFF_OPENAPI_PROTOBUF_H
#define SKIFF_OPENAPI_PROTOBUF_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

#define PROTOBUF_MEDIA_TYPE "application/vnd.kubernetes.protobuf"
#define PROTOBUF_WATCH_MEDIA_TYPE "application/vnd.kubernetes.protobuf;stream=watch"

struct protobuf_envelope {
    struct str api_version, kind; /* may be empty */
    struct str raw;               /* the object's message */
};

/* ERR_BAD_REQUEST when the magic or the wrapping message is wrong. Points into `bytes`. */
int protobuf_open(struct str bytes, struct protobuf_envelope *ret, struct err *err);
/* One message of schema `m`; ERR_BAD_REQUEST with Go's words ("proto: illegal wireType 7", "unexpected EOF"). */
int protobuf_decode(struct arena *a, const struct schema_message *m, struct str bytes, struct value **ret,
                    struct err *err);

/* Whether messages of `m` can be encoded; NULL cannot. */
bool protobuf_fits(const struct schema_message *m);
/* Appends the message. ERR_BAD_REQUEST when the tree is not of the schema, naming the field. */
int protobuf_encode(struct buf *out, const struct schema_message *m, const struct value *v, struct err *err);
/* Appends magic and wrapping around a message; or what stands before and behind one whose length is known. */
void protobuf_wrap(struct buf *out, struct str api_version, struct str kind, struct str message);
void protobuf_wrap_head(struct buf *out, struct str api_version, struct str kind, size_t message_len);
void protobuf_wrap_tail(struct buf *out);
/* Both: a whole object; api_version and kind are taken from its tree. */
int protobuf_encode_object(struct buf *out, const struct schema_message *m, const struct value *v, struct err *err);

/* Lists are put together from items that were encoded one by one: a list's message is its metadata and then, behind the
 * tag of field 2 each, its items. */
void protobuf_add_bytes(struct buf *out, uint32_t number, struct str bytes);
void protobuf_add_len(struct buf *out, uint32_t number, size_t len); /* the tag and the length of bytes to follow */
/* A frame of a watch: its length in four bytes, then the event's bare message ("ADDED" …) around a wrapped object. */
void protobuf_watch_frame(struct buf *out, struct str type, struct str wrapped_object);

#endif
