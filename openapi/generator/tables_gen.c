/* The constant tables of messages: a file per group and version, and the index over all. */
#include "openapi/generator/emit.h"

#include <stdlib.h>
#include <string.h>

void emit_quoted(FILE *out, const char *s)
{
    if (!s) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', out);
        if (*s == '\n')
            fputs("\\n", out);
        else
            fputc(*s, out);
    }
    fputc('"', out);
}

void emit_str(FILE *out, const char *s)
{
    fputc('{', out);
    emit_quoted(out, s);
    fprintf(out, ", %zu}", s ? strlen(s) : 0);
}

/* An array of texts that fields share when they are alike. */
struct pool {
    struct texts *items;
    size_t len;
};

static size_t pool_add(FILE *out, struct pool *p, struct texts t)
{
    for (size_t i = 0; i < p->len; i++) {
        size_t same = 0;
        while (p->items[i].len == t.len && same < t.len && strcmp(p->items[i].items[same], t.items[same]) == 0)
            same++;
        if (p->items[i].len == t.len && same == t.len)
            return i;
    }
    fprintf(out, "static const struct str texts_%zu[] = {", p->len);
    for (size_t i = 0; i < t.len; i++) {
        emit_str(out, t.items[i]);
        fputs(", ", out);
    }
    fputs("{NULL, 0}};\n", out);
    p->items[p->len] = t;
    return p->len++;
}

static void emit_texts(FILE *out, struct pool *p, FILE *head, const char *member, struct texts t)
{
    if (t.len)
        fprintf(out, ", .%s = texts_%zu", member, pool_add(head, p, t));
}

static void emit_field(FILE *out, FILE *head, struct pool *pool, const struct type *t, const struct model_field *f)
{
    fprintf(out, "    {.name = ");
    emit_str(out, f->name);
    fprintf(out, ", .type = %d, .shape = %d, .view_offset = offsetof(struct %s, %s)", f->type, f->shape, t->cname,
            f->member);
    if (f->shape == SHAPE_SINGLE &&
        (f->type == FIELD_BOOL || f->type == FIELD_INT32 || f->type == FIELD_INT64 || f->type == FIELD_DOUBLE))
        fprintf(out, ", .view_presence = offsetof(struct %s, has_%s)", t->cname, f->member);
    if (f->id_len)
        fprintf(out, ", .proto_number = %u", f->id[f->id_len - 1]);
    if (f->id_len > 1)
        fprintf(out, ", .proto_outer = %u", f->id_len == 2 ? f->id[0] : f->id[0] << 8 | f->id[1]);
    if (f->message)
        fprintf(out, ", .message = &schema_%s", f->message->cname);
    if (f->flags)
        fprintf(out, ", .flags = %u", f->flags);
    if (f->list_type)
        fprintf(out, ", .list_type = %d", f->list_type);
    if (f->patch)
        fprintf(out, ", .patch_strategy = %u", f->patch);
    if (f->format)
        fprintf(out, ", .format = %d", f->format);
    if (f->merge_key) {
        fprintf(out, ", .merge_key = ");
        emit_str(out, f->merge_key);
    }
    emit_texts(out, pool, head, "map_keys", f->keys);
    emit_texts(out, pool, head, "values", f->values);
    emit_texts(out, pool, head, "known_values", f->known);
    if (f->flags & FIELD_HAS_MIN)
        fprintf(out, ", .min = %lld", (long long)f->min);
    if (f->flags & FIELD_HAS_MAX)
        fprintf(out, ", .max = %lld", (long long)f->max);
    if (f->default_json) {
        fprintf(out, ", .default_json = ");
        emit_quoted(out, f->default_json);
    }
    if (f->go_type)
        fprintf(out, ", .go_type = \"%s\"", f->go_type);
    if (f->doc) {
        fprintf(out, ",\n     .description = ");
        emit_quoted(out, f->doc);
    }
    fprintf(out, "},\n");
}

static const struct type *sorting;

static int by_field_name(const void *a, const void *b)
{
    return strcmp(sorting->fields[*(const uint16_t *)a].name, sorting->fields[*(const uint16_t *)b].name);
}

static void emit_order(FILE *out, const struct type *t)
{
    uint16_t *order = allocate(t->n_fields * sizeof *order);
    for (size_t i = 0; i < t->n_fields; i++)
        order[i] = (uint16_t)i;
    sorting = t;
    qsort(order, t->n_fields, sizeof *order, by_field_name);
    fprintf(out, "static const uint16_t order_%s[] = {", t->cname);
    for (size_t i = 0; i < t->n_fields; i++)
        fprintf(out, "%s%u", i ? ", " : "", order[i]);
    fprintf(out, "};\n");
}

static void emit_gvk(FILE *out, const struct file *f, const char *kind)
{
    fprintf(out, "    {\"%s\", \"%s\", \"%s\"},\n", f->group, f->version, kind);
}

static void emit_gvks(FILE *out, const struct type *t, const struct model *m)
{
    fprintf(out, "static const struct schema_gvk gvks_%s[] = {\n", t->cname);
    for (size_t i = 0; t->everywhere && i < m->n_files; i++)
        if (m->files[i]->served)
            emit_gvk(out, m->files[i], t->name);
    if (!t->everywhere)
        emit_gvk(out, t->file, t->name);
    fprintf(out, "    {NULL, NULL, NULL},\n};\n");
}

void emit_types(FILE *out, const struct file *file, const struct model *m)
{
    struct pool pool = {0};
    size_t n_fields = 0;
    for (size_t i = 0; i < file->n_types; i++)
        n_fields += file->types[i]->n_fields;
    pool.items = allocate(3 * n_fields * sizeof *pool.items);
    fprintf(out,
            "/* Generated from openapi/schema/%s/%s.yaml. */\n"
            "#include \"openapi/messages.h\"\n#include \"openapi/views.h\"\n\n#include <stddef.h>\n\n",
            file->folder, file->version);
    for (size_t i = 0; i < file->n_types; i++) {
        const struct type *t = file->types[i];
        char *body = NULL;
        size_t len = 0;
        FILE *fields = open_memstream(&body, &len); /* the arrays it refers to go before it */
        for (size_t k = 0; k < t->n_fields; k++)
            emit_field(fields, out, &pool, t, &t->fields[k]);
        fclose(fields);
        if (t->n_fields) {
            fprintf(out, "static const struct schema_field fields_%s[] = {\n%s};\n", t->cname, body);
            emit_order(out, t);
        }
        free(body);
        if (t->is_kind)
            emit_gvks(out, t, m);
        fprintf(out, "const struct schema_message schema_%s = {\n    .name = ", t->cname);
        emit_str(out, t->full_name);
        fprintf(out, ",\n    .description = ");
        emit_quoted(out, t->doc);
        if (t->n_fields)
            fprintf(out, ",\n    .fields = fields_%s,\n    .by_name = order_%s,\n    .n_fields = %zu", t->cname,
                    t->cname, t->n_fields);
        fprintf(out, ",\n    .view_size = sizeof(struct %s),\n", t->cname);
        if (t->is_kind)
            fprintf(out, "    .gvks = gvks_%s,\n", t->cname);
        fprintf(out, "};\n\n");
    }
}

void emit_index(FILE *out, const struct model *m)
{
    fprintf(out,
            "/* Generated from openapi/schema: all messages by name. */\n#include \"openapi/messages.h\"\n"
            "#include \"openapi/schema_tables.h\"\n\nconst struct schema_message *const schema_all_messages[] = {\n");
    for (size_t i = 0; i < m->n_types; i++)
        fprintf(out, "    &schema_%s,\n", m->types[i]->cname);
    fprintf(out, "};\nconst size_t schema_n_messages = %zu;\n", m->n_types);
}
