#include "openapi/json_parse.h"

#include <stdio.h>
#include <stdlib.h>

enum { GO_MAX_DEPTH = 10000 };

/* ---- Go's scanner, run only over text that yyjson refused ---- */

struct scanner {
    struct str text;
    size_t at;
    struct err *err;
    char *stack; /* '{' or '[' for every open one */
    size_t depth, cap;
};

static void quote_char(char *out, size_t size, unsigned char c)
{
    if (c == '\'')
        snprintf(out, size, "'\\''");
    else if (c == '"')
        snprintf(out, size, "'\"'");
    else if (c == '\\')
        snprintf(out, size, "'\\\\'");
    else if (c == '\n' || c == '\r' || c == '\t' || (c >= 7 && c <= 12))
        snprintf(out, size, "'\\%c'", "abtnvfr"[c - 7]);
    else if (c < 0x20 || c == 0x7f)
        snprintf(out, size, "'\\x%02x'", c);
    else if (c < 0x7f)
        snprintf(out, size, "'%c'", c);
    else if (c < 0xa1 || c == 0xad)
        snprintf(out, size, "'\\u%04x'", c);
    else
        snprintf(out, size, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

/* The character at s->at may not stand there. */
static bool invalid(struct scanner *s, const char *context)
{
    if (s->at >= s->text.len) {
        err_set(s->err, ERR_BAD_REQUEST, "unexpected end of JSON input");
    } else {
        char quoted[16];
        quote_char(quoted, sizeof quoted, (unsigned char)s->text.p[s->at]);
        err_set(s->err, ERR_BAD_REQUEST, "invalid character %s %s", quoted, context);
    }
    return false;
}

static int peek(const struct scanner *s)
{
    return s->at < s->text.len ? (unsigned char)s->text.p[s->at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void skip_space(struct scanner *s)
{
    int c;
    while ((c = peek(s)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        s->at++;
}

static bool scan_string(struct scanner *s)
{
    s->at++;
    for (;; s->at++) {
        int c = peek(s);
        if (c < 0x20)
            return invalid(s, "in string literal");
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c != '\\')
            continue;
        s->at++;
        c = peek(s);
        if (c < 0 || !strchr("\"\\/bfnrtu", c))
            return invalid(s, "in string escape code");
        for (int i = 0; c == 'u' && i < 4; i++) {
            s->at++;
            if (!is_hex(peek(s)))
                return invalid(s, "in \\u hexadecimal character escape");
        }
    }
}

static bool scan_number(struct scanner *s)
{
    if (peek(s) == '-')
        s->at++;
    if (!is_digit(peek(s)))
        return invalid(s, "in numeric literal");
    if (peek(s) == '0')
        s->at++;
    else
        while (is_digit(peek(s)))
            s->at++;
    if (peek(s) == '.') {
        s->at++;
        if (!is_digit(peek(s)))
            return invalid(s, "after decimal point in numeric literal");
        while (is_digit(peek(s)))
            s->at++;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!is_digit(peek(s)))
            return invalid(s, "in exponent of numeric literal");
        while (is_digit(peek(s)))
            s->at++;
    }
    return true;
}

static bool scan_literal(struct scanner *s, const char *word)
{
    for (size_t i = 0; word[i]; i++, s->at++)
        if (peek(s) != word[i]) {
            char context[64];
            snprintf(context, sizeof context, "in literal %s (expecting '%c')", word, word[i]);
            return invalid(s, context);
        }
    return true;
}

static bool push(struct scanner *s, char c)
{
    if (s->depth == GO_MAX_DEPTH) {
        err_set(s->err, ERR_BAD_REQUEST, "exceeded max depth");
        return false;
    }
    if (s->depth == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->stack = realloc(s->stack, s->cap);
        if (!s->stack)
            abort();
    }
    s->stack[s->depth++] = c;
    s->at++;
    return true;
}

static bool scan_key(struct scanner *s)
{
    skip_space(s);
    if (peek(s) != '"')
        return invalid(s, "looking for beginning of object key string");
    if (!scan_string(s))
        return false;
    skip_space(s);
    if (peek(s) != ':')
        return invalid(s, "after object key");
    s->at++;
    return true;
}

/* One scalar, or the opening of a map or list. *ret_opened says which. */
static bool scan_value(struct scanner *s, bool *ret_opened)
{
    skip_space(s);
    int c = peek(s);
    *ret_opened = c == '{' || c == '[';
    if (*ret_opened)
        return push(s, (char)c);
    if (c == '"')
        return scan_string(s);
    if (c == '-' || is_digit(c))
        return scan_number(s);
    if (c == 't')
        return scan_literal(s, "true");
    if (c == 'f')
        return scan_literal(s, "false");
    if (c == 'n')
        return scan_literal(s, "null");
    return invalid(s, "looking for beginning of value");
}

static bool scan_document(struct scanner *s)
{
    bool opened;
    for (;;) {
        if (!scan_value(s, &opened))
            return false;
        skip_space(s);
        if (opened) {
            char top = s->stack[s->depth - 1];
            if (peek(s) != (top == '{' ? '}' : ']')) {
                if (top == '{' && !scan_key(s))
                    return false;
                continue;
            }
            s->at++;
            s->depth--;
        }
        for (;;) { /* a value is complete */
            skip_space(s);
            if (s->depth == 0)
                return s->at == s->text.len || invalid(s, "after top-level value");
            char top = s->stack[s->depth - 1];
            int c = peek(s);
            if (c == ',') {
                s->at++;
                if (top == '{' && !scan_key(s))
                    return false;
                break;
            }
            if (c != (top == '{' ? '}' : ']'))
                return invalid(s, top == '{' ? "after object key:value pair" : "after array element");
            s->at++;
            s->depth--;
        }
    }
}

bool json_syntax_error(struct str text, struct err *err)
{
    struct scanner s = {.text = text, .err = err};
    bool fine = scan_document(&s);
    free(s.stack);
    return !fine;
}

/* ---- text that Go reads and yyjson does not ---- */

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static unsigned hex4(const char *p)
{
    char digits[5] = {p[0], p[1], p[2], p[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* The same JSON with U+FFFD for every byte and surrogate that stands for nothing. The text passed Go's scanner. */
static struct str repair(struct arena *a, struct str text)
{
    char *out = arena_alloc(a, text.len * 3 + 1), *o = out;
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_len((const unsigned char *)text.p + i, text.len - i);
        if (n == 0) {
            memcpy(o, "\xef\xbf\xbd", 3);
            o += 3;
            i++;
            continue;
        }
        if (text.p[i] == '\\' && text.p[i + 1] == 'u') {
            unsigned u = hex4(text.p + i + 2);
            bool pair = u >= 0xd800 && u < 0xdc00 && i + 12 <= text.len && text.p[i + 6] == '\\' &&
                        text.p[i + 7] == 'u' && hex4(text.p + i + 8) >= 0xdc00 && hex4(text.p + i + 8) < 0xe000;
            size_t take = pair ? 12 : 6;
            if (!pair && u >= 0xd800 && u < 0xe000)
                memcpy(o, "\\ufffd", 6);
            else
                memcpy(o, text.p + i, take);
            o += take;
            i += take;
            continue;
        }
        if (text.p[i] == '\\')
            n = 2;
        memcpy(o, text.p + i, n);
        o += n;
        i += n;
    }
    return (struct str){out, (size_t)(o - out)};
}

static yyjson_doc *read_copy(struct arena *a, struct str text)
{
    char *copy = arena_alloc(a, text.len + YYJSON_PADDING_SIZE);
    if (text.len)
        memcpy(copy, text.p, text.len);
    memset(copy + text.len, 0, YYJSON_PADDING_SIZE);
    return yyjson_read_opts(copy, text.len, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
}

#define GO_MAX_DEPTH 10000

/* The bracket that opens one level more than Go's decoder reads, 0 when there is none. */
static char too_deep(struct str text)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '[') && ++depth > GO_MAX_DEPTH)
            return c;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return 0;
}

int json_parse(struct arena *a, struct str text, yyjson_doc **ret, struct err *err)
{
    char opening = text.len > GO_MAX_DEPTH ? too_deep(text) : 0;
    if (opening)
        return err_set(err, ERR_BAD_REQUEST, "invalid character '%c' exceeded max depth", opening);
    *ret = read_copy(a, text);
    if (*ret)
        return 0;
    if (json_syntax_error(text, err))
        return ERR_BAD_REQUEST;
    *ret = read_copy(a, repair(a, text));
    if (*ret)
        return 0;
    return err_set(err, ERR_BAD_REQUEST, "invalid JSON");
}
