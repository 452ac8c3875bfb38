/* json_decode: what the files of the decoder share: where the walk stands, and single values (json_decode_scalar.c). */
#ifndef SKIFF_OPENAPI_JSON_DECODE_H
#define SKIFF_OPENAPI_JSON_DECODE_H

#include "openapi/json.h"
#include "openapi/json_parse.h"

/* Where the walk stands: one step on the C stack per field, map key or list index. */
struct step {
    const struct step *up;
    struct str name; /* of a field or a key; STR_NULL for an index */
    size_t index;
    const struct schema_message *holder; /* of a field; NULL for keys and indexes */
};

struct decoder {
    struct arena *a;
    struct json_options *opt;
    struct err *err;
    size_t depth_left;
    struct str *strict; /* unknown and duplicate fields, in the order met */
    size_t n_strict, cap_strict;
};

static inline struct str text_of(yyjson_val *v)
{
    return (struct str){unsafe_yyjson_get_raw(v), unsafe_yyjson_get_len(v)};
}

/* encoding/json's words for a value of the wrong kind: where a schema's field, or a thing of Go's `type`, should be.
 * `with_number`: they name the number. */
int json_field_type_error(struct decoder *d, const struct schema_field *f, enum field_shape shape, yyjson_val *v,
                          bool with_number, const struct step *at);
struct str json_go_message_type(struct str message_name); /* "v1.PodSpec" */
int json_type_error(struct decoder *d, yyjson_val *v, bool with_number, const char *type, const struct step *at);

/* Numbers as Go takes them; false: it is none, or too large. */
bool json_parse_int(struct str s, int64_t *ret);
bool json_parse_double(struct arena *a, struct str s, double *ret);
/* A value that is neither a message nor untyped. */
int json_decode_scalar(struct decoder *d, const struct schema_field *f, yyjson_val *in, const struct step *at,
                       struct value **ret);
/* What Go has where there is null. */
struct value *json_zero_of(struct arena *a, const struct schema_field *f);

#endif
