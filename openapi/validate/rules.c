#include "openapi/validate/rules.h"

#include "openapi/meta/quantity.h"
#include "openapi/meta/selector.h"

/* The tables and a kind's own rules may both miss a field: one problem, with the longer text. */
void bad_required(struct check *c, at_path at, const char *detail)
{
    struct str field = field_path_text(c->a, at);
    for (size_t i = 0; i < c->p->len; i++) {
        struct problem *p = &c->p->items[i];
        if (p->type != PROBLEM_REQUIRED || !str_eq(p->field, field))
            continue;
        if (*detail)
            p->message = arena_printf(c->a, "Required value: %s", detail);
        return;
    }
    problems_add(c->p, PROBLEM_REQUIRED, field, NULL, "%s", detail);
}

void bad_invalid(struct check *c, at_path at, const struct value *bad, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str detail = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    const struct value *shown = bad ? bad : value_null(c->a);
    problems_add(c->p, PROBLEM_INVALID, field_path_text(c->a, at), shown, STR_FMT, STR_ARG(detail));
}

void bad_forbidden(struct check *c, at_path at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str detail = arena_vprintf(c->a, fmt, ap);
    va_end(ap);
    problems_add(c->p, PROBLEM_FORBIDDEN, field_path_text(c->a, at), NULL, STR_FMT, STR_ARG(detail));
}

void bad_duplicate(struct check *c, at_path at, const struct value *bad)
{
    problems_add(c->p, PROBLEM_DUPLICATE, field_path_text(c->a, at), bad, "%s", "");
}

void bad_not_found(struct check *c, at_path at, const struct value *bad)
{
    problems_add(c->p, PROBLEM_NOT_FOUND, field_path_text(c->a, at), bad, "%s", "");
}

void bad_unsupported(struct check *c, at_path at, const struct value *bad, const char *supported)
{
    struct str words[32] = {{0}}, rest = str_from(supported);
    size_t n = 0;
    while (n < 31 && str_split(&rest, ',', &words[n]))
        n++;
    words[n] = STR_NULL;
    problems_add_unsupported(c->p, field_path_text(c->a, at), bad, words);
}

void bad_name(struct check *c, at_path at, name_check *rule, struct str s)
{
    struct name_faults f = {0};
    rule(&f, s);
    for (size_t i = 0; i < f.len; i++)
        bad_invalid(c, at, text_value(c, s), "%s", f.items[i]);
}

int64_t int_of(const struct value *v, const char *key)
{
    const struct value *at = value_getz(v, key);
    return value_is(at, VALUE_INT) ? at->integer : 0;
}

bool bool_of(const struct value *v, const char *key)
{
    const struct value *at = value_getz(v, key);
    return value_is(at, VALUE_BOOL) && at->boolean;
}

struct value *text_value(struct check *c, struct str s)
{
    return value_string(c->a, s.p ? s : STR(""));
}

bool one_of(struct str s, const char *words)
{
    struct str rest = str_from(words), word;
    while (str_split(&rest, ',', &word)) {
        if (str_eq(word, s))
            return true;
    }
    return false;
}

void check_not_negative(struct check *c, at_path up, const struct value *v, const char *key)
{
    if (int_of(v, key) < 0)
        bad_invalid(c, AT_STR(up, str_from(key)), value_getz(v, key), NOT_NEGATIVE);
}

void check_one_of(struct check *c, at_path up, const struct value *v, const char *key, const char *words)
{
    if (!one_of(text_of(v, key), words))
        bad_unsupported(c, AT_STR(up, str_from(key)), value_getz(v, key), words);
}

void check_labels(struct check *c, at_path at, const struct value *labels)
{
    for (size_t i = 0; i < value_len(labels) && labels->kind == VALUE_MAP; i++) {
        bad_name(c, at, name_check_qualified, labels->map.members[i].key);
        bad_name(c, at, name_check_label_value, value_str(labels->map.members[i].value));
    }
}

void check_label_selector(struct check *c, at_path at, const struct value *selector)
{
    const struct value *expressions = value_getz(selector, "matchExpressions");
    check_labels(c, AT(at, "matchLabels"), value_getz(selector, "matchLabels"));
    for (size_t i = 0; i < value_len(expressions); i++) {
        const struct value *e = value_at(expressions, i), *values = value_getz(e, "values");
        at_path here = AT_INDEX(AT(at, "matchExpressions"), i);
        struct str op = text_of(e, "operator");
        if (one_of(op, "In,NotIn")) {
            if (value_len(values) == 0)
                bad_required(c, AT(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        } else if (one_of(op, "Exists,DoesNotExist")) {
            if (value_len(values) > 0)
                bad_forbidden(c, AT(here, "values"),
                              "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        } else {
            bad_invalid(c, AT(here, "operator"), text_value(c, op), "not a valid selector operator");
        }
        bad_name(c, AT(here, "key"), name_check_qualified, text_of(e, "key"));
        for (size_t j = 0; j < value_len(values); j++)
            bad_name(c, AT_INDEX(AT(here, "values"), j), name_check_label_value, value_str(value_at(values, j)));
    }
}

void check_immutable(struct check *c, at_path up, const struct value *v, const struct value *old, const char *key)
{
    const struct value *now = value_getz(v, key), *was = value_getz(old, key);
    if (!value_semantic_equal(now, was))
        bad_invalid(c, AT_STR(up, str_from(key)), now, IMMUTABLE);
}

bool is_percent(const struct value *v, const char *key)
{
    struct str s = value_str(value_getz(v, key));
    uint64_t n = 0;
    return s.len > 1 && s.p[s.len - 1] == '%' && str_to_u64(str_sub(s, 0, s.len - 1), &n);
}

int64_t int_or_percent_of(const struct value *v, const char *key)
{
    struct str s = value_str(value_getz(v, key));
    uint64_t n = 0;
    if (is_percent(v, key) && str_to_u64(str_sub(s, 0, s.len - 1), &n))
        return n > INT32_MAX ? INT32_MAX : (int64_t)n;
    return int_of(v, key);
}

void check_int_or_percent(struct check *c, at_path up, const struct value *v, const char *key)
{
    const struct value *at = value_getz(v, key);
    if (value_is(at, VALUE_STRING) && !is_percent(v, key))
        bad_invalid(
            c, AT_STR(up, str_from(key)), at,
            "a valid percent string must be a numeric string followed by an ending '%%' (e.g. '1%%',  or '93%%', "
            "regex used for validation is '[0-9]+%%')");
    else if (value_is(at, VALUE_INT) && at->integer < 0)
        bad_invalid(c, AT_STR(up, str_from(key)), at, NOT_NEGATIVE);
}

void check_port_or_name(struct check *c, at_path at, const struct value *v)
{
    if (value_is(v, VALUE_STRING))
        bad_name(c, at, name_check_port, v->string);
    else if (!value_is(v, VALUE_INT) || v->integer < 1 || v->integer > 65535)
        bad_invalid(c, at, v ? v : value_int(c->a, 0), "must be between 1 and 65535, inclusive");
}

bool is_extended_resource(struct str name)
{
    size_t at = 0;
    bool native = !str_index(name, '/', &at) || str_contains(name, STR("kubernetes.io/"));
    return !native && !str_starts(name, STR("requests."));
}

void check_resource_name(struct check *c, at_path at, struct str name)
{
    size_t slash = 0;
    struct name_faults f = {0};
    name_check_qualified(&f, name);
    bad_name(c, at, name_check_qualified, name);
    if (f.len || str_index(name, '/', &slash))
        return;
    static const char standard[] =
        "cpu,memory,ephemeral-storage,requests.cpu,requests.memory,requests.ephemeral-storage,limits.cpu,limits.memory,"
        "limits.ephemeral-storage,pods,resourcequotas,services,replicationcontrollers,secrets,configmaps,"
        "persistentvolumeclaims,requests.storage,storage,services.nodeports,services.loadbalancers";
    if (!one_of(name, standard) && !str_starts(name, STR("hugepages-")) &&
        !str_starts(name, STR("requests.hugepages-")) && !str_starts(name, STR("count/")))
        bad_invalid(c, at, text_value(c, name), "must be a standard resource type or fully qualified");
}

void check_resource_quantity(struct check *c, at_path at, struct str name, const struct value *v)
{
    static const char counts[] = "pods,resourcequotas,services,replicationcontrollers,secrets,configmaps,"
                                 "persistentvolumeclaims,services.nodeports,services.loadbalancers";
    struct quantity q = quantity_from(value_str(v));
    if (quantity_sign(&q) < 0)
        bad_invalid(c, at, v, NOT_NEGATIVE);
    if ((one_of(name, counts) || is_extended_resource(name)) && !quantity_is_integer(&q))
        bad_invalid(c, at, v, "must be an integer");
}
