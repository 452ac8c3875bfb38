/* object tree: all objects of one resource, ordered by namespace and name, as a copy-on-write tree.
 *
 * A root is a snapshot for the price of a reference: readers on any thread hold it while one writer goes on. The writer
 * (the store's committer, or the informer of a remote client) makes a new root per batch; nodes it alone owns are
 * changed in place. Every root knows the revision at which it was complete.
 */
#ifndef SKIFF_OPENAPI_OBJECT_TREE_H
#define SKIFF_OPENAPI_OBJECT_TREE_H

#include "openapi/object/object.h"

struct object_tree; /* immutable once shared; counted */

struct object_tree *object_tree_create(const struct resource *r); /* empty */
struct object_tree *object_tree_get(struct object_tree *t);
void object_tree_put(struct object_tree *t);

/* Writer: answers a tree with the change; consumes the reference to t. `o` gets a reference of the tree's own. */
struct object_tree *object_tree_set(struct object_tree *t, const struct object *o);
struct object_tree *object_tree_remove(struct object_tree *t, struct str namespace_, struct str name);
struct object_tree *object_tree_set_revision(struct object_tree *t, int64_t revision);

int64_t object_tree_revision(const struct object_tree *t);
size_t object_tree_len(const struct object_tree *t);
/* Borrowed from the tree; NULL when absent. */
const struct object *object_tree_find(const struct object_tree *t, struct str namespace_, struct str name);

/* In order of (namespace, name). Empty namespace_: all. `after_*`: start behind that key (paging). */
struct object_tree_iter {
    const struct object_tree *tree;
    struct str namespace_;
    const void *path[16];
    uint16_t at[16];
    int depth;
};
void object_tree_iter_init(struct object_tree_iter *it, const struct object_tree *t, struct str namespace_);
void object_tree_iter_after(struct object_tree_iter *it, const struct object_tree *t, struct str namespace_,
                            struct str after_namespace, struct str after_name);
const struct object *object_tree_next(struct object_tree_iter *it); /* borrowed; NULL at the end */

#endif
