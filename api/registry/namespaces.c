#include "api/registry/registry.h"

#define NAME_LABEL "kubernetes.io/metadata.name"

static void label_name(struct registry_call *c, struct value *v)
{
    struct value *labels = value_ensure_map(c->arena, v, "metadata.labels");
    value_setz(c->arena, labels, NAME_LABEL, value_string(c->arena, value_path_str(v, "metadata.name")));
}

static void prepare_create(struct registry_call *c, struct value *v)
{
    struct arena *a = c->arena;
    value_set_path(a, v, "status", value_map(a));
    value_set_path(a, v, "status.phase", value_stringz(a, "Active"));
    struct value *finalizers = value_ensure_list(a, v, "spec.finalizers");
    for (size_t i = 0; i < value_len(finalizers); i++)
        if (str_eqz(value_str(value_at(finalizers, i)), "kubernetes"))
            return;
    value_append(a, finalizers, value_stringz(a, "kubernetes"));
}

static void prepare_create_labelled(struct registry_call *c, struct value *v)
{
    prepare_create(c, v);
    label_name(c, v);
}

/* Finalizers of the spec change through the finalize subresource alone. */
static void prepare_update(struct registry_call *c, struct value *v, const struct value *old)
{
    bool finalize = c->req->subresource && str_eqz(c->req->subresource->name, "finalize");
    struct value *kept = value_path(old, "spec.finalizers");
    label_name(c, v);
    if (finalize)
        return;
    if (kept)
        value_set_path(c->arena, v, "spec.finalizers", kept);
    else
        value_remove_path(v, "spec.finalizers");
}

static bool may_leave(const struct value *v)
{
    return value_len(value_path(v, "spec.finalizers")) == 0;
}

static int begin_delete(struct registry_call *c, struct value *v, struct err *err)
{
    (void)err;
    value_set_path(c->arena, v, "status.phase", value_stringz(c->arena, "Terminating"));
    return 0;
}

const struct registry_rules registry_namespaces = {
    .group = "",
    .resource = "namespaces",
    .prepare_create = prepare_create_labelled,
    .prepare_update = prepare_update,
    .may_leave = may_leave,
    .begin_delete = begin_delete,
};
