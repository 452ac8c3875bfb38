/* table_printers: inside of table: a function per table that writes the cells of one row, a file per family of kinds.
 */
#ifndef SKIFF_OPENAPI_TABLE_PRINTERS_H
#define SKIFF_OPENAPI_TABLE_PRINTERS_H

#include "openapi/value.h"

struct row {
    struct arena *a;
    const struct value *obj;
    int64_t now_us;
    struct value *cells;
};

typedef void row_printer(struct row *r);

struct table_printer {
    const char *table;
    row_printer *print;
};
extern const struct table_printer pod_printers[], workload_printers[], network_printers[], cluster_printers[],
    policy_printers[]; /* each ends with a NULL table */

void cell(struct row *r, struct str text);
void cellf(struct row *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cell_int(struct row *r, int64_t n);
void cell_bool(struct row *r, bool b);
void cell_or(struct row *r, struct str text, const char *otherwise); /* otherwise when empty */
void cell_name(struct row *r);
void cell_age(struct row *r);
void cell_text(struct row *r, const char *path);                   /* empty when absent */
void cell_number(struct row *r, const char *path);                 /* zero when absent */
void cell_containers(struct row *r, const struct value *pod_spec); /* names, then images */
void cell_labels(struct row *r, const struct value *labels);       /* "a=b,c=d" or "<none>" */
void cell_selector(struct row *r, const struct value *selector);   /* of a LabelSelector */

struct str since(struct row *r, struct str timestamp); /* "<unknown>" when absent */
struct str labels_text(struct row *r, const struct value *labels);
struct str join(struct row *r, const struct value *list, const char *separator);
struct str append(struct row *r, struct str to, const char *separator, struct str what);
struct str load_balancer_text(struct row *r, const struct value *status);
const struct value *condition(const struct value *obj, const char *type); /* of status.conditions */
bool condition_is(const struct value *obj, const char *type, const char *status);

#endif
