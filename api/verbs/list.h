/* list: the walk over a snapshot that LIST and the first events of WATCH share. */
#ifndef SKIFF_API_VERBS_LIST_H
#define SKIFF_API_VERBS_LIST_H

#include "api/verbs/verb.h"
#include "openapi/object/tree.h"

/* A piece of output: bytes gathered in one buffer and bodies of objects between them, sent together without a copy. */
struct pieces {
    struct buf text;
    struct {
        const struct object *body_of; /* after `text_end` bytes of the text; NULL = none */
        size_t text_end;
    } * marks;
    size_t n, cap;
    size_t bytes;
};
/* `o`'s tail follows what is in the text so far. */
void pieces_body(struct pieces *p, const struct object *o);
/* Send and empty. */
void pieces_send(struct api_request *req, struct pieces *p);
void pieces_free(struct pieces *p);

/* Continue tokens: base64 of {"v":"meta.k8s.io/v1","rv":…,"start":"ns/name\u0000"}. */
struct str continue_encode(struct arena *a, int64_t revision, const struct object *last, bool namespaced);
int continue_decode(struct arena *a, struct str token, bool namespaced, int64_t *ret_revision,
                    struct str *ret_namespace, struct str *ret_name, struct err *err);

#endif
