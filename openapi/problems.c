#include "openapi/problems.h"

#include "openapi/json.h"
#include "openapi/meta/quantity.h"

#include <stdio.h>

static const struct {
    const char *reason, *text;
} types[] = {
    [PROBLEM_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
    [PROBLEM_REQUIRED] = {"FieldValueRequired", "Required value"},
    [PROBLEM_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [PROBLEM_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [PROBLEM_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [PROBLEM_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [PROBLEM_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [PROBLEM_TOO_MANY] = {"FieldValueTooMany", "Too many"},
    [PROBLEM_INTERNAL] = {"InternalError", "Internal error"},
    [PROBLEM_TYPE_INVALID] = {"FieldValueTypeInvalid", "Invalid value"},
};

const char *problem_reason(enum problem_type t)
{
    return types[t].reason;
}

struct problems *problems_create(struct arena *a)
{
    struct problems *p = ARENA_NEW(a, struct problems);
    p->arena = a;
    return p;
}

/* Length of a valid UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    size_t n = s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

/* As Go's %q: control characters escaped, other UTF-8 kept, broken bytes as \xNN. */
static void add_quoted(struct buf *out, struct str s)
{
    static const char named[] = "\a\b\f\n\r\t\v";
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        const char *at = c ? strchr(named, c) : NULL;
        if (c == '"' || c == '\\') {
            buf_add_char(out, '\\');
            buf_add_char(out, (char)c);
        } else if (at) {
            buf_add_char(out, '\\');
            buf_add_char(out, "abfnrtv"[at - named]);
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else if (c < 0x80) {
            buf_add_char(out, (char)c);
        } else {
            size_t n = utf8_len((const unsigned char *)s.p + i, s.len - i);
            if (n)
                buf_add(out, s.p + i, n);
            else
                buf_printf(out, "\\x%02x", c);
            i += n ? n - 1 : 0;
        }
    }
    buf_add_char(out, '"');
}

static bool shows_value(enum problem_type t)
{
    return t != PROBLEM_REQUIRED && t != PROBLEM_FORBIDDEN && t != PROBLEM_TOO_LONG && t != PROBLEM_INTERNAL;
}

static void add_head(struct buf *out, enum problem_type type, const struct value *bad)
{
    buf_addz(out, types[type].text);
    if (!shows_value(type) || !bad)
        return;
    buf_addz(out, ": ");
    if (bad->kind == VALUE_STRING)
        add_quoted(out, bad->string);
    else
        json_encode(out, bad);
}

static void push(struct problems *p, enum problem_type type, struct str field, struct buf *message)
{
    struct problem item = {type, arena_str(p->arena, field), arena_str(p->arena, buf_str(message))};
    ARENA_PUSH(p->arena, p->items, p->len, p->cap, item);
    buf_free(message);
}

void problems_add(struct problems *p, enum problem_type type, struct str field, const struct value *bad,
                  const char *detail_fmt, ...)
{
    struct buf out = {0};
    add_head(&out, type, bad);
    if (detail_fmt && *detail_fmt) {
        va_list ap;
        va_start(ap, detail_fmt);
        struct str detail = arena_vprintf(p->arena, detail_fmt, ap);
        va_end(ap);
        if (detail.len) {
            buf_addz(&out, ": ");
            buf_add_str(&out, detail);
        }
    }
    push(p, type, field, &out);
}

void problems_add_unsupported(struct problems *p, struct str field, const struct value *bad,
                              const struct str *supported)
{
    struct buf out = {0};
    struct value none = {.kind = VALUE_STRING, .string = STR("")};
    add_head(&out, PROBLEM_NOT_SUPPORTED, bad ? bad : &none);
    for (size_t i = 0; supported && supported[i].p; i++) {
        buf_addz(&out, i ? ", " : ": supported values: ");
        add_quoted(&out, supported[i]);
    }
    push(p, PROBLEM_NOT_SUPPORTED, field, &out);
}

void problems_add_too_long(struct problems *p, struct str field, size_t max)
{
    problems_add(p, PROBLEM_TOO_LONG, field, NULL, "may not be more than %zu bytes", max);
}

void problems_add_too_many(struct problems *p, struct str field, size_t actual, size_t max)
{
    struct value n = {.kind = VALUE_INT, .integer = (int64_t)actual};
    problems_add(p, PROBLEM_TOO_MANY, field, &n, "must have at most %zu items", max);
}

static bool seen_before(const struct problems *p, size_t i)
{
    for (size_t j = 0; j < i; j++) {
        if (str_eq(p->items[j].field, p->items[i].field) && str_eq(p->items[j].message, p->items[i].message))
            return true;
    }
    return false;
}

struct str problems_text(const struct problems *p)
{
    struct buf out = {0};
    size_t n = 0;
    for (size_t i = 0; i < p->len; i++) {
        if (i < 64 && seen_before(p, i))
            continue;
        buf_addz(&out, n++ ? ", " : "");
        buf_add_str(&out, p->items[i].field);
        buf_addz(&out, ": ");
        buf_add_str(&out, p->items[i].message);
    }
    struct str text =
        n > 1 ? arena_printf(p->arena, "[" STR_FMT "]", STR_ARG(buf_str(&out))) : arena_str(p->arena, buf_str(&out));
    buf_free(&out);
    return text;
}

int problems_err(struct problems *p, struct err *err)
{
    if (p->len == 0)
        return 0;
    err_set(err, ERR_INVALID, STR_FMT, STR_ARG(problems_text(p)));
    err->problems = p;
    return ERR_INVALID;
}

static void add_path(struct buf *out, const struct field_path *p)
{
    if (p->parent)
        add_path(out, p->parent);
    if (p->name.p && p->is_key) {
        buf_add_char(out, '[');
        buf_add_str(out, p->name);
        buf_add_char(out, ']');
    } else if (p->name.p) {
        if (out->len)
            buf_add_char(out, '.');
        buf_add_str(out, p->name);
    } else {
        buf_printf(out, "[%zu]", p->index);
    }
}

struct str field_path_text(struct arena *a, const struct field_path *p)
{
    struct buf out = {0};
    if (p)
        add_path(&out, p);
    struct str text = arena_str(a, buf_str(&out));
    buf_free(&out);
    return text;
}
