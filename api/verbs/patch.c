/* PATCH: apply to what is stored now, then go on as an update; again when something else was faster. */
#include "api/patch/patch.h"
#include "api/registry/registry.h"
#include "api/verbs/verb.h"

struct patching {
    enum patch_type type;
    struct value *patch;
};

static int compute(struct write *w, struct err *err)
{
    struct api_request *req = w->req;
    const struct patching *p = w->arg;
    struct value *v;
    int rc = write_load(w, err);
    if (rc < 0)
        return rc;
    struct value *original = answer_value(req, w->old, err);
    if (!original)
        return err->code;
    rc = patch_apply(req, p->type, req->version->message, original, p->patch, &v, err);
    if (rc < 0 || (rc = body_to_storage(req, v, &v, err)) < 0)
        return rc;
    return update_compute(w, v, err);
}

void verb_patch(struct api_request *req)
{
    struct err err = ERR_INIT;
    struct patching *p = ARENA_NEW(req->arena, struct patching);
    if (patch_type_of(req, &p->type, &err) < 0 || patch_decode(req, p->type, &p->patch, &err) < 0) {
        api_answer_err(req, &err);
        return;
    }
    struct write *w = write_create(req, compute);
    w->arg = p;
    w->retry = true;
    write_run(w);
}
