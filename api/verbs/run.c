/* From an authorized request to the verb that carries it out. */
#include "api/verbs/verb.h"

static uint16_t offered(const struct api_request *req)
{
    return req->subresource ? req->subresource->verbs : req->version->verbs;
}

static void carry_out(struct api_request *req)
{
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
    default: {
        struct err err = ERR_INIT;
        api_err_no_method(req, &err);
        api_answer_err(req, &err);
    }
    }
}

/* Who reads without naming a resourceVersion sees all that was acknowledged, by whatever server. (Writers find out when
 * they have worked on something older: write.c.) */
static bool reads_newest(const struct api_request *req)
{
    return req->verb & (VERB_GET | VERB_LIST | VERB_WATCH | VERB_DELETE_COLLECTION) &&
           !req->options.resource_version.len;
}

static void newest_here(void *arg, int rc, const struct err *err)
{
    struct api_request *req = arg;
    if (rc < 0)
        verb_answer_store_err(req, err);
    else
        carry_out(req);
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
    if (reads_newest(req) && !cache_always_newest(req->server->cache))
        cache_wait_newest(req->server->cache, VERB_NEWEST_MS, req->loop, newest_here, req);
    else
        carry_out(req);
}
