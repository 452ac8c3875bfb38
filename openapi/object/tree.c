/* A B+ tree whose nodes are counted and copied before they are changed, unless nobody else refers to them.
 *
 * Leaves hold objects in order; inner nodes hold children and, beside each, its least object (borrowed: the child keeps
 * it alive), so that a search touches one node per level. Changing a tree first makes every node on the way down its
 * own: a node with one reference whose parent is also ours is changed in place; any other is copied, which gives its
 * children one more reference and so makes them shared in turn. A tree built by one writer is never copied; after a
 * snapshot the next change copies one path.
 *
 * Removal merges a node that has become small with a neighbour when both fit into one, and drops empty nodes. That
 * keeps the tree shallow without strict bounds.
 */
#include "openapi/object/tree.h"

#include <assert.h>
#include <stdlib.h>

enum { FANOUT = 32, SMALL = FANOUT / 4 };

struct node {
    atomic_uint count;
    uint16_t n;
    bool leaf;
    const struct object *objects[FANOUT]; /* leaf: the objects; inner: the least of each child */
    struct node *children[];              /* inner only */
};

struct object_tree {
    struct ref ref;
    const struct resource *resource;
    int64_t revision;
    size_t len;
    struct node *root; /* NULL when empty */
};

static int key_cmp(const struct object *o, struct str namespace_, struct str name)
{
    int order = str_cmp(o->namespace_, namespace_);

    return order ? order : str_cmp(o->name, name);
}

/* ---- nodes ---- */

static struct node *node_create(bool leaf)
{
    struct node *n = malloc(sizeof *n + (leaf ? 0 : FANOUT * sizeof(struct node *)));

    if (!n)
        abort();
    atomic_init(&n->count, 1);
    n->n = 0;
    n->leaf = leaf;
    return n;
}

static void node_get(struct node *n)
{
    atomic_fetch_add_explicit(&n->count, 1, memory_order_relaxed);
}

static void node_put(struct node *n)
{
    if (!n || atomic_fetch_sub_explicit(&n->count, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < n->n; i++) {
        if (n->leaf)
            object_put(n->objects[i]);
        else
            node_put(n->children[i]);
    }
    free(n);
}

/* Consumes the reference; the answer may be changed. */
static struct node *node_own(struct node *n)
{
    if (atomic_load_explicit(&n->count, memory_order_acquire) == 1)
        return n;
    struct node *copy = node_create(n->leaf);

    copy->n = n->n;
    memcpy(copy->objects, n->objects, n->n * sizeof *n->objects);
    for (size_t i = 0; i < n->n; i++) {
        if (n->leaf) {
            object_get(n->objects[i]);
        } else {
            copy->children[i] = n->children[i];
            node_get(n->children[i]);
        }
    }
    node_put(n);
    return copy;
}

static void node_insert_at(struct node *n, size_t at, const struct object *o, struct node *child)
{
    assert(n->n < FANOUT);
    memmove(n->objects + at + 1, n->objects + at, (n->n - at) * sizeof *n->objects);
    n->objects[at] = o;
    if (!n->leaf) {
        memmove(n->children + at + 1, n->children + at, (n->n - at) * sizeof *n->children);
        n->children[at] = child;
    }
    n->n++;
}

/* Forgets the entry; what it referred to is the caller's. */
static void node_remove_at(struct node *n, size_t at)
{
    n->n--;
    memmove(n->objects + at, n->objects + at + 1, (n->n - at) * sizeof *n->objects);
    if (!n->leaf)
        memmove(n->children + at, n->children + at + 1, (n->n - at) * sizeof *n->children);
}

/* The first entry not below the key. */
static size_t node_lower_bound(const struct node *n, struct str namespace_, struct str name, bool *ret_equal)
{
    size_t low = 0, high = n->n;

    *ret_equal = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = key_cmp(n->objects[mid], namespace_, name);

        if (order == 0) {
            *ret_equal = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The child of an inner node that holds the key if any does. */
static size_t node_child(const struct node *n, struct str namespace_, struct str name)
{
    bool equal;
    size_t at = node_lower_bound(n, namespace_, name, &equal);

    return equal || at == 0 ? at : at - 1;
}

/* Moves the upper half of a full node to a new one. Objects that come in ascending order (creation with growing names)
 * leave full nodes behind when the split point sits at the end. */
static struct node *node_split(struct node *n, bool at_end)
{
    size_t keep = at_end ? FANOUT - 2 : FANOUT / 2;
    struct node *upper = node_create(n->leaf);

    upper->n = (uint16_t)(n->n - keep);
    memcpy(upper->objects, n->objects + keep, upper->n * sizeof *n->objects);
    if (!n->leaf)
        memcpy(upper->children, n->children + keep, upper->n * sizeof *n->children);
    n->n = (uint16_t)keep;
    return upper;
}

/* ---- setting ---- */

/* Consumes n; answers the node that takes its place. *ret_upper is a new right neighbour when n had to be split. */
static struct node *node_set(struct node *n, const struct object *o, struct node **ret_upper, bool *ret_added)
{
    bool equal;

    n = node_own(n);
    *ret_upper = NULL;
    if (n->leaf) {
        size_t at = node_lower_bound(n, o->namespace_, o->name, &equal);

        object_get(o);
        *ret_added = !equal;
        if (equal) {
            object_put(n->objects[at]);
            n->objects[at] = o;
            return n;
        }
        if (n->n == FANOUT) {
            struct node *upper = node_split(n, at == FANOUT);

            *ret_upper = upper;
            if (at > n->n)
                node_insert_at(upper, at - n->n, o, NULL);
            else
                node_insert_at(n, at, o, NULL);
        } else {
            node_insert_at(n, at, o, NULL);
        }
        return n;
    }

    size_t at = node_child(n, o->namespace_, o->name);
    struct node *child_upper;

    n->children[at] = node_set(n->children[at], o, &child_upper, ret_added);
    n->objects[at] = n->children[at]->objects[0];
    if (!child_upper)
        return n;
    if (n->n == FANOUT) {
        struct node *upper = node_split(n, at == FANOUT - 1u);

        *ret_upper = upper;
        if (at + 1 > n->n)
            node_insert_at(upper, at + 1 - n->n, child_upper->objects[0], child_upper);
        else
            node_insert_at(n, at + 1, child_upper->objects[0], child_upper);
    } else {
        node_insert_at(n, at + 1, child_upper->objects[0], child_upper);
    }
    return n;
}

/* ---- removing ---- */

/* Child `at` has become small: take in a neighbour when both fit. */
static void node_merge_child(struct node *n, size_t at)
{
    if (n->children[at]->n >= SMALL || n->n < 2)
        return;
    size_t left = at > 0 ? at - 1 : at;
    struct node *a = n->children[left], *b = n->children[left + 1];

    if (a->n + b->n > FANOUT)
        return;
    n->children[left] = a = node_own(a);
    n->children[left + 1] = b = node_own(b);
    memcpy(a->objects + a->n, b->objects, b->n * sizeof *b->objects);
    if (!a->leaf)
        memcpy(a->children + a->n, b->children, b->n * sizeof *b->children);
    a->n = (uint16_t)(a->n + b->n);
    b->n = 0;
    node_put(b);
    node_remove_at(n, left + 1);
}

/* Consumes n; the key is there. Answers NULL when nothing is left. */
static struct node *node_remove(struct node *n, struct str namespace_, struct str name)
{
    n = node_own(n);
    if (n->leaf) {
        bool equal;
        size_t at = node_lower_bound(n, namespace_, name, &equal);

        assert(equal);
        object_put(n->objects[at]);
        node_remove_at(n, at);
    } else {
        size_t at = node_child(n, namespace_, name);
        struct node *child = node_remove(n->children[at], namespace_, name);

        if (child) {
            n->children[at] = child;
            n->objects[at] = child->objects[0];
            node_merge_child(n, at);
        } else {
            node_remove_at(n, at);
        }
    }
    if (n->n)
        return n;
    node_put(n);
    return NULL;
}

/* ---- trees ---- */

static void tree_free(struct ref *r)
{
    struct object_tree *t = (struct object_tree *)r;

    node_put(t->root);
    free(t);
}

struct object_tree *object_tree_create(const struct resource *r)
{
    struct object_tree *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    ref_init(&t->ref, tree_free);
    t->resource = r;
    return t;
}

struct object_tree *object_tree_get(struct object_tree *t)
{
    ref_get(&t->ref);
    return t;
}

void object_tree_put(struct object_tree *t)
{
    ref_put((struct ref *)t);
}

static struct object_tree *tree_own(struct object_tree *t)
{
    if (atomic_load_explicit(&t->ref.count, memory_order_acquire) == 1)
        return t;
    struct object_tree *copy = object_tree_create(t->resource);

    copy->revision = t->revision;
    copy->len = t->len;
    copy->root = t->root;
    if (copy->root)
        node_get(copy->root);
    object_tree_put(t);
    return copy;
}

struct object_tree *object_tree_set(struct object_tree *t, const struct object *o)
{
    struct node *upper = NULL;
    bool added = false;

    t = tree_own(t);
    if (!t->root)
        t->root = node_create(true);
    t->root = node_set(t->root, o, &upper, &added);
    if (upper) {
        struct node *root = node_create(false);

        node_insert_at(root, 0, t->root->objects[0], t->root);
        node_insert_at(root, 1, upper->objects[0], upper);
        t->root = root;
    }
    t->len += added;
    return t;
}

struct object_tree *object_tree_remove(struct object_tree *t, struct str namespace_, struct str name)
{
    if (!object_tree_find(t, namespace_, name))
        return t;
    t = tree_own(t);
    t->root = node_remove(t->root, namespace_, name);
    t->len--;
    while (t->root && !t->root->leaf && t->root->n == 1) {
        struct node *only = t->root->children[0];

        node_get(only);
        node_put(t->root);
        t->root = only;
    }
    return t;
}

struct object_tree *object_tree_set_revision(struct object_tree *t, int64_t revision)
{
    if (t->revision == revision)
        return t;
    t = tree_own(t);
    t->revision = revision;
    return t;
}

int64_t object_tree_revision(const struct object_tree *t)
{
    return t->revision;
}

size_t object_tree_len(const struct object_tree *t)
{
    return t->len;
}

const struct object *object_tree_find(const struct object_tree *t, struct str namespace_, struct str name)
{
    const struct node *n = t->root;
    bool equal;

    while (n && !n->leaf)
        n = n->children[node_child(n, namespace_, name)];
    if (!n)
        return NULL;
    size_t at = node_lower_bound(n, namespace_, name, &equal);
    return equal ? n->objects[at] : NULL;
}

/* ---- iterating ---- */

/* Stand at the first object not below the key (or behind it). */
static void iter_seek(struct object_tree_iter *it, struct str namespace_, struct str name, bool behind)
{
    const struct node *n = it->tree->root;
    bool equal = false;

    it->depth = 0;
    while (n) {
        size_t at = n->leaf ? node_lower_bound(n, namespace_, name, &equal) : node_child(n, namespace_, name);

        if (n->leaf && equal && behind)
            at++;
        assert(it->depth < 16);
        it->path[it->depth] = n;
        it->at[it->depth++] = (uint16_t)at;
        n = n->leaf ? NULL : n->children[at];
    }
}

void object_tree_iter_init(struct object_tree_iter *it, const struct object_tree *t, struct str namespace_)
{
    *it = (struct object_tree_iter){.tree = t, .namespace_ = namespace_};
    iter_seek(it, namespace_, STR(""), false);
}

void object_tree_iter_after(struct object_tree_iter *it, const struct object_tree *t, struct str namespace_,
                            struct str after_namespace, struct str after_name)
{
    *it = (struct object_tree_iter){.tree = t, .namespace_ = namespace_};
    if (namespace_.len && str_cmp(after_namespace, namespace_) < 0)
        iter_seek(it, namespace_, STR(""), false);
    else
        iter_seek(it, after_namespace, after_name, true);
}

const struct object *object_tree_next(struct object_tree_iter *it)
{
    if (it->depth == 0)
        return NULL;
    int level = it->depth - 1;
    const struct node *n = it->path[level];

    if (it->at[level] >= n->n) { /* up until there is a next child, then down along its left edge */
        do {
            if (level == 0) {
                it->depth = 0;
                return NULL;
            }
            n = it->path[--level];
        } while (++it->at[level] >= n->n);
        while (!n->leaf) {
            n = n->children[it->at[level]];
            it->path[++level] = n;
            it->at[level] = 0;
        }
    }
    const struct object *o = n->objects[it->at[level]++];

    if (it->namespace_.len && !str_eq(o->namespace_, it->namespace_)) {
        it->depth = 0;
        return NULL;
    }
    return o;
}
