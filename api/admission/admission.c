#include "api/admission/admission.h"

#include <stdlib.h>

/* In upstream's order. */
static const struct admission_plugin *const plugins[] = {
    &admission_namespace_lifecycle,
    &admission_limit_ranger,
    &admission_service_account,
    &admission_taint_nodes_by_condition,
    &admission_priority,
    &admission_default_toleration_seconds,
    &admission_default_storage_class,
    &admission_storage_object_in_use_protection,
    &admission_resource_quota,
};
#define N_PLUGINS (sizeof plugins / sizeof *plugins)

struct admission {
    bool enabled[N_PLUGINS];
};

int admission_create(struct api_server *server, const char *disabled, struct admission **ret, struct err *err)
{
    struct admission *a = calloc(1, sizeof *a);
    (void)server;
    for (size_t i = 0; i < N_PLUGINS; i++)
        a->enabled[i] = true;
    struct str rest = str_from(disabled), name;
    while (str_split(&rest, ',', &name)) {
        bool found = !str_trim(name).len;
        for (size_t i = 0; i < N_PLUGINS; i++)
            if (str_eqz(str_trim(name), plugins[i]->name)) {
                a->enabled[i] = false;
                found = true;
            }
        if (!found) {
            free(a);
            return err_set(err, ERR_BAD_REQUEST, "unknown admission plugin \"" STR_FMT "\"", STR_ARG(name));
        }
    }
    *ret = a;
    return 0;
}

void admission_destroy(struct admission *a)
{
    free(a);
}

int admission_mutate(struct admission *a, struct admission_call *c, struct err *err)
{
    for (size_t i = 0; a && i < N_PLUGINS; i++)
        if (a->enabled[i] && plugins[i]->mutate) {
            int rc = plugins[i]->mutate(c, err);
            if (rc != 0)
                return rc;
        }
    return 0;
}

int admission_validate(struct admission *a, struct admission_call *c, struct err *err)
{
    for (size_t i = 0; a && i < N_PLUGINS; i++)
        if (a->enabled[i] && plugins[i]->validate) {
            int rc = plugins[i]->validate(c, err);
            if (rc < 0)
                return rc;
        }
    return 0;
}

bool admission_is(const struct admission_call *c, const char *group, const char *resource)
{
    return !c->subresource.len && str_eqz(c->resource->group, group) && str_eqz(c->resource->name, resource);
}

const struct object *admission_find(struct admission_call *c, const char *group, const char *resource,
                                    struct str namespace_, struct str name)
{
    const struct resource *r = resource_find(str_from(group), str_from(resource));
    return r ? write_find(c->req, r, namespace_, name) : NULL;
}

static void put_tree(void *t)
{
    object_tree_put(t);
}

struct object_tree *admission_list(struct admission_call *c, const char *group, const char *resource)
{
    struct object_tree *t = cache_snapshot(c->server->cache, resource_find(str_from(group), str_from(resource)));
    arena_defer(c->arena, put_tree, t);
    return t;
}
