/* ServiceAccount: every namespace has one named "default". */
#include "controllers/controllers.h"

enum { WATCH_NAMESPACES, WATCH_ACCOUNTS };

static void keys_of_account(const struct view *v, const struct object *old, const struct object *now,
                            void (*add)(void *arg, struct str namespace_, struct str name), void *arg)
{
    (void)v;
    if (!now && str_eqz(old->name, "default"))
        add(arg, STR(""), old->namespace_);
}

static void reconcile(const struct view *v, struct key key, int64_t now_ms, const struct facts *facts,
                      struct outcome *out)
{
    (void)now_ms, (void)facts;
    const struct object *namespace_ = view_find(v, WATCH_NAMESPACES, STR(""), key.name);
    if (!namespace_ || namespace_->deletion_s || view_find(v, WATCH_ACCOUNTS, key.name, STR("default")))
        return;
    struct value *body = value_map(out->arena);
    value_setz(out->arena, body, "apiVersion", value_stringz(out->arena, "v1"));
    value_setz(out->arena, body, "kind", value_stringz(out->arena, "ServiceAccount"));
    value_set_path(out->arena, body, "metadata.name", value_stringz(out->arena, "default"));
    value_set_path(out->arena, body, "metadata.namespace", value_string(out->arena, key.name));
    struct write *w = outcome_create(out, resource_find(STR(""), STR("serviceaccounts")), key.name, body);
    w->accept = 1u << -ERR_ALREADY_EXISTS | 1u << -ERR_NOT_FOUND | 1u << -ERR_FORBIDDEN; /* the namespace is going */
}

const struct controller serviceaccount_controller = {
    .name = "serviceaccount",
    .user = "system:serviceaccount:kube-system:service-account-controller",
    .component = "service-account-controller",
    .watches = {{"", "namespaces", NULL}, {"", "serviceaccounts", keys_of_account}},
    .concurrency = 16,
    .reconcile = reconcile,
};
