#include "openapi/protobuf.h"

#include "base/base64.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#define MAX_DEPTH 64

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };

struct reader {
    const unsigned char *p, *end;
};

struct token {
    uint32_t number;
    enum wire wire;
    uint64_t integer; /* varint and fixed */
    struct str bytes;
};

static int truncated(struct err *err)
{
    return err_set(err, ERR_BAD_REQUEST, "unexpected EOF");
}

static int read_varint(struct reader *r, uint64_t *ret, struct err *err)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->p == r->end)
            return truncated(err);
        unsigned char c = *r->p++;
        v |= (uint64_t)(c & 127) << shift;
        if (!(c & 128)) {
            *ret = v;
            return 0;
        }
    }
    return err_set(err, ERR_BAD_REQUEST, "proto: integer overflow");
}

static int read_fixed(struct reader *r, size_t n, uint64_t *ret, struct err *err)
{
    if ((size_t)(r->end - r->p) < n)
        return truncated(err);
    *ret = 0;
    for (size_t i = 0; i < n; i++)
        *ret |= (uint64_t)r->p[i] << (8 * i);
    r->p += n;
    return 0;
}

/* 1 at the end of the message. */
static int next_token(struct reader *r, struct token *t, struct err *err)
{
    uint64_t key, len;
    if (r->p == r->end)
        return 1;
    int rc = read_varint(r, &key, err);
    if (rc < 0)
        return rc;
    t->number = (uint32_t)(key >> 3);
    t->wire = (enum wire)(key & 7);
    if (!t->number)
        return err_set(err, ERR_BAD_REQUEST, "proto: illegal tag 0 (wire type %d)", (int)t->wire);
    switch (t->wire) {
    case WIRE_VARINT:
        return read_varint(r, &t->integer, err);
    case WIRE_FIXED64:
        return read_fixed(r, 8, &t->integer, err);
    case WIRE_FIXED32:
        return read_fixed(r, 4, &t->integer, err);
    case WIRE_BYTES:
        if ((rc = read_varint(r, &len, err)) < 0)
            return rc;
        if (len > (uint64_t)(r->end - r->p))
            return truncated(err);
        t->bytes = (struct str){(const char *)r->p, (size_t)len};
        r->p += len;
        return 0;
    default:
        return err_set(err, ERR_BAD_REQUEST, "proto: illegal wireType %d", (int)t->wire);
    }
}

static struct reader reader_of(struct str bytes)
{
    const unsigned char *p = (const unsigned char *)(bytes.p ? bytes.p : "");
    return (struct reader){p, p + bytes.len};
}

int protobuf_open(struct str bytes, struct protobuf_envelope *ret, struct err *err)
{
    struct str magic = {"k8s\0", 4};
    *ret = (struct protobuf_envelope){0};
    if (!str_starts(bytes, magic))
        return err_set(err, ERR_BAD_REQUEST,
                       "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    struct reader r = reader_of(str_sub(bytes, 4, bytes.len));
    struct token t;
    int rc;
    while ((rc = next_token(&r, &t, err)) == 0) {
        if (t.wire != WIRE_BYTES)
            continue;
        if (t.number == 2)
            ret->raw = t.bytes;
        if (t.number != 1)
            continue;
        struct reader inner = reader_of(t.bytes);
        struct token type;
        while ((rc = next_token(&inner, &type, err)) == 0)
            if (type.wire == WIRE_BYTES)
                *(type.number == 1 ? &ret->api_version : &ret->kind) = type.bytes;
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

/* ---- scalars ---- */

/* The small messages that JSON writes as one scalar: at most two integers and a text. */
static int read_small(struct str bytes, int64_t ints[3], struct str *ret_text, struct err *err)
{
    struct reader r = reader_of(bytes);
    struct token t;
    int rc;
    ints[0] = ints[1] = ints[2] = 0;
    *ret_text = STR("");
    while ((rc = next_token(&r, &t, err)) == 0) {
        if (t.wire == WIRE_BYTES)
            *ret_text = t.bytes;
        else if (t.number <= 2)
            ints[t.number] = (int64_t)t.integer;
    }
    return rc < 0 ? rc : 0;
}

/* Years 1 to 9999, as JSON can say them. */
static int64_t instant_us(int64_t seconds, int64_t ns)
{
    int64_t first = -62135596800, last = 253402300799;
    seconds = seconds < first ? first : seconds > last ? last : seconds;
    return seconds * 1000000 + (ns < 0 || ns > 999999999 ? 0 : ns / 1000);
}

/* ret NULL: absent */
static int decode_small(struct arena *a, const struct schema_field *f, struct str bytes, struct value **ret,
                        struct err *err)
{
    int64_t ints[3];
    struct str text;
    int rc = read_small(bytes, ints, &text, err);
    if (rc < 0)
        return rc;
    *ret = NULL;
    int64_t us = instant_us(ints[1], ints[2]);
    switch (f->type) {
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        if (bytes.len)
            *ret = value_string(a, f->type == FIELD_TIME ? time_format(a, us) : time_format_micro(a, us));
        return 0;
    case FIELD_DURATION:
        *ret = value_string(a, duration_format(a, ints[1]));
        return 0;
    case FIELD_QUANTITY:
        *ret = value_string(a, text.len ? arena_str(a, text) : STR("0"));
        return 0;
    default: /* int or string: 1 kind, 2 integer, 3 text */
        *ret = ints[1] == 1 ? value_string(a, arena_str(a, text)) : value_int(a, (int32_t)ints[2]);
        return 0;
    }
}

/* RawExtension, FieldsV1, JSON: their text. Where a map's keys lead to lists (extra of users), the list. */
static int decode_any(struct arena *a, const struct schema_field *f, struct str bytes, struct value **ret,
                      struct err *err)
{
    struct reader r = reader_of(bytes);
    struct token t;
    struct json_options plain = {0};
    int rc;
    bool list = f->flags & FIELD_MAP_OF_LISTS;
    *ret = list ? value_list(a) : NULL;
    while ((rc = next_token(&r, &t, err)) == 0) {
        if (t.number != 1 || t.wire != WIRE_BYTES)
            continue;
        if (list)
            value_append(a, *ret, value_string(a, arena_str(a, t.bytes)));
        else if (t.bytes.len && (rc = json_decode(a, arena_str(a, t.bytes), &plain, ret, err)) < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static int decode_message(struct arena *a, const struct schema_message *m, uint32_t outer, struct str bytes,
                          struct value *v, int depth, struct err *err);

static int decode_item(struct arena *a, const struct schema_field *f, const struct token *t, struct value **ret,
                       int depth, struct err *err)
{
    bool wants_bytes =
        f->type != FIELD_BOOL && f->type != FIELD_INT32 && f->type != FIELD_INT64 && f->type != FIELD_DOUBLE;
    *ret = NULL;
    if (wants_bytes != (t->wire == WIRE_BYTES))
        return err_set(err, ERR_BAD_REQUEST, "proto: wrong wireType = %d for field " STR_FMT, (int)t->wire,
                       STR_ARG(f->name));
    if (f->flags & FIELD_MAP_OF_LISTS)
        return decode_any(a, f, t->bytes, ret, err);
    switch (f->type) {
    case FIELD_BOOL:
        *ret = value_bool(a, t->integer != 0);
        return 0;
    case FIELD_INT32:
        *ret = value_int(a, (int32_t)(uint32_t)t->integer);
        return 0;
    case FIELD_INT64:
        *ret = value_int(a, (int64_t)t->integer);
        return 0;
    case FIELD_DOUBLE: {
        double d;
        memcpy(&d, &t->integer, sizeof d);
        *ret = value_double(a, d);
        return 0;
    }
    case FIELD_STRING:
        *ret = value_string(a, arena_str(a, t->bytes));
        return 0;
    case FIELD_BYTES:
        *ret = value_string(a, base64_encode(a, t->bytes));
        return 0;
    case FIELD_ANY:
        return decode_any(a, f, t->bytes, ret, err);
    case FIELD_MESSAGE:
        *ret = value_map(a);
        return decode_message(a, f->message, 0, t->bytes, *ret, depth + 1, err);
    default:
        return decode_small(a, f, t->bytes, ret, err);
    }
}

/* A map's key without a value. */
static struct value *absent_item(struct arena *a, const struct schema_field *f)
{
    if (f->flags & FIELD_MAP_OF_LISTS)
        return value_list(a);
    switch (f->type) {
    case FIELD_MESSAGE:
        return value_map(a);
    case FIELD_BOOL:
        return value_bool(a, false);
    case FIELD_INT32:
    case FIELD_INT64:
        return value_int(a, 0);
    case FIELD_STRING:
        return value_stringz(a, "");
    case FIELD_QUANTITY:
        return value_stringz(a, "0");
    default: /* bytes that are nil, a zero time */
        return value_null(a);
    }
}

static int decode_entry(struct arena *a, const struct schema_field *f, struct str bytes, struct value *map, int depth,
                        struct err *err)
{
    struct reader r = reader_of(bytes);
    struct token t;
    struct str key = STR("");
    struct value *item = NULL;
    int rc;
    while ((rc = next_token(&r, &t, err)) == 0) {
        if (t.number == 1 && t.wire == WIRE_BYTES)
            key = arena_str(a, t.bytes);
        else if (t.number == 2 && (rc = decode_item(a, f, &t, &item, depth, err)) < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    value_set(a, map, key, item ? item : absent_item(a, f));
    return 0;
}

static bool is_zero(const struct value *v)
{
    return (v->kind == VALUE_STRING && !v->string.len) || (v->kind == VALUE_INT && !v->integer) ||
           (v->kind == VALUE_BOOL && !v->boolean) || (v->kind == VALUE_DOUBLE && v->number == 0);
}

/* Repeated numbers may come packed. */
static int decode_packed(struct arena *a, const struct schema_field *f, struct str bytes, struct value *list,
                         struct err *err)
{
    struct reader r = reader_of(bytes);
    while (r.p < r.end) {
        struct token t = {.wire = WIRE_VARINT};
        struct value *item;
        int rc = f->type == FIELD_DOUBLE ? read_fixed(&r, 8, &t.integer, err) : read_varint(&r, &t.integer, err);
        if (rc == 0)
            rc = decode_item(a, f, &t, &item, 0, err);
        if (rc < 0)
            return rc;
        value_append(a, list, item);
    }
    return 0;
}

static struct value *ensure(struct arena *a, struct value *v, const struct schema_field *f)
{
    struct value *had = value_get(v, f->name);
    if (had)
        return had;
    had = f->shape == SHAPE_LIST ? value_list(a) : value_map(a);
    value_set(a, v, f->name, had);
    return had;
}

static int decode_field(struct arena *a, const struct schema_field *f, const struct token *t, struct value *v,
                        int depth, struct err *err)
{
    struct value *item;
    if (f->shape == SHAPE_MAP) {
        if (t->wire != WIRE_BYTES)
            return err_set(err, ERR_BAD_REQUEST, "proto: wrong wireType = %d for field " STR_FMT, (int)t->wire,
                           STR_ARG(f->name));
        return decode_entry(a, f, t->bytes, ensure(a, v, f), depth, err);
    }
    bool number = f->type == FIELD_INT32 || f->type == FIELD_INT64 || f->type == FIELD_DOUBLE || f->type == FIELD_BOOL;
    if (f->shape == SHAPE_LIST && number && t->wire == WIRE_BYTES)
        return decode_packed(a, f, t->bytes, ensure(a, v, f), err);
    int rc = decode_item(a, f, t, &item, depth, err);
    if (rc < 0 || !item)
        return rc;
    if (f->shape == SHAPE_LIST)
        value_append(a, ensure(a, v, f), item);
    else if (!is_zero(item) || f->flags & (FIELD_ALWAYS | FIELD_POINTER) || f->type == FIELD_INT_OR_STRING)
        value_set(a, v, f->name, item);
    return 0;
}

/* `outer`: the fields of `m` that lie in the embedded message of that number, as in schema_field.proto_outer; 0 = its
 * own. */
static int decode_message(struct arena *a, const struct schema_message *m, uint32_t outer, struct str bytes,
                          struct value *v, int depth, struct err *err)
{
    struct reader r = reader_of(bytes);
    struct token t;
    int rc;
    if (depth > MAX_DEPTH)
        return err_set(err, ERR_BAD_REQUEST, "proto: exceeded max depth");
    while ((rc = next_token(&r, &t, err)) == 0) {
        const struct schema_field *f = NULL;
        uint32_t inner = outer << 8 | t.number; /* the message embedded here under that number, if there is one */
        bool embedded = false;
        if (arena_over_limit(a))
            return err_set(err, ERR_LIMIT, "the object is too large");
        for (size_t i = 0; i < m->n_fields && !f; i++) {
            if (m->fields[i].flags & FIELD_EMBEDDED_TYPE)
                continue;
            if (m->fields[i].proto_outer == outer && m->fields[i].proto_number == t.number)
                f = &m->fields[i];
            if (t.number < 256 &&
                (m->fields[i].proto_outer == inner || (!outer && m->fields[i].proto_outer >> 8 == inner)))
                embedded = true;
        }
        if (f)
            rc = decode_field(a, f, &t, v, depth, err);
        else if (embedded && t.wire == WIRE_BYTES)
            rc = decode_message(a, m, inner, t.bytes, v, depth + 1, err);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

int protobuf_decode(struct arena *a, const struct schema_message *m, struct str bytes, struct value **ret,
                    struct err *err)
{
    *ret = value_map(a);
    return decode_message(a, m, 0, bytes, *ret, 0, err);
}
