/* Subresources: what is asked below a resource's name. */
#include "api/verbs/subresource.h"

typedef void run_fn(struct api_request *req);

static const struct {
    const char *group, *resource, *name; /* "*" = any */
    run_fn *run;
} table[] = {
    {"*", "*", "status", sub_status},
    {"*", "*", "scale", sub_scale},
    {"", "pods", "binding", sub_binding},
    {"", "pods", "eviction", sub_eviction},
    {"", "pods", "ephemeralcontainers", sub_partial},
    {"", "pods", "resize", sub_partial},
    {"", "serviceaccounts", "token", sub_token},
    {"", "namespaces", "finalize", sub_partial},
    {"certificates.k8s.io", "certificatesigningrequests", "approval", sub_partial},
};

static bool is(const char *pattern, struct str s)
{
    return strcmp(pattern, "*") == 0 || str_eqz(s, pattern);
}

bool verb_subresource(struct api_request *req)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (is(table[i].group, req->resource->group) && is(table[i].resource, req->resource->name) &&
            is(table[i].name, req->subresource->name)) {
            table[i].run(req);
            return true;
        }
    struct err err = ERR_INIT;
    api_err_no_resource(req, &err);
    api_answer_err(req, &err);
    return true;
}

/* Status updates are updates of which only the status counts (update.c). */
void sub_status(struct api_request *req)
{
    if (req->verb == VERB_GET)
        verb_get(req);
    else if (req->verb == VERB_PATCH)
        verb_patch(req);
    else
        verb_update(req);
}

/* The others whose body is the object itself: a part of it counts, the rest stays as stored. */
void sub_partial(struct api_request *req)
{
    sub_status(req);
}
