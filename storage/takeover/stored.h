/* stored: an object as a stock API server left it in etcd, JSON or protobuf, in whatever version, as the JSON that
 * Skiff stores: the storage version with its defaults, kind and apiVersion in front, no resourceVersion. */
#ifndef SKIFF_STORAGE_TAKEOVER_STORED_H
#define SKIFF_STORAGE_TAKEOVER_STORED_H

#include "base/arena.h"
#include "base/err.h"
#include "openapi/value.h"

/* Allocations of node ports: PREFIX and five digits, holding "namespace/name" of the Service (api/registry/services.h).
 */
#define STORED_PORT_PREFIX STR("/registry/ranges/nodeports/")

enum stored_answer {
    STORED_OBJECT = 0,
    STORED_AS_IT_IS = 1, /* *ret_json are the bytes given: custom resources, Skiff's own allocations */
    STORED_UNSERVED = 2, /* a kind or version that is not served; *ret_name says which */
};

/* Answers one of these; ERR_CORRUPT when the value is no object of its key's resource. */
int stored_read(struct arena *a, struct str key, struct str value, struct str *ret_json, struct str *ret_name,
                struct err *err);
/* "secrets", "deployments.apps"; what is no built-in resource by its prefix ("/registry/ranges"). */
struct str stored_resource_name(struct arena *a, struct str key);

#endif
