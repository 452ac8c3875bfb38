/* views.h: a read-only struct for every message (openapi/view.h says how fields become members). */
#include "openapi/generator/emit.h"

#include <string.h>

static const char *single_type(const struct model_field *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return "bool ";
    case FIELD_INT32:
        return "int32_t ";
    case FIELD_INT64:
    case FIELD_TIME:
    case FIELD_MICRO_TIME:
        return "int64_t ";
    case FIELD_DOUBLE:
        return "double ";
    case FIELD_INT_OR_STRING:
        return "struct int_or_string ";
    case FIELD_MESSAGE:
        return format("const struct %s *", f->message->cname);
    case FIELD_ANY:
        return "const struct value *";
    default:
        return "struct str ";
    }
}

static const char *list_type(const struct type *t, const struct model_field *f)
{
    switch (f->type) {
    case FIELD_BOOL:
        return "struct bool_array ";
    case FIELD_INT32:
        return "struct int32_array ";
    case FIELD_INT64:
        return "struct int64_array ";
    case FIELD_MESSAGE:
        return format("struct %s_array ", f->message->cname);
    case FIELD_ANY:
        return "struct value_array ";
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_QUANTITY:
        return "struct str_array ";
    default:
        fail("%s.%s: no view for a list of these", t->full_name, f->name);
    }
}

static const char *map_type(const struct type *t, const struct model_field *f)
{
    if (f->flags & FIELD_MAP_OF_LISTS)
        return "struct str_array_entry_array ";
    switch (f->type) {
    case FIELD_MESSAGE:
        return format("struct %s_entry_array ", f->message->cname);
    case FIELD_ANY:
        return "struct value_entry_array ";
    case FIELD_TIME:
        return "struct time_entry_array ";
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_QUANTITY:
        return "struct str_entry_array ";
    default:
        fail("%s.%s: no view for a map of these", t->full_name, f->name);
    }
}

static void emit_struct(FILE *out, const struct type *t)
{
    if (t->doc)
        fprintf(out, "/* %s */\n", t->doc);
    fprintf(out, "struct %s {\n", t->cname);
    for (size_t i = 0; i < t->n_fields; i++) {
        const struct model_field *f = &t->fields[i];
        const char *type = f->shape == SHAPE_LIST  ? list_type(t, f)
                           : f->shape == SHAPE_MAP ? map_type(t, f)
                                                   : single_type(f);
        fprintf(out, "    %s%s;\n", type, f->member);
        if (f->shape == SHAPE_SINGLE &&
            (f->type == FIELD_BOOL || f->type == FIELD_INT32 || f->type == FIELD_INT64 || f->type == FIELD_DOUBLE))
            fprintf(out, "    bool has_%s;\n", f->member);
    }
    if (t->n_fields == 0)
        fprintf(out, "    char nothing;\n");
    fprintf(out, "};\n\n");
}

void emit_views(FILE *out, const struct model *m)
{
    fprintf(out, "/* Generated from openapi/schema. See openapi/view.h. */\n"
                 "#ifndef SKIFF_OPENAPI_VIEWS_H\n#define SKIFF_OPENAPI_VIEWS_H\n\n#include \"openapi/view.h\"\n\n");
    for (size_t i = 0; i < m->n_types; i++)
        fprintf(out, "struct %s;\nstruct %s_entry;\n", m->types[i]->cname, m->types[i]->cname);
    for (size_t i = 0; i < m->n_types; i++)
        fprintf(out,
                "struct %s_array {\n    const struct %s *items;\n    size_t len;\n};\n"
                "struct %s_entry_array {\n    const struct %s_entry *items;\n    size_t len;\n};\n",
                m->types[i]->cname, m->types[i]->cname, m->types[i]->cname, m->types[i]->cname);
    fprintf(out, "\n");
    for (size_t i = 0; i < m->n_types; i++)
        emit_struct(out, m->types[i]);
    for (size_t i = 0; i < m->n_types; i++)
        fprintf(out, "struct %s_entry {\n    struct str key;\n    struct %s value;\n};\n", m->types[i]->cname,
                m->types[i]->cname);
    fprintf(out, "\n#endif\n");
}

void emit_messages(FILE *out, const struct model *m)
{
    fprintf(out, "/* Generated from openapi/schema: the table of every message by the name of its view struct. */\n"
                 "#ifndef SKIFF_OPENAPI_MESSAGES_H\n#define SKIFF_OPENAPI_MESSAGES_H\n\n"
                 "#include \"openapi/schema.h\"\n\n");
    for (size_t i = 0; i < m->n_types; i++)
        fprintf(out, "extern const struct schema_message schema_%s;\n", m->types[i]->cname);
    fprintf(out, "\n#endif\n");
}
