/* JSON patch (RFC 6902) on value trees. */
#include "openapi/merge.h"

struct patching {
    struct arena *a;
    struct err *err;
    struct value *root;
};

static int malformed(struct patching *p, const char *fmt, struct str what)
{
    return err_set(p->err, ERR_BAD_REQUEST, fmt, STR_ARG(what));
}

/* ~1 is a slash and ~0 a tilde */
static struct str unescape(struct arena *a, struct str token)
{
    size_t at = 0, len = 0;
    if (!str_index(token, '~', &at))
        return token;
    char *out = arena_alloc(a, token.len + 1);
    for (size_t i = 0; i < token.len; i++) {
        bool escape = token.p[i] == '~' && i + 1 < token.len && (token.p[i + 1] == '0' || token.p[i + 1] == '1');
        out[len++] = !escape ? token.p[i] : token.p[i + 1] == '1' ? '/' : '~';
        i += escape;
    }
    out[len] = 0;
    return (struct str){out, len};
}

static struct value *child(const struct value *v, struct str token)
{
    uint64_t i = 0;
    if (value_is(v, VALUE_MAP))
        return value_get(v, token);
    if (value_is(v, VALUE_LIST) && str_to_u64(token, &i))
        return value_at(v, (size_t)i);
    return NULL;
}

/* The container a pointer's last token is in; NULL when a step is missing. "" itself has none. */
static struct value *parent_of(struct patching *p, struct str path, struct str *ret_token)
{
    struct value *at = p->root;
    struct str rest = str_sub(path, 1, path.len), token;
    bool more = str_split(&rest, '/', &token);
    while (more && rest.p) {
        at = child(at, unescape(p->a, token));
        if (!value_is(at, VALUE_MAP) && !value_is(at, VALUE_LIST))
            return NULL;
        more = str_split(&rest, '/', &token);
    }
    *ret_token = unescape(p->a, more ? token : STR(""));
    return at;
}

static int missing_path(struct patching *p, const char *op, struct str path)
{
    return err_set(p->err, ERR_INVALID,
                   "%s operation does not apply: doc is missing path: \"" STR_FMT "\": missing value", op,
                   STR_ARG(path));
}

static int missing_key(struct patching *p, const char *op, struct str path)
{
    return err_set(p->err, ERR_INVALID, "%s operation does not apply: doc is missing key: " STR_FMT ": missing value",
                   op, STR_ARG(path));
}

/* Position in a list; `end` allows "-" and one past the last. -1 when out of bounds. */
static int64_t position(const struct value *list, struct str token, bool end)
{
    uint64_t i = 0;
    if (end && str_eqz(token, "-"))
        return (int64_t)list->list.len;
    if (!str_to_u64(token, &i) || i >= list->list.len + end)
        return -1;
    return (int64_t)i;
}

static int bad_index(struct patching *p, const char *op, struct str path, struct str token)
{
    return err_set(p->err, ERR_INVALID,
                   "error in %s for path: '" STR_FMT "': Unable to access invalid index: " STR_FMT
                   ": invalid index referenced",
                   op, STR_ARG(path), STR_ARG(token));
}

static int add(struct patching *p, struct str path, struct value *v)
{
    struct str token = STR_NULL;
    if (path.len == 0) {
        p->root = v;
        return 0;
    }
    struct value *at = parent_of(p, path, &token);
    if (!at)
        return missing_path(p, "add", path);
    if (at->kind == VALUE_MAP) {
        value_set(p->a, at, arena_str(p->a, token), v);
        return 0;
    }
    if (at->kind != VALUE_LIST)
        return missing_path(p, "add", path);
    int64_t i = position(at, token, true);
    if (i < 0)
        return bad_index(p, "add", path, token);
    value_insert(p->a, at, (size_t)i, v);
    return 0;
}

/* `op` names the operation in messages: remove, or move */
static int take(struct patching *p, const char *op, struct str path, struct value **ret)
{
    struct str token = STR_NULL;
    struct value *at = path.len ? parent_of(p, path, &token) : NULL;
    if (!at)
        return missing_path(p, op, path);
    if (at->kind == VALUE_LIST) {
        int64_t i = position(at, token, false);
        if (i < 0)
            return bad_index(p, op, path, token);
        *ret = value_at(at, (size_t)i);
        value_remove_at(at, (size_t)i);
        return 0;
    }
    *ret = value_get(at, token);
    if (!*ret)
        return err_set(p->err, ERR_INVALID,
                       "error in %s for path: '" STR_FMT "': Unable to remove nonexistent key: " STR_FMT
                       ": missing value",
                       op, STR_ARG(path), STR_ARG(token));
    value_remove(at, token);
    return 0;
}

static int replace(struct patching *p, struct str path, struct value *v)
{
    struct str token = STR_NULL;
    if (path.len == 0) {
        p->root = v;
        return 0;
    }
    struct value *at = parent_of(p, path, &token);
    if (!at)
        return missing_path(p, "replace", path);
    if (at->kind == VALUE_LIST) {
        int64_t i = position(at, token, false);
        if (i < 0)
            return missing_key(p, "replace", path);
        at->list.items[i] = v;
        return 0;
    }
    if (!value_get(at, token))
        return missing_key(p, "replace", path);
    value_set(p->a, at, token, v);
    return 0;
}

static int find(struct patching *p, const char *op, struct str path, const struct value **ret)
{
    struct str token = STR_NULL;
    *ret = p->root;
    if (path.len == 0)
        return 0;
    const struct value *at = parent_of(p, path, &token);
    if (!at)
        return missing_path(p, op, path);
    *ret = child(at, token);
    if (!*ret && at->kind == VALUE_LIST)
        return bad_index(p, op, path, token);
    return 0;
}

static bool same(const struct value *a, const struct value *b)
{
    bool a_null = !a || a->kind == VALUE_NULL, b_null = !b || b->kind == VALUE_NULL;
    return a_null || b_null ? a_null == b_null : value_equal(a, b);
}

static int test(struct patching *p, struct str path, const struct value *want)
{
    const struct value *at = NULL;
    if (find(p, "test", path, &at) < 0)
        return p->err->code;
    if (!same(at, want))
        return err_set(p->err, ERR_INVALID, "testing value " STR_FMT " failed: test failed", STR_ARG(path));
    return 0;
}

static int apply_one(struct patching *p, const struct value *op)
{
    struct str name = value_str(value_getz(op, "op"));
    const struct value *path_value = value_getz(op, "path"), *value = value_getz(op, "value");
    struct str path = value_str(path_value), from = value_str(value_getz(op, "from"));
    bool moves = str_eqz(name, "move") || str_eqz(name, "copy");
    if (!value_is(op, VALUE_MAP))
        return err_set(p->err, ERR_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal into jsonpatch.Operation");
    if (!value_is(path_value, VALUE_STRING) || (path.len > 0 && path.p[0] != '/'))
        return path_value ? missing_path(p, name.len ? arena_str(p->a, name).p : "unknown", path)
                          : malformed(p, "" STR_FMT " operation has no path: missing value", name);
    if (moves && (!from.p || (from.len > 0 && from.p[0] != '/')))
        return malformed(p, "" STR_FMT " operation has no from: missing value", name);
    if (!value && (str_eqz(name, "add") || str_eqz(name, "replace")))
        value = value_null(p->a);
    if (str_eqz(name, "add"))
        return add(p, path, value_copy(p->a, value));
    if (str_eqz(name, "replace"))
        return replace(p, path, value_copy(p->a, value));
    if (str_eqz(name, "test"))
        return test(p, path, value);
    struct value *moved = NULL;
    if (str_eqz(name, "remove"))
        return take(p, "remove", path, &moved);
    if (str_eqz(name, "move")) {
        if (str_starts(path, arena_printf(p->a, STR_FMT "/", STR_ARG(from))))
            return err_set(p->err, ERR_INVALID, "error in move for path: '" STR_FMT "': cannot move into itself",
                           STR_ARG(path));
        return take(p, "move", from, &moved) < 0 ? p->err->code : add(p, path, moved);
    }
    if (str_eqz(name, "copy")) {
        const struct value *source = NULL;
        if (find(p, "copy", from, &source) < 0)
            return p->err->code;
        if (!source)
            return missing_key(p, "copy", from);
        return add(p, path, value_copy(p->a, source));
    }
    return malformed(p, "Unexpected kind: " STR_FMT, name);
}

int json_patch_apply(struct arena *a, const struct value *original, const struct value *patch, struct value **ret,
                     struct err *err)
{
    if (!value_is(patch, VALUE_LIST))
        return err_set(err, ERR_BAD_REQUEST,
                       "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
    if (value_len(patch) > JSON_PATCH_MAX_OPERATIONS)
        return err_set(err, ERR_TOO_LARGE,
                       "Request entity too large: The allowed maximum operations in a JSON patch is %d, got %zu",
                       JSON_PATCH_MAX_OPERATIONS, value_len(patch));
    struct patching p = {a, err, value_copy(a, original)};
    for (size_t i = 0; i < value_len(patch); i++) {
        if (apply_one(&p, value_at(patch, i)) < 0)
            return err->code;
        if (arena_over_limit(a)) /* copies of copies grow without end */
            return err_set(err, ERR_TOO_LARGE, "the patched object is too large");
    }
    *ret = p.root;
    return 0;
}
