/* Endpoints: the older, single object with all addresses behind a Service. Made of the same groups as EndpointSlices.
 */
#include "controllers/endpointslice/endpoints.h"
#include "controllers/controllers.h"

#include <stdlib.h>

#define MANAGED_LABEL "endpoints.kubernetes.io/managed-by"
#define MANAGER "endpoint-controller"
#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define CAPACITY_ANNOTATION "endpoints.kubernetes.io/over-capacity"
#define ADDRESSES_MAX 1000

enum { WATCH_SERVICES, WATCH_PODS, WATCH_ENDPOINTS };

static void keys_of_pod(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    endpoints_keys_of_pod(v, WATCH_SERVICES, old, now, add, arg);
}

static struct value *ports_of(struct arena *a, const struct value *slice_ports)
{
    struct value *list = value_list(a);
    for (size_t i = 0; i < value_len(slice_ports); i++) {
        struct value *port = value_copy(a, value_at(slice_ports, i));
        if (!value_path_str(port, "name").len)
            value_removez(port, "name");
        value_append(a, list, port);
    }
    return list;
}

static struct value *address_of(struct arena *a, const struct value *e)
{
    static const char *const kept[] = {"hostname", "nodeName", "targetRef"};
    struct value *v = value_map(a);
    value_setz(a, v, "ip", value_at(value_getz(e, "addresses"), 0));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        if (value_getz(e, kept[i]))
            value_setz(a, v, kept[i], value_getz(e, kept[i]));
    }
    return v;
}

static int by_address(const void *x, const void *y)
{
    const struct value *a = *(const struct value *const *)x, *b = *(const struct value *const *)y;
    int c = str_cmp(value_path_str(a, "ip"), value_path_str(b, "ip"));
    return c ? c : str_cmp(value_path_str(a, "targetRef.uid"), value_path_str(b, "targetRef.uid"));
}

static void put_addresses(struct arena *a, struct value *subset, const char *member, struct value *list)
{
    if (!value_len(list))
        return;
    qsort(list->list.items, list->list.len, sizeof *list->list.items, by_address);
    value_setz(a, subset, member, list);
}

/* Answers how many addresses were left out. */
static size_t add_subset(struct arena *a, struct value *subsets, const struct endpoint_group *g, bool with_terminating,
                         size_t *room)
{
    struct value *subset = value_map(a), *ready = value_list(a), *others = value_list(a),
                 *ports = ports_of(a, g->ports);
    size_t left_out = 0;
    for (int want_ready = 1; want_ready >= 0; want_ready--) { /* those that are ready have precedence */
        for (size_t i = 0; i < g->len; i++) {
            bool is_ready = value_path_bool(g->items[i], "conditions.ready", false);
            if (is_ready != want_ready ||
                (!with_terminating && value_path_bool(g->items[i], "conditions.terminating", false)))
                continue;
            if (*room == 0) {
                left_out++;
                continue;
            }
            (*room)--;
            value_append(a, is_ready ? ready : others, address_of(a, g->items[i]));
        }
    }
    if (!value_len(ready) && !value_len(others))
        return left_out;
    put_addresses(a, subset, "addresses", ready);
    put_addresses(a, subset, "notReadyAddresses", others);
    if (value_len(ports))
        value_setz(a, subset, "ports", ports);
    value_append(a, subsets, subset);
    return left_out;
}

static void fill(struct arena *a, struct value *body, const struct object *service, const struct core_v1_service *view,
                 struct value *subsets, size_t left_out)
{
    struct value *labels = value_map(a), *meta = value_ensure_map(a, body, "metadata");
    for (size_t i = 0; i < view->metadata->labels.len; i++)
        value_set(a, labels, view->metadata->labels.items[i].key,
                  value_string(a, view->metadata->labels.items[i].value));
    value_setz(a, labels, MANAGED_LABEL, value_stringz(a, MANAGER));
    if (str_eqz(view->spec->cluster_ip, "None"))
        value_setz(a, labels, HEADLESS_LABEL, value_stringz(a, ""));
    else
        value_removez(labels, HEADLESS_LABEL);
    value_setz(a, meta, "name", value_string(a, service->name));
    value_setz(a, meta, "namespace", value_string(a, service->namespace_));
    value_setz(a, meta, "labels", labels);
    if (left_out)
        value_setz(a, value_ensure_map(a, meta, "annotations"), CAPACITY_ANNOTATION, value_stringz(a, "truncated"));
    else if (value_getz(meta, "annotations"))
        value_removez(value_getz(meta, "annotations"), CAPACITY_ANNOTATION);
    value_setz(a, body, "subsets", subsets);
}

static void write_endpoints(const struct object *have, const struct object *service, const struct core_v1_service *view,
                            struct value *subsets, size_t left_out, struct outcome *out)
{
    struct arena *a = out->arena;
    if (have) {
        struct value *before = object_value(a, have), *after = value_copy(a, before);
        fill(a, after, service, view, subsets, left_out);
        if (!value_semantic_equal(before, after))
            outcome_update(out, have, NULL, after)->accept = 1u << -ERR_NOT_FOUND;
        return;
    }
    struct value *body = value_map(a);
    value_setz(a, body, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, body, "kind", value_stringz(a, "Endpoints"));
    fill(a, body, service, view, subsets, left_out);
    outcome_create(out, resource_find(STR(""), STR("endpoints")), service->namespace_, body)->accept =
        1u << -ERR_FORBIDDEN | 1u << -ERR_NOT_FOUND; /* the namespace is going */
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)now_ms, (void)facts;
    struct arena *a = out->arena;
    const struct object *service = view_find(v, WATCH_SERVICES, key.namespace_, key.name), **pods;
    const struct object *have = view_find(v, WATCH_ENDPOINTS, key.namespace_, key.name);
    if (!service) {
        if (have && str_eqz(object_label(have, STR(MANAGED_LABEL)), MANAGER))
            outcome_delete(out, have);
        return;
    }
    const struct core_v1_service *view = view_object(a, service);
    if (service->deletion_s || !view->spec->selector.len || str_eqz(view->spec->type, "ExternalName"))
        return; /* people write these themselves */
    struct endpoint_groups groups = {0};
    size_t n = view_list(v, a, WATCH_PODS, service->namespace_, &pods), room = ADDRESSES_MAX, left_out = 0;
    for (size_t i = 0; i < n; i++) {
        if (endpoints_selects(view, pods[i]))
            endpoints_add(a, &groups, service, view, pods[i], NULL, 0);
    }
    struct value *subsets = value_list(a);
    for (size_t g = 0; g < groups.len; g++)
        left_out += add_subset(a, subsets, &groups.items[g], view->spec->publish_not_ready_addresses, &room);
    write_endpoints(have, service, view, subsets, left_out, out);
}

const struct controller endpoints_controller = {
    .name = "endpoints",
    .user = "system:serviceaccount:kube-system:endpoint-controller",
    .component = "endpoint-controller",
    .watches = {{"", "services", NULL}, {"", "pods", keys_of_pod}, {"", "endpoints", NULL}},
    .concurrency = 16,
    .reconcile = reconcile,
};
