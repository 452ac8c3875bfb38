/* stream: the subresources that are conversations with a node or a pod. Entry: stream_run (api/chain/chain.h). */
#ifndef SKIFF_API_STREAM_STREAM_H
#define SKIFF_API_STREAM_STREAM_H

#include "api/chain/chain.h"

void stream_log(struct chain_request *c);
void stream_session(struct chain_request *c); /* exec, attach, portforward */
void stream_proxy(struct chain_request *c);   /* of pods, services and nodes */

#endif
