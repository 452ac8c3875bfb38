/* openapi endpoint: /openapi/v3, /openapi/v3/<group version> and /openapi/v2, streamed from the schema tables. */
#ifndef SKIFF_API_OPENAPI_ENDPOINT_H
#define SKIFF_API_OPENAPI_ENDPOINT_H

#include "api/chain/chain.h"

bool openapi_run(struct chain_request *c); /* false: not such a path */

#endif
