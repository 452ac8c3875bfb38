#include "controllers/deployment/conditions.h"

#include "openapi/meta/time.h"

struct value *condition_find(const struct value *list, const char *type)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eqz(value_path_str(value_at(list, i), "type"), type))
            return value_at(list, i);
    }
    return NULL;
}

bool condition_has_reason(const struct value *list, const char *type, const char *reason)
{
    return str_eqz(value_path_str(condition_find(list, type), "reason"), reason);
}

bool condition_remove(struct value *list, const char *type)
{
    bool found = false;
    for (size_t i = value_len(list); i-- > 0;) {
        if (str_eqz(value_path_str(value_at(list, i), "type"), type)) {
            value_remove_at(list, i);
            found = true;
        }
    }
    return found;
}

void condition_set(struct arena *a, struct value *list, const struct condition *c, int64_t now_ms)
{
    const struct value *before = condition_find(list, c->type);
    struct str now = time_format(a, now_ms * 1000), transition = now;
    bool same_status = str_eqz(value_path_str(before, "status"), c->status);
    if (before && same_status && !c->renew && str_eqz(value_path_str(before, "reason"), c->reason))
        return;
    if (before && same_status)
        transition = value_path_str(before, "lastTransitionTime");
    condition_remove(list, c->type);
    struct value *v = value_map(a);
    value_setz(a, v, "type", value_stringz(a, c->type));
    value_setz(a, v, "status", value_stringz(a, c->status));
    value_setz(a, v, "lastUpdateTime", value_string(a, now));
    value_setz(a, v, "lastTransitionTime", value_string(a, transition));
    value_setz(a, v, "reason", value_stringz(a, c->reason));
    value_setz(a, v, "message", value_string(a, c->message));
    value_append(a, list, v);
}
