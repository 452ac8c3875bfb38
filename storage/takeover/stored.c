#include "storage/takeover/stored.h"

#include "openapi/convert.h"
#include "openapi/defaults.h"
#include "openapi/json.h"
#include "openapi/protobuf.h"

static const struct resource *resource_of(struct str key)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n), *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && str_starts(key, all[i]->storage_prefix) &&
            (!best || all[i]->storage_prefix.len > best->storage_prefix.len))
            best = all[i]->stored_as ? all[i]->stored_as : all[i];
    return best;
}

struct str stored_resource_name(struct arena *a, struct str key)
{
    const struct resource *r = resource_of(key);
    struct str rest = key, empty, top, name;
    if (r)
        return r->group.len ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(r->name), STR_ARG(r->group)) : r->name;
    if (!str_split(&rest, '/', &empty) || empty.len || !str_split(&rest, '/', &top) || !str_split(&rest, '/', &name))
        return key;
    return arena_printf(a, "/" STR_FMT "/" STR_FMT, STR_ARG(top), STR_ARG(name));
}

static struct str group_of(struct str api_version, struct str *ret_version)
{
    struct str rest = api_version, group;
    if (!str_split(&rest, '/', &group) || !rest.p) {
        *ret_version = api_version;
        return STR("");
    }
    *ret_version = rest;
    return group;
}

static bool is_of(const struct resource *r, struct str group, struct str kind)
{
    const struct resource *other = resource_find_kind(group, kind);
    return other && (other == r || other->stored_as == r);
}

/* kind and apiVersion first, as upstream writes it. */
static struct str encode(struct arena *a, struct str api_version, struct str kind, const struct value *v)
{
    struct value *whole = value_map(a);
    struct buf out = {0};
    value_setz(a, whole, "kind", value_string(a, kind));
    value_setz(a, whole, "apiVersion", value_string(a, api_version));
    for (size_t i = 0; i < v->map.len; i++)
        value_set(a, whole, v->map.members[i].key, v->map.members[i].value);
    json_encode(&out, whole);
    struct str text = arena_str(a, buf_str(&out));
    buf_free(&out);
    return text;
}

static int decode(struct arena *a, const struct schema_message *m, const struct protobuf_envelope *e, struct str value,
                  struct value **ret, struct err *err)
{
    struct json_options opt = {.schema = m};
    return e->raw.p ? protobuf_decode(a, m, e->raw, ret, err) : json_decode(a, value, &opt, ret, err);
}

static int read_object(struct arena *a, const struct resource *r, const struct protobuf_envelope *e, struct str value,
                       struct str *ret_json, struct str *ret_name, struct err *err)
{
    struct str version, group = group_of(e->api_version, &version), to = convert_storage_api_version(a, r);
    const struct resource *given = resource_find_kind(group, e->kind);
    if (!is_of(r, group, e->kind))
        return err_set(err, ERR_CORRUPT, "it holds a " STR_FMT " of " STR_FMT, STR_ARG(e->kind),
                       STR_ARG(e->api_version));
    const struct resource_version *v = resource_version_find(given, version);
    struct value *object;
    if (!v || !v->message) {
        *ret_name = arena_printf(a, STR_FMT " of " STR_FMT, STR_ARG(r->name), STR_ARG(e->api_version));
        return STORED_UNSERVED;
    }
    int rc = decode(a, v->message, e, value, &object, err);
    if (rc < 0)
        return err->code == ERR_LIMIT ? rc : err_set(err, ERR_CORRUPT, "%s", arena_strdup(a, err->message));
    if (!value_is(object, VALUE_MAP) || !value_path_str(object, "metadata.name").len)
        return err_set(err, ERR_CORRUPT, "it holds an object without a name");
    value_setz(a, object, "kind", value_string(a, e->kind));
    value_setz(a, object, "apiVersion", value_string(a, e->api_version));
    defaults_apply(a, given, version, object);
    if (!str_eq(to, e->api_version) && !(object = convert(a, r, e->api_version, to, object, err)))
        return err->code;
    value_remove_path(object, "metadata.resourceVersion");
    value_remove_path(object, "metadata.selfLink");
    *ret_json = encode(a, to, r->kind, object);
    return STORED_OBJECT;
}

/* What is served only once its definition is: custom resources are JSON that says what it is, under their group. */
static int read_other(struct arena *a, struct str key, struct str value, const struct protobuf_envelope *e,
                      struct str *ret_json, struct str *ret_name)
{
    bool custom = !e->raw.p && e->kind.len && str_contains(e->api_version, STR("."));
    *ret_json = value;
    if (str_starts(key, STORED_PORT_PREFIX) || custom)
        return STORED_AS_IT_IS;
    *ret_name = stored_resource_name(a, key);
    return STORED_UNSERVED;
}

int stored_read(struct arena *a, struct str key, struct str value, struct str *ret_json, struct str *ret_name,
                struct err *err)
{
    const struct resource *r = resource_of(key);
    struct protobuf_envelope e = {0};
    struct json_options plain = {0};
    struct value *v = NULL;
    *ret_json = *ret_name = STR("");
    if (str_starts(value, (struct str){"k8s\0", 4})) {
        if (protobuf_open(value, &e, err) < 0)
            return err_set(err, ERR_CORRUPT, "%s", arena_strdup(a, err->message));
        if (!e.raw.p)
            e.raw = STR("");
    } else if (value.len && value.p[0] == '{') {
        if (json_decode(a, value, &plain, &v, err) < 0)
            return err_set(err, ERR_CORRUPT, "%s", arena_strdup(a, err->message));
        e.api_version = value_path_str(v, "apiVersion");
        e.kind = value_path_str(v, "kind");
    } else if (r) {
        return err_set(err, ERR_CORRUPT, "it holds neither JSON nor protobuf");
    }
    return r ? read_object(a, r, &e, value, ret_json, ret_name, err)
             : read_other(a, key, value, &e, ret_json, ret_name);
}
