/* Volumes of a pod: one source each, and the files projected into them. */
#include "openapi/validate/rules.h"

#include "openapi/meta/quantity.h"

void check_relative_path(struct check *c, at_path at, struct str path, bool reserved)
{
    struct str rest = path, part;
    if (path.len && path.p[0] == '/')
        bad_invalid(c, at, text_value(c, path), "must be a relative path");
    while (str_split(&rest, '/', &part)) {
        if (str_eqz(part, "..")) {
            bad_invalid(c, at, text_value(c, path), "must not contain '..'");
            return;
        }
    }
    if (reserved && str_starts(path, STR("..")))
        bad_invalid(c, at, text_value(c, path), "must not start with '..'");
}

static void check_items(struct check *c, at_path at, const struct value *items)
{
    for (size_t i = 0; i < value_len(items); i++) {
        struct str path = text_of(value_at(items, i), "path");
        if (path.len)
            check_relative_path(c, AT(AT_INDEX(at, i), "path"), path, true);
    }
}

static void check_downward_items(struct check *c, at_path at, const struct value *items)
{
    for (size_t i = 0; i < value_len(items); i++) {
        const struct value *item = value_at(items, i);
        at_path here = AT_INDEX(at, i);
        if (text_of(item, "path").len)
            check_relative_path(c, AT(here, "path"), text_of(item, "path"), true);
        if (has(item, "fieldRef") && has(item, "resourceFieldRef"))
            bad_invalid(c, here, text_value(c, STR("resource")),
                        "fieldRef and resourceFieldRef can not be specified simultaneously");
        else if (has(item, "fieldRef"))
            check_field_ref(c, AT(here, "fieldRef"), value_getz(item, "fieldRef"), true);
        else if (has(item, "resourceFieldRef"))
            check_resource_field_ref(c, AT(here, "resourceFieldRef"), value_getz(item, "resourceFieldRef"), true);
        else
            bad_required(c, here, "one of fieldRef and resourceFieldRef is required");
    }
}

static void check_host_path(struct check *c, at_path at, const struct value *source)
{
    struct str rest = text_of(source, "path"), part;
    static const char types[] = "BlockDevice,CharDevice,Directory,DirectoryOrCreate,File,FileOrCreate,Socket";
    while (str_split(&rest, '/', &part)) {
        if (str_eqz(part, "..")) {
            bad_invalid(c, AT(at, "path"), value_getz(source, "path"), "must not contain '..'");
            break;
        }
    }
    if (text_of(source, "type").len && !one_of(text_of(source, "type"), types))
        bad_unsupported(c, AT(at, "type"), value_getz(source, "type"), types);
}

static void check_projected(struct check *c, at_path at, const struct value *sources)
{
    for (size_t i = 0; i < value_len(sources); i++) {
        const struct value *s = value_at(sources, i);
        at_path here = AT_INDEX(at, i);
        int n = 0;
        for (size_t j = 0; value_is(s, VALUE_MAP) && j < s->map.len; j++) {
            if (s->map.members[j].value->kind == VALUE_NULL)
                continue;
            if (n++ > 0)
                bad_forbidden(c, AT_STR(here, s->map.members[j].key),
                              "may not specify more than 1 volume type per source");
        }
        if (n == 0)
            bad_required(c, here, "may not be empty");
        check_items(c, AT(AT(here, "secret"), "items"), value_path(s, "secret.items"));
        check_items(c, AT(AT(here, "configMap"), "items"), value_path(s, "configMap.items"));
        check_downward_items(c, AT(AT(here, "downwardAPI"), "items"), value_path(s, "downwardAPI.items"));
        struct str token_path = value_path_str(s, "serviceAccountToken.path");
        if (token_path.len)
            check_relative_path(c, AT(AT(here, "serviceAccountToken"), "path"), token_path, true);
    }
}

static void check_source(struct check *c, at_path at, const struct value *volume)
{
    struct quantity size = quantity_from(value_path_str(volume, "emptyDir.sizeLimit"));
    if (quantity_sign(&size) < 0)
        bad_forbidden(c, AT(AT(at, "emptyDir"), "sizeLimit"), "SizeLimit field must be a valid resource quantity");
    if (has(volume, "hostPath"))
        check_host_path(c, AT(at, "hostPath"), value_getz(volume, "hostPath"));
    check_items(c, AT(AT(at, "secret"), "items"), value_path(volume, "secret.items"));
    check_items(c, AT(AT(at, "configMap"), "items"), value_path(volume, "configMap.items"));
    check_downward_items(c, AT(AT(at, "downwardAPI"), "items"), value_path(volume, "downwardAPI.items"));
    check_projected(c, AT(AT(at, "projected"), "sources"), value_path(volume, "projected.sources"));
    if (value_path(volume, "ephemeral.volumeClaimTemplate.spec"))
        check_claim_spec(c, AT(AT(AT(at, "ephemeral"), "volumeClaimTemplate"), "spec"),
                         value_path(volume, "ephemeral.volumeClaimTemplate.spec"));
}

void check_volumes(struct check *c, at_path at, const struct value *volumes)
{
    for (size_t i = 0; i < value_len(volumes); i++) {
        const struct value *v = value_at(volumes, i);
        at_path here = AT_INDEX(at, i);
        int sources = 0;
        for (size_t j = 0; value_is(v, VALUE_MAP) && j < v->map.len; j++) {
            struct str key = v->map.members[j].key;
            if (str_eqz(key, "name") || v->map.members[j].value->kind == VALUE_NULL)
                continue;
            if (sources++ > 0)
                bad_forbidden(c, AT_STR(here, key), "may not specify more than 1 volume type");
        }
        if (sources == 0)
            bad_required(c, here, "must specify a volume type");
        check_source(c, here, v);
        for (size_t j = 0; j < i; j++) {
            if (text_of(v, "name").len && str_eq(text_of(v, "name"), text_of(value_at(volumes, j), "name"))) {
                bad_duplicate(c, AT(here, "name"), value_getz(v, "name"));
                break;
            }
        }
    }
}
