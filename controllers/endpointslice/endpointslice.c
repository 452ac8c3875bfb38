/* EndpointSlice: which pods stand behind each Service with a selector, by groups of equal ports, a hundred to a slice.
 * What did not change stays in the slice it is in, so that a change is one small write.
 */
#include "controllers/controllers.h"
#include "controllers/endpointslice/endpoints.h"
#include "openapi/json.h"

#include <stdlib.h>

#define SERVICE_LABEL "kubernetes.io/service-name"
#define MANAGED_LABEL "endpointslice.kubernetes.io/managed-by"
#define MANAGER "endpointslice-controller.k8s.io"
#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define PER_SLICE 100

enum { WATCH_SERVICES, WATCH_PODS, WATCH_SLICES, WATCH_NODES };

/* ---- which Services a change concerns ---- */

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    endpoints_keys_of_pod(v, WATCH_SERVICES, old, now, add, arg);
}

static void keys_of_slice(const struct view *v, const struct object *old, const struct object *now,
                          void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    const struct object *o = now ? now : old;
    struct str service = object_label(o, STR(SERVICE_LABEL));
    (void)v;
    if (service.p && str_eqz(object_label(o, STR(MANAGED_LABEL)), MANAGER))
        add(arg, o->namespace_, service);
}

static void keys_of_node(const struct view *v, const struct object *old, const struct object *now,
                         void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v, (void)old, (void)now, (void)add, (void)arg; /* zones: the next change of a pod picks them up */
}

/* ---- slices ---- */

struct endpoint_slice {
    const struct object *object; /* NULL = to be made */
    struct value *value;         /* of the object, or of the new one */
    struct value *endpoints;     /* as it should be */
    bool changed;
};

static struct value *new_slice(struct arena *a, const struct object *service, const struct core_v1_service *view,
                               struct value *ports)
{
    struct value *v = value_map(a), *labels, *owner = value_map(a), *owners = value_list(a);
    value_setz(a, v, "apiVersion", value_stringz(a, "discovery.k8s.io/v1"));
    value_setz(a, v, "kind", value_stringz(a, "EndpointSlice"));
    value_set_path(a, v, "metadata.generateName",
                   value_string(a, arena_printf(a, STR_FMT "-", STR_ARG(service->name))));
    value_set_path(a, v, "metadata.namespace", value_string(a, service->namespace_));
    labels = value_ensure_map(a, value_getz(v, "metadata"), "labels");
    for (size_t i = 0; i < view->metadata->labels.len; i++)
        value_set(a, labels, view->metadata->labels.items[i].key,
                  value_string(a, view->metadata->labels.items[i].value));
    value_setz(a, labels, SERVICE_LABEL, value_string(a, service->name));
    value_setz(a, labels, MANAGED_LABEL, value_stringz(a, MANAGER));
    if (str_eqz(view->spec->cluster_ip, "None"))
        value_setz(a, labels, HEADLESS_LABEL, value_stringz(a, ""));
    value_setz(a, owner, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, owner, "kind", value_stringz(a, "Service"));
    value_setz(a, owner, "name", value_string(a, service->name));
    value_setz(a, owner, "uid", value_string(a, service->uid));
    value_setz(a, owner, "controller", value_bool(a, true));
    value_setz(a, owner, "blockOwnerDeletion", value_bool(a, true));
    value_append(a, owners, owner);
    value_set_path(a, v, "metadata.ownerReferences", owners);
    value_setz(a, v, "addressType", value_stringz(a, "IPv4"));
    value_setz(a, v, "endpoints", value_list(a));
    value_setz(a, v, "ports", ports);
    return v;
}

static bool take_endpoint(struct endpoint_group *g, const struct value *have, struct value **ret)
{
    struct str uid = value_path_str(have, "targetRef.uid");
    for (size_t i = 0; i < g->len; i++) {
        if (!g->taken[i] && str_eq(value_path_str(g->items[i], "targetRef.uid"), uid)) {
            g->taken[i] = true;
            *ret = g->items[i];
            return true;
        }
    }
    return false;
}

/* What stays in an existing slice, with its newest content. */
static void keep_endpoints(struct arena *a, struct endpoint_group *g, struct endpoint_slice *s)
{
    const struct value *have = value_getz(s->value, "endpoints");
    s->endpoints = value_list(a);
    for (size_t i = 0; i < value_len(have); i++) {
        struct value *fresh;
        if (!take_endpoint(g, value_at(have, i), &fresh)) {
            s->changed = true;
            continue;
        }
        s->changed = s->changed || !value_semantic_equal(fresh, value_at(have, i));
        value_append(a, s->endpoints, fresh);
    }
}

static void place_rest(struct outcome *out, struct endpoint_group *g, struct endpoint_slice **slices, size_t *n,
                       size_t *cap, size_t first, const struct object *service, const struct core_v1_service *view)
{
    size_t at = first;
    for (size_t i = 0; i < g->len; i++) {
        if (g->taken[i])
            continue;
        while (at < *n && value_len((*slices)[at].endpoints) >= PER_SLICE)
            at++;
        if (at == *n) {
            struct endpoint_slice fresh = {.value = new_slice(out->arena, service, view, g->ports),
                                           .endpoints = value_list(out->arena)};
            ARENA_PUSH(out->arena, *slices, *n, *cap, fresh);
        }
        value_append(out->arena, (*slices)[at].endpoints, g->items[i]);
        (*slices)[at].changed = true;
    }
}

static void write_slices(struct outcome *out, struct endpoint_slice *slices, size_t n, bool keep_one)
{
    bool kept = false;
    for (size_t i = 0; i < n; i++)
        kept = kept || value_len(slices[i].endpoints) > 0;
    for (size_t i = 0; i < n; i++) {
        struct endpoint_slice *s = &slices[i];
        if (!value_len(s->endpoints) && (kept || !keep_one)) {
            if (s->object)
                outcome_delete(out, s->object);
            continue;
        }
        kept = true;
        if (!s->changed)
            continue;
        value_setz(out->arena, s->value, "endpoints", s->endpoints);
        if (s->object)
            outcome_update(out, s->object, NULL, s->value);
        else
            outcome_create(out, resource_find(STR("discovery.k8s.io"), STR("endpointslices")),
                           value_path_str(s->value, "metadata.namespace"), s->value);
    }
}

static size_t existing_slices(const struct view *v, struct arena *a, const struct object *service,
                              struct endpoint_slice **ret, size_t *ret_cap)
{
    const struct object **owned;
    size_t n = view_owned(v, a, WATCH_SLICES, service->uid, &owned), len = 0;
    *ret = ARENA_ARRAY(a, struct endpoint_slice, n + 4);
    *ret_cap = n + 4;
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(object_label(owned[i], STR(MANAGED_LABEL)), MANAGER) && !owned[i]->deletion_s)
            (*ret)[len++] = (struct endpoint_slice){.object = owned[i], .value = object_value(a, owned[i])};
    }
    return len;
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)now_ms, (void)facts;
    struct arena *a = out->arena;
    const struct object *service = view_find(v, WATCH_SERVICES, key.namespace_, key.name), **pods;
    if (!service || service->deletion_s)
        return; /* its slices go with it (owner references) */
    const struct core_v1_service *view = view_object(a, service);
    if (!view->spec->selector.len || str_eqz(view->spec->type, "ExternalName"))
        return;
    struct endpoint_groups groups = {0};
    size_t n = view_list(v, a, WATCH_PODS, service->namespace_, &pods);
    for (size_t i = 0; i < n; i++) {
        if (endpoints_selects(view, pods[i]))
            endpoints_add(a, &groups, service, view, pods[i], v, WATCH_NODES);
    }
    struct endpoint_slice *have, *all = NULL;
    size_t have_cap, n_have = existing_slices(v, a, service, &have, &have_cap), n_all = 0, cap = 0;
    bool *used = ARENA_ARRAY(a, bool, n_have + 1);
    if (!groups.len) /* a Service without pods keeps one empty slice, so that it is known to be looked after */
        endpoints_placeholder(a, &groups);
    for (size_t g = 0; g < groups.len; g++) {
        size_t first = n_all;
        for (size_t i = 0; i < n_have; i++) {
            struct value *ports = value_getz(have[i].value, "ports");
            if (used[i] || !value_semantic_equal(ports, groups.items[g].ports))
                continue;
            used[i] = true;
            keep_endpoints(a, &groups.items[g], &have[i]);
            ARENA_PUSH(a, all, n_all, cap, have[i]);
        }
        place_rest(out, &groups.items[g], &all, &n_all, &cap, first, service, view);
        if (!groups.items[g].len && first == n_all)
            ARENA_PUSH(a, all, n_all, cap,
                       (struct endpoint_slice){.value = new_slice(a, service, view, groups.items[g].ports),
                                               .endpoints = value_list(a),
                                               .changed = true});
    }
    for (size_t i = 0; i < n_have; i++) {
        if (!used[i])
            outcome_delete(out, have[i].object);
    }
    write_slices(out, all, n_all, true);
}

const struct controller endpointslice_controller = {
    .name = "endpointslice",
    .user = "system:serviceaccount:kube-system:endpointslice-controller",
    .component = "endpoint-slice-controller",
    .watches = {{"", "services", NULL},
                {"", "pods", keys_of_pod},
                {"discovery.k8s.io", "endpointslices", keys_of_slice},
                {"", "nodes", keys_of_node}},
    .concurrency = 16,
    .reconcile = reconcile,
};
