/* problems: the causes a validator found, as Kubernetes' field errors (Status details.causes).
 *
 * A problem has a type, the path of the field ("spec.containers[0].name", "metadata.labels[a/b]"), the bad value and a
 * detail. The text follows apimachinery's field.Error: `spec.replicas: Invalid value: -1: must be greater than or equal
 * to 0`.
 */
#ifndef SKIFF_OPENAPI_PROBLEMS_H
#define SKIFF_OPENAPI_PROBLEMS_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/value.h"

enum problem_type {
    PROBLEM_NOT_FOUND,     /* FieldValueNotFound: "Not found" */
    PROBLEM_REQUIRED,      /* FieldValueRequired: "Required value" */
    PROBLEM_DUPLICATE,     /* FieldValueDuplicate: "Duplicate value" */
    PROBLEM_INVALID,       /* FieldValueInvalid: "Invalid value" */
    PROBLEM_NOT_SUPPORTED, /* FieldValueNotSupported: "Unsupported value" */
    PROBLEM_FORBIDDEN,     /* FieldValueForbidden: "Forbidden" */
    PROBLEM_TOO_LONG,      /* FieldValueTooLong: "Too long" */
    PROBLEM_TOO_MANY,      /* FieldValueTooMany: "Too many" */
    PROBLEM_INTERNAL,      /* InternalError: "Internal error" */
    PROBLEM_TYPE_INVALID,  /* FieldValueTypeInvalid */
};

struct problem {
    enum problem_type type;
    struct str field;
    struct str message; /* the text after "field: ", e.g. `Invalid value: -1: must be …` */
};

struct problems {
    struct arena *arena;
    struct problem *items;
    size_t len, cap;
};

const char *problem_reason(enum problem_type t); /* "FieldValueRequired" */

struct problems *problems_create(struct arena *a);
/* `bad` may be NULL (Required, Forbidden). Strings are rendered quoted as Go's %q, other values as JSON. */
void problems_add(struct problems *p, enum problem_type type, struct str field, const struct value *bad,
                  const char *detail_fmt, ...) __attribute__((format(printf, 5, 6)));
/* "Unsupported value: "x": supported values: "A", "B"" ; `supported` ends with STR_NULL */
void problems_add_unsupported(struct problems *p, struct str field, const struct value *bad,
                              const struct str *supported);
/* "Too long: may not be more than N bytes" */
void problems_add_too_long(struct problems *p, struct str field, size_t max);
/* "Too many: N: must have at most M items" */
void problems_add_too_many(struct problems *p, struct str field, size_t actual, size_t max);
/* One cause alone is its text; several stand as "[a, b]" (utilerrors.Aggregate). */
struct str problems_text(const struct problems *p);
/* 0 when empty, else sets ERR_INVALID with the problems attached. The message is problems_text. */
int problems_err(struct problems *p, struct err *err);

/* Paths of fields, built on the way down without allocation until a problem is reported. */
struct field_path {
    const struct field_path *parent;
    struct str name; /* a field, or the key when is_key */
    size_t index;    /* used when name is STR_NULL */
    bool is_key;
};
struct str field_path_text(struct arena *a, const struct field_path *p);

#endif
