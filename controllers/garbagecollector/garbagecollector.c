/* Garbage collector: what belongs to something that is gone goes too.
 *
 * A key is one object of any resource: the resource's index stands before the name ("17:web"). Owners are looked up
 * among everything watched; one that is not found there is looked up live before its dependents are deleted. An owner
 * that is deleted in the foreground waits (finalizer foregroundDeletion) until those dependents that block it are gone;
 * one that is deleted with its dependents kept (finalizer orphan) is taken out of their owner references first. */
#include "controllers/controllers.h"

#include <stdio.h>

#define ORPHAN "orphan"
#define FOREGROUND "foregroundDeletion"

typedef void add_key(void *arg, struct str namespace_, struct str name);

/* ---- keys ---- */

static void add_object(const struct object *o, add_key *add, void *arg)
{
    char name[300];
    int n = snprintf(name, sizeof name, "%u:" STR_FMT, o->resource->index, STR_ARG(o->name));
    add(arg, o->namespace_, (struct str){name, (size_t)n});
}

static const struct object *find_key(const struct view *v, struct key key)
{
    struct str rest = key.name, number;
    int64_t index;
    str_split(&rest, ':', &number);
    if (!str_to_i64(number, &index))
        return NULL;
    for (int i = 0; i < view_len(v); i++) {
        if (view_resource(v, i)->index == index)
            return view_find(v, i, key.namespace_, rest);
    }
    return NULL;
}

static bool same_owners(const struct object *a, const struct object *b)
{
    if (a->n_owners != b->n_owners)
        return false;
    for (size_t i = 0; i < a->n_owners; i++) {
        if (!str_eq(a->owners[i].uid, b->owners[i].uid) || !str_eq(a->owners[i].name, b->owners[i].name) ||
            a->owners[i].block_owner_deletion != b->owners[i].block_owner_deletion)
            return false;
    }
    return true;
}

/* ---- owners and dependents ---- */

/* -1 = no such kind is watched */
static int which_of_owner(const struct view *v, const struct object_owner *owner)
{
    struct str group = owner->api_version, version = STR_NULL;
    size_t slash;
    if (str_index(group, '/', &slash)) {
        version = str_sub(group, slash + 1, group.len);
        group = str_sub(group, 0, slash);
    } else {
        version = group;
        group = STR("");
    }
    const struct resource *r = resource_find_kind(group, owner->kind);
    if (!r || !resource_version_find(r, version))
        return -1;
    for (int i = 0; i < view_len(v); i++) {
        if (view_resource(v, i) == r)
            return i;
    }
    return -1;
}

static const struct object *find_owner(const struct view *v, const struct object *o, const struct object_owner *owner)
{
    int which = which_of_owner(v, owner);
    if (which < 0)
        return NULL;
    const struct object *found =
        view_find(v, which, view_resource(v, which)->namespaced ? o->namespace_ : STR(""), owner->name);
    return found && str_eq(found->uid, owner->uid) ? found : NULL;
}

/* All that name `o` as an owner, and may: owners live in the same namespace, or in none. */
static size_t dependents_of(const struct view *v, struct arena *a, const struct object *o, const struct object ***ret)
{
    size_t len = 0, cap = 0;
    *ret = NULL;
    for (int i = 0; i < view_len(v); i++) {
        const struct object **owned;
        size_t n = view_owned(v, a, i, o->uid, &owned);
        for (size_t j = 0; j < n; j++) {
            if (!o->namespace_.len || str_eq(owned[j]->namespace_, o->namespace_))
                ARENA_PUSH(a, *ret, len, cap, owned[j]);
        }
    }
    return len;
}

static bool has_finalizer(struct arena *a, const struct object *o, const char *name)
{
    const struct value *list = o->has_finalizers ? value_path(object_value(a, o), "metadata.finalizers") : NULL;
    for (size_t i = 0; i < value_len(list); i++) {
        if (str_eqz(value_str(value_at(list, i)), name))
            return true;
    }
    return false;
}

static bool waits_for_dependents(struct arena *a, const struct object *o)
{
    return o->deletion_s && has_finalizer(a, o, FOREGROUND);
}

static bool blocks(const struct object *o, const struct object *owner)
{
    for (size_t i = 0; i < o->n_owners; i++) {
        if (str_eq(o->owners[i].uid, owner->uid))
            return o->owners[i].block_owner_deletion;
    }
    return false;
}

static void keys_of_any(const struct view *v, const struct object *old, const struct object *now, add_key *add,
                        void *arg)
{
    const struct object *o = now ? now : old;
    bool owners_changed = !old || !now || !same_owners(old, now);
    if (str_eqz(o->resource->name, "events"))
        return;
    if (now && ((now->n_owners && owners_changed) || (now->deletion_s && now->has_finalizers)))
        add_object(now, add, arg);
    struct arena *a = arena_create(0);
    const struct object **dependents;
    for (size_t i = 0; owners_changed && old && i < old->n_owners; i++) {
        const struct object *owner = find_owner(v, old, &old->owners[i]);
        if (owner && owner->deletion_s && owner->has_finalizers)
            add_object(owner, add, arg); /* it may have waited for this one */
    }
    bool began = now && now->deletion_s && now->has_finalizers && !(old && old->deletion_s && old->has_finalizers);
    size_t n = !now || began ? dependents_of(v, a, o, &dependents) : 0;
    for (size_t i = 0; i < n; i++)
        add_object(dependents[i], add, arg);
    arena_destroy(a);
}

/* ---- writes ---- */

static void remove_finalizer(const struct object *o, const char *name, struct outcome *out)
{
    struct value *body = object_value(out->arena, o), *list = value_path(body, "metadata.finalizers");
    for (size_t i = value_len(list); i-- > 0;) {
        if (str_eqz(value_str(value_at(list, i)), name))
            value_remove_at(list, i);
    }
    outcome_update(out, o, NULL, body)->accept = 1u << -ERR_NOT_FOUND;
}

/* Takes the owners out for which `drop` says so. */
static void strip_owners(const struct object *o, const bool *drop, struct outcome *out)
{
    struct value *body = object_value(out->arena, o), *list = value_path(body, "metadata.ownerReferences");
    for (size_t i = value_len(list); i-- > 0;) {
        if (drop[i])
            value_remove_at(list, i);
    }
    outcome_update(out, o, NULL, body)->accept = 1u << -ERR_NOT_FOUND;
}

static void delete_with(const struct object *o, struct str policy, struct outcome *out)
{
    struct write *w = outcome_delete(out, o);
    w->call.propagation_policy = policy;
    w->call.precondition_revision = o->revision; /* its owners may have changed meanwhile */
}

/* ---- an owner on its way out ---- */

static void orphan_dependents(const struct view *v, const struct object *o, struct outcome *out)
{
    const struct object **dependents;
    size_t n = dependents_of(v, out->arena, o, &dependents);
    for (size_t i = 0; i < n; i++) {
        bool *drop = ARENA_ARRAY(out->arena, bool, dependents[i]->n_owners + 1u);
        for (size_t j = 0; j < dependents[i]->n_owners; j++)
            drop[j] = str_eq(dependents[i]->owners[j].uid, o->uid);
        strip_owners(dependents[i], drop, out);
    }
    if (!n)
        remove_finalizer(o, ORPHAN, out);
}

static void await_dependents(const struct view *v, const struct object *o, struct outcome *out)
{
    const struct object **dependents;
    size_t n = dependents_of(v, out->arena, o, &dependents);
    for (size_t i = 0; i < n; i++) {
        if (blocks(dependents[i], o))
            return;
    }
    remove_finalizer(o, FOREGROUND, out);
}

/* ---- a dependent ---- */

enum owner_state { OWNER_SOLID, OWNER_GONE, OWNER_WAITING };

/* NULL = not asked for yet */
static const struct client_answer *live_answer(const struct facts *facts, const struct resource *r, struct str name)
{
    for (size_t i = 0; i < facts->n_live; i++) {
        if (facts->wanted[i].resource == r && str_eq(facts->wanted[i].name, name))
            return &facts->live[i];
    }
    return NULL;
}

/* Answers false when facts are wanted first. */
static bool classify(const struct view *v, const struct object *o, const struct facts *facts, enum owner_state *states,
                     struct outcome *out)
{
    bool wanted = false;
    for (size_t i = 0; i < o->n_owners; i++) {
        const struct object_owner *owner = &o->owners[i];
        int which = which_of_owner(v, owner);
        states[i] = OWNER_SOLID;
        if (which < 0)
            continue; /* a kind nobody knows: never a reason to delete */
        const struct resource *r = view_resource(v, which);
        if (r->namespaced && !o->namespace_.len)
            continue; /* a namespaced owner of a cluster-wide object cannot be right; upstream leaves it alone */
        const struct object *found = find_owner(v, o, owner);
        if (found) {
            states[i] = waits_for_dependents(out->arena, found) ? OWNER_WAITING : OWNER_SOLID;
            continue;
        }
        const struct client_answer *live = live_answer(facts, r, owner->name);
        if (!live) {
            outcome_want_live(out, r, r->namespaced ? o->namespace_ : STR(""), owner->name);
            wanted = true;
        } else if (live->rc == ERR_NOT_FOUND || (live->rc == 0 && !str_eq(live->object->uid, owner->uid))) {
            states[i] = OWNER_GONE;
        } else if (live->rc < 0) {
            outcome_fail(out, "look up owner " STR_FMT " " STR_FMT, STR_ARG(owner->kind), STR_ARG(owner->name));
        }
    }
    return !wanted;
}

static struct str own_policy(struct arena *a, const struct object *o)
{
    if (has_finalizer(a, o, ORPHAN))
        return STR("Orphan");
    return has_finalizer(a, o, FOREGROUND) ? STR("Foreground") : STR("Background");
}

static void collect(const struct view *v, const struct object *o, const struct facts *facts, struct outcome *out)
{
    enum owner_state *states = ARENA_ARRAY(out->arena, enum owner_state, o->n_owners + 1u);
    bool *drop = ARENA_ARRAY(out->arena, bool, o->n_owners + 1u);
    size_t n_solid = 0, n_waiting = 0;
    if (!classify(v, o, facts, states, out) || out->failed)
        return;
    for (size_t i = 0; i < o->n_owners; i++) {
        n_solid += states[i] == OWNER_SOLID;
        n_waiting += states[i] == OWNER_WAITING;
        drop[i] = states[i] != OWNER_SOLID;
    }
    if (n_solid == o->n_owners)
        return;
    if (n_solid) {
        strip_owners(o, drop, out);
        return;
    }
    const struct object **dependents;
    if (n_waiting && dependents_of(v, out->arena, o, &dependents))
        delete_with(o, STR("Foreground"), out); /* its own dependents first */
    else
        delete_with(o, own_policy(out->arena, o), out);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)now_ms;
    const struct object *o = find_key(v, key);
    if (!o)
        return;
    if (o->deletion_s && has_finalizer(out->arena, o, ORPHAN))
        orphan_dependents(v, o, out);
    else if (waits_for_dependents(out->arena, o))
        await_dependents(v, o, out);
    else if (!o->deletion_s && o->n_owners)
        collect(v, o, facts, out);
}

const struct controller garbagecollector_controller = {
    .name = "garbagecollector",
    .user = "system:serviceaccount:kube-system:generic-garbage-collector",
    .component = "garbage-collector-controller",
    .keys_of_any = keys_of_any,
    .concurrency = 20,
    .reconcile = reconcile,
};
