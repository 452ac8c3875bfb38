/* YAML to a value tree, and from there as JSON through json_decode: the two steps upstream takes as well, so that both
 * kinds of text end up the same. Scalars resolve by YAML 1.1 as go-yaml.v2 does (yes, on and y are true; 0x10, 0b1 and
 * 010 are integers; timestamps stay text). Aliases are copied within a budget, so that a small text cannot grow without
 * bound. */
#include "openapi/json.h"
#include "openapi/json_parse.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { YAML_MAX_DEPTH = 1000, YAML_MAX_NODES = 2000000, MAX_REPEATED_TEXT = 4096 };

struct anchor {
    struct str name;
    struct value *value;
};

struct reader {
    struct arena *a;
    struct err *err;
    yaml_parser_t parser;
    yaml_event_t event;
    struct anchor *anchors;
    size_t n_anchors, cap_anchors;
    size_t nodes_left;
    struct buf repeated; /* lines about keys that stand twice */
};

static int read_node(struct reader *r, int depth, struct value **ret);

static int advance(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return 0;
    size_t line = r->parser.problem_mark.line;
    if (line && r->parser.error == YAML_SCANNER_ERROR)
        line++;
    if (!line)
        line = r->parser.context_mark.line;
    const char *problem = r->parser.problem ? r->parser.problem : "unknown problem parsing YAML content";
    if (!line)
        return err_set(r->err, ERR_BAD_REQUEST, "yaml: %s", problem);
    return err_set(r->err, ERR_BAD_REQUEST, "yaml: line %zu: %s", line, problem);
}

static int count_node(struct reader *r)
{
    if (r->nodes_left-- == 0 || arena_over_limit(r->a))
        return err_set(r->err, ERR_BAD_REQUEST, "yaml: document contains excessive aliasing");
    return 0;
}

/* ---- scalars ---- */

static bool one_of(struct str s, const char *words)
{
    struct str rest = str_from(words), word;
    while (str_split(&rest, ' ', &word))
        if (str_eq(word, s))
            return true;
    return false;
}

/* Go's strconv.ParseInt(s, 0, 64) on text whose underscores were dropped. */
static bool resolve_int(const char *s, int64_t *ret)
{
    const char *digits = s + (*s == '-' || *s == '+');
    int base = 10;
    if (digits[0] == '0' && digits[1]) {
        int c = digits[1] | 0x20;
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        digits += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
    }
    if (!*digits || *digits == '-' || *digits == '+' || *digits == ' ')
        return false;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(digits, &end, base);
    bool negative = *s == '-';
    if (*end || errno || n > (unsigned long long)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_like_float(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t whole = strspn(s, "0123456789");
    s += whole;
    if (*s == '.') {
        s++;
        size_t part = strspn(s, "0123456789");
        if (!whole && !part)
            return false;
        s += part;
    } else if (!whole) {
        return false;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        size_t power = strspn(s, "0123456789");
        if (!power)
            return false;
        s += power;
    }
    return *s == 0;
}

static struct value *resolve_number(struct reader *r, struct str s)
{
    char plain[64];
    size_t n = 0;
    if (s.len == 0 || s.len >= sizeof plain || !strchr("+-.0123456789", s.p[0]))
        return NULL;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] != '_')
            plain[n++] = s.p[i];
    plain[n] = 0;
    int64_t integer;
    if (resolve_int(plain, &integer))
        return value_int(r->a, integer);
    if (!looks_like_float(plain))
        return NULL;
    double number = strtod(plain, NULL);
    if (fabs(number) < 1e15 && floor(number) == number) /* JSON text of 1.0 is 1 */ // NOLINT
        return value_int(r->a, (int64_t)number);
    return isfinite(number) ? value_double(r->a, number) : NULL;
}

static struct value *resolve_plain(struct reader *r, struct str s)
{
    if (s.len == 0 || one_of(s, "~ null Null NULL"))
        return value_null(r->a);
    if (one_of(s, "y Y yes Yes YES true True TRUE on On ON"))
        return value_bool(r->a, true);
    if (one_of(s, "n N no No NO false False FALSE off Off OFF"))
        return value_bool(r->a, false);
    struct value *number = resolve_number(r, s);
    return number ? number : value_string(r->a, s);
}

static int read_binary(struct reader *r, struct str s, struct value **ret)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(r->a, s.len + 1);
    size_t n = 0, bits = 0;
    unsigned hold = 0;
    for (size_t i = 0; i < s.len; i++) {
        const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;
        if (s.p[i] == '=' || s.p[i] == '\n' || s.p[i] == ' ')
            continue;
        if (!at)
            return err_set(r->err, ERR_BAD_REQUEST, "yaml: !!binary value contains invalid base64 data");
        hold = hold << 6 | (unsigned)(at - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (char)(hold >> bits);
        }
    }
    *ret = value_string(r->a, (struct str){out, n});
    return 0;
}

static int read_scalar(struct reader *r, struct value **ret)
{
    const char *tag = (const char *)r->event.data.scalar.tag;
    struct str s = arena_str(r->a, (struct str){(const char *)r->event.data.scalar.value, r->event.data.scalar.length});
    bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0) {
        if (strcmp(tag, "tag:yaml.org,2002:binary") == 0)
            return read_binary(r, s, ret);
        *ret = resolve_plain(r, s);
    } else {
        *ret = plain && !tag ? resolve_plain(r, s) : value_string(r->a, s);
    }
    return 0;
}

/* ---- structures ---- */

static struct str key_text(struct reader *r, const struct value *key)
{
    struct buf text = {0};
    if (key->kind == VALUE_STRING)
        return key->string;
    json_encode(&text, key);
    struct str s = arena_str(r->a, buf_str(&text));
    buf_free(&text);
    return s;
}

/* A member with the place it had in the text, for finding those that repeat a key without looking back at all. */
struct placed {
    struct value_member *member;
    size_t line;
};

static int by_key_and_place(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    int c = str_cmp(x->member->key, y->member->key);
    return c ? c : (x->member < y->member ? -1 : 1);
}

/* Every key once: the last of a repeated key wins, or the first. `lines` (NULL: do not report) goes with the members.
 */
static void drop_repeated(struct reader *r, struct value *map, const size_t *lines, bool last_wins)
{
    size_t n = map->map.len, kept = 0;
    struct placed *sorted = arena_alloc(r->a, (n + 1) * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct placed){&map->map.members[i], lines ? lines[i] : 0};
    qsort(sorted, n, sizeof *sorted, by_key_and_place);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (!str_eq(sorted[i].member->key, sorted[first].member->key)) {
            first = i;
            continue;
        }
        if (lines && r->repeated.len < MAX_REPEATED_TEXT)
            buf_printf(&r->repeated, "\n  line %zu: key \"" STR_FMT "\" already set in map", sorted[i].line,
                       STR_ARG(sorted[i].member->key));
        if (last_wins)
            sorted[first].member->value = sorted[i].member->value;
        sorted[i].member->value = NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (map->map.members[i].value)
            map->map.members[kept++] = map->map.members[i];
    map->map.len = kept;
}

static void append_merged(struct reader *r, struct value *map, const struct value *from)
{
    for (size_t i = 0; from->kind == VALUE_LIST && i < from->list.len; i++)
        append_merged(r, map, from->list.items[i]);
    for (size_t i = 0; from->kind == VALUE_MAP && i < from->map.len; i++)
        ARENA_PUSH(r->a, map->map.members, map->map.len, map->map.cap, from->map.members[i]);
}

static int read_map(struct reader *r, int depth, struct value *map)
{
    struct value *merged = NULL;
    size_t *lines = NULL, n_lines = 0, cap_lines = 0;
    for (;;) {
        int rc = advance(r);
        if (rc < 0)
            return rc;
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        size_t line = r->event.start_mark.line + 1;
        bool plain = r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        struct value *key, *value;
        if ((rc = read_node(r, depth, &key)) < 0 || (rc = advance(r)) < 0 || (rc = read_node(r, depth, &value)) < 0)
            return rc;
        if (key->kind == VALUE_MAP || key->kind == VALUE_LIST)
            return err_set(r->err, ERR_BAD_REQUEST, "yaml: invalid map key: line %zu", line);
        struct str name = key_text(r, key);
        if (plain && str_eqz(name, "<<")) {
            merged = value;
            continue;
        }
        ARENA_PUSH(r->a, lines, n_lines, cap_lines, line);
        ARENA_PUSH(r->a, map->map.members, map->map.len, map->map.cap, (struct value_member){name, value});
    }
    drop_repeated(r, map, lines, true);
    if (merged) {
        append_merged(r, map, merged);
        drop_repeated(r, map, NULL, false);
    }
    return 0;
}

static int read_list(struct reader *r, int depth, struct value *list)
{
    for (;;) {
        struct value *item;
        int rc = advance(r);
        if (rc < 0)
            return rc;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if ((rc = read_node(r, depth, &item)) < 0)
            return rc;
        value_append(r->a, list, item);
    }
}

static int copy_within_budget(struct reader *r, const struct value *v, struct value **ret)
{
    int rc = count_node(r);
    if (rc < 0)
        return rc;
    struct value *copy = arena_memdup(r->a, v, sizeof *v);
    if (v->kind == VALUE_LIST) {
        copy->list.items = arena_alloc(r->a, (v->list.len + 1) * sizeof *v->list.items);
        copy->list.cap = v->list.len;
        for (size_t i = 0; i < v->list.len && rc == 0; i++)
            rc = copy_within_budget(r, v->list.items[i], &copy->list.items[i]);
    } else if (v->kind == VALUE_MAP) {
        copy->map.members = arena_alloc(r->a, (v->map.len + 1) * sizeof *v->map.members);
        copy->map.cap = v->map.len;
        for (size_t i = 0; i < v->map.len && rc == 0; i++) {
            copy->map.members[i].key = v->map.members[i].key;
            rc = copy_within_budget(r, v->map.members[i].value, &copy->map.members[i].value);
        }
    }
    *ret = copy;
    return rc;
}

static int read_alias(struct reader *r, struct value **ret)
{
    struct str name = str_from((const char *)r->event.data.alias.anchor);
    for (size_t i = r->n_anchors; i > 0; i--)
        if (str_eq(r->anchors[i - 1].name, name)) {
            if (!r->anchors[i - 1].value)
                return err_set(r->err, ERR_BAD_REQUEST, "yaml: anchor '" STR_FMT "' value contains itself",
                               STR_ARG(name));
            return copy_within_budget(r, r->anchors[i - 1].value, ret);
        }
    return err_set(r->err, ERR_BAD_REQUEST, "yaml: unknown anchor '" STR_FMT "' referenced", STR_ARG(name));
}

/* The node that starts at the current event. */
static int read_node(struct reader *r, int depth, struct value **ret)
{
    if (depth > YAML_MAX_DEPTH)
        return err_set(r->err, ERR_BAD_REQUEST, "yaml: exceeded max depth of %d", YAML_MAX_DEPTH);
    int rc = count_node(r);
    if (rc < 0)
        return rc;
    const yaml_char_t *anchor = NULL;
    if (r->event.type == YAML_ALIAS_EVENT)
        return read_alias(r, ret);
    if (r->event.type == YAML_SCALAR_EVENT)
        anchor = r->event.data.scalar.anchor;
    else if (r->event.type == YAML_MAPPING_START_EVENT)
        anchor = r->event.data.mapping_start.anchor;
    else if (r->event.type == YAML_SEQUENCE_START_EVENT)
        anchor = r->event.data.sequence_start.anchor;
    size_t slot = r->n_anchors;
    if (anchor)
        ARENA_PUSH(r->a, r->anchors, r->n_anchors, r->cap_anchors,
                   (struct anchor){.name = arena_str(r->a, str_from((const char *)anchor))});
    if (r->event.type == YAML_SCALAR_EVENT) {
        rc = read_scalar(r, ret);
    } else if (r->event.type == YAML_MAPPING_START_EVENT) {
        *ret = value_map(r->a);
        rc = read_map(r, depth + 1, *ret);
    } else if (r->event.type == YAML_SEQUENCE_START_EVENT) {
        *ret = value_list(r->a);
        rc = read_list(r, depth + 1, *ret);
    } else {
        *ret = value_null(r->a);
    }
    if (anchor && rc == 0)
        r->anchors[slot].value = *ret;
    return rc;
}

/* The first document of the text. */
static int read_document(struct reader *r, struct value **ret)
{
    int rc;
    do {
        if ((rc = advance(r)) < 0)
            return rc;
    } while (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT);
    return read_node(r, 0, ret);
}

static int finish(struct reader *r, const struct value *tree, struct json_options *opt, struct value **ret)
{
    struct buf json = {0};
    struct str repeated = STR_NULL;
    if (r->repeated.len)
        repeated = arena_printf(r->a, "yaml: unmarshal errors:" STR_FMT, STR_ARG(buf_str(&r->repeated)));
    json_encode(&json, tree);
    int rc = json_decode_after(r->a, repeated, buf_str(&json), opt, ret, r->err);
    buf_free(&json);
    return rc;
}

int yaml_decode(struct arena *a, struct str text, struct json_options *opt, struct value **ret, struct err *err)
{
    struct reader r = {.a = a, .err = err, .nodes_left = YAML_MAX_NODES};
    struct value *tree = NULL;
    if (!yaml_parser_initialize(&r.parser))
        abort();
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.len);
    int rc = read_document(&r, &tree);
    if (rc == 0)
        rc = finish(&r, tree, opt, ret);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    buf_free(&r.repeated);
    return rc;
}
