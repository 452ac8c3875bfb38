/* subresource: one function per subresource that is carried out here (streams are in api/stream). */
#ifndef SKIFF_API_VERBS_SUBRESOURCE_H
#define SKIFF_API_VERBS_SUBRESOURCE_H

#include "api/verbs/verb.h"

void sub_status(struct api_request *req);
void sub_partial(struct api_request *req);
void sub_scale(struct api_request *req);
void sub_binding(struct api_request *req);
void sub_eviction(struct api_request *req);
void sub_token(struct api_request *req);

/* For the subresources whose body is the object: `v` cut down to what this one may change. */
struct value *sub_restrict(struct api_request *req, struct value *v, const struct value *old);

/* {"kind":"Status","status":"Success"} with 201, as binding and eviction answer. */
void sub_answer_created(struct api_request *req);

#endif
