/* claims: what Services hold of what there is once: IPAddress objects and node ports (api/registry/services.h).
 * Clusters before 1.33 kept both in bitmaps, later ones only the ports. */
#ifndef SKIFF_STORAGE_TAKEOVER_CLAIMS_H
#define SKIFF_STORAGE_TAKEOVER_CLAIMS_H

#include "base/arena.h"
#include "base/err.h"

typedef int claim_fn(void *arg, struct str key, struct str value, struct err *err);
/* A claim for each address and port of the Service (its JSON). Some may come twice. */
int claims_of_service(struct arena *a, struct str json, claim_fn *fn, void *arg, struct err *err);

#endif
