#include "api/verbs/verb.h"

static void get_now(struct api_request *req)
{
    const struct object *o = cache_find(req->server->cache, api_store(req), req->namespace_, req->name);
    if (!o) {
        struct err err = ERR_INIT;
        api_err_not_found(req, req->name, &err);
        api_answer_err(req, &err);
        return;
    }
    api_answer_object(req, 200, o);
    object_put(o);
}

void verb_get(struct api_request *req)
{
    struct err err = ERR_INIT;
    int64_t revision;
    if (revision_parse(req->options.resource_version, &revision, &err) < 0) {
        api_answer_err(req, &err);
        return;
    }
    verb_after_revision(req, revision, get_now);
}
