#include "api/stream/stream.h"

bool stream_run(struct chain_request *c)
{
    struct str sub = c->req.subresource ? c->route.subresource : STR_NULL;
    if (str_eq(sub, STR("log")))
        stream_log(c);
    else if (str_eq(sub, STR("exec")) || str_eq(sub, STR("attach")) || str_eq(sub, STR("portforward")))
        stream_session(c);
    else if (str_eq(sub, STR("proxy")))
        stream_proxy(c);
    else
        return false;
    return true;
}
