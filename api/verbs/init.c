#include "api/admission/admission.h"
#include "api/registry/services.h"
#include "api/verbs/verb.h"

int api_verbs_init(struct api_server *s, struct err *err)
{
    struct service_range range;
    int rc = service_range_of(s, &range, err);
    return rc < 0 ? rc : admission_create(s, s->options.disable_admission, &s->admission, err);
}

void api_verbs_finish(struct api_server *s)
{
    admission_destroy(s->admission);
    s->admission = NULL;
}
