/* rules: inside of validate: what the files of per-kind rules share. A path is built on the stack on the way down. */
#ifndef SKIFF_OPENAPI_VALIDATE_RULES_H
#define SKIFF_OPENAPI_VALIDATE_RULES_H

#include "openapi/messages.h"
#include "openapi/meta/names.h"
#include "openapi/problems.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct check {
    struct problems *p;
    struct arena *a;
    const struct resource *r;
    const struct value *old; /* the stored object on updates, else NULL */
    bool is_pod;             /* a Pod itself, not a template */
};

typedef const struct field_path *at_path;

#define AT(up, field) (&(struct field_path){.parent = (up), .name = STR(field)})
#define AT_STR(up, field) (&(struct field_path){.parent = (up), .name = (field)})
#define AT_INDEX(up, i) (&(struct field_path){.parent = (up), .index = (i)})
#define AT_KEY(up, key) (&(struct field_path){.parent = (up), .name = (key), .is_key = true})

#define IMMUTABLE "field is immutable"
#define NOT_NEGATIVE "must be greater than or equal to 0"

void bad_required(struct check *c, at_path at, const char *detail);
void bad_invalid(struct check *c, at_path at, const struct value *bad, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void bad_forbidden(struct check *c, at_path at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void bad_duplicate(struct check *c, at_path at, const struct value *bad);
void bad_not_found(struct check *c, at_path at, const struct value *bad);
/* supported: comma-separated, sorted */
void bad_unsupported(struct check *c, at_path at, const struct value *bad, const char *supported);
void bad_name(struct check *c, at_path at, name_check *rule, struct str s); /* one Invalid per fault */

/* Readers with Go's zero values. */
static inline struct str text_of(const struct value *v, const char *key)
{
    struct str s = value_str(value_getz(v, key));
    return s.p ? s : STR("");
}
static inline bool has(const struct value *v, const char *key)
{
    const struct value *at = value_getz(v, key);
    return at && at->kind != VALUE_NULL;
}
static inline bool text_is(const struct value *v, const char *key, const char *want)
{
    return str_eqz(text_of(v, key), want);
}
int64_t int_of(const struct value *v, const char *key); /* 0 when absent */
bool bool_of(const struct value *v, const char *key);
struct value *text_value(struct check *c, struct str s);
bool one_of(struct str s, const char *words); /* comma-separated */

/* Shared rules. */
void check_not_negative(struct check *c, at_path up, const struct value *v, const char *key);
void check_one_of(struct check *c, at_path up, const struct value *v, const char *key, const char *words);
void check_labels(struct check *c, at_path at, const struct value *labels);
void check_label_selector(struct check *c, at_path at, const struct value *selector);
void check_immutable(struct check *c, at_path up, const struct value *v, const struct value *old, const char *key);
void check_int_or_percent(struct check *c, at_path up, const struct value *v, const char *key);
void check_port_or_name(struct check *c, at_path at, const struct value *v);
int64_t int_or_percent_of(const struct value *v, const char *key); /* the number before '%', 0 when absent */
bool is_percent(const struct value *v, const char *key);
void check_resource_name(struct check *c, at_path at, struct str name); /* "must be a standard resource type …" */
void check_resource_quantity(struct check *c, at_path at, struct str name, const struct value *v);
bool is_extended_resource(struct str name);

/* Bounds, formats, enums and required fields of the schema tables; `old` NULL on create. */
void check_table(struct check *c, at_path at, const struct schema_message *m, const struct value *v,
                 const struct value *old);

void check_object_meta(struct check *c, at_path at, const struct value *meta, bool namespaced,
                       enum field_format format);
void check_object_meta_update(struct check *c, at_path at, const struct value *meta, const struct value *old);

/* Pods and their templates. */
void check_pod_spec(struct check *c, at_path at, const struct value *spec);
void check_pod_template(struct check *c, at_path at, const struct value *template);
void check_volumes(struct check *c, at_path at, const struct value *volumes);
void check_containers(struct check *c, at_path spec_at, const struct value *spec);
void check_scheduling(struct check *c, at_path at, const struct value *spec);
void check_pod_security(struct check *c, at_path at, const struct value *spec);
void check_claim_spec(struct check *c, at_path at, const struct value *spec);
void check_node_selector(struct check *c, at_path at, const struct value *selector);
void check_relative_path(struct check *c, at_path at, struct str path, bool reserved);
void check_field_ref(struct check *c, at_path at, const struct value *ref, bool in_volume);
void check_resource_field_ref(struct check *c, at_path at, const struct value *ref, bool in_volume);

struct kind_rules {
    const char *group, *kind;
    void (*object)(struct check *c, const struct value *obj);                          /* on create and update */
    void (*update)(struct check *c, const struct value *obj, const struct value *old); /* besides the above */
    void (*status)(struct check *c, const struct value *obj, const struct value *old);
};
extern const struct kind_rules pod_kinds[], service_kinds[], workload_kinds[], batch_kinds[], core_kinds[],
    volume_kinds[], networking_kinds[], governance_kinds[]; /* each ends with a NULL group */

#endif
