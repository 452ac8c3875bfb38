/* view: typed read-only structs, generated per message, for code that only reads (controllers, scheduler, agent).
 *
 *     const struct core_v1_pod *pod = view_object(arena, object);
 *     if (str_eqz(pod->spec->node_name, "a")) …
 *
 * The generated header is "openapi/views.h": one struct per message named <group>_<version>_<kind> in snake case
 * (core_v1_pod_spec, apps_v1_deployment, meta_v1_object_meta, networking_v1_ingress: the first label of the group).
 *   single string, bytes (undecoded base64), quantity: struct str  (p == NULL when absent)
 *   time, micro time: int64_t microseconds since 1970, 0 when absent
 *   bool, int32, int64, double: the C type beside `bool has_<name>` (false and 0 when absent)
 *   int-or-string: struct int_or_string
 *   message: const struct … * (NULL when absent, except metadata, spec and status of top-level kinds: never NULL)
 *   list: struct { T *items; size_t len; } — lists of messages hold structs by value; absent is len 0
 *   map: struct { struct …_entry { struct str key; V value; } *items; size_t len; } sorted by key
 *   any: const struct value * (NULL when absent)
 * Names are snake case of the JSON name (nodeName → node_name, clusterIPs → cluster_ips, podIP → pod_ip); keywords of C
 * and C++ get a trailing underscore (default_, operator_, continue_, namespace_, template_, int_, bool_).
 * Lists and entries have names of their own, so that functions can take them: struct core_v1_container_array,
 * struct str_array, struct str_entry (map of strings), struct str_entry_array, struct
 * resource_v1_device_attribute_entry. Strings point into the decoded text where it needs no unescaping, else into the
 * arena: keep both alive.
 */
#ifndef SKIFF_OPENAPI_VIEW_H
#define SKIFF_OPENAPI_VIEW_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct int_or_string {
    bool is_string;
    int32_t integer;
    struct str string; /* p == NULL and !is_string and integer 0: absent */
    bool present;
};

struct str_array {
    const struct str *items;
    size_t len;
};
struct int32_array {
    const int32_t *items;
    size_t len;
};
struct int64_array {
    const int64_t *items;
    size_t len;
};
struct bool_array {
    const bool *items;
    size_t len;
};
struct value_array { /* list of any */
    const struct value *const *items;
    size_t len;
};
struct str_entry { /* map of strings, bytes or quantities */
    struct str key, value;
};
struct str_entry_array {
    const struct str_entry *items;
    size_t len;
};
struct str_array_entry { /* map of lists of strings */
    struct str key;
    struct str_array value;
};
struct str_array_entry_array {
    const struct str_array_entry *items;
    size_t len;
};
struct value_entry { /* map of any */
    struct str key;
    const struct value *value;
};
struct value_entry_array {
    const struct value_entry *items;
    size_t len;
};
struct time_entry { /* map of times: microseconds since 1970 */
    struct str key;
    int64_t value;
};
struct time_entry_array {
    const struct time_entry *items;
    size_t len;
};
struct str view_map_get(struct str_entry_array map, struct str key); /* STR_NULL when absent */

struct object; /* openapi/object/object.h */

/* Decode JSON text, a value tree, or an object's body (in its storage version) into the view struct of `m`.
 * Unknown members are skipped; members of the wrong type count as absent (stored bodies were validated). */
int view_from_json(struct arena *a, const struct schema_message *m, struct str json, const void **ret, struct err *err);
const void *view_from_value(struct arena *a, const struct schema_message *m, const struct value *v);
/* Asserts that the body parses. metadata.resourceVersion is filled in from the object. */
const void *view_object(struct arena *a, const struct object *o);
/* The other way: a view (or part of one) back to a value tree, e.g. a pod template for a new pod. */
struct value *view_to_value(struct arena *a, const struct schema_message *m, const void *view);

#endif
