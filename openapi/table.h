/* table: the rows `kubectl get` shows, as the server prints them (meta.k8s.io Table).
 *
 * Input is the stored form of an object; cells are strings, integers or booleans as the column says.
 */
#ifndef SKIFF_OPENAPI_TABLE_H
#define SKIFF_OPENAPI_TABLE_H

#include "base/arena.h"
#include "openapi/schema.h"
#include "openapi/value.h"

/* The columns of a resource version (v may be NULL: the storage version); name and age when it has none of its own. */
const struct schema_column *table_columns(const struct resource *r, const struct resource_version *v, size_t *ret_n);
/* columnDefinitions of the Table: name, type, format, description, priority. */
struct value *table_column_definitions(struct arena *a, const struct resource *r, const struct resource_version *v);
/* One list of cells, as many as columns. `now_us`: Unix microseconds, for ages. */
struct value *table_row_cells(struct arena *a, const struct resource *r, const struct resource_version *v,
                              const struct value *obj, int64_t now_us);
/* conditions of the row ("Completed" for finished pods), or NULL. */
struct value *table_row_conditions(struct arena *a, const struct resource *r, const struct value *obj);
/* Cells of a Scale (name, desired, available, age); its columns are schema_columns("scale"). */
struct value *table_scale_cells(struct arena *a, const struct value *scale, int64_t now_us);

#endif
