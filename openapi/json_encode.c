#include "openapi/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0: as it is; otherwise needs a look (quotes, controls, HTML characters, bytes above ASCII for U+2028/9). */
static const unsigned char special[256] = {
    [0 ... 31] = 1, ['"'] = 1, ['\\'] = 1, ['<'] = 1, ['>'] = 1, ['&'] = 1, [0xe2] = 1,
};

static void add_escape(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char two[2] = {'\\', 0};
    switch (c) {
    case '"':
    case '\\':
        two[1] = (char)c;
        break;
    case '\b':
        two[1] = 'b';
        break;
    case '\f':
        two[1] = 'f';
        break;
    case '\n':
        two[1] = 'n';
        break;
    case '\r':
        two[1] = 'r';
        break;
    case '\t':
        two[1] = 't';
        break;
    default: {
        char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        buf_add(out, six, 6);
        return;
    }
    }
    buf_add(out, two, 2);
}

/* How many of the first bytes surely need no look, in steps of sixteen: the compiler makes one comparison of each line.
 * Long texts (annotations, certificates, scripts) are most of what is written. */
static size_t plain_prefix(const char *p, size_t len)
{
#define LANES(c) ((lanes){c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c})
    typedef unsigned char lanes __attribute__((vector_size(16)));
    typedef unsigned long long halves __attribute__((vector_size(16)));
    size_t i = 0;
    for (; i + sizeof(lanes) <= len; i += sizeof(lanes)) {
        lanes c;
        memcpy(&c, p + i, sizeof c);
        halves hit = (halves)(c < LANES(0x20)) | (halves)(c == LANES('"')) | (halves)(c == LANES('\\')) |
                     (halves)(c == LANES('<')) | (halves)(c == LANES('>')) | (halves)(c == LANES('&')) |
                     (halves)(c == LANES(0xe2));
        if (hit[0] | hit[1])
            break;
    }
    return i;
#undef LANES
}

void json_encode_string(struct buf *out, struct str s)
{
    buf_reserve(out, s.len + 2);
    size_t from = 0, plain = s.len < 16 ? 0 : plain_prefix(s.p, s.len);
    while (plain < s.len && !special[(unsigned char)s.p[plain]])
        plain++;
    out->p[out->len++] = '"';
    if (plain == s.len) { /* nearly always */
        if (s.len)
            memcpy(out->p + out->len, s.p, s.len);
        out->len += s.len;
        out->p[out->len++] = '"';
        return;
    }
    for (size_t i = plain; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!special[c]) {
            if (i % 64 == 0) { /* behind a special byte, long plain runs are skipped again */
                size_t n = plain_prefix(s.p + i, s.len - i);
                i += n ? n - 1 : 0;
            }
            continue;
        }
        if (c == 0xe2) { /* U+2028 and U+2029 break JavaScript */
            if (i + 2 >= s.len || s.p[i + 1] != '\x80' || (s.p[i + 2] & 0xfe) != 0xa8)
                continue;
            buf_add(out, s.p + from, i - from);
            buf_addz(out, s.p[i + 2] == '\xa8' ? "\\u2028" : "\\u2029");
            i += 2;
        } else {
            buf_add(out, s.p + from, i - from);
            add_escape(out, c);
        }
        from = i + 1;
    }
    if (s.len > from)
        buf_add(out, s.p + from, s.len - from);
    buf_add_char(out, '"');
}

/* The shortest text that reads back as the same number, in Go's choice of notation. */
static void add_double(struct buf *out, double d)
{
    char text[40];
    if (!isfinite(d)) { /* JSON has no word for it; decoding never makes one */
        buf_addz(out, "null");
        return;
    }
    int precision = 1;
    do
        snprintf(text, sizeof text, "%.*e", precision - 1, d);
    while (strtod(text, NULL) != d && ++precision <= 17); // NOLINT: exact comparison is the point
    double size = fabs(d);
    if (size != 0 && (size < 1e-6 || size >= 1e21)) { // NOLINT
        char *e = strchr(text, 'e');
        if (e[2] == '0') /* Go writes e-7 for e-07 */
            memmove(e + 2, e + 3, strlen(e + 2));
        buf_addz(out, text);
        return;
    }
    int exponent = atoi(strchr(text, 'e') + 1);
    int decimals = precision - 1 - exponent;
    char plain[64];
    snprintf(plain, sizeof plain, "%.*f", decimals > 0 ? decimals : 0, d);
    buf_addz(out, plain);
}

static void add_indent(struct buf *out, int depth)
{
    buf_add_char(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_add(out, "  ", 2);
}

/* depth < 0: compact */
static void encode(struct buf *out, const struct value *v, int depth)
{
    int inner = depth < 0 ? -1 : depth + 1;
    switch (v ? v->kind : VALUE_NULL) {
    case VALUE_NULL:
        buf_add(out, "null", 4);
        break;
    case VALUE_BOOL:
        buf_addz(out, v->boolean ? "true" : "false");
        break;
    case VALUE_INT:
        buf_add_i64(out, v->integer);
        break;
    case VALUE_DOUBLE:
        add_double(out, v->number);
        break;
    case VALUE_STRING:
        json_encode_string(out, v->string);
        break;
    case VALUE_LIST:
        buf_add_char(out, '[');
        for (size_t i = 0; i < v->list.len; i++) {
            if (i)
                buf_add_char(out, ',');
            if (inner > 0)
                add_indent(out, inner);
            encode(out, v->list.items[i], inner);
        }
        if (inner > 0 && v->list.len)
            add_indent(out, depth);
        buf_add_char(out, ']');
        break;
    case VALUE_MAP:
        buf_add_char(out, '{');
        for (size_t i = 0; i < v->map.len; i++) {
            if (i)
                buf_add_char(out, ',');
            if (inner > 0)
                add_indent(out, inner);
            json_encode_string(out, v->map.members[i].key);
            buf_add_char(out, ':');
            if (inner > 0)
                buf_add_char(out, ' ');
            encode(out, v->map.members[i].value, inner);
        }
        if (inner > 0 && v->map.len)
            add_indent(out, depth);
        buf_add_char(out, '}');
        break;
    }
}

const char *json_kind_name(const struct value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        return "null";
    case VALUE_BOOL:
        return "bool";
    case VALUE_STRING:
        return "string";
    case VALUE_LIST:
        return "array";
    case VALUE_MAP:
        return "object";
    default:
        return "number";
    }
}

void json_encode(struct buf *out, const struct value *v)
{
    encode(out, v, -1);
}

void json_encode_pretty(struct buf *out, const struct value *v)
{
    encode(out, v, 0);
}
