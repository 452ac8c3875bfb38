/* status: failures as Kubernetes words them. The verbs compose the sentences with these; api_answer_err renders Status.
 */
#ifndef SKIFF_API_STATUS_H
#define SKIFF_API_STATUS_H

#include "api/request.h"

struct str api_group_resource(struct arena *a, const struct resource *r); /* "deployments.apps", "pods" */
struct str api_group_kind(struct arena *a, const struct resource *r);     /* "Deployment.apps", "Pod" */

int api_status_code(const struct err *err);           /* HTTP */
const char *api_status_reason(const struct err *err); /* "NotFound" */

/* Each sets err with upstream's sentence about an object of the request's resource and returns the code. */
int api_err_not_found(const struct api_request *req, struct str name, struct err *err);
int api_err_modified(const struct api_request *req, struct str name, struct err *err);
int api_err_forbidden(const struct api_request *req, struct str name, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The router's own refusals, with details in which nothing stands: no such path, no such method on it. */
int api_err_no_resource(struct api_request *req, struct err *err);
int api_err_no_method(struct api_request *req, struct err *err);
/* 500 with the message alone: no reason, no details. */
int api_err_bare(struct api_request *req, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int api_err_conflict(const struct api_request *req, struct str name, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
