#include "openapi/meta/selector.h"

#include "openapi/meta/names.h"
#include "openapi/object/object.h"

#include <stdlib.h>

/* The grammar is apimachinery's: requirements joined by commas; `in` and `notin` are words only behind a key. */
enum token {
    TOKEN_ERROR,
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_IN,
    TOKEN_NOT_IN,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_NOT,
    TOKEN_EQ,
    TOKEN_EQ_EQ,
    TOKEN_NOT_EQ,
    TOKEN_GREATER,
    TOKEN_LESS,
};

struct lexer {
    struct str text;
    size_t at;
    enum token token; /* the one ahead */
    struct str word;
};

static bool is_special(char c)
{
    return c && strchr("=!(),<>", c);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum token symbol(struct str s)
{
    static const struct {
        const char *text;
        enum token token;
    } symbols[] = {{")", TOKEN_CLOSE},   {",", TOKEN_COMMA}, {"!", TOKEN_NOT},     {"==", TOKEN_EQ_EQ}, {"=", TOKEN_EQ},
                   {">", TOKEN_GREATER}, {"<", TOKEN_LESS},  {"!=", TOKEN_NOT_EQ}, {"(", TOKEN_OPEN}};
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        if (str_eqz(s, symbols[i].text))
            return symbols[i].token;
    }
    return TOKEN_ERROR;
}

static void advance(struct lexer *l)
{
    while (l->at < l->text.len && is_blank(l->text.p[l->at]))
        l->at++;
    size_t from = l->at;
    if (from == l->text.len || l->text.p[from] == 0) {
        l->token = TOKEN_END;
        l->word = STR("");
        return;
    }
    if (is_special(l->text.p[from])) {
        size_t len = 1;
        l->token = symbol(str_sub(l->text, from, from + 1));
        if (symbol(str_sub(l->text, from, from + 2)) != TOKEN_ERROR && from + 1 < l->text.len) {
            len = 2;
            l->token = symbol(str_sub(l->text, from, from + 2));
        }
        l->word = str_sub(l->text, from, from + len);
        l->at = from + len;
        return;
    }
    while (l->at < l->text.len && l->text.p[l->at] && !is_special(l->text.p[l->at]) && !is_blank(l->text.p[l->at]))
        l->at++;
    l->word = str_sub(l->text, from, l->at);
    l->token = str_eqz(l->word, "in") ? TOKEN_IN : str_eqz(l->word, "notin") ? TOKEN_NOT_IN : TOKEN_WORD;
}

static bool is_word(enum token t)
{
    return t == TOKEN_WORD || t == TOKEN_IN || t == TOKEN_NOT_IN;
}

static struct str join_faults(struct arena *a, const struct name_faults *f)
{
    struct str out = STR("");
    for (size_t i = 0; i < f->len; i++)
        out = arena_printf(a, STR_FMT "%s%s", STR_ARG(out), i ? "; " : "", f->items[i]);
    return out;
}

static int check_key(struct arena *a, struct str key, const char *path, struct err *err)
{
    struct name_faults f = {0};
    name_check_qualified(&f, key);
    if (f.len == 0)
        return 0;
    return err_set(err, ERR_BAD_REQUEST, "%s: Invalid value: \"" STR_FMT "\": " STR_FMT, path, STR_ARG(key),
                   STR_ARG(join_faults(a, &f)));
}

static int compare_str(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void sort_values(struct label_requirement *r)
{
    qsort(r->values, r->n_values, sizeof *r->values, compare_str);
    size_t n = 0;
    for (size_t i = 0; i < r->n_values; i++) {
        if (n == 0 || !str_eq(r->values[n - 1], r->values[i]))
            r->values[n++] = r->values[i];
    }
    r->n_values = n;
}

static int check_requirement(struct arena *a, struct label_requirement *r, struct err *err)
{
    if (check_key(a, r->key, "key", err) < 0)
        return err->code;
    bool set = r->op == LABEL_IN || r->op == LABEL_NOT_IN;
    if (set && r->n_values == 0)
        return err_set(err, ERR_BAD_REQUEST,
                       "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
    if ((r->op == LABEL_EXISTS || r->op == LABEL_NOT_EXISTS) && r->n_values > 0)
        return err_set(err, ERR_BAD_REQUEST,
                       "values: Invalid value: [\"" STR_FMT
                       "\"]: values set must be empty for exists and does not exist",
                       STR_ARG(r->values[0]));
    if ((r->op == LABEL_GREATER || r->op == LABEL_LESS) && !str_to_i64(r->values[0], &r->bound))
        return err_set(err, ERR_BAD_REQUEST,
                       "values[0]: Invalid value: \"" STR_FMT
                       "\": for 'Gt', 'Lt' operators, the value must be an integer",
                       STR_ARG(r->values[0]));
    for (size_t i = 0; i < r->n_values; i++) {
        struct name_faults f = {0};
        name_check_label_value(&f, r->values[i]);
        if (f.len > 0)
            return err_set(err, ERR_BAD_REQUEST, "values[%zu][" STR_FMT "]: Invalid value: \"" STR_FMT "\": " STR_FMT,
                           i, STR_ARG(r->key), STR_ARG(r->values[i]), STR_ARG(join_faults(a, &f)));
    }
    sort_values(r);
    return 0;
}

static int found(const struct lexer *l, const char *expected, struct err *err)
{
    return err_set(err, ERR_BAD_REQUEST, "found '" STR_FMT "', expected: %s", STR_ARG(l->word), expected);
}

/* `(a,b)`; an empty place between commas is the empty value */
static int parse_set(struct arena *a, struct lexer *l, struct label_requirement *r, struct err *err)
{
    size_t cap = 0;
    bool want_value = true;
    if (l->token != TOKEN_OPEN)
        return err_set(err, ERR_BAD_REQUEST, "found '" STR_FMT "' expected: '('", STR_ARG(l->word));
    for (advance(l);; advance(l)) {
        if (is_word(l->token)) {
            if (!want_value)
                return found(l, "',' or ')'", err);
            ARENA_PUSH(a, r->values, r->n_values, cap, l->word);
            want_value = false;
        } else if (l->token == TOKEN_COMMA || l->token == TOKEN_CLOSE) {
            if (want_value)
                ARENA_PUSH(a, r->values, r->n_values, cap, STR(""));
            want_value = true;
            if (l->token == TOKEN_CLOSE)
                break;
        } else {
            return found(l, r->n_values ? want_value ? "',', or identifier" : "',' or ')'" : "',', ')' or identifier",
                         err);
        }
    }
    advance(l);
    return 0;
}

static int parse_operator(struct arena *a, struct lexer *l, struct label_requirement *r, struct err *err)
{
    switch (l->token) {
    case TOKEN_IN:
    case TOKEN_NOT_IN:
        r->op = l->token == TOKEN_IN ? LABEL_IN : LABEL_NOT_IN;
        advance(l);
        return parse_set(a, l, r, err);
    case TOKEN_EQ:
    case TOKEN_EQ_EQ:
        r->op = LABEL_IN;
        r->text_op = l->token == TOKEN_EQ ? LABEL_TEXT_EQ : LABEL_TEXT_EQ_EQ;
        break;
    case TOKEN_NOT_EQ:
        r->op = LABEL_NOT_IN;
        r->text_op = LABEL_TEXT_EQ;
        break;
    case TOKEN_GREATER:
        r->op = LABEL_GREATER;
        break;
    case TOKEN_LESS:
        r->op = LABEL_LESS;
        break;
    default:
        return found(l, "in, notin, =, ==, !=, gt, lt", err);
    }
    advance(l);
    size_t cap = 0;
    if (l->token == TOKEN_END || l->token == TOKEN_COMMA) {
        ARENA_PUSH(a, r->values, r->n_values, cap, STR(""));
        return 0;
    }
    if (!is_word(l->token))
        return found(l, "identifier", err);
    ARENA_PUSH(a, r->values, r->n_values, cap, l->word);
    advance(l);
    return 0;
}

static int parse_requirement(struct arena *a, struct lexer *l, struct label_requirement *r, struct err *err)
{
    bool negated = l->token == TOKEN_NOT;
    *r = (struct label_requirement){0};
    if (negated)
        advance(l);
    if (!is_word(l->token))
        return found(l, "identifier", err);
    r->key = l->word;
    if (check_key(a, r->key, "<nil>", err) < 0)
        return err->code;
    advance(l);
    if (negated || l->token == TOKEN_END || l->token == TOKEN_COMMA) {
        r->op = negated ? LABEL_NOT_EXISTS : LABEL_EXISTS;
        return 0;
    }
    if (parse_operator(a, l, r, err) < 0)
        return err->code;
    return check_requirement(a, r, err);
}

static int compare_requirement(const void *x, const void *y)
{
    return str_cmp(((const struct label_requirement *)x)->key, ((const struct label_requirement *)y)->key);
}

void label_selector_seal(struct label_selector *s)
{
    if (s->len > 1)
        qsort(s->items, s->len, sizeof *s->items, compare_requirement);
}

int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret, struct err *err)
{
    struct lexer l = {.text = text};
    *ret = (struct label_selector){0};
    advance(&l);
    while (l.token != TOKEN_END) {
        struct label_requirement r;
        if (!is_word(l.token) && l.token != TOKEN_NOT)
            return found(&l, "!, identifier, or 'end of string'", err);
        if (parse_requirement(a, &l, &r, err) < 0)
            return err_context(err, "unable to parse requirement");
        ARENA_PUSH(a, ret->items, ret->len, ret->cap, r);
        if (l.token == TOKEN_END)
            break;
        if (l.token != TOKEN_COMMA)
            return found(&l, "',' or 'end of string'", err);
        advance(&l);
        if (!is_word(l.token) && l.token != TOKEN_NOT)
            return found(&l, "identifier after ','", err);
    }
    label_selector_seal(ret);
    return 0;
}

int label_selector_add(struct arena *a, struct label_selector *s, struct str key, struct str op,
                       const struct str *values, size_t n_values, struct err *err)
{
    static const struct {
        const char *text;
        enum label_op op;
    } ops[] = {{"In", LABEL_IN}, {"NotIn", LABEL_NOT_IN}, {"Exists", LABEL_EXISTS}, {"DoesNotExist", LABEL_NOT_EXISTS}};
    struct label_requirement r = {.key = key, .n_values = n_values};
    size_t i = 0;
    if (str_eqz(op, "=")) {
        r.text_op = LABEL_TEXT_EQ;
    } else {
        while (i < 4 && !str_eqz(op, ops[i].text))
            i++;
        if (i == 4)
            return err_set(err, ERR_INVALID, "\"" STR_FMT "\" is not a valid label selector operator", STR_ARG(op));
        r.op = ops[i].op;
    }
    r.values = ARENA_ARRAY(a, struct str, n_values + 1);
    for (i = 0; i < n_values; i++)
        r.values[i] = values[i];
    if (check_requirement(a, &r, err) < 0)
        return err->code = ERR_INVALID;
    ARENA_PUSH(a, s->items, s->len, s->cap, r);
    return 0;
}

int label_selector_from_value(struct arena *a, const struct value *v, struct label_selector *ret, struct err *err)
{
    *ret = (struct label_selector){0};
    if (!value_is(v, VALUE_MAP)) {
        ret->nothing = true;
        return 0;
    }
    const struct value *labels = value_getz(v, "matchLabels");
    for (size_t i = 0; i < value_len(labels) && labels->kind == VALUE_MAP; i++) {
        struct str value = value_str(labels->map.members[i].value);
        if (label_selector_add(a, ret, labels->map.members[i].key, STR("="), &value, 1, err) < 0)
            return err->code;
    }
    const struct value *expressions = value_getz(v, "matchExpressions");
    for (size_t i = 0; i < value_len(expressions); i++) {
        const struct value *e = value_at(expressions, i);
        const struct value *values = value_getz(e, "values");
        size_t n = value_len(values);
        struct str *texts = ARENA_ARRAY(a, struct str, n + 1);
        for (size_t j = 0; j < n; j++)
            texts[j] = value_str(value_at(values, j));
        if (label_selector_add(a, ret, value_str(value_getz(e, "key")), value_str(value_getz(e, "operator")), texts, n,
                               err) < 0)
            return err->code;
    }
    label_selector_seal(ret);
    return 0;
}

void label_selector_from_map(struct arena *a, const struct value *map, struct label_selector *ret)
{
    *ret = (struct label_selector){0};
    for (size_t i = 0; i < value_len(map) && map->kind == VALUE_MAP; i++) {
        struct label_requirement r = {.key = map->map.members[i].key, .text_op = LABEL_TEXT_EQ, .n_values = 1};
        r.values = ARENA_ARRAY(a, struct str, 1);
        r.values[0] = value_str(map->map.members[i].value);
        ARENA_PUSH(a, ret->items, ret->len, ret->cap, r);
    }
    label_selector_seal(ret);
}

/* `label` is NULL when the object has none of that key. */
static bool requirement_matches(const struct label_requirement *r, const struct str *label)
{
    int64_t number = 0;
    bool in = false;
    switch (r->op) {
    case LABEL_EXISTS:
        return label;
    case LABEL_NOT_EXISTS:
        return !label;
    case LABEL_GREATER:
        return label && str_to_i64(*label, &number) && number > r->bound;
    case LABEL_LESS:
        return label && str_to_i64(*label, &number) && number < r->bound;
    case LABEL_IN:
    case LABEL_NOT_IN:
        for (size_t i = 0; label && !in && i < r->n_values; i++)
            in = str_eq(r->values[i], *label);
        return in == (r->op == LABEL_IN);
    }
    return false;
}

bool label_selector_matches_labels(const struct label_selector *s, const struct object_label *labels, size_t n_labels)
{
    size_t at = 0;
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->len; i++) {
        int cmp = -1;
        while (at < n_labels && (cmp = str_cmp(labels[at].key, s->items[i].key)) < 0)
            at++;
        bool has = at < n_labels && cmp == 0;
        if (!requirement_matches(&s->items[i], has ? &labels[at].value : NULL))
            return false;
    }
    return true;
}

bool label_selector_matches(const struct label_selector *s, const struct object *o)
{
    return label_selector_matches_labels(s, o->labels, o->n_labels);
}

bool label_selector_matches_value(const struct label_selector *s, const struct value *labels)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->len; i++) {
        const struct value *v = value_get(labels, s->items[i].key);
        struct str text = value_str(v);
        if (!requirement_matches(&s->items[i], v ? &text : NULL))
            return false;
    }
    return true;
}

static void write_requirement(struct buf *out, const struct label_requirement *r)
{
    static const char *const set[] = {
        [LABEL_IN] = " in ", [LABEL_NOT_IN] = " notin ", [LABEL_GREATER] = ">", [LABEL_LESS] = "<"};
    if (r->op == LABEL_NOT_EXISTS)
        buf_add_char(out, '!');
    buf_add_str(out, r->key);
    if (r->op == LABEL_EXISTS || r->op == LABEL_NOT_EXISTS)
        return;
    bool in_set = r->op <= LABEL_NOT_IN && r->text_op == LABEL_TEXT_SET;
    if (r->op <= LABEL_NOT_IN && !in_set)
        buf_addz(out, r->op == LABEL_NOT_IN ? "!=" : r->text_op == LABEL_TEXT_EQ ? "=" : "==");
    else
        buf_addz(out, set[r->op]);
    if (in_set)
        buf_add_char(out, '(');
    for (size_t i = 0; i < r->n_values; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_str(out, r->values[i]);
    }
    if (in_set)
        buf_add_char(out, ')');
}

struct str label_selector_text(struct arena *a, const struct label_selector *s)
{
    struct buf out = {0};
    for (size_t i = 0; i < s->len; i++) {
        if (i > 0)
            buf_add_char(&out, ',');
        write_requirement(&out, &s->items[i]);
    }
    struct str text = arena_str(a, buf_str(&out));
    buf_free(&out);
    return text;
}
