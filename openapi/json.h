/* json: JSON and YAML text to and from value trees, with or without a schema.
 *
 * With a schema, decoding normalises as Go's decoder does for Kubernetes types: field names match exactly
 * (case-sensitive), unknown fields are dropped and reported, duplicate fields are reported (last wins), null leaves a
 * field unset, wrong types are an error with upstream's text ("json: cannot unmarshal string into Go struct field
 * Container.spec.template.spec.containers.ports of type …"), quantities and times become canonical, members are put in
 * the wire order (protobuf-number order). Without one, everything stays as it is (numbers that are integers become
 * VALUE_INT).
 */
#ifndef SKIFF_OPENAPI_JSON_H
#define SKIFF_OPENAPI_JSON_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

#define JSON_MAX_DEPTH 64 /* structural depth of a typed object is under 40; upstream's decoder allows 10000 */

enum json_strictness { JSON_IGNORE, JSON_WARN, JSON_STRICT }; /* fieldValidation=Ignore|Warn|Strict */

struct json_options {
    const struct schema_message *schema; /* NULL: plain */
    enum json_strictness strictness;
    size_t max_depth; /* 0 = JSON_MAX_DEPTH (with schema) or 1000 (plain) */
    /* JSON_WARN: unknown and duplicate fields, texts as upstream's: unknown field "spec.foo" */
    struct str *ret_warnings;
    size_t ret_n_warnings;
};

/* Decode. Strings of the result live in the arena. JSON_STRICT: ERR_BAD_REQUEST
 * `strict decoding error: unknown field "spec.foo", duplicate field "spec.bar"`. */
int json_decode(struct arena *a, struct str text, struct json_options *opt, struct value **ret, struct err *err);
int yaml_decode(struct arena *a, struct str text, struct json_options *opt, struct value **ret, struct err *err);

/* What a value is in Go's messages: "object", "array", "string", "number", "bool" or "null". */
const char *json_kind_name(const struct value *v);

/* Compact JSON as Go's encoding/json writes it (HTML characters <, >, & escaped as \u003c …; no trailing newline). */
void json_encode(struct buf *out, const struct value *v);
void json_encode_pretty(struct buf *out, const struct value *v); /* two spaces, as ?pretty=true */
void json_encode_string(struct buf *out, struct str s);          /* with its quotes */

#endif
