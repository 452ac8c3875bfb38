#include "controllers/pods/history.h"

#include "controllers/pods/pod_control.h"
#include "openapi/json.h"
#include "openapi/meta/identity.h"

#include <stdlib.h>

static int64_t number_of(struct arena *a, const struct object *o)
{
    return value_path_int(object_value(a, o), "revision", 0);
}

struct numbered {
    const struct object *object;
    int64_t number;
};

static int by_number(const void *x, const void *y)
{
    const struct numbered *a = x, *b = y;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return str_cmp(a->object->name, b->object->name);
}

static int64_t collect(const struct view *v, int which, struct arena *a, const struct object *owner, struct history *h)
{
    const struct object **owned;
    size_t n = view_owned(v, a, which, owner->uid, &owned);
    struct numbered *items = ARENA_ARRAY(a, struct numbered, n + 1);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct numbered){owned[i], number_of(a, owned[i])};
    qsort(items, n, sizeof *items, by_number);
    h->all = owned;
    h->n = n;
    for (size_t i = 0; i < n; i++)
        h->all[i] = items[i].object;
    return n ? items[n - 1].number : 0;
}

/* The patch that brings the template back. */
static struct value *data_of(struct arena *a, const struct object *owner)
{
    struct value *data = value_map(a), *template = value_path(object_value(a, owner), "spec.template");
    value_setz(a, template, "$patch", value_stringz(a, "replace"));
    value_set_path(a, data, "spec.template", template);
    return data;
}

static struct str hash_of(struct arena *a, const struct value *data, int64_t collisions)
{
    struct buf text = {0};
    uint32_t hash = 2166136261u; /* FNV-1a */
    json_encode(&text, data);
    if (collisions)
        buf_add_i64(&text, collisions);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 16777619u;
    buf_free(&text);
    return name_safe_encode(a, hash);
}

static void create(const struct object *owner, const char *hash_label, struct value *data, const struct history *h,
                   struct outcome *out)
{
    struct arena *a = out->arena;
    struct value *body = value_map(a), *owners = value_list(a), *source = object_value(a, owner);
    struct value *labels = value_path(source, "spec.template.metadata.labels"),
                 *notes = value_path(source, "metadata.annotations");
    labels = labels ? labels : value_map(a);
    value_setz(a, labels, hash_label, value_string(a, h->hash));
    value_append(a, owners, controller_reference(a, owner));
    value_setz(a, body, "apiVersion", value_stringz(a, "apps/v1"));
    value_setz(a, body, "kind", value_stringz(a, "ControllerRevision"));
    value_set_path(a, body, "metadata.name", value_string(a, h->name));
    value_set_path(a, body, "metadata.namespace", value_string(a, owner->namespace_));
    value_set_path(a, body, "metadata.labels", labels);
    if (notes)
        value_set_path(a, body, "metadata.annotations", notes);
    value_set_path(a, body, "metadata.ownerReferences", owners);
    value_setz(a, body, "data", data);
    value_setz(a, body, "revision", value_int(a, h->number));
    outcome_create(out, resource_find(STR("apps"), STR("controllerrevisions")), owner->namespace_, body)->accept =
        1u << -ERR_ALREADY_EXISTS;
}

void history_sync(const struct view *v, int which, const struct object *owner, const char *hash_label,
                  struct outcome *out, struct history *ret)
{
    struct arena *a = out->arena;
    struct value *data = data_of(a, owner);
    *ret = (struct history){0};
    int64_t newest = collect(v, which, a, owner, ret);
    for (size_t i = ret->n; i-- > 0;) {
        const struct value *have = object_value(a, ret->all[i]);
        if (!value_semantic_equal(value_getz(have, "data"), data))
            continue;
        ret->name = ret->all[i]->name;
        ret->hash = object_label(ret->all[i], str_from(hash_label));
        ret->number = value_path_int(have, "revision", 0);
        if (ret->number < newest) { /* an old template is today's again */
            struct value *patch = value_map(a);
            ret->number = newest + 1;
            value_setz(a, patch, "revision", value_int(a, ret->number));
            outcome_patch(out, ret->all[i], NULL, patch);
        }
        return;
    }
    int64_t collisions = 0;
    do {
        ret->hash = hash_of(a, data, collisions++);
        ret->name = arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(owner->name), STR_ARG(ret->hash));
    } while (view_find(v, which, owner->namespace_, ret->name));
    ret->number = newest + 1;
    create(owner, hash_label, data, ret, out);
}

void history_clean_up(const struct history *h, int64_t keep, bool (*in_use)(void *arg, const struct object *revision),
                      void *arg, struct outcome *out)
{
    const struct object **idle = ARENA_ARRAY(out->arena, const struct object *, h->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (!str_eq(h->all[i]->name, h->name) && !in_use(arg, h->all[i]))
            idle[n++] = h->all[i];
    }
    for (size_t i = 0; (int64_t)(n - i) > keep; i++)
        outcome_delete(out, idle[i]);
}
