/* schema: the constant tables that describe every API type, and the resources served from them.
 *
 * The tables are generated at build time from openapi/schema/<group>/<version>.yaml (openapi/generator). One
 * hand-written interpreter per concern walks them: json.h, view.h, defaults.h, validate.h, merge.h, table.h,
 * document.h. Custom resources build the same structs at run time. Everything is immutable once published.
 */
#ifndef SKIFF_OPENAPI_SCHEMA_H
#define SKIFF_OPENAPI_SCHEMA_H

#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum field_type {
    FIELD_BOOL,
    FIELD_INT32,
    FIELD_INT64,
    FIELD_DOUBLE,
    FIELD_STRING,
    FIELD_BYTES,      /* base64 text in JSON */
    FIELD_TIME,       /* RFC 3339, whole seconds; null in JSON when zero */
    FIELD_MICRO_TIME, /* RFC 3339 with six decimals */
    FIELD_DURATION,   /* Go duration text */
    FIELD_QUANTITY,   /* text or number in, canonical text out */
    FIELD_INT_OR_STRING,
    FIELD_MESSAGE,
    FIELD_ANY, /* RawExtension, JSON, FieldsV1: any value, kept as it is */
};

enum field_shape { SHAPE_SINGLE, SHAPE_LIST, SHAPE_MAP /* string keys */ };

enum list_type { LIST_TYPE_NONE, LIST_TYPE_ATOMIC, LIST_TYPE_SET, LIST_TYPE_MAP };

enum patch_strategy { PATCH_MERGE = 1, PATCH_REPLACE = 2, PATCH_RETAIN_KEYS = 4 }; /* bits */

/* A printer column of `kubectl get`; arrays end with a NULL name. */
struct schema_column {
    const char *name, *type, *format, *description;
    int priority; /* 0 = always shown, 1 = with -o wide */
};

/* Named formats that the validator knows; `FORMAT_NONE` checks nothing. */
enum field_format {
    FORMAT_NONE,
    FORMAT_DNS1123_LABEL,
    FORMAT_DNS1123_SUBDOMAIN,
    FORMAT_DNS1035_LABEL,
    FORMAT_QUALIFIED_NAME,
    FORMAT_LABEL_KEY,
    FORMAT_LABEL_VALUE,
    FORMAT_IP,
    FORMAT_CIDR,
    FORMAT_PORT_NAME, /* IANA_SVC_NAME, at most 15 */
    FORMAT_CONFIG_KEY,
    FORMAT_ENV_NAME,
    FORMAT_PATH_SEGMENT,
    FORMAT_ABSOLUTE_PATH,
};

enum field_flags {
    FIELD_REQUIRED = 1 << 0,       /* OpenAPI's "required": documentation only for built-in kinds */
    FIELD_CHECK_REQUIRED = 1 << 1, /* upstream's validation demands it: "Required value" */
    FIELD_IMMUTABLE = 1 << 2,      /* upstream's validation: "field is immutable" */
    FIELD_ALWAYS = 1 << 3,         /* present on the wire even when empty (no omitempty), e.g. status.loadBalancer */
    FIELD_HAS_MIN = 1 << 4,
    FIELD_HAS_MAX = 1 << 5,
    FIELD_EMBEDDED_TYPE = 1 << 6, /* apiVersion or kind: in the JSON, not in the protobuf message (envelope) */
    FIELD_UNION = 1 << 7,         /* one member of a union (volume source, handler); see the message's union rules */
    FIELD_MAP_OF_LISTS = 1 << 8,  /* SHAPE_MAP: every value is a list of `type` (UserInfo.extra) */
    FIELD_POINTER = 1 << 9,       /* SHAPE_SINGLE: a pointer in Go: in protobuf only when set, and a zero then counts */
};

struct schema_message;

struct schema_field {
    struct str name;
    enum field_type type;
    enum field_shape shape;
    enum list_type list_type;
    uint8_t patch_strategy; /* enum patch_strategy bits */
    uint8_t format;         /* enum field_format */
    uint16_t flags;         /* enum field_flags */
    uint16_t proto_number;
    uint16_t proto_outer; /* for "1.4": the embedding message's field 1 here, 4 above; "2.3.4": 2 << 8 | 3; else 0 */
    const struct schema_message *message; /* FIELD_MESSAGE only */
    const struct str *map_keys;           /* of LIST_TYPE_MAP, ends with STR_NULL; NULL otherwise */
    struct str merge_key;
    const char *default_json;       /* unconditional default, NULL = none; conditional ones are in defaults.c */
    const struct str *values;       /* values that validation enforces (NotSupported), ends with STR_NULL; NULL = any */
    const struct str *known_values; /* documentation only */
    int64_t min, max; /* of the number, or of the length for strings and lists (flags say which are set) */
    const char *description;
    uint32_t view_offset; /* where the generated view struct keeps it */
    const char
        *go_type; /* in error texts: "v1.Protocol" of an item, "v1.ResourceList" of a whole map; NULL = by type */
    uint32_t view_presence; /* offset of its `bool has_…`, 0 = none (pointers, strings and lists need none) */
};

struct schema_message {
    struct str name; /* as in OpenAPI: io.k8s.api.core.v1.PodSpec */
    const char *description;
    const struct schema_field *fields; /* in protobuf-number order: the order on the wire */
    const uint16_t *by_name;           /* indexes into fields, sorted by name */
    uint16_t n_fields;
    uint32_t view_size;            /* of the generated view struct, 0 = no view generated */
    const struct schema_gvk *gvks; /* ends with a NULL kind; NULL for parts */
};

struct schema_gvk {
    const char *group, *version, *kind;
};

const struct schema_field *schema_field_find(const struct schema_message *m, struct str name); /* NULL = unknown */
const struct schema_message *schema_message_find(struct str name);
/* All built-in messages in the order of their names. */
const struct schema_message *const *schema_messages(size_t *ret_n);

/* ---- resources: identity, versions, verbs (idea 4: a resource is not a version) ---- */

enum verb {
    VERB_GET = 1 << 0,
    VERB_LIST = 1 << 1,
    VERB_WATCH = 1 << 2,
    VERB_CREATE = 1 << 3,
    VERB_UPDATE = 1 << 4,
    VERB_PATCH = 1 << 5,
    VERB_DELETE = 1 << 6,
    VERB_DELETE_COLLECTION = 1 << 7,
    VERB_CONNECT = 1 << 8, /* exec, attach, portforward, proxy: not in a discovery document */
};
const char *verb_name(enum verb v); /* "deletecollection" */

struct subresource {
    struct str name;                      /* "status", "scale", "token" … */
    uint16_t verbs;                       /* enum verb bits */
    const char *group, *version, *kind;   /* of the body: autoscaling v1 Scale; group "" means the core group */
    const struct schema_message *message; /* of the body, NULL when it has none (log) */
};

struct resource_version {
    struct str version;
    const struct schema_message *message;
    uint16_t verbs;
    const struct subresource *subresources; /* ends with a STR_NULL name */
    const char *const *selectable; /* JSON paths in this version, NULL-terminated, besides metadata.name/namespace;
                                      order and count are the same in every version of the resource */
    const char *table;             /* key of the printer columns, NULL = name and age only */
    bool deprecated;
    const struct schema_column *columns; /* of `table`, NULL without one */
};

struct resource {
    struct str group; /* "" for core */
    struct str name;  /* plural: "pods" */
    struct str kind;
    struct str singular;
    struct str list_kind;
    bool namespaced;
    uint16_t index;                 /* dense, from 0: built-in resources first; for arrays by resource */
    const char *const *short_names; /* NULL-terminated, or NULL */
    const char *const *categories;
    struct str storage_prefix;                 /* "/registry/services/specs/": key is prefix [namespace "/"] name */
    struct str storage_group, storage_version; /* apiVersion of the stored form (events: "" and v1) */
    const struct resource_version *versions;   /* preferred first, ends with a STR_NULL version */
    const struct resource *stored_as; /* the resource whose storage it shares (events.k8s.io events), else itself */
    const char *const *name_rule;     /* reserved */
    uint8_t name_format;              /* enum field_format of metadata.name */
};

/* The built-in resources in discovery order, by index. */
const struct resource *const *resources_builtin(size_t *ret_n);
const struct resource *resource_find(struct str group, struct str name); /* NULL = unknown */
const struct resource *resource_find_kind(struct str group, struct str kind);
const struct resource_version *resource_version_find(const struct resource *r, struct str version);
const struct resource_version *resource_storage_version(const struct resource *r);
/* Printer columns by table name ("pod", "scale", "status"); NULL = no such table. */
const struct schema_column *schema_columns(const char *table);
/* "v1" or "apps/v1" */
struct str resource_api_version(struct arena *a, struct str group, struct str version);

#endif
