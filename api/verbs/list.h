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

/* ---- one list, from its snapshot (list.c) to its last byte (list_write.c) ---- */

#define LIST_SLICE_US 1000    /* the loop is not held up for longer … */
#define LIST_SLICE_OBJECTS 64 /* … looking at the clock after so many objects looked at */

struct listing {
    struct api_request *req;
    struct selection selection;
    struct object_tree *tree;
    struct object_tree_iter iter;
    struct str after_namespace, after_name;
    int64_t exact; /* the revision chosen */
    bool continued;
    const struct object *last; /* of the page: borrowed from the tree */
    int64_t seen, more;        /* that match: in the page, and behind it */
    int64_t left;              /* items still to write, -1 = all */
    int64_t remaining;
    struct str continue_;
    bool first, waiting, native, pretty, protobuf;
    struct pieces out;
    /* protobuf: how many bytes the items have that were measured but not written; where the walk was when they became
     * too many to hold */
    size_t owed;
    bool overflowed;
    struct object_tree_iter resume;
    int64_t resume_left;
    int64_t began_ms, waits_ms; /* since when it waits for the client */
    struct timer look;
    bool posted;
};

/* From the first item the list may have. */
void list_start_iter(struct listing *l);
/* Write everything, and end the request. */
void list_write(struct listing *l);

/* Continue tokens: base64 of {"v":"meta.k8s.io/v1","rv":…,"start":"ns/name\u0000"}. */
struct str continue_encode(struct arena *a, int64_t revision, const struct object *last, bool namespaced);
int continue_decode(struct arena *a, struct str token, bool namespaced, int64_t *ret_revision,
                    struct str *ret_namespace, struct str *ret_name, struct err *err);

#endif
