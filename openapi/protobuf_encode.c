/* Trees to Kubernetes' protobuf. Written from the end to the front, so that every length is known when it is needed. */
#include "openapi/protobuf.h"

#include "base/base64.h"
#include "base/mem.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
enum { MAX_DEPTH = 64 };

struct writer {
    char *p; /* what is written stands at [at, cap) */
    size_t at, cap;
    struct arena *arena; /* for texts made on the way */
    struct err *err;
    int depth;
};

/* ---- bytes ---- */

static void make_room(struct writer *w, size_t n)
{
    size_t used = w->cap - w->at, cap = w->cap ? 2 * w->cap : 1024;
    while (cap - used < n)
        cap *= 2;
    char *p = mem_alloc(cap);
    if (used)
        memcpy(p + cap - used, w->p + w->at, used);
    free(w->p);
    w->p = p;
    w->at = cap - used;
    w->cap = cap;
}

static void put(struct writer *w, const void *p, size_t n)
{
    if (w->at < n)
        make_room(w, n);
    w->at -= n;
    if (n)
        memcpy(w->p + w->at, p, n);
}

static size_t varint(uint64_t v, uint8_t to[10])
{
    size_t n = 0;
    for (; v >= 128; v >>= 7)
        to[n++] = (uint8_t)(v | 128);
    to[n++] = (uint8_t)v;
    return n;
}

static void put_varint(struct writer *w, uint64_t v)
{
    uint8_t bytes[10];
    put(w, bytes, varint(v, bytes));
}

static void put_tag(struct writer *w, uint32_t number, enum wire wire)
{
    put_varint(w, (uint64_t)number << 3 | wire);
}

static void put_number(struct writer *w, uint32_t number, int64_t v)
{
    put_varint(w, (uint64_t)v);
    put_tag(w, number, WIRE_VARINT);
}

static void put_text(struct writer *w, uint32_t number, struct str s)
{
    put(w, s.p, s.len);
    put_varint(w, s.len);
    put_tag(w, number, WIRE_BYTES);
}

/* What was written since `end` was where it began to be, as one field. */
static void close_message(struct writer *w, uint32_t number, size_t end)
{
    put_varint(w, w->cap - w->at - end);
    put_tag(w, number, WIRE_BYTES);
}

static size_t open_message(const struct writer *w)
{
    return w->cap - w->at;
}

/* ---- scalars and what JSON writes as one ---- */

static int unfit(struct writer *w, const struct schema_field *f, const struct value *v)
{
    return err_set(w->err, ERR_BAD_REQUEST, "field " STR_FMT ": a %s cannot be encoded there", STR_ARG(f->name),
                   v ? json_kind_name(v) : "missing value");
}

static int put_instant(struct writer *w, const struct schema_field *f, const struct value *v)
{
    int64_t us;
    if (time_parse_rfc3339(v->string, &us) < 0)
        return unfit(w, f, v);
    int64_t seconds = us / 1000000 - (us % 1000000 < 0), rest = us - seconds * 1000000;
    put_number(w, 2, f->type == FIELD_MICRO_TIME ? rest * 1000 : 0);
    put_number(w, 1, seconds);
    return 0;
}

/* A message that JSON writes as a scalar, its inside. */
static int put_small(struct writer *w, const struct schema_field *f, const struct value *v)
{
    int64_t ns;
    bool text = v->kind == VALUE_STRING;
    switch (f->type) {
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return text ? put_instant(w, f, v) : unfit(w, f, v);
    case FIELD_DURATION:
        if (!text || duration_parse(v->string, &ns) < 0)
            return unfit(w, f, v);
        put_number(w, 1, ns);
        return 0;
    case FIELD_QUANTITY:
        if (v->kind != VALUE_INT && !text)
            return unfit(w, f, v);
        put_text(w, 1, text ? v->string : arena_printf(w->arena, "%lld", (long long)v->integer));
        return 0;
    default: /* int or string */
        if (v->kind != VALUE_INT && !text)
            return unfit(w, f, v);
        put_text(w, 3, text ? v->string : STR(""));
        put_number(w, 2, text ? 0 : (int32_t)v->integer);
        put_number(w, 1, text);
        return 0;
    }
}

/* What a map's key leads to where that is a list (extra of users): a message around it. */
static int put_texts(struct writer *w, const struct schema_field *f, const struct value *v)
{
    size_t end = open_message(w);
    if (v->kind != VALUE_LIST)
        return unfit(w, f, v);
    for (size_t i = value_len(v); i-- > 0;)
        put_text(w, 1, value_str(value_at(v, i)));
    close_message(w, 2, end);
    return 0;
}

/* RawExtension, FieldsV1, JSON: their text. */
static int put_any(struct writer *w, const struct value *v)
{
    struct buf text = {0};
    json_encode(&text, v);
    put_text(w, 1, buf_str(&text));
    buf_free(&text);
    return 0;
}

static int put_message(struct writer *w, const struct schema_message *m, const struct value *v);

static int put_bytes(struct writer *w, const struct schema_field *f, uint32_t number, const struct value *v)
{
    struct str bytes;
    if (v->kind != VALUE_STRING || !base64_decode(w->arena, v->string, &bytes))
        return unfit(w, f, v);
    put_text(w, number, bytes);
    return 0;
}

static int put_double(struct writer *w, const struct schema_field *f, uint32_t number, const struct value *v)
{
    if (v->kind != VALUE_DOUBLE && v->kind != VALUE_INT)
        return unfit(w, f, v);
    double d = v->kind == VALUE_INT ? (double)v->integer : v->number;
    uint8_t bytes[8];
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
    put(w, bytes, 8);
    put_tag(w, number, WIRE_FIXED64);
    return 0;
}

/* One item, not null, with its tag. */
static int put_item(struct writer *w, const struct schema_field *f, uint32_t number, const struct value *v)
{
    size_t end = open_message(w);
    int rc = 0;
    switch (f->type) {
    case FIELD_BOOL:
        if (v->kind != VALUE_BOOL)
            return unfit(w, f, v);
        put_number(w, number, v->boolean);
        return 0;
    case FIELD_INT32:
    case FIELD_INT64:
        if (v->kind != VALUE_INT)
            return unfit(w, f, v);
        put_number(w, number, v->integer);
        return 0;
    case FIELD_DOUBLE:
        return put_double(w, f, number, v);
    case FIELD_STRING:
        if (v->kind != VALUE_STRING)
            return unfit(w, f, v);
        put_text(w, number, v->string);
        return 0;
    case FIELD_BYTES:
        return put_bytes(w, f, number, v);
    case FIELD_MESSAGE:
        rc = v->kind == VALUE_MAP ? put_message(w, f->message, v) : unfit(w, f, v);
        break;
    case FIELD_ANY:
        rc = put_any(w, v);
        break;
    default:
        rc = put_small(w, f, v);
    }
    if (rc == 0)
        close_message(w, number, end);
    return rc;
}

/* ---- fields ---- */

/* What Go writes of a field that is no pointer and was not given. */
static int put_nothing(struct writer *w, const struct schema_field *f)
{
    static const struct value empty = {.kind = VALUE_MAP};
    size_t end = open_message(w);
    int rc = 0;
    switch (f->type) {
    case FIELD_BOOL:
    case FIELD_INT32:
    case FIELD_INT64:
        put_number(w, f->proto_number, 0);
        return 0;
    case FIELD_DOUBLE:
        return put_double(w, f, f->proto_number, &(struct value){.kind = VALUE_INT});
    case FIELD_STRING:
        put_text(w, f->proto_number, STR(""));
        return 0;
    case FIELD_BYTES: /* a nil slice */
        return 0;
    case FIELD_DURATION:
        put_number(w, 1, 0);
        break;
    case FIELD_QUANTITY:
        put_text(w, 1, STR("0"));
        break;
    case FIELD_INT_OR_STRING:
        rc = put_small(w, f, &(struct value){.kind = VALUE_INT});
        break;
    case FIELD_MESSAGE:
        rc = put_message(w, f->message, &empty);
        break;
    default: /* a zero time, raw text that is not there: empty messages */
        break;
    }
    close_message(w, f->proto_number, end);
    return rc;
}

static int by_key_descending(const void *a, const void *b)
{
    return str_cmp((*(const struct value_member *const *)b)->key, (*(const struct value_member *const *)a)->key);
}

static bool is_null(const struct value *v)
{
    return !v || v->kind == VALUE_NULL;
}

/* The zero value of a map's item that is null. */
static int put_null_item(struct writer *w, const struct schema_field *f)
{
    struct schema_field second = *f;
    second.proto_number = 2;
    return f->type == FIELD_BYTES ? 0 : put_nothing(w, &second);
}

static int put_map(struct writer *w, const struct schema_field *f, const struct value *v)
{
    size_t n = v->map.len;
    const struct value_member **order = ARENA_ARRAY(w->arena, const struct value_member *, n + 1);
    for (size_t i = 0; i < n; i++)
        order[i] = &v->map.members[i];
    if (n > 1)
        qsort(order, n, sizeof *order, by_key_descending);
    for (size_t i = 0; i < n; i++) {
        size_t end = open_message(w);
        const struct value *item = order[i]->value;
        int rc = is_null(item)                   ? put_null_item(w, f)
                 : f->flags & FIELD_MAP_OF_LISTS ? put_texts(w, f, item)
                                                 : put_item(w, f, 2, item);
        if (rc < 0)
            return rc;
        put_text(w, 1, order[i]->key);
        close_message(w, f->proto_number, end);
    }
    return 0;
}

static int put_list(struct writer *w, const struct schema_field *f, const struct value *v)
{
    for (size_t i = v->list.len; i-- > 0;) {
        const struct value *item = v->list.items[i];
        int rc = is_null(item) ? put_nothing(w, f) : put_item(w, f, f->proto_number, item);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int put_field(struct writer *w, const struct schema_field *f, const struct value *object)
{
    const struct value *v = value_get(object, f->name);
    if (is_null(v))
        return f->shape != SHAPE_SINGLE || f->flags & FIELD_POINTER ? 0 : put_nothing(w, f);
    if (f->shape == SHAPE_MAP)
        return v->kind == VALUE_MAP ? put_map(w, f, v) : unfit(w, f, v);
    if (f->shape == SHAPE_LIST)
        return v->kind == VALUE_LIST ? put_list(w, f, v) : unfit(w, f, v);
    return put_item(w, f, f->proto_number, v);
}

/* Fields stand in the order of their numbers, those of an embedded message together where it stands: "2.4" belongs to
 * message 2, whose inside lies flat in JSON, "2.3.4" to message 3 within it. Embedded messages are never pointers. */
static int put_message(struct writer *w, const struct schema_message *m, const struct value *v)
{
    uint16_t outer = 0;
    size_t ends[2] = {0, 0}; /* of the embedded messages that are open: the outermost first */
    int rc = 0;
    if (++w->depth > MAX_DEPTH)
        return err_set(w->err, ERR_BAD_REQUEST, "proto: exceeded max depth");
    for (size_t i = m->n_fields; rc == 0; i--) {
        const struct schema_field *f = i ? &m->fields[i - 1] : NULL;
        uint16_t next = f && !(f->flags & FIELD_EMBEDDED_TYPE) ? f->proto_outer : 0;
        if (f && f->flags & FIELD_EMBEDDED_TYPE && outer == 0)
            continue;
        if (next != outer) {
            unsigned had_first = outer > 255 ? outer >> 8 : outer, first = next > 255 ? next >> 8 : next;
            if (outer > 255) /* the inner one ends */
                close_message(w, outer & 255, ends[1]);
            if (had_first && had_first != first)
                close_message(w, had_first, ends[0]);
            if (first && had_first != first)
                ends[0] = open_message(w);
            if (next > 255)
                ends[1] = open_message(w);
            outer = next;
        }
        if (!f)
            break;
        if (!(f->flags & FIELD_EMBEDDED_TYPE))
            rc = put_field(w, f, v);
    }
    w->depth--;
    return rc;
}

/* ---- the doors ---- */

static bool fits(const struct schema_message *m, int depth)
{
    for (size_t i = 0; i < m->n_fields; i++) {
        const struct schema_field *f = &m->fields[i];
        if (!f->proto_number && !(f->flags & FIELD_EMBEDDED_TYPE))
            return false;
        if (f->type == FIELD_MESSAGE && f->message != m && depth < 8 && !fits(f->message, depth + 1))
            return false;
    }
    return true;
}

static int by_name(const void *key, const void *item)
{
    return str_cmp(*(const struct str *)key, (*(const struct schema_message *const *)item)->name);
}

/* Asked for every request, and long to find out: remembered by the message's place among all. */
bool protobuf_fits(const struct schema_message *m)
{
    enum { UNKNOWN, YES, NO, PLACES = 2048 };
    static _Atomic unsigned char known[PLACES];
    size_t n;
    const struct schema_message *const *all = schema_messages(&n), *const * at;
    if (!m || !(at = bsearch(&m->name, all, n, sizeof *all, by_name)) || *at != m) /* custom resources have none */
        return false;
    size_t place = (size_t)(at - all);
    assert(place < PLACES);
    unsigned char answer = atomic_load_explicit(&known[place], memory_order_relaxed);
    if (answer == UNKNOWN) {
        answer = !str_starts(m->name, STR("io.k8s.apiextensions-apiserver.")) && fits(m, 0) ? YES : NO;
        atomic_store_explicit(&known[place], answer, memory_order_relaxed);
    }
    return answer == YES;
}

static int encode(struct writer *w, const struct schema_message *m, const struct value *v)
{
    if (v->kind != VALUE_MAP)
        return err_set(w->err, ERR_BAD_REQUEST, "a %s is no object", json_kind_name(v));
    return put_message(w, m, v);
}

int protobuf_encode(struct buf *out, const struct schema_message *m, const struct value *v, struct err *err)
{
    struct writer w = {.arena = arena_create(0), .err = err};
    int rc = encode(&w, m, v);
    if (rc == 0)
        buf_add(out, w.p + w.at, w.cap - w.at);
    free(w.p);
    arena_destroy(w.arena);
    return rc;
}

void protobuf_wrap_head(struct buf *out, struct str api_version, struct str kind, size_t message_len)
{
    struct buf type = {0};
    protobuf_add_bytes(&type, 1, api_version);
    protobuf_add_bytes(&type, 2, kind);
    buf_add(out, "k8s\0", 4);
    protobuf_add_bytes(out, 1, buf_str(&type));
    protobuf_add_len(out, 2, message_len);
    buf_free(&type);
}

void protobuf_wrap_tail(struct buf *out)
{
    protobuf_add_bytes(out, 3, STR("")); /* content encoding and type */
    protobuf_add_bytes(out, 4, STR(""));
}

void protobuf_wrap(struct buf *out, struct str api_version, struct str kind, struct str message)
{
    protobuf_wrap_head(out, api_version, kind, message.len);
    buf_add_str(out, message);
    protobuf_wrap_tail(out);
}

int protobuf_encode_object(struct buf *out, const struct schema_message *m, const struct value *v, struct err *err)
{
    struct buf message = {0};
    int rc = protobuf_encode(&message, m, v, err);
    if (rc == 0)
        protobuf_wrap(out, value_str(value_getz(v, "apiVersion")), value_str(value_getz(v, "kind")), buf_str(&message));
    buf_free(&message);
    return rc;
}

void protobuf_add_len(struct buf *out, uint32_t number, size_t len)
{
    uint8_t head[20];
    size_t n = varint((uint64_t)number << 3 | WIRE_BYTES, head);
    n += varint(len, head + n);
    buf_add(out, head, n);
}

void protobuf_add_bytes(struct buf *out, uint32_t number, struct str bytes)
{
    protobuf_add_len(out, number, bytes.len);
    buf_add_str(out, bytes);
}

void protobuf_watch_frame(struct buf *out, struct str type, struct str wrapped_object)
{
    struct buf raw = {0};
    size_t at = out->len;
    protobuf_add_bytes(&raw, 1, wrapped_object); /* a RawExtension */
    buf_add(out, "\0\0\0\0", 4);
    protobuf_add_bytes(out, 1, type);
    protobuf_add_bytes(out, 2, buf_str(&raw));
    uint32_t len = (uint32_t)(out->len - at - 4);
    for (int i = 0; i < 4; i++)
        out->p[at + (size_t)i] = (char)(len >> (24 - 8 * i));
    buf_free(&raw);
}
