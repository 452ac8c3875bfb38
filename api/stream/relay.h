/* relay: a request carried on to another HTTP server (an agent, a pod), and its answer back: whole bodies, endless ones
 * (logs -f), and connections that are handed over (WebSocket, SPDY), whose bytes are passed on as they come.
 */
#ifndef SKIFF_API_STREAM_RELAY_H
#define SKIFF_API_STREAM_RELAY_H

#include "api/chain/chain.h"

enum relay_kind {
    RELAY_LOG,     /* a text; failures become Status */
    RELAY_UPGRADE, /* the connection changes hands; failures become Status */
    RELAY_PROXY,   /* everything is passed on as it is, failures of the target too */
};

struct relay_target {
    enum relay_kind kind;
    struct str origin; /* "https://10.0.0.1:10250" */
    struct str path;   /* with its query, encoded */
};

/* Takes the request over and ends it. */
void relay_run(struct chain_request *c, const struct relay_target *target);

#endif
