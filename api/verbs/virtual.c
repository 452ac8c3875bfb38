/* Kinds without storage. */
#include "api/verbs/reviews.h"

static void component_statuses(struct api_request *req)
{
    struct err err = ERR_INIT;
    if (req->verb == VERB_GET) {
        api_err_not_found(req, req->name, &err);
        api_answer_err(req, &err);
        return;
    }
    struct arena *a = req->arena;
    struct value *v = value_map(a);
    api_warn(req, "v1 ComponentStatus is deprecated in v1.19+");
    value_setz(a, v, "kind", value_stringz(a, "ComponentStatusList"));
    value_setz(a, v, "apiVersion", value_stringz(a, "v1"));
    value_setz(a, v, "metadata", value_map(a));
    value_setz(a, v, "items", value_list(a));
    api_answer_value(req, 200, NULL, v);
}

bool verb_is_virtual(const struct resource *r)
{
    return !r->storage_prefix.len && (!r->stored_as || r->stored_as == r);
}

bool verb_virtual(struct api_request *req)
{
    if (!verb_is_virtual(req->resource))
        return false;
    if (str_eqz(req->resource->name, "componentstatuses"))
        component_statuses(req);
    else if (str_eqz(req->resource->name, "bindings"))
        sub_binding(req);
    else if (!verb_review(req)) {
        struct err err = ERR_INIT;
        api_err_no_resource(req, &err);
        api_answer_err(req, &err);
    }
    return true;
}
