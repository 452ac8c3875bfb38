/* health: /healthz, /livez and /readyz with their checks, each alone under its name, all with ?verbose. */
#ifndef SKIFF_API_HEALTH_H
#define SKIFF_API_HEALTH_H

#include "api/chain/chain.h"

bool health_run(struct chain_request *c); /* false: not such a path */

#endif
