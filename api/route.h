/* route: what a request's method and path ask for, read as upstream reads them. No table is consulted here, so that
 * authorization can speak about resources that do not exist.
 */
#ifndef SKIFF_API_ROUTE_H
#define SKIFF_API_ROUTE_H

#include "base/arena.h"
#include "base/str.h"
#include "openapi/schema.h"

struct route {
    bool is_resource;
    bool namespaced; /* the path has /namespaces/NS/ in front */
    struct str path; /* decoded, as the client sent it */
    struct str group, version, namespace_, resource, name, subresource;
    struct str rest;   /* behind a proxy subresource, with its leading slash; STR_NULL when nothing follows */
    struct str action; /* what authorization calls it: "list", "get", … */
    enum verb verb;    /* 0 = no verb goes with this method */
    bool watch_path;   /* the old /watch/ prefix */
};

/* Strings live in the arena. false: the path cannot be read (bad percent-encoding). */
bool route_parse(struct arena *a, struct str method, struct str raw_path, struct str raw_query, struct route *ret);

#endif
