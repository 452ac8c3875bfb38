/* GET /skiff/snapshot: the whole store as a snapshot file (storage/snapshot/README.md), streamed as the reader takes
 * it. Values that are sealed at rest stay sealed; everything else is in it, so it takes the right to `get` this path,
 * which administrators have. */
#ifndef SKIFF_API_SNAPSHOT_ENDPOINT_H
#define SKIFF_API_SNAPSHOT_ENDPOINT_H

#include "api/chain/chain.h"

void answer_snapshot(struct chain_request *c);

#endif
