#include "api/chain/accept.h"

#include <stdlib.h>

struct str media_type_bare(struct str content_type)
{
    struct str head;
    return str_split(&content_type, ';', &head) ? str_trim(head) : STR_NULL;
}

/* "0.8" in thousandths; anything odd counts as 1 */
static int quality_parse(struct str s)
{
    if (!s.len || (s.p[0] != '0' && s.p[0] != '1') || s.p[0] == '1')
        return 1000;
    int q = 0, unit = 100;
    for (size_t i = 2; i < s.len && unit; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 1000;
        q += (s.p[i] - '0') * unit;
    }
    return q;
}

static struct media_range range_parse(struct str text)
{
    struct media_range r = {.quality = 1000};
    struct str part;
    str_split(&text, ';', &part);
    r.type = str_trim(part);
    while (str_split(&text, ';', &part)) {
        struct str value = part, name;
        str_split(&value, '=', &name);
        name = str_trim(name);
        value = str_trim(value);
        if (str_eq(name, STR("as")))
            r.as = value;
        else if (str_eq(name, STR("g")))
            r.group = value;
        else if (str_eq(name, STR("v")))
            r.version = value;
        else if (str_eq(name, STR("profile")))
            r.profile = value;
        else if (str_eq(name, STR("q")))
            r.quality = quality_parse(value);
    }
    return r;
}

size_t accept_parse(struct arena *a, struct str header, struct media_range **ret)
{
    struct media_range *list = NULL;
    size_t n = 0, cap = 0;
    struct str part;
    if (!str_trim(header).len)
        header = STR("*/*");
    while (str_split(&header, ',', &part)) {
        if (!str_trim(part).len)
            continue;
        struct media_range r = range_parse(part);
        if (r.quality == 0)
            continue;
        ARENA_PUSH(a, list, n, cap, r);
        for (size_t i = n - 1; i > 0 && list[i].quality > list[i - 1].quality; i--) { /* stable, lists are short */
            struct media_range other = list[i];
            list[i] = list[i - 1];
            list[i - 1] = other;
        }
    }
    *ret = list;
    return n;
}

static bool type_matches(struct str range, struct str type)
{
    if (str_eq(range, STR("*/*")) || str_eq(range, type))
        return true;
    return str_ends(range, STR("/*")) && str_starts(type, str_sub(range, 0, range.len - 1));
}

bool accept_allows(const struct media_range *ranges, size_t n, struct str type)
{
    for (size_t i = 0; i < n; i++)
        if (type_matches(ranges[i].type, type))
            return true;
    return false;
}

static bool is_table(const struct media_range *r)
{
    return str_eq(r->as, STR("Table"));
}

static bool is_metadata(const struct media_range *r)
{
    return str_eq(r->as, STR("PartialObjectMetadata")) || str_eq(r->as, STR("PartialObjectMetadataList"));
}

static bool is_meta_version(const struct media_range *r)
{
    return str_eq(r->group, STR("meta.k8s.io")) &&
           (str_eq(r->version, STR("v1")) || str_eq(r->version, STR("v1beta1")));
}

int accept_object(struct arena *a, struct str header, bool protobuf, enum api_format *ret,
                  struct str *ret_table_version, struct err *err)
{
    struct media_range *ranges;
    *ret = API_JSON;
    if (!header.len || str_eq(header, STR("application/json")))
        return 0;
    size_t n = accept_parse(a, header, &ranges);
    for (size_t i = 0; i < n; i++) {
        const struct media_range *r = &ranges[i];
        bool json = type_matches(r->type, STR("application/json"));
        bool yaml = type_matches(r->type, STR("application/yaml"));
        if (protobuf && !r->as.len && str_eq(r->type, STR("application/vnd.kubernetes.protobuf"))) {
            *ret = API_PROTOBUF;
            return 0;
        }
        if (is_metadata(r) && is_meta_version(r) && str_eq(r->type, STR("application/vnd.kubernetes.protobuf"))) {
            *ret = API_PROTOBUF; /* which every kind's metadata has */
            *ret_table_version = arena_str(a, r->version);
            return 0;
        }
        if (!json && !yaml)
            continue;
        if (!r->as.len) {
            *ret = json ? API_JSON : API_YAML;
            return 0;
        }
        if (!json || !is_meta_version(r) || (!is_table(r) && !is_metadata(r)))
            continue;
        *ret = is_table(r) ? API_TABLE : API_METADATA;
        *ret_table_version = arena_str(a, r->version);
        return 0;
    }
    return err_set(err, ERR_NOT_ACCEPTABLE,
                   "only the following media types are accepted: application/json, application/yaml%s",
                   protobuf ? ", application/vnd.kubernetes.protobuf" : "");
}
