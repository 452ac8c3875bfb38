/* resources.c: what is served, in discovery order, and the printer columns. */
#include "openapi/generator/emit.h"

#include <string.h>

static void emit_names(FILE *out, const char *prefix, size_t index, struct texts t)
{
    if (!t.len)
        return;
    fprintf(out, "static const char *const %s_%zu[] = {", prefix, index);
    for (size_t i = 0; i < t.len; i++) {
        emit_quoted(out, t.items[i]);
        fputs(", ", out);
    }
    fputs("NULL};\n", out);
}

static const struct type *find_kind(const struct model *m, const char *group, const char *version, const char *kind)
{
    for (size_t i = 0; i < m->n_types; i++)
        if (m->types[i]->is_kind && strcmp(m->types[i]->file->group, group) == 0 &&
            strcmp(m->types[i]->file->version, version) == 0 && strcmp(m->types[i]->name, kind) == 0)
            return m->types[i];
    return NULL;
}

static void emit_subresources(FILE *out, const struct model *m, const struct model_resource *r, size_t index)
{
    fprintf(out, "static const struct subresource subresources_%zu[] = {\n", index);
    for (size_t i = 0; i < r->n_subresources; i++) {
        const struct model_subresource *s = &r->subresources[i];
        const struct type *t = find_kind(m, s->group, s->version, s->kind);
        fprintf(out, "    {.name = ");
        emit_str(out, s->name);
        fprintf(out, ", .verbs = %u, .group = \"%s\", .version = \"%s\", .kind = \"%s\"", s->verbs, s->group,
                s->version, s->kind);
        if (t)
            fprintf(out, ", .message = &schema_%s", t->cname);
        fprintf(out, "},\n");
    }
    fprintf(out, "    {.name = {NULL, 0}},\n};\n");
}

static void emit_version(FILE *out, const struct model *m, const struct model_resource *r, size_t index)
{
    const struct type *t = find_kind(m, r->file->group, r->file->version, r->kind);
    if (!t)
        fail("%s: %s: no kind %s", r->file->path, r->name, r->kind);
    fprintf(out, "    {.version = ");
    emit_str(out, r->file->version);
    fprintf(out, ", .message = &schema_%s, .verbs = %u, .subresources = subresources_%zu", t->cname, r->verbs, index);
    if (r->selectable.len)
        fprintf(out, ", .selectable = selectable_%zu", index);
    if (r->table)
        fprintf(out, ", .table = \"%s\", .columns = columns_%s", r->table, r->table);
    if (r->deprecated)
        fprintf(out, ", .deprecated = true");
    fprintf(out, "},\n");
}

static void emit_columns(FILE *out, const struct model *m)
{
    for (size_t i = 0; i < m->n_tables; i++) {
        const struct table *t = &m->tables[i];
        fprintf(out, "static const struct schema_column columns_%s[] = {\n", t->name);
        for (size_t c = 0; c < t->n_columns; c++) {
            fputs("    {", out);
            emit_quoted(out, t->columns[c].name);
            fputs(", ", out);
            emit_quoted(out, t->columns[c].type);
            fputs(", ", out);
            emit_quoted(out, t->columns[c].format ? t->columns[c].format : "");
            fputs(", ", out);
            emit_quoted(out, t->columns[c].description ? t->columns[c].description : "");
            fprintf(out, ", %d},\n", t->columns[c].priority);
        }
        fprintf(out, "    {NULL, NULL, NULL, NULL, 0},\n};\n");
    }
    fprintf(out, "const struct schema_table schema_tables[] = {\n");
    for (size_t i = 0; i < m->n_tables; i++)
        fprintf(out, "    {\"%s\", columns_%s},\n", m->tables[i].name, m->tables[i].name);
    fprintf(out, "    {NULL, NULL},\n};\n");
}

/* Index among the resources that head their group (the preferred version's); -1 for another version of one before. */
static bool is_first_version(const struct model *m, const struct model_resource *r)
{
    for (size_t f = 0; f < m->n_files && m->files[f] != r->file; f++)
        for (size_t i = 0; strcmp(m->files[f]->group, r->file->group) == 0 && i < m->files[f]->n_resources; i++)
            if (strcmp(m->files[f]->resources[i].name, r->name) == 0)
                return false;
    return true;
}

static void emit_resource(FILE *out, const struct model *m, const struct model_resource *r, size_t index,
                          const char *stored_as)
{
    fprintf(out, "static const struct resource_version versions_%zu[] = {\n", index);
    for (size_t f = 0, at = index; f < m->n_files; f++)
        for (size_t i = 0; strcmp(m->files[f]->group, r->file->group) == 0 && i < m->files[f]->n_resources; i++)
            if (strcmp(m->files[f]->resources[i].name, r->name) == 0) {
                emit_version(out, m, &m->files[f]->resources[i], at);
                at += 1000; /* arrays of a further version are numbered a thousand on */
            }
    fprintf(out,
            "    {.version = {NULL, 0}},\n};\nstatic const struct resource resource_%zu = {\n    .group = ", index);
    emit_str(out, r->file->group);
    fprintf(out, ",\n    .name = ");
    emit_str(out, r->name);
    fprintf(out, ",\n    .kind = ");
    emit_str(out, r->kind);
    fprintf(out, ",\n    .singular = ");
    emit_str(out, r->singular);
    fprintf(out, ",\n    .list_kind = ");
    emit_str(out, format("%sList", r->kind));
    fprintf(out, ",\n    .namespaced = %s,\n    .index = %zu,\n", r->namespaced ? "true" : "false", index);
    if (r->short_names.len)
        fprintf(out, "    .short_names = short_names_%zu,\n", index);
    if (r->categories.len)
        fprintf(out, "    .categories = categories_%zu,\n", index);
    fprintf(out, "    .storage_prefix = ");
    emit_str(out, r->storage ? r->storage : "");
    fprintf(out, ",\n    .storage_group = ");
    emit_str(out, r->stored_as ? "" : r->file->group);
    fprintf(out, ",\n    .storage_version = ");
    emit_str(out, r->storage_version ? r->storage_version : r->file->version);
    fprintf(out, ",\n    .versions = versions_%zu,\n    .stored_as = %s,\n    .name_format = %d,\n};\n", index,
            stored_as, r->name_format);
}

struct place {
    const struct model_resource *resource;
    size_t index;
};

static size_t number(const struct model *m, struct place *places)
{
    size_t n = 0;
    for (size_t f = 0; f < m->n_files; f++)
        for (size_t i = 0; i < m->files[f]->n_resources; i++)
            if (is_first_version(m, &m->files[f]->resources[i])) {
                places[n] = (struct place){&m->files[f]->resources[i], n};
                n++;
            }
    return n;
}

void emit_resources(FILE *out, const struct model *m)
{
    struct place places[999];
    size_t n = number(m, places);
    fprintf(out,
            "/* Generated from openapi/schema: resources and printer columns. */\n#include \"openapi/messages.h\"\n"
            "#include \"openapi/schema_tables.h\"\n\n");
    emit_columns(out, m);
    for (size_t i = 0; i < n; i++) {
        const struct model_resource *r = places[i].resource;
        emit_names(out, "short_names", i, r->short_names);
        emit_names(out, "categories", i, r->categories);
        size_t at = i;
        for (size_t f = 0; f < m->n_files; f++)
            for (size_t k = 0; strcmp(m->files[f]->group, r->file->group) == 0 && k < m->files[f]->n_resources; k++)
                if (strcmp(m->files[f]->resources[k].name, r->name) == 0) {
                    emit_names(out, "selectable", at, m->files[f]->resources[k].selectable);
                    emit_subresources(out, m, &m->files[f]->resources[k], at);
                    at += 1000;
                }
        char *stored_as = format("&resource_%zu", i);
        for (size_t k = 0; r->stored_as && k < n; k++)
            if (strcmp(r->stored_as, format("%s/%s", places[k].resource->file->folder, places[k].resource->name)) == 0)
                stored_as = format("&resource_%zu", k);
        emit_resource(out, m, r, i, stored_as);
    }
    fprintf(out, "const struct resource *const schema_resources[] = {\n");
    for (size_t i = 0; i < n; i++)
        fprintf(out, "    &resource_%zu,\n", i);
    fprintf(out, "};\nconst size_t schema_n_resources = %zu;\n", n);
}
