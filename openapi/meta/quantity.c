#include "openapi/meta/quantity.h"

#include <stdio.h>

/* Numbers are nanos in 128 bits: 2^63-1 whole units (upstream's cap) need 93 bits. */
#define NANOS ((__int128)1000000000)
#define CAP ((__int128)INT64_MAX * NANOS)

static const struct suffix {
    char text[3];
    enum quantity_format format;
    int exponent; /* of 10, or of 2 */
} suffixes[] = {
    {"Ki", QUANTITY_BINARY_SI, 10}, {"Mi", QUANTITY_BINARY_SI, 20}, {"Gi", QUANTITY_BINARY_SI, 30},
    {"Ti", QUANTITY_BINARY_SI, 40}, {"Pi", QUANTITY_BINARY_SI, 50}, {"Ei", QUANTITY_BINARY_SI, 60},
    {"n", QUANTITY_DECIMAL_SI, -9}, {"u", QUANTITY_DECIMAL_SI, -6}, {"m", QUANTITY_DECIMAL_SI, -3},
    {"", QUANTITY_DECIMAL_SI, 0},   {"k", QUANTITY_DECIMAL_SI, 3},  {"M", QUANTITY_DECIMAL_SI, 6},
    {"G", QUANTITY_DECIMAL_SI, 9},  {"T", QUANTITY_DECIMAL_SI, 12}, {"P", QUANTITY_DECIMAL_SI, 15},
    {"E", QUANTITY_DECIMAL_SI, 18},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum quantity_fault scan_suffix(struct str s, enum quantity_format *ret_format, int *ret_exponent)
{
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const char *text = suffixes[i].text;
        size_t n = 0;
        while (n < s.len && text[n] && text[n] == s.p[n])
            n++;
        if (n == s.len && !text[n]) {
            *ret_format = suffixes[i].format;
            *ret_exponent = suffixes[i].exponent;
            return QUANTITY_OK;
        }
    }
    if (s.len > 1 && (s.p[0] == 'e' || s.p[0] == 'E')) {
        int64_t e = 0;
        struct str digits = str_sub(s, s.p[1] == '+' ? 2 : 1, s.len);
        if (digits.len == 0 || digits.p[0] == '+' || !str_to_i64(digits, &e))
            return QUANTITY_BAD_SUFFIX;
        *ret_format = QUANTITY_DECIMAL_EXPONENT;
        *ret_exponent = e > 10000 ? 10000 : e < -10000 ? -10000 : (int)e;
        return QUANTITY_OK;
    }
    return QUANTITY_BAD_SUFFIX;
}

/* The number's significant digits as an integer with a decimal exponent; digits past the 37th only say whether
 * anything is left to round up. */
struct mantissa {
    __int128 digits;
    int exponent;
    bool rest;
};

static size_t scan_number(struct str in, size_t at, struct mantissa *ret)
{
    int kept = 0;
    bool point = false;
    for (; at < in.len && (is_digit(in.p[at]) || (in.p[at] == '.' && !point)); at++) {
        if (in.p[at] == '.') {
            point = true;
            continue;
        }
        if (kept < 37) {
            ret->digits = ret->digits * 10 + (in.p[at] - '0');
            kept += ret->digits != 0;
            ret->exponent -= point;
        } else {
            ret->rest |= in.p[at] != '0';
            ret->exponent += !point;
        }
    }
    return at;
}

static __int128 scale_decimal(struct mantissa m, int exponent)
{
    __int128 v = m.digits;
    bool rest = m.rest;
    exponent += m.exponent + 9; /* to nanos */
    if (v == 0)
        return rest;
    for (; exponent > 0; exponent--) {
        if (v > CAP)
            return CAP;
        v *= 10;
    }
    for (; exponent < 0; exponent++) {
        rest |= v % 10 != 0;
        v /= 10;
        if (v == 0)
            break;
    }
    v += rest;
    return v > CAP ? CAP : v;
}

static __int128 scale_binary(struct mantissa m, int exponent)
{
    __int128 v = m.digits;
    int decimal = m.exponent + 9;
    /* multiply by two while there is room, and take decimal places off when there is none */
    for (; decimal > 0; decimal--) {
        if (v > CAP)
            return v ? CAP : 0;
        v *= 10;
    }
    const __int128 room = ((__int128)1) << 126;
    bool rest = m.rest;
    for (; exponent > 0; exponent--) {
        if (v >= room / 2) {
            if (decimal == 0)
                return CAP;
            rest |= v % 10 != 0;
            v /= 10;
            decimal++;
            exponent++;
            continue;
        }
        v *= 2;
    }
    for (; decimal < 0; decimal++) {
        rest |= v % 10 != 0;
        v /= 10;
    }
    v += rest;
    return v > CAP ? CAP : v;
}

enum quantity_fault quantity_scan(struct str in, struct quantity *ret)
{
    *ret = (struct quantity){0};
    if (in.len == 0)
        return QUANTITY_BAD_FORMAT;
    size_t at = in.p[0] == '-' || in.p[0] == '+';
    bool negative = in.p[0] == '-';
    size_t from = at;
    struct mantissa m = {0};
    at = scan_number(in, at, &m);
    struct str number = str_sub(in, from, at);
    struct str suffix = str_sub(in, at, in.len);
    for (size_t i = 0; i < suffix.len; i++) {
        char c = suffix.p[i];
        if (!is_digit(c) && !(c && strchr("eEinumkKMGTP+-", c)))
            return QUANTITY_BAD_FORMAT;
    }
    if (number.len == 0 || (number.len == 1 && number.p[0] == '.'))
        return QUANTITY_BAD_FORMAT;
    int exponent = 0;
    enum quantity_fault fault = scan_suffix(suffix, &ret->format, &exponent);
    if (fault)
        return fault;
    ret->nanos = ret->format == QUANTITY_BINARY_SI ? scale_binary(m, exponent) : scale_decimal(m, exponent);
    if (negative)
        ret->nanos = -ret->nanos;
    return QUANTITY_OK;
}

const char *quantity_fault_text(enum quantity_fault fault)
{
    switch (fault) {
    case QUANTITY_BAD_NUMBER:
        return "unable to parse numeric part of quantity";
    case QUANTITY_BAD_SUFFIX:
        return "unable to parse quantity's suffix";
    default:
        return "quantities must match the regular expression "
               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    }
}

int quantity_parse(struct str in, struct quantity *ret, struct err *err)
{
    enum quantity_fault fault = quantity_scan(in, ret);
    return fault ? err_set(err, ERR_BAD_REQUEST, "%s", quantity_fault_text(fault)) : 0;
}

struct quantity quantity_from(struct str in)
{
    struct quantity q;
    if (quantity_scan(in, &q) != QUANTITY_OK)
        q = (struct quantity){0};
    return q;
}

struct quantity quantity_from_int(int64_t value)
{
    return (struct quantity){value * NANOS, QUANTITY_DECIMAL_SI};
}

struct quantity quantity_from_milli(int64_t milli)
{
    return (struct quantity){milli * (__int128)1000000, QUANTITY_DECIMAL_SI};
}

static size_t write_int(__int128 v, char *out)
{
    char tmp[48];
    size_t n = 0, len = 0;
    bool negative = v < 0;
    unsigned __int128 u = negative ? -(unsigned __int128)v : (unsigned __int128)v;
    do {
        tmp[n++] = (char)('0' + (int)(u % 10));
        u /= 10;
    } while (u);
    if (negative)
        out[len++] = '-';
    while (n)
        out[len++] = tmp[--n];
    return len;
}

static size_t write_decimal(const struct quantity *q, enum quantity_format format, char *out)
{
    __int128 v = q->nanos;
    int exponent = -9;
    while (v != 0 && v % 1000 == 0 && (exponent < 18 || format == QUANTITY_DECIMAL_EXPONENT)) {
        v /= 1000;
        exponent += 3;
    }
    if (v == 0)
        exponent = 0;
    size_t len = write_int(v, out);
    if (exponent == 0)
        return len;
    if (format == QUANTITY_DECIMAL_EXPONENT)
        return len + (size_t)sprintf(out + len, "e%d", exponent);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (suffixes[i].format == QUANTITY_DECIMAL_SI && suffixes[i].exponent == exponent)
            out[len++] = suffixes[i].text[0];
    }
    return len;
}

size_t quantity_write(const struct quantity *q, char out[QUANTITY_TEXT_MAX])
{
    size_t len = 0;
    bool small = q->nanos > -1024 * NANOS && q->nanos < 1024 * NANOS;
    if (q->format != QUANTITY_BINARY_SI || small || q->nanos % NANOS != 0) {
        enum quantity_format format = q->format == QUANTITY_BINARY_SI ? QUANTITY_DECIMAL_SI : q->format;
        len = write_decimal(q, format, out);
    } else {
        __int128 v = q->nanos / NANOS;
        int power = 0;
        while (power < 6 && v % 1024 == 0) {
            v /= 1024;
            power++;
        }
        len = write_int(v, out);
        if (power) {
            out[len++] = " KMGTPE"[power];
            out[len++] = 'i';
        }
    }
    out[len] = 0;
    return len;
}

struct str quantity_text(struct arena *a, const struct quantity *q)
{
    char out[QUANTITY_TEXT_MAX];
    size_t len = quantity_write(q, out);
    return arena_str(a, (struct str){out, len});
}

int quantity_canonical(struct arena *a, struct str in, struct str *ret)
{
    struct quantity q;
    char out[QUANTITY_TEXT_MAX];
    if (quantity_scan(in, &q) != QUANTITY_OK)
        return ERR_BAD_REQUEST;
    struct str text = {out, quantity_write(&q, out)};
    *ret = str_eq(text, in) ? in : arena_str(a, text);
    return 0;
}

void quantity_add(struct quantity *dst, const struct quantity *q)
{
    if (dst->nanos == 0)
        dst->format = q->format;
    dst->nanos += q->nanos;
}

void quantity_sub(struct quantity *dst, const struct quantity *q)
{
    if (dst->nanos == 0)
        dst->format = q->format;
    dst->nanos -= q->nanos;
}

int quantity_cmp(const struct quantity *a, const struct quantity *b)
{
    return a->nanos < b->nanos ? -1 : a->nanos > b->nanos;
}

int quantity_sign(const struct quantity *q)
{
    return q->nanos < 0 ? -1 : q->nanos > 0;
}

static int64_t divide_up(__int128 v, __int128 by)
{
    __int128 n = v / by;
    if (v % by > 0)
        n++;
    else if (v % by < 0)
        n--;
    return n > INT64_MAX ? INT64_MAX : n < INT64_MIN ? INT64_MIN : (int64_t)n;
}

int64_t quantity_value(const struct quantity *q)
{
    return divide_up(q->nanos, NANOS);
}

int64_t quantity_milli_value(const struct quantity *q)
{
    return divide_up(q->nanos, NANOS / 1000);
}

bool quantity_is_integer(const struct quantity *q)
{
    return q->nanos % NANOS == 0;
}
