/* The schema source as the generator holds it: every YAML file of openapi/schema read, checked and cross-referenced.
 *
 * The generator is a short program of its own: it frees nothing and leaves with a message at the first mistake.
 */
#ifndef SKIFF_OPENAPI_GENERATOR_MODEL_H
#define SKIFF_OPENAPI_GENERATOR_MODEL_H

#include "openapi/schema.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct texts {
    char **items;
    size_t len;
};

struct type;

struct model_field {
    char *name;
    char *member;   /* in the view struct */
    uint16_t id[3]; /* "2.3.4": outermost first; how many in id_len */
    int id_len;
    enum field_type type;
    enum field_shape shape;
    struct type *message;
    char *message_name; /* until resolved */
    unsigned flags;     /* enum field_flags */
    enum list_type list_type;
    struct texts keys, values, known;
    unsigned patch;
    enum field_format format;
    int64_t min, max;
    char *merge_key, *default_json, *doc, *go_type;
};

struct type {
    struct file *file;
    char *name, *full_name, *cname; /* Pod, io.k8s.api.core.v1.Pod, core_v1_pod */
    char *doc;
    bool is_kind, everywhere;
    struct model_field *fields;
    size_t n_fields;
};

struct model_subresource {
    char *name, *kind, *group, *version;
    unsigned verbs;
};

struct model_resource { /* one version of one */
    struct file *file;
    char *name, *kind, *singular, *storage, *storage_version, *stored_as, *table;
    struct texts short_names, categories, selectable;
    struct model_subresource *subresources;
    size_t n_subresources;
    unsigned verbs;
    bool namespaced, deprecated;
    enum field_format name_format;
};

struct file { /* one group and version */
    const char *path;
    char *folder, *group, *version, *package;
    bool served;
    struct type **types;
    struct model_resource *resources;
    size_t n_types, n_resources;
};

struct table {
    char *name;
    struct schema_column *columns; /* without an end mark */
    size_t n_columns;
};

struct model {
    struct file **files; /* in discovery order; the versions of a group preferred first */
    size_t n_files;
    struct type **types; /* sorted by full name */
    size_t n_types;
    struct table *tables;
    size_t n_tables;
};

struct model *model_load(const char *folder);
struct type *model_find(const struct model *m, const char *folder, const char *version, const char *name);

void *allocate(size_t size); /* zeroed, or leaves */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* podIP -> pod_ip, clusterIPs -> cluster_ips, HTTPGetAction -> http_get_action */
char *snake_case(const char *name);

#endif
