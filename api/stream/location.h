/* location: where the target of a streaming request lives: which agent, which container, in upstream's words when there
 * is none.
 */
#ifndef SKIFF_API_STREAM_LOCATION_H
#define SKIFF_API_STREAM_LOCATION_H

#include "api/chain/chain.h"

/* The pod the request names; ERR_NOT_FOUND. A tree in the request's arena. */
int location_pod(struct chain_request *c, struct str name, struct value **ret, struct err *err);
/* The container asked for, or the only one. ERR_BAD_REQUEST. */
int location_container(struct chain_request *c, const struct value *pod, struct str asked, struct str *ret,
                       struct err *err);
/* "https://address:port" of a node's agent. */
int location_agent(struct chain_request *c, struct str node, struct str *ret_origin, struct err *err);

/* Append name=value to a path, encoded, with '?' or '&'. */
void location_add(struct buf *path, const char *name, struct str value);
void location_encode(struct buf *out, struct str s); /* a path segment or a query value */

/* A query parameter, STR_NULL when absent; the first one counts. */
struct str location_param(struct chain_request *c, const char *name);
bool location_flag(struct chain_request *c, const char *name);

#endif
