#include "controllers/runtime/feed.h"

#include <assert.h>
#include <stdlib.h>

struct bucket { /* the objects under one index key: an open-addressing set of pointers, a reference each */
    const struct object **slots;
    size_t len, cap; /* cap is a power of two, or 0 */
};

struct feed {
    const struct resource *resource;
    struct informer *informer;
    struct object_tree *tree; /* the newest snapshot, taken when somebody looks */
    struct map owned;         /* owner uid -> struct bucket */
    struct map *by_field;     /* one per selectable field that somebody asked for */
    bool *indexed;
    const char *const *fields;
    size_t n_fields;
    struct feed_listener *listeners;
};

/* ---- indexes ---- */

static size_t slot_of(const struct object *o, size_t cap)
{
    return (size_t)(((uintptr_t)o >> 4) * 0x9e3779b97f4a7c15u >> 20) & (cap - 1);
}

static void put_slot(struct bucket *b, const struct object *o)
{
    size_t at = slot_of(o, b->cap);
    while (b->slots[at])
        at = (at + 1) & (b->cap - 1);
    b->slots[at] = o;
}

static void bucket_grow(struct bucket *b)
{
    struct bucket bigger = {.cap = b->cap ? b->cap * 2 : 4, .len = b->len};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    assert(bigger.slots);
    for (size_t i = 0; i < b->cap; i++) {
        if (b->slots[i])
            put_slot(&bigger, b->slots[i]);
    }
    free(b->slots);
    *b = bigger;
}

static void bucket_add(struct map *index, struct str key, const struct object *o)
{
    struct bucket *b = map_get(index, key);
    if (!b) {
        b = calloc(1, sizeof *b);
        assert(b);
        map_put(index, key, b);
    }
    if (b->len * 2 >= b->cap)
        bucket_grow(b);
    put_slot(b, object_get(o));
    b->len++;
}

static void bucket_free(struct bucket *b)
{
    for (size_t i = 0; i < b->cap; i++)
        object_put(b->slots[i]);
    free(b->slots);
    free(b);
}

/* Deletion without marks: what follows in the run moves up if it may. */
static void close_gap(struct bucket *b, size_t gap)
{
    for (size_t at = (gap + 1) & (b->cap - 1); b->slots[at]; at = (at + 1) & (b->cap - 1)) {
        size_t home = slot_of(b->slots[at], b->cap);
        if (((at - home) & (b->cap - 1)) < ((at - gap) & (b->cap - 1)))
            continue;
        b->slots[gap] = b->slots[at];
        b->slots[at] = NULL;
        gap = at;
    }
}

/* An informer reports as `old` the very object it reported before. */
static void bucket_remove(struct map *index, struct str key, const struct object *o)
{
    struct bucket *b = map_get(index, key);
    if (!b)
        return;
    size_t at = slot_of(o, b->cap);
    while (b->slots[at] && b->slots[at] != o)
        at = (at + 1) & (b->cap - 1);
    if (!b->slots[at])
        return;
    b->slots[at] = NULL;
    b->len--;
    close_gap(b, at);
    object_put(o);
    if (b->len == 0) {
        map_remove(index, key);
        bucket_free(b);
    }
}

static void index_free(struct map *index)
{
    struct map_iter it;
    struct str key;
    void *value;
    map_iter_init(&it, index);
    while (map_iter_next(&it, &key, &value))
        bucket_free(value);
    map_finish(index);
}

static void index_object(struct feed *f, const struct object *o, bool add)
{
    void (*change)(struct map *, struct str, const struct object *) = add ? bucket_add : bucket_remove;
    for (size_t i = 0; i < o->n_owners; i++)
        change(&f->owned, o->owners[i].uid, o);
    if (!o->n_owners)
        change(&f->owned, o->namespace_, o); /* a namespace is no uid: no clash */
    for (size_t i = 0; i < f->n_fields && i < o->n_fields; i++) {
        if (f->indexed[i])
            change(&f->by_field[i], o->fields[i], o);
    }
}

/* ---- changes ---- */

static void on_change(void *arg, const struct object *old, const struct object *now)
{
    struct feed *f = arg;
    if (old)
        index_object(f, old, false);
    if (now)
        index_object(f, now, true);
    object_tree_put(f->tree);
    f->tree = NULL;
    for (struct feed_listener *l = f->listeners; l; l = l->next)
        l->on_change(l->arg, old, now);
}

static void on_synced(void *arg)
{
    struct feed *f = arg;
    object_tree_put(f->tree);
    f->tree = NULL;
    for (struct feed_listener *l = f->listeners; l; l = l->next)
        l->on_progress(l->arg);
}

struct feed *feed_create(struct client *client, const struct resource *r)
{
    struct feed *f = calloc(1, sizeof *f);
    assert(f);
    f->resource = r;
    f->fields = resource_storage_version(r)->selectable;
    while (f->fields && f->fields[f->n_fields])
        f->n_fields++;
    f->by_field = calloc(f->n_fields + 1, sizeof *f->by_field);
    f->indexed = calloc(f->n_fields + 1, sizeof *f->indexed);
    assert(f->by_field && f->indexed);
    struct informer_options options = {.resource = r, .on_change = on_change, .on_synced = on_synced, .arg = f};
    f->informer = client_informer(client, &options);
    return f;
}

void feed_destroy(struct feed *f)
{
    if (!f)
        return;
    informer_destroy(f->informer);
    object_tree_put(f->tree);
    index_free(&f->owned);
    for (size_t i = 0; i < f->n_fields; i++)
        index_free(&f->by_field[i]);
    free(f->by_field);
    free(f->indexed);
    free(f);
}

void feed_listen(struct feed *f, struct feed_listener *listener)
{
    listener->next = f->listeners;
    f->listeners = listener;
}

const struct resource *feed_resource(const struct feed *f)
{
    return f->resource;
}

bool feed_synced(const struct feed *f)
{
    return informer_synced(f->informer);
}

int64_t feed_revision(const struct feed *f)
{
    return informer_revision(f->informer);
}

/* ---- reading ---- */

struct object_tree *feed_tree(struct feed *f)
{
    if (!f->tree)
        f->tree = informer_snapshot(f->informer);
    return f->tree;
}

const struct object *feed_find(struct feed *f, struct str namespace_, struct str name)
{
    return object_tree_find(feed_tree(f), namespace_, name);
}

static size_t copy_bucket(const struct map *index, struct arena *a, struct str key, const struct object ***ret)
{
    struct bucket *b = map_get(index, key);
    size_t n = 0;
    *ret = ARENA_ARRAY(a, const struct object *, b ? b->len + 1 : 1);
    for (size_t i = 0; b && i < b->cap; i++) {
        if (b->slots[i])
            (*ret)[n++] = b->slots[i];
    }
    return n;
}

size_t feed_owned(struct feed *f, struct arena *a, struct str uid, const struct object ***ret)
{
    return copy_bucket(&f->owned, a, uid, ret);
}

size_t feed_orphans(struct feed *f, struct arena *a, struct str namespace_, const struct object ***ret)
{
    return copy_bucket(&f->owned, a, namespace_, ret);
}

size_t feed_by_field(struct feed *f, struct arena *a, const char *field, struct str value, const struct object ***ret)
{
    size_t at = 0;
    while (at < f->n_fields && strcmp(f->fields[at], field) != 0)
        at++;
    assert(at < f->n_fields); /* a field this resource does not offer: our own mistake */
    if (!f->indexed[at]) {
        f->indexed[at] = true;
        struct object_tree_iter it;
        const struct object *o;
        object_tree_iter_init(&it, feed_tree(f), STR(""));
        while ((o = object_tree_next(&it))) {
            if (at < o->n_fields)
                bucket_add(&f->by_field[at], o->fields[at], o);
        }
    }
    return copy_bucket(&f->by_field[at], a, value, ret);
}
