/* Root CA: the ConfigMap kube-root-ca.crt in every namespace, from which pods learn whom to trust as the API server. */
#include "controllers/controllers.h"
#include "openapi/views.h"

#define NAME "kube-root-ca.crt"
#define NOTE_KEY "kubernetes.io/description"
#define NOTE                                                                                                          \
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "   \
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes " \
    "clusters."

enum { WATCH_NAMESPACES, WATCH_MAPS };

static void keys_of_map(const struct view *v, const struct object *old, const struct object *now,
                        void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    const struct object *o = now ? now : old;
    if (str_eqz(o->name, NAME))
        add(arg, STR(""), o->namespace_);
}

static struct value *content(struct arena *a, struct value *body, const char *ca_pem)
{
    struct value *data = value_map(a),
                 *notes = value_ensure_map(a, value_ensure_map(a, body, "metadata"), "annotations");
    value_setz(a, data, "ca.crt", value_stringz(a, ca_pem));
    value_setz(a, body, "data", data);
    value_setz(a, notes, NOTE_KEY, value_stringz(a, NOTE));
    return body;
}

static bool is_right(struct arena *a, const struct object *o, const char *ca_pem)
{
    const struct core_v1_config_map *map = view_object(a, o);
    return map->data.len == 1 && str_eqz(view_map_get(map->data, STR("ca.crt")), ca_pem) &&
           str_eqz(view_map_get(map->metadata->annotations, STR(NOTE_KEY)), NOTE);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)now_ms;
    struct arena *a = out->arena;
    const char *ca_pem = facts->settings->ca_pem;
    const struct object *namespace_ = view_find(v, WATCH_NAMESPACES, STR(""), key.name);
    const struct object *o = view_find(v, WATCH_MAPS, key.name, STR(NAME));
    if (!ca_pem || !namespace_ || namespace_->deletion_s)
        return;
    if (o) {
        if (!is_right(a, o, ca_pem))
            outcome_update(out, o, NULL, content(a, object_value(a, o), ca_pem));
        return;
    }
    struct value *body = value_map(a);
    value_setz(a, body, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, body, "kind", value_stringz(a, "ConfigMap"));
    value_set_path(a, body, "metadata.name", value_stringz(a, NAME));
    value_set_path(a, body, "metadata.namespace", value_string(a, key.name));
    struct write *w =
        outcome_create(out, resource_find(STR(""), STR("configmaps")), key.name, content(a, body, ca_pem));
    w->accept = 1u << -ERR_ALREADY_EXISTS | 1u << -ERR_NOT_FOUND | 1u << -ERR_FORBIDDEN; /* the namespace is going */
}

const struct controller rootca_controller = {
    .name = "rootca",
    .user = "system:serviceaccount:kube-system:root-ca-cert-publisher",
    .component = "root-ca-cert-publisher",
    .watches = {{"", "namespaces", NULL}, {"", "configmaps", keys_of_map}},
    .concurrency = 16,
    .reconcile = reconcile,
};
