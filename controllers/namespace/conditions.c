#include "controllers/namespace/conditions.h"

#include "openapi/meta/time.h"

#include <stdlib.h>

static void count(struct arena *a, struct remains_count **items, size_t *len, size_t *cap, struct str name)
{
    for (size_t i = 0; i < *len; i++) {
        if (str_eq((*items)[i].name, name)) {
            (*items)[i].n++;
            return;
        }
    }
    ARENA_PUSH(a, *items, *len, *cap, (struct remains_count){name, 1});
}

void remains_add(struct arena *a, struct remains *r, const struct object *o)
{
    const struct resource *kind = o->resource;
    count(a, &r->resources, &r->n_resources, &r->cap_resources,
          arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(kind->name), STR_ARG(kind->group)));
    if (!o->has_finalizers)
        return;
    const struct value *finalizers = value_path(object_value(a, o), "metadata.finalizers");
    for (size_t i = 0; i < value_len(finalizers); i++)
        count(a, &r->finalizers, &r->n_finalizers, &r->cap_finalizers, value_str(value_at(finalizers, i)));
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct remains_count *)x)->name, ((const struct remains_count *)y)->name);
}

static struct str list_text(struct arena *a, const char *before, struct remains_count *items, size_t n,
                            const char *verb)
{
    struct buf text = {0};
    buf_addz(&text, before);
    if (n)
        qsort(items, n, sizeof *items, by_name);
    for (size_t i = 0; i < n; i++)
        buf_printf(&text, "%s" STR_FMT " %s %zu resource instances", i ? ", " : "", STR_ARG(items[i].name), verb,
                   items[i].n);
    struct str copy = arena_str(a, buf_str(&text));
    buf_free(&text);
    return copy;
}

struct condition {
    const char *type, *status, *reason;
    struct str message;
};

/* Answers whether something changed. */
static bool put(struct arena *a, struct value *list, const struct condition *c, int64_t now_ms)
{
    struct value *v = NULL;
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eqz(value_path_str(value_at(list, i), "type"), c->type))
            v = value_at(list, i);
    }
    if (v && str_eqz(value_path_str(v, "status"), c->status) && str_eqz(value_path_str(v, "reason"), c->reason) &&
        str_eq(value_path_str(v, "message"), c->message))
        return false;
    if (!v) {
        v = value_map(a);
        value_setz(a, v, "type", value_stringz(a, c->type));
        value_append(a, list, v);
    }
    if (!str_eqz(value_path_str(v, "status"), c->status))
        value_setz(a, v, "lastTransitionTime", value_string(a, time_format(a, now_ms * 1000)));
    value_setz(a, v, "status", value_stringz(a, c->status));
    value_setz(a, v, "reason", value_stringz(a, c->reason));
    value_setz(a, v, "message", value_string(a, c->message));
    return true;
}

struct value *namespace_conditions(struct arena *a, struct value *have, struct remains *r, int64_t now_ms)
{
    const struct condition all[] = {
        {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
         STR("All resources successfully discovered")},
        {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
         STR("All legacy kube types successfully parsed")},
        {"NamespaceDeletionContentFailure", "False", "ContentDeleted",
         STR("All content successfully deleted, may be waiting on finalization")},
        r->n_resources
            ? (struct condition){"NamespaceContentRemaining", "True", "SomeResourcesRemain",
                                 list_text(a, "Some resources are remaining: ", r->resources, r->n_resources, "has")}
            : (struct condition){"NamespaceContentRemaining", "False", "ContentRemoved",
                                 STR("All content successfully removed")},
        r->n_finalizers
            ? (struct condition){"NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
                                 list_text(a, "Some content in the namespace has finalizers remaining: ", r->finalizers,
                                           r->n_finalizers, "in")}
            : (struct condition){"NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers",
                                 STR("All content-preserving finalizers finished")},
    };
    struct value *list = value_is(have, VALUE_LIST) ? value_copy(a, have) : value_list(a);
    bool changed = false;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        changed = put(a, list, &all[i], now_ms) || changed;
    return changed ? list : have;
}
