#include "controllers/runtime/view.h"

#include "openapi/json.h"

#include <assert.h>

static struct object_tree *tree_of(const struct view *v, int which)
{
    assert(which >= 0 && which < v->n);
    return v->feeds ? feed_tree(v->feeds[which]) : v->trees[which];
}

int view_len(const struct view *v)
{
    return v->n;
}

const struct resource *view_resource(const struct view *v, int which)
{
    return v->feeds ? feed_resource(v->feeds[which]) : v->resources[which];
}

const struct object *view_find(const struct view *v, int which, struct str namespace_, struct str name)
{
    return object_tree_find(tree_of(v, which), namespace_, name);
}

/* Every object that `keep` wants, into an arena array. */
static size_t scan(const struct view *v, struct arena *a, int which, struct str namespace_,
                   bool (*keep)(const struct object *o, const char *field, struct str value), const char *field,
                   struct str value, const struct object ***ret)
{
    struct object_tree_iter it;
    const struct object *o, **items = NULL;
    size_t len = 0, cap = 0;
    object_tree_iter_init(&it, tree_of(v, which), namespace_);
    while ((o = object_tree_next(&it))) {
        if (!keep || keep(o, field, value))
            ARENA_PUSH(a, items, len, cap, o);
    }
    *ret = items;
    return len;
}

static bool has_owner(const struct object *o, const char *field, struct str uid)
{
    (void)field;
    for (size_t i = 0; i < o->n_owners; i++) {
        if (str_eq(o->owners[i].uid, uid))
            return true;
    }
    return false;
}

static bool has_no_owner(const struct object *o, const char *field, struct str value)
{
    (void)field;
    (void)value;
    return o->n_owners == 0;
}

static bool has_field(const struct object *o, const char *field, struct str value)
{
    const char *const *names = resource_storage_version(o->resource)->selectable;
    for (size_t i = 0; names && names[i] && i < o->n_fields; i++) {
        if (strcmp(names[i], field) == 0)
            return str_eq(o->fields[i], value);
    }
    return false;
}

size_t view_list(const struct view *v, struct arena *a, int which, struct str namespace_, const struct object ***ret)
{
    return scan(v, a, which, namespace_, NULL, NULL, STR_NULL, ret);
}

size_t view_owned(const struct view *v, struct arena *a, int which, struct str uid, const struct object ***ret)
{
    if (v->feeds)
        return feed_owned(v->feeds[which], a, uid, ret);
    return scan(v, a, which, STR(""), has_owner, NULL, uid, ret);
}

size_t view_orphans(const struct view *v, struct arena *a, int which, struct str namespace_, const struct object ***ret)
{
    if (v->feeds)
        return feed_orphans(v->feeds[which], a, namespace_, ret);
    return scan(v, a, which, namespace_, has_no_owner, NULL, STR_NULL, ret);
}

size_t view_by_field(const struct view *v, struct arena *a, int which, const char *field, struct str value,
                     const struct object ***ret)
{
    if (v->feeds)
        return feed_by_field(v->feeds[which], a, field, value, ret);
    return scan(v, a, which, STR(""), has_field, field, value, ret);
}

/* ---- tests ---- */

static struct object_tree *tree_with(struct arena *a, struct object_tree *t, const struct resource *r,
                                     const char *const *objects, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct json_options plain = {0};
        struct err err = ERR_INIT;
        struct value *v;
        struct object *o;
        int rc = json_decode(a, str_from(objects[i]), &plain, &v, &err);
        assert(rc == 0);
        struct str api_version = value_path_str(v, "apiVersion");
        if (!str_eq(value_path_str(v, "kind"), r->kind) ||
            !str_eq(api_version, resource_api_version(a, r->storage_group, r->storage_version)))
            continue;
        rc = object_from_value(a, r, v, (int64_t)i + 1, (int64_t)i + 1, &o, &err);
        assert(rc == 0);
        t = object_tree_set(t, o);
        object_put(o);
    }
    return t;
}

struct view *view_from_objects(struct arena *a, const struct controller *c, const char *const *objects, size_t n)
{
    struct view *v = ARENA_NEW(a, struct view);
    v->trees = ARENA_ARRAY(a, struct object_tree *, WATCHES_MAX);
    v->resources = ARENA_ARRAY(a, const struct resource *, WATCHES_MAX);
    for (; v->n < WATCHES_MAX && c->watches[v->n].resource; v->n++) {
        const struct resource *r = resource_find(str_from(c->watches[v->n].group), str_from(c->watches[v->n].resource));
        assert(r);
        v->resources[v->n] = r;
        v->trees[v->n] = tree_with(a, object_tree_create(r), r, objects, n);
        arena_defer(a, (void (*)(void *))object_tree_put, v->trees[v->n]);
    }
    return v;
}
