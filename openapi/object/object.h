/* object: one stored API object as every reader shares it: immutable, counted, in one allocation.
 *
 * Resident are what selectors, indexes and ownership need (labels, selectable fields, owner uids) and one JSON body in
 * the storage version, without kind, apiVersion and metadata.resourceVersion: these three are written around the body
 * on the way out (object_head). Nothing parses a body to select.
 */
#ifndef SKIFF_OPENAPI_OBJECT_OBJECT_H
#define SKIFF_OPENAPI_OBJECT_OBJECT_H

#include "base/err.h"
#include "base/ref.h"
#include "base/str.h"
#include "openapi/schema.h"
#include "openapi/value.h"

#include <stdint.h>

struct object_label {
    struct str key, value;
};

struct object {
    struct ref ref;
    const struct resource *resource;
    struct str namespace_; /* empty for cluster-scoped kinds */
    struct str name;
    struct str uid;
    int64_t revision; /* of the last change: the resourceVersion */
    int64_t create_revision;
    int64_t creation_s; /* metadata.creationTimestamp, Unix seconds */
    int64_t deletion_s; /* metadata.deletionTimestamp, 0 = not being deleted */
    int64_t generation; /* 0 = none */
    bool has_finalizers;
    uint16_t n_labels, n_fields, n_owners;
    const struct object_label *labels; /* sorted by key */
    const struct str *fields; /* values of the resource's selectable fields as text, in that order; an absent string is
                                 empty, an absent boolean "false", an absent number "0", as upstream's field sets say */
    const struct object_owner *owners;
    struct str body; /* `{"metadata":{…},"spec":…}`: always starts with `{"metadata":{` */
};

struct object_owner {
    struct str uid, api_version, kind, name;
    bool controller, block_owner_deletion;
};

/* From a value tree in the storage version (kind, apiVersion and resourceVersion in it are ignored and left out).
 * One reference is the caller's. */
int object_from_value(struct arena *scratch, const struct resource *r, const struct value *v, int64_t revision,
                      int64_t create_revision, struct object **ret, struct err *err);
/* From stored bytes (JSON with or without kind/apiVersion). */
int object_from_stored(struct arena *scratch, const struct resource *r, struct str stored, int64_t revision,
                       int64_t create_revision, struct object **ret, struct err *err);
/* The same object at another revision: the committer knows the revision only at commit. Cheap: it may fill in place
 * only before publication. */
void object_set_revision(struct object *o, int64_t revision, int64_t create_revision);
/* A copy of a published object at another revision (the last state of a deleted object carries the deletion's). */
struct object *object_at_revision(const struct object *o, int64_t revision);

static inline const struct object *object_get(const struct object *o)
{
    ref_get((struct ref *)&o->ref);
    return o;
}
static inline void object_put(const struct object *o) /* NULL is fine */
{
    if (o)
        ref_put((struct ref *)&o->ref);
}

/* What stands before and inside the body on the wire. The full JSON of an object in its storage version is
 *   {"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"42",   <- object_head
 *   …rest of body after `{"metadata":{`                                     <- object_tail
 * (with_type false leaves kind and apiVersion out, as in lists of typed items). An empty metadata is never stored
 * (uid is always there), so the comma is always right. */
#define OBJECT_BODY_PREFIX STR("{\"metadata\":{")
void object_head(struct buf *out, const struct object *o, bool with_type);
struct str object_tail(const struct object *o);

/* The object as a fresh value tree with kind, apiVersion and metadata.resourceVersion, in the storage version. */
struct value *object_value(struct arena *a, const struct object *o);

struct str object_label(const struct object *o, struct str key);      /* STR_NULL when absent */
const struct object_owner *object_controller(const struct object *o); /* the owner with controller=true, or NULL */

#endif
