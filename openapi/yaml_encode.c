#include "openapi/yaml_encode.h"

#include "openapi/json.h"

#include <ctype.h>
#include <stdlib.h>

/* Words that YAML 1.1 reads as something else than a string. */
static bool is_reserved(struct str s)
{
    static const char *const words[] = {"",  "~",    "null", "true",  "false", "yes", "no", "on",  "off", "y",
                                        "n", ".nan", ".inf", "-.inf", "+.inf", "<<",  "=",  "---", "..."};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (str_eq_nocase(s, str_from(words[i])))
            return true;
    }
    return false;
}

/* Numbers, dates and times of day begin with a digit, or a sign or dot before one: quoting them all is always right. */
static bool looks_numeric(struct str s)
{
    size_t i = s.p[0] == '-' || s.p[0] == '+' || s.p[0] == '.';
    if (i < s.len && s.p[i] == '.')
        i++;
    if (i >= s.len || !isdigit((unsigned char)s.p[i]))
        return false;
    for (; i < s.len; i++) {
        if (!isalnum((unsigned char)s.p[i]) && !strchr("+-.:_ TZ", s.p[i]))
            return false; /* "10.0.0.0/16", "https://…" stay plain */
    }
    return true;
}

static bool is_plain(struct str s)
{
    if (is_reserved(s) || looks_numeric(s) || isspace((unsigned char)s.p[0]) || isspace((unsigned char)s.p[s.len - 1]))
        return false;
    if (strchr("!&*{}[],#|>@`\"'%", s.p[0]))
        return false;
    if (strchr("-?:", s.p[0]) && (s.len == 1 || s.p[1] == ' '))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x7f)
            return false;
        if (c == ':' && (i + 1 == s.len || s.p[i + 1] == ' '))
            return false;
        if (c == '#' && i > 0 && s.p[i - 1] == ' ')
            return false;
    }
    return true;
}

static void write_string(struct buf *out, struct str s)
{
    if (s.len && is_plain(s))
        buf_add_str(out, s);
    else
        json_encode_string(out, s);
}

static void indent(struct buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buf_addz(out, "  ");
}

static int by_key(const void *a, const void *b)
{
    return str_cmp((*(const struct value_member *const *)a)->key, (*(const struct value_member *const *)b)->key);
}

static void write_value(struct buf *out, const struct value *v, size_t depth, bool sort_keys, bool after_dash);

static void write_member(struct buf *out, const struct value_member *m, size_t depth, bool sort_keys)
{
    write_string(out, m->key);
    buf_add_char(out, ':');
    const struct value *v = m->value;
    bool block = (v->kind == VALUE_MAP || v->kind == VALUE_LIST) && value_len(v) > 0;
    if (block) {
        buf_add_char(out, '\n');
        write_value(out, v, v->kind == VALUE_LIST ? depth : depth + 1, sort_keys, false);
        return;
    }
    buf_add_char(out, ' ');
    write_value(out, v, depth, sort_keys, false);
}

static void write_map(struct buf *out, const struct value *v, size_t depth, bool sort_keys, bool after_dash)
{
    size_t n = v->map.len;
    const struct value_member **members = malloc(n * sizeof *members);
    if (!members)
        abort();
    for (size_t i = 0; i < n; i++)
        members[i] = &v->map.members[i];
    if (sort_keys)
        qsort(members, n, sizeof *members, by_key);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 || !after_dash)
            indent(out, depth);
        write_member(out, members[i], depth, sort_keys);
    }
    free(members);
}

/* Writes v and the end of its last line. `after_dash`: the first line goes on behind "- ". */
static void write_value(struct buf *out, const struct value *v, size_t depth, bool sort_keys, bool after_dash)
{
    if (v->kind == VALUE_MAP && v->map.len > 0) {
        write_map(out, v, depth, sort_keys, after_dash);
        return;
    }
    if (v->kind == VALUE_LIST && v->list.len > 0) {
        for (size_t i = 0; i < v->list.len; i++) {
            if (i > 0 || !after_dash)
                indent(out, depth);
            buf_addz(out, "- ");
            write_value(out, v->list.items[i], depth + 1, sort_keys, true);
        }
        return;
    }
    if (v->kind == VALUE_STRING)
        write_string(out, v->string);
    else
        json_encode(out, v); /* scalars and empty collections are the same in both */
    buf_add_char(out, '\n');
}

void yaml_encode(struct buf *out, const struct value *v, bool sort_keys)
{
    write_value(out, v, 0, sort_keys, false);
}
