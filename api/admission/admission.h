/* admission: the plugins between "may do this verb" and "is stored": first those that complete an object, after
 * validation those that only refuse. One table (admission.c), each plugin a file; --disable-admission takes names out.
 *
 * A refusal is an err with the whole sentence (api_err_forbidden); details of another object go to req->details.
 */
#ifndef SKIFF_API_ADMISSION_ADMISSION_H
#define SKIFF_API_ADMISSION_ADMISSION_H

#include "api/verbs/verb.h"

struct admission;

struct admission_call {
    struct api_request *req;
    struct arena *arena;
    struct api_server *server;
    enum verb verb; /* CREATE, UPDATE, DELETE */
    const struct resource *resource;
    struct str subresource; /* STR_NULL = none */
    struct str namespace_, name;
    struct value *object;    /* storage version; NULL for deletions */
    const struct value *old; /* NULL for creations */
    struct write *write;     /* further writes of the same transaction (quota) */
};

struct admission_plugin {
    const char *name;
    int (*mutate)(struct admission_call *c, struct err *err); /* WRITE_SOON: what it needs is about to appear */
    int (*validate)(struct admission_call *c, struct err *err);
};

int admission_create(struct api_server *server, const char *disabled, struct admission **ret, struct err *err);
void admission_destroy(struct admission *a);
int admission_mutate(struct admission *a, struct admission_call *c, struct err *err);
int admission_validate(struct admission *a, struct admission_call *c, struct err *err);

/* What most plugins ask first. */
bool admission_is(const struct admission_call *c, const char *group, const char *resource); /* and no subresource */
/* A stored object; the reference is the arena's. NULL when absent. */
const struct object *admission_find(struct admission_call *c, const char *group, const char *resource,
                                    struct str namespace_, struct str name);
/* All of a resource in a namespace ("" = all). */
struct object_tree *admission_list(struct admission_call *c, const char *group, const char *resource);

extern const struct admission_plugin admission_namespace_lifecycle, admission_service_account, admission_priority,
    admission_default_toleration_seconds, admission_taint_nodes_by_condition, admission_limit_ranger,
    admission_resource_quota, admission_default_storage_class, admission_storage_object_in_use_protection;

#endif
