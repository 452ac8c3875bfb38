/* From an authorized request to the verb that carries it out. */
#include "api/verbs/verb.h"

static uint16_t offered(const struct api_request *req)
{
    return req->subresource ? req->subresource->verbs : req->version->verbs;
}

void api_verb_run(struct api_request *req)
{
    struct err err = ERR_INIT;
    if (!(offered(req) & req->verb)) {
        api_err_no_method(req, &err);
        api_answer_err(req, &err);
        return;
    }
    if (req->resource->namespaced && !req->namespace_.len &&
        !(req->verb & (VERB_LIST | VERB_WATCH | VERB_DELETE_COLLECTION))) {
        err_set(&err, ERR_BAD_REQUEST, "namespace is required");
        api_answer_err(req, &err);
        return;
    }
    if (req->subresource ? verb_subresource(req) : verb_virtual(req))
        return;
    switch (req->verb) {
    case VERB_GET:
        verb_get(req);
        return;
    case VERB_LIST:
        verb_list(req);
        return;
    case VERB_WATCH:
        verb_watch(req);
        return;
    case VERB_CREATE:
        verb_create(req);
        return;
    case VERB_UPDATE:
        verb_update(req);
        return;
    case VERB_PATCH:
        verb_patch(req);
        return;
    case VERB_DELETE:
        verb_delete(req);
        return;
    case VERB_DELETE_COLLECTION:
        verb_delete_collection(req);
        return;
    default:
        api_err_no_method(req, &err);
        api_answer_err(req, &err);
    }
}
