#include "api/verbs/verb.h"

int selection_parse(struct api_request *req, struct selection *ret, struct err *err)
{
    struct selection s = {.namespace_ = req->resource->namespaced ? req->namespace_ : STR_NULL, .name = STR_NULL};
    int rc = label_selector_parse(req->arena, req->options.label_selector, &s.labels, err);
    if (rc < 0)
        return rc;
    rc = field_selector_parse(req->arena, req->options.field_selector, &s.fields, err);
    if (rc < 0)
        return rc;
    rc = field_selector_compile(&s.fields, req->resource, req->version, err);
    if (rc < 0)
        return rc;
    struct str ns = field_selector_requires(&s.fields, "metadata.namespace");
    if (ns.p && req->resource->namespaced) {
        if (s.namespace_.len && !str_eq(ns, s.namespace_))
            s.impossible = true;
        else if (ns.len)
            s.namespace_ = ns;
    }
    s.name = field_selector_requires(&s.fields, "metadata.name");
    if (req->name.len) {
        if (s.name.p && !str_eq(s.name, req->name))
            s.impossible = true;
        s.name = req->name;
    }
    s.all = !s.labels.len && !s.labels.nothing && !s.fields.len && !s.name.p && !s.impossible;
    *ret = s;
    return 0;
}

bool selection_matches(const struct selection *s, const struct object *o)
{
    if (s->all)
        return true;
    if (s->impossible || (s->name.p && !str_eq(s->name, o->name)))
        return false;
    return label_selector_matches(&s->labels, o) && field_selector_matches(&s->fields, o);
}

int revision_parse(struct str s, int64_t *ret, struct err *err)
{
    uint64_t n = 0;
    if (s.len && !str_to_u64(s, &n))
        return err_set(err, ERR_BAD_REQUEST,
                       "invalid resource version: resourceVersion: Invalid value: \"" STR_FMT
                       "\": strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax",
                       STR_ARG(s), STR_ARG(s));
    *ret = (int64_t)(n & INT64_MAX);
    return 0;
}

struct waiting {
    struct api_request *req;
    int64_t revision;
    void (*then)(struct api_request *req);
};

static void revision_reached(void *arg, int rc)
{
    struct waiting *w = arg;
    if (rc < 0) {
        struct err err = ERR_INIT;
        err_set(&err, ERR_TIMEOUT, "Too large resource version: %lld, current: %lld", (long long)w->revision,
                (long long)cache_revision(w->req->server->cache));
        api_answer_err(w->req, &err);
        return;
    }
    w->then(w->req);
}

void verb_after_revision(struct api_request *req, int64_t revision, void (*then)(struct api_request *req))
{
    if (revision <= cache_revision(req->server->cache)) {
        then(req);
        return;
    }
    struct waiting *w = ARENA_NEW(req->arena, struct waiting);
    *w = (struct waiting){.req = req, .revision = revision, .then = then};
    cache_wait_revision(req->server->cache, revision, 3000, req->loop, revision_reached, w);
}

void verb_answer_store_err(struct api_request *req, const struct err *err)
{
    const char *theirs = strstr(err->message, "etcdserver: ");
    struct err e = *err;
    if (err->code == ERR_UNAVAILABLE && req->exchange)
        api_err_bare(req, &e, "%s", theirs ? theirs : "etcdserver: request timed out");
    else if (err->code == ERR_TIMEOUT && req->exchange && !strstr(err->message, "Too large resource version"))
        err_set(&e, ERR_TIMEOUT, "request did not complete within requested timeout - context deadline exceeded");
    api_answer_err(req, &e);
}
