/* reviews: authentication.k8s.io and authorization.k8s.io. */
#ifndef SKIFF_API_VERBS_REVIEWS_H
#define SKIFF_API_VERBS_REVIEWS_H

#include "api/verbs/subresource.h"

bool verb_review(struct api_request *req); /* false: not one of them */

#endif
