#include "controllers/pods/pod_control.h"

#include "openapi/meta/identity.h"

#include <stdlib.h>

static const struct core_v1_pod_condition *ready_condition(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status->conditions.len; i++) {
        if (str_eqz(pod->status->conditions.items[i].type, "Ready"))
            return &pod->status->conditions.items[i];
    }
    return NULL;
}

void pod_state_read(struct arena *a, const struct object *o, int64_t min_ready_s, int64_t now_ms, struct pod_state *ret)
{
    const struct core_v1_pod *pod = view_object(a, o);
    const struct core_v1_pod_condition *ready = ready_condition(pod);
    *ret = (struct pod_state){.object = o, .pod = pod};
    ret->finished = str_eqz(pod->status->phase, "Succeeded") || str_eqz(pod->status->phase, "Failed");
    ret->active = !o->deletion_s && !ret->finished;
    if (!ready || !str_eqz(ready->status, "True"))
        return;
    ret->ready = true;
    ret->ready_since_s = ready->last_transition_time / 1000000;
    ret->available = min_ready_s == 0 || (ret->ready_since_s && (ret->ready_since_s + min_ready_s) * 1000 <= now_ms);
}

struct value *controller_reference(struct arena *a, const struct object *owner)
{
    struct value *ref = value_map(a);
    value_setz(
        a, ref, "apiVersion",
        value_string(a, resource_api_version(a, owner->resource->storage_group, owner->resource->storage_version)));
    value_setz(a, ref, "kind", value_string(a, owner->resource->kind));
    value_setz(a, ref, "name", value_string(a, owner->name));
    value_setz(a, ref, "uid", value_string(a, owner->uid));
    value_setz(a, ref, "controller", value_bool(a, true));
    value_setz(a, ref, "blockOwnerDeletion", value_bool(a, true));
    return ref;
}

/* ---- claiming ---- */

static void adopt(struct outcome *out, const struct object *pod, const struct object *owner)
{
    struct arena *a = out->arena;
    struct value *patch = value_map(a), *owners = value_path(object_value(a, pod), "metadata.ownerReferences");
    owners = value_is(owners, VALUE_LIST) ? owners : value_list(a);
    value_append(a, owners, controller_reference(a, owner));
    value_set_path(a, patch, "metadata.ownerReferences", owners);
    outcome_patch(out, pod, NULL, patch);
}

static void release(struct outcome *out, const struct object *pod, const struct object *owner)
{
    struct arena *a = out->arena;
    struct value *patch = value_map(a), *owners = value_path(object_value(a, pod), "metadata.ownerReferences");
    for (size_t i = value_len(owners); i-- > 0;) {
        if (str_eq(value_path_str(value_at(owners, i), "uid"), owner->uid))
            value_remove_at(owners, i);
    }
    value_set_path(a, patch, "metadata.ownerReferences", owners ? owners : value_list(a));
    outcome_patch(out, pod, NULL, patch);
}

size_t pods_claim(const struct view *v, int pods, const struct object *owner, const struct label_selector *selector,
                  int64_t min_ready_s, int64_t now_ms, struct outcome *out, struct pod_state **ret)
{
    const struct object **all;
    struct pod_state *states = NULL;
    size_t n = view_owned(v, out->arena, pods, owner->uid, &all), len = 0, cap = 0;
    for (size_t i = 0; i < n; i++) {
        const struct object_owner *controller = object_controller(all[i]);
        if (!controller || !str_eq(controller->uid, owner->uid))
            continue;
        if (!label_selector_matches(selector, all[i])) {
            if (!owner->deletion_s)
                release(out, all[i], owner);
            continue;
        }
        ARENA_PUSH(out->arena, states, len, cap, (struct pod_state){0});
        pod_state_read(out->arena, all[i], min_ready_s, now_ms, &states[len - 1]);
    }
    n = owner->deletion_s ? 0 : view_orphans(v, out->arena, pods, owner->namespace_, &all);
    for (size_t i = 0; i < n; i++) {
        if (all[i]->deletion_s || !label_selector_matches(selector, all[i]))
            continue;
        struct pod_state state;
        pod_state_read(out->arena, all[i], min_ready_s, now_ms, &state);
        if (!state.active)
            continue;
        adopt(out, all[i], owner);
        ARENA_PUSH(out->arena, states, len, cap, state);
    }
    *ret = states;
    return len;
}

/* ---- who goes first ---- */

struct ranked {
    struct pod_state state;
    size_t on_node; /* how many of these pods share its node */
    int64_t restarts, cost;
};

static int64_t restarts_of(const struct core_v1_pod *pod)
{
    int64_t most = 0;
    for (size_t i = 0; i < pod->status->container_statuses.len; i++) {
        if (pod->status->container_statuses.items[i].restart_count > most)
            most = pod->status->container_statuses.items[i].restart_count;
    }
    return most;
}

static int phase_rank(const struct core_v1_pod *pod)
{
    return str_eqz(pod->status->phase, "Pending") ? 0 : str_eqz(pod->status->phase, "Running") ? 2 : 1;
}

static int64_t deletion_cost(const struct core_v1_pod *pod)
{
    int64_t cost = 0;
    for (size_t i = 0; i < pod->metadata->annotations.len; i++) {
        if (str_eqz(pod->metadata->annotations.items[i].key, "controller.kubernetes.io/pod-deletion-cost"))
            str_to_i64(pod->metadata->annotations.items[i].value, &cost);
    }
    return cost;
}

static int order(int64_t a, int64_t b) /* smaller first */
{
    return a < b ? -1 : a > b;
}

static int by_rank(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    int c;
    if ((c = order(a->state.pod->spec->node_name.len > 0, b->state.pod->spec->node_name.len > 0)) ||
        (c = order(phase_rank(a->state.pod), phase_rank(b->state.pod))) || (c = order(a->state.ready, b->state.ready)))
        return c;
    if ((c = order(a->cost, b->cost)))
        return c;
    if ((c = order((int64_t)b->on_node, (int64_t)a->on_node)))
        return c;
    if (a->state.ready && (c = order(b->state.ready_since_s, a->state.ready_since_s)))
        return c; /* ready for a shorter time first */
    if ((c = order(b->restarts, a->restarts)))
        return c;
    if ((c = order(b->state.object->creation_s, a->state.object->creation_s)))
        return c;
    return str_cmp(a->state.object->name, b->state.object->name);
}

void pods_rank_for_deletion(struct arena *a, struct pod_state *pods, size_t n)
{
    struct ranked *ranked = ARENA_ARRAY(a, struct ranked, n + 1);
    for (size_t i = 0; i < n; i++) {
        ranked[i].state = pods[i];
        ranked[i].restarts = restarts_of(pods[i].pod);
        ranked[i].cost = deletion_cost(pods[i].pod);
        for (size_t j = 0; j < n; j++)
            ranked[i].on_node +=
                pods[i].pod->spec->node_name.len && str_eq(pods[i].pod->spec->node_name, pods[j].pod->spec->node_name);
    }
    qsort(ranked, n, sizeof *ranked, by_rank);
    for (size_t i = 0; i < n; i++)
        pods[i] = ranked[i].state;
}

/* ---- new pods ---- */

static uint64_t scramble(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct value *pod_from_template(struct arena *a, const struct value *template, const struct object *owner,
                                struct str prefix, uint64_t random, size_t nth)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels: no words */
    char suffix[6] = "";
    uint64_t bits = scramble(random + nth);
    for (int i = 0; i < 5; i++, bits /= sizeof alphabet - 1)
        suffix[i] = alphabet[bits % (sizeof alphabet - 1)];
    struct value *pod = value_map(a), *meta = value_map(a), *owners = value_list(a);
    static const char *const kept[] = {"labels", "annotations", "finalizers"};
    value_setz(a, meta, "name", value_string(a, arena_printf(a, STR_FMT "%s", STR_ARG(prefix), suffix)));
    value_setz(a, meta, "generateName", value_string(a, prefix));
    value_setz(a, meta, "namespace", value_string(a, owner->namespace_));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        struct value *v = value_getz(value_getz(template, "metadata"), kept[i]);
        if (value_len(v))
            value_setz(a, meta, kept[i], v);
    }
    value_append(a, owners, controller_reference(a, owner));
    value_setz(a, meta, "ownerReferences", owners);
    value_setz(a, pod, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, pod, "kind", value_stringz(a, "Pod"));
    value_setz(a, pod, "metadata", meta);
    struct value *spec = value_getz(template, "spec");
    value_setz(a, pod, "spec", spec ? spec : value_map(a));
    return pod;
}

static void add_controller(const char *kind, const struct object *o,
                           void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object_owner *c = o ? object_controller(o) : NULL;
    if (c && str_eqz(c->kind, kind))
        add(arg, o->namespace_, c->name);
}

void keys_of_controller(const char *kind, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    add_controller(kind, old, add, arg);
    add_controller(kind, now, add, arg);
}
