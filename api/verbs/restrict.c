/* Which part of an object each subresource may change. */
#include "api/verbs/subresource.h"

static void carry_path(struct arena *a, struct value *out, const struct value *from, const char *path)
{
    struct value *v = value_path(from, path);
    if (v)
        value_set_path(a, out, path, v);
    else
        value_remove_path(out, path);
}

/* Container resources and resize policies alone, by the containers' names. */
static void carry_resources(struct arena *a, struct value *out, const struct value *from, const char *list)
{
    struct value *to = value_path(out, list);
    const struct value *source = value_path(from, list);
    for (size_t i = 0; i < value_len(to); i++)
        for (size_t k = 0; k < value_len(source); k++)
            if (str_eq(value_path_str(value_at(to, i), "name"), value_path_str(value_at(source, k), "name"))) {
                carry_path(a, value_at(to, i), value_at(source, k), "resources");
                carry_path(a, value_at(to, i), value_at(source, k), "resizePolicy");
            }
}

struct value *sub_restrict(struct api_request *req, struct value *v, const struct value *old)
{
    struct arena *a = req->arena;
    struct str name = req->subresource->name;
    struct value *out = value_copy(a, old);
    if (str_eqz(name, "finalize")) {
        carry_path(a, out, v, "spec.finalizers");
        carry_path(a, out, v, "metadata");
    } else if (str_eqz(name, "ephemeralcontainers")) {
        carry_path(a, out, v, "spec.ephemeralContainers");
    } else if (str_eqz(name, "resize")) {
        carry_resources(a, out, v, "spec.containers");
        carry_resources(a, out, v, "spec.initContainers");
        carry_path(a, out, v, "spec.resources");
    } else if (str_eqz(name, "approval")) {
        carry_path(a, out, v, "status.conditions");
    } else {
        return v;
    }
    return out;
}
