#include "openapi/convert.h"

#include "openapi/convert_rules.h"

struct str convert_storage_api_version(struct arena *a, const struct resource *r)
{
    return resource_api_version(a, r->storage_group, r->storage_version);
}

static const struct convert_rule *find_rule(struct str from, struct str to)
{
    for (const struct convert_rule *rule = convert_rules; rule->from; rule++) {
        if (str_eqz(from, rule->from) && str_eqz(to, rule->to))
            return rule;
    }
    return NULL;
}

/* "v1" means something else in every kind: only events of the core group have a rule. */
static bool has_rules(const struct resource *r)
{
    return str_eqz(r->kind, "Event") || str_eqz(r->kind, "HorizontalPodAutoscaler");
}

bool convert_is_identity(const struct resource *r, struct str from, struct str to)
{
    return str_eq(from, to) || !has_rules(r) || !find_rule(from, to);
}

struct value *convert(struct arena *a, const struct resource *r, struct str from, struct str to, struct value *obj,
                      struct err *err)
{
    if (!value_is(obj, VALUE_MAP)) {
        err_set(err, ERR_BAD_REQUEST, "only objects can be converted");
        return NULL;
    }
    const struct convert_rule *rule = has_rules(r) && !str_eq(from, to) ? find_rule(from, to) : NULL;
    if (rule)
        rule->fn(a, obj);
    value_setz(a, obj, "kind", value_string(a, r->kind));
    value_setz(a, obj, "apiVersion", value_string(a, arena_str(a, to)));
    return obj;
}
