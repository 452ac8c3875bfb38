#include "base/net/http.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes; `plus` turns '+' into a space as in forms. What needs no decoding is not copied. */
static struct str decode(struct arena *a, struct str s, bool plus)
{
    size_t at = 0;
    while (at < s.len && s.p[at] != '%' && !(plus && s.p[at] == '+'))
        at++;
    if (at == s.len)
        return s.p ? s : STR("");
    char *out = arena_alloc(a, s.len + 1);
    memcpy(out, s.p, at);
    size_t len = at;
    for (; at < s.len; at++) {
        char c = s.p[at];
        if (c == '%') {
            int high = s.len - at > 2 ? hex_value(s.p[at + 1]) : -1;
            int low = s.len - at > 2 ? hex_value(s.p[at + 2]) : -1;
            if (high < 0 || low < 0)
                return STR_NULL;
            c = (char)(high << 4 | low);
            at += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        out[len++] = c;
    }
    out[len] = 0;
    return (struct str){out, len};
}

struct str http_percent_decode(struct arena *a, struct str s)
{
    return decode(a, s, false);
}

/* A pair that is malformed (bad escape, a semicolon) is skipped, as Go's parser does for whoever ignores its error. */
bool http_query_next(struct arena *a, struct str *query, struct str *ret_name, struct str *ret_value)
{
    struct str pair;
    size_t at;
    while (str_split(query, '&', &pair)) {
        if (pair.len == 0 || str_index(pair, ';', &at))
            continue;
        struct str value = STR("");
        if (str_index(pair, '=', &at)) {
            value = str_sub(pair, at + 1, pair.len);
            pair = str_sub(pair, 0, at);
        }
        *ret_name = decode(a, pair, true);
        *ret_value = decode(a, value, true);
        if (ret_name->p && ret_value->p)
            return true;
    }
    return false;
}
