#include "openapi/schema.h"
#include "openapi/schema_tables.h"

static const struct schema_field *search(const struct schema_message *m, struct str name)
{
    size_t low = 0, high = m->n_fields;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct schema_field *f = &m->fields[m->by_name[middle]];
        int c = str_cmp(name, f->name);
        if (c == 0)
            return f;
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The same few hundred names are asked for over and over, in every object: where a name was found is remembered by
 * thread. What is remembered is looked at, never trusted: messages of custom resources come and go. */
const struct schema_field *schema_field_find(const struct schema_message *m, struct str name)
{
    static _Thread_local struct {
        const struct schema_message *message;
        uint16_t field;
    } found[1024];
    if (!name.len)
        return search(m, name);
    size_t hash = (size_t)((uintptr_t)m >> 4) * 31 + name.len * 7 + (unsigned char)name.p[0] * 131u +
                  (unsigned char)name.p[name.len - 1] * 17u + (unsigned char)name.p[name.len / 2] * 67u;
    size_t at = (hash ^ hash >> 10) % (sizeof found / sizeof *found);
    if (found[at].message == m && found[at].field < m->n_fields && str_eq(m->fields[found[at].field].name, name))
        return &m->fields[found[at].field];
    const struct schema_field *f = search(m, name);
    if (f) {
        found[at].message = m;
        found[at].field = (uint16_t)(f - m->fields);
    }
    return f;
}

const struct schema_message *schema_message_find(struct str name)
{
    size_t low = 0, high = schema_n_messages;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int c = str_cmp(name, schema_all_messages[middle]->name);
        if (c == 0)
            return schema_all_messages[middle];
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct schema_message *const *schema_messages(size_t *ret_n)
{
    *ret_n = schema_n_messages;
    return schema_all_messages;
}

const char *verb_name(enum verb v)
{
    switch (v) {
    case VERB_GET:
        return "get";
    case VERB_LIST:
        return "list";
    case VERB_WATCH:
        return "watch";
    case VERB_CREATE:
        return "create";
    case VERB_UPDATE:
        return "update";
    case VERB_PATCH:
        return "patch";
    case VERB_DELETE:
        return "delete";
    case VERB_DELETE_COLLECTION:
        return "deletecollection";
    case VERB_CONNECT:
        return "connect";
    }
    return "";
}

const struct resource *const *resources_builtin(size_t *ret_n)
{
    *ret_n = schema_n_resources;
    return schema_resources;
}

const struct resource *resource_find(struct str group, struct str name)
{
    for (size_t i = 0; i < schema_n_resources; i++)
        if (str_eq(schema_resources[i]->name, name) && str_eq(schema_resources[i]->group, group))
            return schema_resources[i];
    return NULL;
}

const struct resource *resource_find_kind(struct str group, struct str kind)
{
    for (size_t i = 0; i < schema_n_resources; i++)
        if (str_eq(schema_resources[i]->kind, kind) && str_eq(schema_resources[i]->group, group))
            return schema_resources[i];
    return NULL;
}

const struct resource_version *resource_version_find(const struct resource *r, struct str version)
{
    for (const struct resource_version *v = r->versions; v->version.p; v++)
        if (str_eq(v->version, version))
            return v;
    return NULL;
}

const struct resource_version *resource_storage_version(const struct resource *r)
{
    return resource_version_find(r->stored_as ? r->stored_as : r, r->storage_version);
}

const struct schema_column *schema_columns(const char *table)
{
    for (const struct schema_table *t = schema_tables; table && t->name; t++)
        if (strcmp(t->name, table) == 0)
            return t->columns;
    return NULL;
}

struct str resource_api_version(struct arena *a, struct str group, struct str version)
{
    return group.len ? arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version)) : version;
}
