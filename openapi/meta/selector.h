/* selector: which objects a request or a controller means, by labels and by indexed fields.
 *
 * Label selectors come as text (`app=web,tier in (a,b),!old,n>3`), as a LabelSelector object or as a view of one, and
 * are held as requirements sorted by key. Matching walks the sorted labels of a `struct object` without allocation.
 * Field selectors (`metadata.name=a,status.phase!=Running`) are compiled against a resource version: fields the
 * resource does not offer are an error. Everything points into the arena or the text: keep both alive.
 */
#ifndef SKIFF_OPENAPI_META_SELECTOR_H
#define SKIFF_OPENAPI_META_SELECTOR_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/schema.h"
#include "openapi/value.h"

struct object;
struct object_label;
struct meta_v1_label_selector;

enum label_op {
    LABEL_IN,     /* also = and ==: one value */
    LABEL_NOT_IN, /* also !=; an absent label matches */
    LABEL_EXISTS,
    LABEL_NOT_EXISTS,
    LABEL_GREATER,
    LABEL_LESS,
};

struct label_requirement {
    struct str key;
    enum label_op op;
    enum {
        LABEL_TEXT_SET,
        LABEL_TEXT_EQ,
        LABEL_TEXT_EQ_EQ
    } text_op;          /* how it was written; only for label_selector_text */
    struct str *values; /* sorted */
    size_t n_values;
    int64_t bound; /* of LABEL_GREATER and LABEL_LESS */
};

struct label_selector {
    struct label_requirement *items; /* all must hold; none = everything */
    size_t len, cap;
    bool nothing; /* matches no object: from an absent LabelSelector */
};

/* ERR_BAD_REQUEST with upstream's text ("unable to parse requirement: …"). Empty text selects everything. */
int label_selector_parse(struct arena *a, struct str text, struct label_selector *ret, struct err *err);
/* From a metav1.LabelSelector. NULL or null selects nothing, {} everything. ERR_INVALID when malformed. */
int label_selector_from_value(struct arena *a, const struct value *v, struct label_selector *ret, struct err *err);
int label_selector_from_view(struct arena *a, const struct meta_v1_label_selector *v, struct label_selector *ret,
                             struct err *err);
/* Append one requirement: `op` is In, NotIn, Exists, DoesNotExist (of a LabelSelector) or "=" (of its matchLabels).
 * Call label_selector_seal after the last one. ERR_INVALID when malformed. */
int label_selector_add(struct arena *a, struct label_selector *s, struct str key, struct str op,
                       const struct str *values, size_t n_values, struct err *err);
void label_selector_seal(struct label_selector *s);
/* From a plain map of labels (a Service's selector); NULL or empty selects everything. */
void label_selector_from_map(struct arena *a, const struct value *map, struct label_selector *ret);

bool label_selector_matches(const struct label_selector *s, const struct object *o);
/* `labels` sorted by key */
bool label_selector_matches_labels(const struct label_selector *s, const struct object_label *labels, size_t n_labels);
/* metadata.labels as a value map, or NULL */
bool label_selector_matches_value(const struct label_selector *s, const struct value *labels);
/* Canonical text, as upstream prints it ("a=b,c in (d,e)"). */
struct str label_selector_text(struct arena *a, const struct label_selector *s);

struct field_term {
    struct str field, value;
    bool negative; /* != */
    int16_t at;    /* after compiling: index into object fields, or FIELD_AT_… */
};
enum { FIELD_AT_NAME = -1, FIELD_AT_NAMESPACE = -2 };

struct field_selector {
    struct field_term *items; /* all must hold */
    size_t len, cap;
};

int field_selector_parse(struct arena *a, struct str text, struct field_selector *ret, struct err *err);
/* Find each field among the version's selectable ones. ERR_BAD_REQUEST: `field label not supported: spec.foo`. */
int field_selector_compile(struct field_selector *s, const struct resource *r, const struct resource_version *v,
                           struct err *err);
bool field_selector_matches(const struct field_selector *s, const struct object *o); /* compiled ones only */
/* The value that field == value demands, e.g. for the watch hub's index; STR_NULL when not demanded. */
struct str field_selector_requires(const struct field_selector *s, const char *field);
struct str field_selector_text(struct arena *a, const struct field_selector *s);

#endif
