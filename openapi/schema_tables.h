/* schema_tables: what the generated files define, for schema.c alone. */
#ifndef SKIFF_OPENAPI_SCHEMA_TABLES_H
#define SKIFF_OPENAPI_SCHEMA_TABLES_H

#include "openapi/schema.h"

struct schema_table {
    const char *name;
    const struct schema_column *columns;
};

extern const struct schema_message *const schema_all_messages[];
extern const size_t schema_n_messages;
extern const struct resource *const schema_resources[];
extern const size_t schema_n_resources;
extern const struct schema_table schema_tables[]; /* ends with a NULL name */

#endif
