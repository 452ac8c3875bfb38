/* Single values of a document as the schema wants them, and what is said of those that do not fit. */
#include "openapi/json_decode.h"
#include "openapi/meta/quantity.h"
#include "openapi/meta/time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- type errors, in encoding/json's words ---- */

static struct str last_label(struct str name)
{
    for (size_t i = name.len; i > 0; i--)
        if (name.p[i - 1] == '.')
            return str_sub(name, i, name.len);
    return name;
}

/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec" */
struct str json_go_message_type(struct str name)
{
    struct str last = last_label(name);
    if (last.len == name.len)
        return name;
    struct str version = last_label(str_sub(name, 0, name.len - last.len - 1));
    return str_sub(name, (size_t)(version.p - name.p), name.len);
}

static void go_type(const struct schema_field *f, enum field_shape shape, char *out, size_t size)
{
    static const char *const names[] = {
        [FIELD_BOOL] = "bool",
        [FIELD_INT32] = "int32",
        [FIELD_INT64] = "int64",
        [FIELD_DOUBLE] = "float64",
        [FIELD_STRING] = "string",
        [FIELD_BYTES] = "[]uint8",
        [FIELD_TIME] = "v1.Time",
        [FIELD_MICRO_TIME] = "v1.MicroTime",
        [FIELD_DURATION] = "v1.Duration",
        [FIELD_QUANTITY] = "resource.Quantity",
        [FIELD_INT_OR_STRING] = "intstr.IntOrString",
        [FIELD_MESSAGE] = "",
        [FIELD_ANY] = "runtime.RawExtension",
    };
    struct str name = f->type == FIELD_MESSAGE ? json_go_message_type(f->message->name) : str_from(names[f->type]);
    if (f->go_type && (f->shape != SHAPE_MAP || shape == SHAPE_MAP)) {
        snprintf(out, size, "%s%s", shape == SHAPE_LIST ? "[]" : "", f->go_type);
        return;
    }
    const char *wrap = shape == SHAPE_LIST ? "[]" : shape == SHAPE_MAP ? "map[string]" : "";
    snprintf(out, size, "%s%s" STR_FMT, wrap, shape == SHAPE_MAP && f->flags & FIELD_MAP_OF_LISTS ? "[]" : "",
             STR_ARG(name));
}

static void go_value(yyjson_val *v, bool with_number, char *out, size_t size)
{
    if (yyjson_is_raw(v) && with_number)
        snprintf(out, size, "number " STR_FMT, STR_ARG(text_of(v)));
    else
        snprintf(out, size, "%s",
                 yyjson_is_raw(v)    ? "number"
                 : yyjson_is_str(v)  ? "string"
                 : yyjson_is_bool(v) ? "bool"
                 : yyjson_is_arr(v)  ? "array"
                                     : "object");
}

static size_t field_names(const struct step *s, char *out, size_t size)
{
    size_t len = s->up ? field_names(s->up, out, size) : 0;
    if (!s->holder)
        return len;
    return len + (size_t)snprintf(len < size ? out + len : NULL, len < size ? size - len : 0, "%s" STR_FMT,
                                  len ? "." : "", STR_ARG(s->name));
}

int json_type_error(struct decoder *d, yyjson_val *v, bool with_number, const char *type, const struct step *at)
{
    char value[128], path[512] = "";
    go_value(v, with_number, value, sizeof value);
    const struct step *field = at;
    while (field && !field->holder)
        field = field->up;
    if (!field)
        return err_set(d->err, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type %s", value, type);
    field_names(field, path, sizeof path);
    return err_set(d->err, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go struct field " STR_FMT ".%s of type %s",
                   value, STR_ARG(last_label(field->holder->name)), path, type);
}

int json_field_type_error(struct decoder *d, const struct schema_field *f, enum field_shape shape, yyjson_val *v,
                          bool with_number, const struct step *at)
{
    char type[256];
    go_type(f, shape, type, sizeof type);
    return json_type_error(d, v, with_number, type, at);
}

/* ---- scalars ---- */

/* Decimal digits only, as Go's ParseInt wants. */
bool json_parse_int(struct str s, int64_t *ret)
{
    if (s.len > 0 && s.len < 18) {
        bool negative = s.p[0] == '-';
        int64_t n = 0;
        for (size_t i = negative; i < s.len; i++) {
            if (s.p[i] < '0' || s.p[i] > '9')
                return false;
            n = n * 10 + (s.p[i] - '0');
        }
        *ret = negative ? -n : n;
        return true;
    }
    return str_to_i64(s, ret);
}

bool json_parse_double(struct arena *a, struct str s, double *ret)
{
    *ret = strtod(arena_str(a, s).p, NULL);
    return isfinite(*ret);
}

static const unsigned char base64_class[256] = {
    ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['0' ... '9'] = 1, ['+'] = 1, ['/'] = 1, ['='] = 2, ['\n'] = 3, ['\r'] = 3,
};

/* Padded standard base64, as Go's StdEncoding reads it; line breaks are dropped. */
static int decode_bytes(struct decoder *d, struct str in, struct value **ret)
{
    size_t n = 0, pads = 0, bad = in.len;
    bool breaks = false;
    for (size_t i = 0; i < in.len && bad == in.len; i++) {
        unsigned char class = base64_class[(unsigned char)in.p[i]];
        if (class == 3)
            breaks = true;
        else if (class == 2 && n % 4 >= 2 && ++pads <= 2)
            n++;
        else if (class == 1 && pads == 0)
            n++;
        else
            bad = i;
    }
    if (bad < in.len || n % 4 != 0)
        return err_set(d->err, ERR_BAD_REQUEST, "illegal base64 data at input byte %zu",
                       bad < in.len ? bad : n - n % 4);
    if (breaks) {
        char *out = arena_alloc(d->a, n + 1);
        size_t o = 0;
        for (size_t i = 0; i < in.len; i++)
            if (base64_class[(unsigned char)in.p[i]] != 3)
                out[o++] = in.p[i];
        in = (struct str){out, o};
    }
    *ret = value_string(d->a, in);
    return 0;
}

static bool is_canonical_time(struct str s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    if (s.len != sizeof form - 1)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (form[i] == 'd' ? s.p[i] < '0' || s.p[i] > '9' : s.p[i] != form[i])
            return false;
    return true;
}

static int decode_time(struct decoder *d, const struct schema_field *f, yyjson_val *in, struct value **ret)
{
    if (!yyjson_is_str(in)) {
        char value[128];
        go_value(in, false, value, sizeof value);
        return err_set(d->err, ERR_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type string", value);
    }
    struct str text = text_of(in);
    int64_t us;
    if (time_parse_rfc3339(text, &us) < 0)
        return err_set(d->err, ERR_BAD_REQUEST,
                       "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05%sZ07:00\": cannot parse \"" STR_FMT
                       "\" as \"2006\"",
                       STR_ARG(text), f->type == FIELD_MICRO_TIME ? ".000000" : "", STR_ARG(text));
    if (f->type == FIELD_MICRO_TIME)
        text = time_format_micro(d->a, us);
    else if (!is_canonical_time(text))
        text = time_format(d->a, us);
    *ret = value_string(d->a, text);
    return 0;
}

/* Digits with an optional unit that has no other spelling: most quantities, without the arithmetic. */
static bool is_plain_quantity(struct str s)
{
    if (s.len == 0 || s.len > 6 || s.p[0] < '1' || s.p[0] > '9')
        return false;
    size_t i = 1;
    while (i < s.len && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    return i == s.len && i <= 3;
}

static int decode_quantity(struct decoder *d, yyjson_val *in, struct value **ret)
{
    struct str text;
    if (yyjson_is_str(in) || yyjson_is_raw(in))
        text = text_of(in);
    else
        text = yyjson_is_bool(in) ? (yyjson_is_true(in) ? STR("true") : STR("false")) : STR("{}");
    if (!is_plain_quantity(text) && quantity_canonical(d->a, text, &text) < 0)
        return err_set(d->err, ERR_BAD_REQUEST,
                       "quantities must match the regular expression "
                       "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    *ret = value_string(d->a, text);
    return 0;
}

static int decode_int(struct decoder *d, const struct schema_field *f, yyjson_val *in, const struct step *at,
                      struct value **ret)
{
    int64_t n = 0;
    if (!yyjson_is_raw(in))
        return json_field_type_error(d, f, SHAPE_SINGLE, in, false, at);
    if (!json_parse_int(text_of(in), &n) || (f->type == FIELD_INT32 && (n < INT32_MIN || n > INT32_MAX)))
        return json_field_type_error(d, f, SHAPE_SINGLE, in, true, at);
    *ret = value_int(d->a, n);
    return 0;
}

static int decode_int_or_string(struct decoder *d, yyjson_val *in, struct value **ret)
{
    int64_t n = 0;
    if (yyjson_is_str(in)) {
        *ret = value_string(d->a, text_of(in));
        return 0;
    }
    if (!yyjson_is_raw(in))
        return json_type_error(d, in, false, "int32", NULL);
    if (!json_parse_int(text_of(in), &n) || n < INT32_MIN || n > INT32_MAX)
        return json_type_error(d, in, true, "int32", NULL);
    *ret = value_int(d->a, n);
    return 0;
}

int json_decode_scalar(struct decoder *d, const struct schema_field *f, yyjson_val *in, const struct step *at,
                       struct value **ret)
{
    double number;
    switch (f->type) {
    case FIELD_BOOL:
        if (!yyjson_is_bool(in))
            break;
        *ret = value_bool(d->a, yyjson_is_true(in));
        return 0;
    case FIELD_INT32:
    case FIELD_INT64:
        return decode_int(d, f, in, at, ret);
    case FIELD_DOUBLE:
        if (!yyjson_is_raw(in))
            break;
        if (!json_parse_double(d->a, text_of(in), &number))
            return json_field_type_error(d, f, SHAPE_SINGLE, in, true, at);
        *ret = value_double(d->a, number);
        return 0;
    case FIELD_STRING:
    case FIELD_DURATION:
        if (!yyjson_is_str(in))
            break;
        *ret = value_string(d->a, text_of(in));
        return 0;
    case FIELD_BYTES:
        if (!yyjson_is_str(in))
            break;
        return decode_bytes(d, text_of(in), ret);
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return decode_time(d, f, in, ret);
    case FIELD_QUANTITY:
        return decode_quantity(d, in, ret);
    case FIELD_INT_OR_STRING:
        return decode_int_or_string(d, in, ret);
    case FIELD_MESSAGE:
    case FIELD_ANY:
        break;
    }
    return json_field_type_error(d, f, SHAPE_SINGLE, in, false, at);
}

/* What null means inside a list or a map: the zero value. */
struct value *json_zero_of(struct arena *a, const struct schema_field *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return value_bool(a, false);
    case FIELD_INT32:
    case FIELD_INT64:
    case FIELD_INT_OR_STRING:
        return value_int(a, 0);
    case FIELD_DOUBLE:
        return value_double(a, 0);
    case FIELD_QUANTITY:
        return value_stringz(a, "0");
    case FIELD_MESSAGE:
        return value_map(a);
    case FIELD_ANY:
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return value_null(a);
    default:
        return value_stringz(a, "");
    }
}
