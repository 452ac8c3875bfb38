/* discovery: what is served, as clients ask for it: the classic documents (/api, /apis, /apis/G, /apis/G/V) and the
 * aggregated one (APIGroupDiscoveryList). Made from the resource tables once and kept with their ETag.
 */
#ifndef SKIFF_API_DISCOVERY_H
#define SKIFF_API_DISCOVERY_H

#include "api/chain/chain.h"

/* false: the path is not one of these. */
bool discovery_run(struct chain_request *c);

/* The documents themselves (tests). False when no such group or version is served. */
void discovery_api_versions(struct buf *out, struct str server_address);
void discovery_group_list(struct buf *out);
bool discovery_group(struct buf *out, struct str group);
bool discovery_resource_list(struct buf *out, struct str group, struct str version);
/* `core`: the core group alone (/api), else all others (/apis). `version` is "v2" or "v2beta1". */
void discovery_aggregated(struct buf *out, bool core, const char *version);

#endif
