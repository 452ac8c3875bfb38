/* options: the query parameters of API requests, parsed and checked.
 *
 * Unknown parameters are ignored as upstream does. Malformed ones are ERR_BAD_REQUEST; combinations that upstream's
 * validation refuses (continue with resourceVersion, sendInitialEvents without watch …) are ERR_INVALID.
 */
#ifndef SKIFF_API_OPTIONS_H
#define SKIFF_API_OPTIONS_H

#include "api/request.h"

/* `query` is raw (still percent-encoded). Strings of the result live in the arena. */
int api_options_parse(struct arena *a, struct str query, enum verb verb, struct api_options *ret, struct err *err);

/* The options of a request without any: what the in-process client starts from. */
struct api_options api_options_default(void);

#endif
