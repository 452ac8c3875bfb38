#include "api/chain/identity.h"

#include <stdlib.h>

static void free_fn(struct ref *r)
{
    struct identity *id = (struct identity *)r;
    arena_destroy(id->arena);
    free(id);
}

struct identity *identity_create(void)
{
    struct identity *id = calloc(1, sizeof *id);
    ref_init(&id->ref, free_fn);
    id->arena = arena_create(0);
    return id;
}

void identity_set(struct identity *id, struct str name, struct str uid, const struct str *groups, size_t n_groups)
{
    static const struct str authenticated = {"system:authenticated", 20};
    struct str *list = ARENA_ARRAY(id->arena, struct str, n_groups + 1);
    bool there = false;
    for (size_t i = 0; i < n_groups; i++) {
        list[i] = arena_str(id->arena, groups[i]);
        there = there || str_eq(groups[i], authenticated) || str_eq(groups[i], STR("system:unauthenticated"));
    }
    if (!there)
        list[n_groups++] = authenticated;
    id->user = (struct api_user){
        .name = arena_str(id->arena, name), .uid = arena_str(id->arena, uid), .groups = list, .n_groups = n_groups};
}

void identity_add_extra(struct identity *id, const char *key, struct str value)
{
    struct arena *a = id->arena;
    struct value *extra = (struct value *)id->user.extra;
    if (!extra)
        id->user.extra = extra = value_map(a);
    struct str k = str_from(arena_strdup(a, key));
    struct value *list = value_get(extra, k);
    if (!list) {
        list = value_list(a);
        value_set(a, extra, k, list);
    }
    value_append(a, list, value_string(a, arena_str(a, value)));
}

static void put(void *arg)
{
    identity_put(arg);
}

const struct api_user *identity_hold(struct identity *id, struct arena *arena)
{
    ref_get(&id->ref);
    arena_defer(arena, put, id);
    return &id->user;
}
