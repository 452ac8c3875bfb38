/* JSON merge patch (RFC 7386) on value trees. */
#include "openapi/merge.h"

static struct value *without_nulls(struct arena *a, const struct value *patch)
{
    if (patch->kind != VALUE_MAP)
        return value_copy(a, patch);
    struct value *out = value_map(a);
    for (size_t i = 0; i < patch->map.len; i++) {
        if (patch->map.members[i].value->kind != VALUE_NULL)
            value_set(a, out, patch->map.members[i].key, without_nulls(a, patch->map.members[i].value));
    }
    return out;
}

static void merge_into(struct arena *a, struct value *target, const struct value *patch)
{
    for (size_t i = 0; i < patch->map.len; i++) {
        struct str key = patch->map.members[i].key;
        const struct value *v = patch->map.members[i].value;
        struct value *at = value_get(target, key);
        if (v->kind == VALUE_NULL)
            value_remove(target, key);
        else if (v->kind == VALUE_MAP && value_is(at, VALUE_MAP))
            merge_into(a, at, v);
        else
            value_set(a, target, key, without_nulls(a, v));
    }
}

int merge_patch_apply(struct arena *a, const struct value *original, const struct value *patch, struct value **ret,
                      struct err *err)
{
    if (!value_is(patch, VALUE_MAP))
        return err_set(err, ERR_BAD_REQUEST, "Invalid JSON Patch");
    struct value *out = value_is(original, VALUE_MAP) ? value_copy(a, original) : value_map(a);
    merge_into(a, out, patch);
    *ret = out;
    return 0;
}
