#include "openapi/table.h"

#include "openapi/meta/selector.h"
#include "openapi/meta/time.h"
#include "openapi/table_printers.h"

#include <stdlib.h>

static const struct schema_column default_columns[] = {
    {"Name", "string", "name", "The object's name.", 0},
    {"Created At", "date", "", "When the object was made.", 0},
    {NULL, NULL, NULL, NULL, 0},
};

const struct schema_column *table_columns(const struct resource *r, const struct resource_version *v, size_t *ret_n)
{
    if (!v)
        v = resource_storage_version(r);
    const struct schema_column *columns = v && v->columns ? v->columns : default_columns;
    for (*ret_n = 0; columns[*ret_n].name; (*ret_n)++)
        continue;
    return columns;
}

struct value *table_column_definitions(struct arena *a, const struct resource *r, const struct resource_version *v)
{
    size_t n = 0;
    const struct schema_column *columns = table_columns(r, v, &n);
    struct value *list = value_list(a);
    for (size_t i = 0; i < n; i++) {
        struct value *c = value_map(a);
        value_setz(a, c, "name", value_stringz(a, columns[i].name));
        value_setz(a, c, "type", value_stringz(a, columns[i].type));
        value_setz(a, c, "format", value_stringz(a, columns[i].format ? columns[i].format : ""));
        value_setz(a, c, "description", value_stringz(a, columns[i].description ? columns[i].description : ""));
        value_setz(a, c, "priority", value_int(a, columns[i].priority));
        value_append(a, list, c);
    }
    return list;
}

static row_printer *find_printer(const char *table)
{
    static const struct table_printer *const families[] = {pod_printers, workload_printers, network_printers,
                                                           cluster_printers, policy_printers};
    for (size_t i = 0; table && i < sizeof families / sizeof *families; i++) {
        for (const struct table_printer *p = families[i]; p->table; p++) {
            if (strcmp(p->table, table) == 0)
                return p->print;
        }
    }
    return NULL;
}

/* Tables without a printer of their own: name and age where the columns are, nothing elsewhere. */
static void print_by_column(struct row *r, const struct schema_column *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(columns[i].name, "Name") == 0)
            cell_name(r);
        else if (strcmp(columns[i].name, "Age") == 0)
            cell_age(r);
        else if (strcmp(columns[i].name, "Created At") == 0)
            cell_text(r, "metadata.creationTimestamp");
        else if (strcmp(columns[i].type, "integer") == 0)
            cell_int(r, 0);
        else if (strcmp(columns[i].type, "boolean") == 0)
            cell_bool(r, false);
        else
            cell(r, STR("<unknown>"));
    }
}

struct value *table_row_cells(struct arena *a, const struct resource *r, const struct resource_version *v,
                              const struct value *obj, int64_t now_us)
{
    size_t n = 0;
    const struct schema_column *columns = table_columns(r, v, &n);
    struct row row = {.a = a, .obj = obj, .now_us = now_us, .cells = value_list(a)};
    if (!v)
        v = resource_storage_version(r);
    row_printer *print = find_printer(v ? v->table : NULL);
    if (print)
        print(&row);
    else
        print_by_column(&row, columns, n);
    while (value_len(row.cells) < n)
        cell(&row, STR(""));
    return row.cells;
}

struct value *table_row_conditions(struct arena *a, const struct resource *r, const struct value *obj)
{
    struct str phase = value_path_str(obj, "status.phase");
    bool succeeded = str_eqz(phase, "Succeeded"), failed = str_eqz(phase, "Failed");
    if (r->group.len || !str_eqz(r->kind, "Pod") || (!succeeded && !failed))
        return NULL;
    struct value *c = value_map(a), *list = value_list(a);
    value_setz(a, c, "type", value_stringz(a, "Completed"));
    value_setz(a, c, "status", value_stringz(a, "True"));
    value_setz(a, c, "reason", value_stringz(a, succeeded ? "Succeeded" : "Failed"));
    value_setz(a, c, "message",
               value_stringz(a, succeeded ? "The pod has completed successfully." : "The pod failed."));
    value_append(a, list, c);
    return list;
}

struct value *table_scale_cells(struct arena *a, const struct value *scale, int64_t now_us)
{
    struct row row = {.a = a, .obj = scale, .now_us = now_us, .cells = value_list(a)};
    cell_name(&row);
    cell_number(&row, "spec.replicas");
    cell_number(&row, "status.replicas");
    cell_age(&row);
    return row.cells;
}

/* ---- what printers share ---- */

void cell(struct row *r, struct str text)
{
    value_append(r->a, r->cells, value_string(r->a, text.p ? text : STR("")));
}

void cellf(struct row *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cell(r, arena_vprintf(r->a, fmt, ap));
    va_end(ap);
}

void cell_int(struct row *r, int64_t n)
{
    value_append(r->a, r->cells, value_int(r->a, n));
}

void cell_bool(struct row *r, bool b)
{
    value_append(r->a, r->cells, value_bool(r->a, b));
}

void cell_or(struct row *r, struct str text, const char *otherwise)
{
    cell(r, text.len ? text : str_from(otherwise));
}

void cell_name(struct row *r)
{
    cell(r, value_path_str(r->obj, "metadata.name"));
}

void cell_age(struct row *r)
{
    cell(r, since(r, value_path_str(r->obj, "metadata.creationTimestamp")));
}

void cell_text(struct row *r, const char *path)
{
    cell(r, value_path_str(r->obj, path));
}

void cell_number(struct row *r, const char *path)
{
    cell_int(r, value_path_int(r->obj, path, 0));
}

struct str since(struct row *r, struct str timestamp)
{
    int64_t us = time_from(timestamp);
    return us ? duration_human(r->a, r->now_us - us) : STR("<unknown>");
}

struct str append(struct row *r, struct str to, const char *separator, struct str what)
{
    return arena_printf(r->a, STR_FMT "%s" STR_FMT, STR_ARG(to), to.len ? separator : "", STR_ARG(what));
}

struct str join(struct row *r, const struct value *list, const char *separator)
{
    struct str out = STR("");
    for (size_t i = 0; i < value_len(list); i++)
        out = append(r, out, separator, value_str(value_at(list, i)));
    return out;
}

static int compare_member(const void *x, const void *y)
{
    return str_cmp(((const struct value_member *)x)->key, ((const struct value_member *)y)->key);
}

struct str labels_text(struct row *r, const struct value *labels)
{
    size_t n = value_len(labels);
    struct str out = STR("");
    if (n == 0)
        return STR("<none>");
    struct value_member *sorted = arena_memdup(r->a, labels->map.members, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_member);
    for (size_t i = 0; i < n; i++)
        out = append(
            r, out, ",",
            arena_printf(r->a, STR_FMT "=" STR_FMT, STR_ARG(sorted[i].key), STR_ARG(value_str(sorted[i].value))));
    return out;
}

void cell_labels(struct row *r, const struct value *labels)
{
    cell(r, labels_text(r, labels));
}

void cell_selector(struct row *r, const struct value *selector)
{
    struct label_selector s;
    struct err err = ERR_INIT;
    if (label_selector_from_value(r->a, selector, &s, &err) < 0)
        cell(r, STR("<error>"));
    else
        cell_or(r, label_selector_text(r->a, &s), "<none>");
}

void cell_containers(struct row *r, const struct value *pod_spec)
{
    const struct value *containers = value_getz(pod_spec, "containers");
    struct str names = STR(""), images = STR("");
    for (size_t i = 0; i < value_len(containers); i++) {
        names = append(r, names, ",", value_path_str(value_at(containers, i), "name"));
        images = append(r, images, ",", value_path_str(value_at(containers, i), "image"));
    }
    cell(r, names);
    cell(r, images);
}

struct str load_balancer_text(struct row *r, const struct value *status)
{
    const struct value *ingress = value_path(status, "loadBalancer.ingress");
    struct str out = STR("");
    for (size_t i = 0; i < value_len(ingress); i++) {
        struct str ip = value_path_str(value_at(ingress, i), "ip");
        out = append(r, out, ",", ip.len ? ip : value_path_str(value_at(ingress, i), "hostname"));
    }
    return out;
}

const struct value *condition(const struct value *obj, const char *type)
{
    const struct value *conditions = value_path(obj, "status.conditions");
    for (size_t i = 0; i < value_len(conditions); i++) {
        if (str_eqz(value_path_str(value_at(conditions, i), "type"), type))
            return value_at(conditions, i);
    }
    return NULL;
}

bool condition_is(const struct value *obj, const char *type, const char *status)
{
    return str_eqz(value_path_str(condition(obj, type), "status"), status);
}
