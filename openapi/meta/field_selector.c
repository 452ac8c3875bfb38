#include "openapi/meta/selector.h"

#include "openapi/object/object.h"

#include <stdlib.h>

static int unescape(struct arena *a, struct str in, struct str *ret, struct err *err)
{
    char *out = arena_alloc(a, in.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.p[i];
        if (c == ',' || c == '=')
            return err_set(err, ERR_BAD_REQUEST, "invalid field selector: unescaped character in value: %d", c);
        if (c == '\\') {
            if (++i == in.len)
                return err_set(err, ERR_BAD_REQUEST, "invalid field selector: invalid escape sequence: \\");
            c = in.p[i];
            if (c != '\\' && c != ',' && c != '=')
                return err_set(err, ERR_BAD_REQUEST, "invalid field selector: invalid escape sequence: \\%c", c);
        }
        out[len++] = c;
    }
    out[len] = 0;
    *ret = (struct str){out, len};
    return 0;
}

static int parse_term(struct arena *a, struct str text, struct str part, struct field_term *ret, struct err *err)
{
    for (size_t i = 0; i < part.len; i++) {
        struct str rest = str_sub(part, i, part.len);
        size_t op = str_starts(rest, STR("!=")) || str_starts(rest, STR("==")) ? 2 : rest.p[0] == '=';
        if (op == 0)
            continue;
        *ret = (struct field_term){.field = str_sub(part, 0, i), .negative = rest.p[0] == '!'};
        return unescape(a, str_sub(rest, op, rest.len), &ret->value, err);
    }
    return err_set(err, ERR_BAD_REQUEST, "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                   STR_ARG(text), STR_ARG(part));
}

static int compare_term(const void *x, const void *y)
{
    const struct field_term *p = x, *q = y;
    int by_field = str_cmp(p->field, q->field);
    return by_field ? by_field : str_cmp(p->value, q->value);
}

int field_selector_parse(struct arena *a, struct str text, struct field_selector *ret, struct err *err)
{
    *ret = (struct field_selector){0};
    size_t from = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.p[i] == '\\') {
            i++;
            continue;
        }
        if (i < text.len && text.p[i] != ',')
            continue;
        struct str part = str_sub(text, from, i);
        from = i + 1;
        struct field_term term;
        if (part.len == 0)
            continue;
        if (parse_term(a, text, part, &term, err) < 0)
            return err->code;
        ARENA_PUSH(a, ret->items, ret->len, ret->cap, term);
    }
    if (from < text.len) { /* ends in a lone backslash */
        struct field_term term;
        if (parse_term(a, text, str_sub(text, from, text.len), &term, err) < 0)
            return err->code;
        ARENA_PUSH(a, ret->items, ret->len, ret->cap, term);
    }
    if (ret->len > 1)
        qsort(ret->items, ret->len, sizeof *ret->items, compare_term);
    return 0;
}

static int find_field(struct str field, const struct resource_version *v)
{
    for (int i = 0; v->selectable && v->selectable[i]; i++) {
        if (str_eqz(field, v->selectable[i]))
            return i;
    }
    return -1;
}

int field_selector_compile(struct field_selector *s, const struct resource *r, const struct resource_version *v,
                           struct err *err)
{
    for (size_t i = 0; i < s->len; i++) {
        struct field_term *t = &s->items[i];
        if (str_eqz(t->field, "metadata.name")) {
            t->at = FIELD_AT_NAME;
            continue;
        }
        if (str_eqz(t->field, "metadata.namespace")) {
            t->at = FIELD_AT_NAMESPACE;
            continue;
        }
        bool old_host = r->group.len == 0 && str_eqz(r->name, "pods") && str_eqz(t->field, "spec.host");
        int at = find_field(old_host ? STR("spec.nodeName") : t->field, v);
        if (at < 0 && !(v->selectable && v->selectable[0]))
            return err_set(err, ERR_BAD_REQUEST,
                           "\"" STR_FMT
                           "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                           STR_ARG(t->field));
        if (at < 0 && str_eqz(r->group, "batch"))
            return err_set(err, ERR_BAD_REQUEST, "field label \"" STR_FMT "\" not supported for batchv1." STR_FMT,
                           STR_ARG(t->field), STR_ARG(r->kind));
        if (at < 0)
            return err_set(err, ERR_BAD_REQUEST, "field label not supported: " STR_FMT, STR_ARG(t->field));
        t->at = (int16_t)at;
    }
    return 0;
}

bool field_selector_matches(const struct field_selector *s, const struct object *o)
{
    for (size_t i = 0; i < s->len; i++) {
        const struct field_term *t = &s->items[i];
        struct str value = STR("");
        if (t->at == FIELD_AT_NAME)
            value = o->name;
        else if (t->at == FIELD_AT_NAMESPACE)
            value = o->namespace_;
        else if (t->at < o->n_fields)
            value = o->fields[t->at];
        if (str_eq(value, t->value) == t->negative)
            return false;
    }
    return true;
}

struct str field_selector_requires(const struct field_selector *s, const char *field)
{
    for (size_t i = 0; i < s->len; i++) {
        if (!s->items[i].negative && str_eqz(s->items[i].field, field))
            return s->items[i].value;
    }
    return STR_NULL;
}

struct str field_selector_text(struct arena *a, const struct field_selector *s)
{
    struct buf out = {0};
    for (size_t i = 0; i < s->len; i++) {
        const struct field_term *t = &s->items[i];
        if (i > 0)
            buf_add_char(&out, ',');
        buf_add_str(&out, t->field);
        buf_addz(&out, t->negative ? "!=" : "=");
        for (size_t j = 0; j < t->value.len; j++) {
            if (strchr("\\,=", t->value.p[j]) && t->value.p[j])
                buf_add_char(&out, '\\');
            buf_add_char(&out, t->value.p[j]);
        }
    }
    struct str text = arena_str(a, buf_str(&out));
    buf_free(&out);
    return text;
}
