/* Strategic merge patch: a merge patch that knows lists.
 *
 * A list whose schema says patchStrategy merge is merged item by item: objects by their merge key, scalars as a set.
 * Directives ride inside the patch:
 *   $patch: replace      in a map: what stands beside it is the whole new map; in a list: the list's other items are
 *   $patch: delete       in a map: the map goes; in a list item: the items with its merge key go
 *   $retainKeys: [k…]    in a map: every other key goes
 *   $deleteFromPrimitiveList/f: [v…]   beside list f: these values go
 *   $setElementOrder/f: [v… | {key}…]  beside list f: the order of the merged list
 * Without a schema for a place (unknown fields, free-form values) it falls back to a plain merge and lists are
 * replaced.
 */
#include "openapi/merge.h"

#include <stdlib.h>

#define DELETE_PRIMITIVE STR("$deleteFromPrimitiveList/")
#define SET_ORDER STR("$setElementOrder/")

struct merging {
    struct arena *a;
    struct err *err;
};

/* How a field's value merges: the message of its value or items, and the strategy of its list. */
struct place {
    const struct schema_message *message;
    uint8_t strategy;
    struct str merge_key;
    bool map_of_messages;
};

static struct place place_of(const struct schema_message *m, struct str name)
{
    const struct schema_field *f = m ? schema_field_find(m, name) : NULL;
    if (!f)
        return (struct place){0};
    return (struct place){f->shape == SHAPE_MAP ? NULL : f->message, f->patch_strategy, f->merge_key, false};
}

static int merge_map(struct merging *g, struct place at, const struct value *original, const struct value *patch,
                     struct value **ret);
static int merge_list(struct merging *g, struct place at, const struct value *original, const struct value *patch,
                      const struct value *order, struct value **ret);

static bool is_directive(struct str key)
{
    return str_starts(key, DELETE_PRIMITIVE) || str_starts(key, SET_ORDER) || str_eqz(key, "$patch") ||
           str_eqz(key, "$retainKeys");
}

/* What of a patch goes where nothing was: no directives, no nulls, no items marked for deletion. */
static int fresh(struct merging *g, struct place at, const struct value *patch, struct value **ret)
{
    if (patch->kind == VALUE_MAP) {
        struct value *nothing = value_map(g->a);
        return merge_map(g, at, nothing, patch, ret);
    }
    if (patch->kind == VALUE_LIST) {
        bool merges = at.strategy & PATCH_MERGE;
        struct value *nothing = value_list(g->a);
        if (merges && value_is(value_at(patch, 0), VALUE_MAP) && at.merge_key.len)
            return merge_list(g, at, nothing, patch, NULL, ret);
    }
    *ret = value_copy(g->a, patch);
    return 0;
}

static struct value *patch_text(const struct value *v)
{
    return value_is(v, VALUE_MAP) ? value_getz(v, "$patch") : NULL;
}

static int index_by_key(const struct value *list, struct str key, const struct value *want)
{
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *has = value_get(value_at(list, i), key);
        if (has && value_equal(has, want))
            return (int)i;
    }
    return -1;
}

static int index_of(const struct value *list, const struct value *want)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_equal(value_at(list, i), want))
            return (int)i;
    }
    return -1;
}

/* Put `merged` in the order asked for: items named in `order` by it, the others keep their place relative to the item
 * before them in the original. */
static struct value *reorder(struct merging *g, struct value *merged, const struct value *original,
                             const struct value *order, struct str key)
{
    struct value *out = value_list(g->a);
    bool *done = ARENA_ARRAY(g->a, bool, value_len(merged) + 1);
    size_t n_server = 0;
    size_t *server = ARENA_ARRAY(g->a, size_t, value_len(merged) + 1); /* not named in the order */
    for (size_t i = 0; i < value_len(merged); i++) {
        const struct value *item = value_at(merged, i);
        const struct value *id = key.len ? value_get(item, key) : item;
        bool named = id && (key.len ? index_by_key(order, key, id) : index_of(order, id)) >= 0;
        if (!named)
            server[n_server++] = i;
    }
    size_t next = 0;
    for (size_t i = 0; i < value_len(order); i++) {
        const struct value *id = key.len ? value_get(value_at(order, i), key) : value_at(order, i);
        int at = !id ? -1 : key.len ? index_by_key(merged, key, id) : index_of(merged, id);
        if (at < 0 || done[at])
            continue;
        int was = key.len ? index_by_key(original, key, id) : index_of(original, id);
        for (; next < n_server; next++) {
            const struct value *s = value_at(merged, server[next]);
            const struct value *sid = key.len ? value_get(s, key) : s;
            int s_was = !sid ? -1 : key.len ? index_by_key(original, key, sid) : index_of(original, sid);
            if (was < 0 || s_was < 0 || s_was > was)
                break;
            value_append(g->a, out, value_at(merged, server[next]));
        }
        done[at] = true;
        value_append(g->a, out, value_at(merged, (size_t)at));
    }
    for (; next < n_server; next++)
        value_append(g->a, out, value_at(merged, server[next]));
    return out;
}

static int merge_scalars(struct merging *g, const struct value *original, const struct value *patch,
                         const struct value *order, struct value **ret)
{
    struct value *out = value_list(g->a);
    const struct value *const both[] = {original, patch};
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < value_len(both[l]); i++) {
            if (index_of(out, value_at(both[l], i)) < 0)
                value_append(g->a, out, value_copy(g->a, value_at(both[l], i)));
        }
    }
    *ret = order ? reorder(g, out, original, order, STR_NULL) : out;
    return 0;
}

static int no_merge_key(struct merging *g, struct str key)
{
    return err_set(g->err, ERR_BAD_REQUEST, "map: does not contain declared merge key: " STR_FMT, STR_ARG(key));
}

/* $patch: replace anywhere in the list makes its other items the whole list. */
static bool replaces(const struct value *patch)
{
    for (size_t i = 0; i < value_len(patch); i++) {
        if (str_eqz(value_str(patch_text(value_at(patch, i))), "replace"))
            return true;
    }
    return false;
}

static void remove_by_key(struct value *list, struct str key, const struct value *id)
{
    for (int at = index_by_key(list, key, id); at >= 0; at = index_by_key(list, key, id))
        value_remove_at(list, (size_t)at);
}

static int merge_item(struct merging *g, struct place at, struct value *out, const struct value *item)
{
    struct place inside = {.message = at.message};
    const struct value *directive = patch_text(item), *id = value_get(item, at.merge_key);
    struct value *merged = NULL;
    if (!value_is(item, VALUE_MAP))
        return err_set(g->err, ERR_BAD_REQUEST, "expected a map in a list merged by " STR_FMT, STR_ARG(at.merge_key));
    if (!id)
        return no_merge_key(g, at.merge_key);
    if (directive && str_eqz(value_str(directive), "delete")) {
        remove_by_key(out, at.merge_key, id);
        return 0;
    }
    if (directive && !str_eqz(value_str(directive), "merge"))
        return err_set(g->err, ERR_BAD_REQUEST, "unknown patch type found: " STR_FMT, STR_ARG(value_str(directive)));
    int where = index_by_key(out, at.merge_key, id);
    struct value *nothing = value_map(g->a);
    if (merge_map(g, inside, where < 0 ? nothing : value_at(out, (size_t)where), item, &merged) < 0)
        return g->err->code;
    if (where < 0)
        value_append(g->a, out, merged);
    else
        out->list.items[where] = merged;
    return 0;
}

static int merge_list(struct merging *g, struct place at, const struct value *original, const struct value *patch,
                      const struct value *order, struct value **ret)
{
    struct value *out = value_list(g->a);
    if (replaces(patch)) {
        for (size_t i = 0; i < value_len(patch); i++) {
            if (!patch_text(value_at(patch, i)))
                value_append(g->a, out, value_copy(g->a, value_at(patch, i)));
        }
        *ret = out;
        return 0;
    }
    if (!at.message)
        return merge_scalars(g, original, patch, order, ret);
    if (at.merge_key.len == 0) {
        *ret = value_copy(g->a, patch);
        return 0;
    }
    for (size_t i = 0; i < value_len(original); i++) {
        if (!value_get(value_at(original, i), at.merge_key))
            return no_merge_key(g, at.merge_key);
        value_append(g->a, out, value_copy(g->a, value_at(original, i)));
    }
    for (size_t i = 0; i < value_len(patch); i++) {
        if (merge_item(g, at, out, value_at(patch, i)) < 0)
            return g->err->code;
    }
    *ret = order ? reorder(g, out, original, order, at.merge_key) : out;
    return 0;
}

static void retain_keys(struct value *out, const struct value *keys)
{
    for (size_t i = out->map.len; i-- > 0;) {
        struct value key = {.kind = VALUE_STRING, .string = out->map.members[i].key};
        if (index_of(keys, &key) < 0)
            value_remove(out, out->map.members[i].key);
    }
}

static void delete_from_list(struct value *list, const struct value *gone)
{
    for (size_t i = value_len(list); value_is(list, VALUE_LIST) && i-- > 0;) {
        if (index_of(gone, value_at(list, i)) >= 0)
            value_remove_at(list, i);
    }
}

static int check_retain_keys(struct merging *g, const struct value *patch, const struct value *keys)
{
    if (!value_is(keys, VALUE_LIST))
        return err_set(g->err, ERR_BAD_REQUEST, "invalid patch format of retainKeys: %s", "not a list");
    for (size_t i = 0; i < patch->map.len; i++) {
        struct value key = {.kind = VALUE_STRING, .string = patch->map.members[i].key};
        if (!is_directive(key.string) && patch->map.members[i].value->kind != VALUE_NULL && index_of(keys, &key) < 0)
            return err_set(g->err, ERR_BAD_REQUEST,
                           "The retainKeys list doesn't contain the key present in the patch: " STR_FMT,
                           STR_ARG(key.string));
    }
    return 0;
}

static int merge_field(struct merging *g, struct place at, const struct value *old, const struct value *v,
                       const struct value *order, struct value **ret)
{
    bool merges = at.strategy & PATCH_MERGE, replaced = at.strategy & PATCH_REPLACE;
    if (!old || old->kind != v->kind)
        return fresh(g, at, v, ret);
    if (v->kind == VALUE_MAP && !replaced)
        return merge_map(g, at, old, v, ret);
    if (v->kind == VALUE_LIST && merges)
        return merge_list(g, at, old, v, order, ret);
    if (v->kind == VALUE_MAP)
        return fresh(g, at, v, ret);
    *ret = value_copy(g->a, v);
    return 0;
}

static struct str with_prefix(struct arena *a, struct str prefix, struct str key)
{
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(key));
}

/* Lists that the patch only trims or reorders: no member of their own name stands beside the directive. */
static int lone_directives(struct merging *g, const struct schema_message *m, const struct value *original,
                           const struct value *patch, struct value *out)
{
    for (size_t i = 0; i < patch->map.len; i++) {
        struct str key = patch->map.members[i].key;
        if (!str_starts(key, SET_ORDER))
            continue;
        struct str name = str_sub(key, SET_ORDER.len, key.len);
        struct value *list = value_get(out, name);
        if (value_get(patch, name) || !value_is(list, VALUE_LIST))
            continue;
        struct place at = place_of(m, name);
        if (!(at.strategy & PATCH_MERGE))
            return err_set(g->err, ERR_BAD_REQUEST, "setElementOrder of a list that is not merged: " STR_FMT,
                           STR_ARG(name));
        struct str merge_key = at.message ? at.merge_key : STR_NULL;
        value_set(g->a, out, name, reorder(g, list, value_get(original, name), patch->map.members[i].value, merge_key));
    }
    return 0;
}

static int merge_map(struct merging *g, struct place at, const struct value *original, const struct value *patch,
                     struct value **ret)
{
    const struct value *directive = value_getz(patch, "$patch"), *keys = value_getz(patch, "$retainKeys");
    if (directive && !str_eqz(value_str(directive), "merge")) {
        struct str text = value_str(directive);
        if (!str_eqz(text, "replace") && !str_eqz(text, "delete"))
            return err_set(g->err, ERR_BAD_REQUEST, "unknown patch type found: " STR_FMT, STR_ARG(text));
        *ret = value_map(g->a);
        if (str_eqz(text, "delete"))
            return 0;
        *ret = value_copy(g->a, patch);
        value_removez(*ret, "$patch");
        return 0;
    }
    struct value *out = value_copy(g->a, original);
    if (keys) {
        if (check_retain_keys(g, patch, keys) < 0)
            return g->err->code;
        retain_keys(out, keys);
    }
    for (size_t i = 0; i < patch->map.len; i++) {
        struct str key = patch->map.members[i].key;
        const struct value *v = patch->map.members[i].value;
        if (str_starts(key, DELETE_PRIMITIVE))
            delete_from_list(value_get(out, str_sub(key, DELETE_PRIMITIVE.len, key.len)), v);
        if (is_directive(key))
            continue;
        if (v->kind == VALUE_NULL) {
            value_remove(out, key);
            continue;
        }
        struct value *merged = NULL;
        const struct value *order = value_get(patch, with_prefix(g->a, SET_ORDER, key));
        const struct value *gone = value_get(patch, with_prefix(g->a, DELETE_PRIMITIVE, key));
        delete_from_list(value_get(out, key), gone);
        if (merge_field(g, place_of(at.message, key), value_get(out, key), v, order, &merged) < 0)
            return g->err->code;
        if (str_eqz(value_str(patch_text(v)), "delete"))
            value_remove(out, key);
        else
            value_set(g->a, out, key, merged);
    }
    if (lone_directives(g, at.message, original, patch, out) < 0)
        return g->err->code;
    *ret = out;
    return 0;
}

int strategic_merge_apply(struct arena *a, const struct schema_message *m, const struct value *original,
                          const struct value *patch, struct value **ret, struct err *err)
{
    struct merging g = {a, err};
    struct place top = {.message = m};
    if (!value_is(patch, VALUE_MAP))
        return err_set(err, ERR_BAD_REQUEST, "invalid strategic merge patch format");
    return merge_map(&g, top, original, patch, ret);
}
