/* What the generator writes, one function per kind of file. A file whose content is already right stays untouched, so
 * that nothing is rebuilt for it. */
#ifndef SKIFF_OPENAPI_GENERATOR_EMIT_H
#define SKIFF_OPENAPI_GENERATOR_EMIT_H

#include "openapi/generator/model.h"

#include <stdio.h>

void emit_views(FILE *out, const struct model *m);                       /* views.h */
void emit_messages(FILE *out, const struct model *m);                    /* messages.h: names of all messages' tables */
void emit_types(FILE *out, const struct file *f, const struct model *m); /* tables_<folder>_<version>.c */
void emit_index(FILE *out, const struct model *m);                       /* tables.c: all messages by name */
void emit_resources(FILE *out, const struct model *m);                   /* resources.c */

void emit_quoted(FILE *out, const char *s); /* a C string, NULL for NULL */
void emit_str(FILE *out, const char *s);    /* {"text", length} */

#endif
