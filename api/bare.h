/* bare: what a server answers that serves no Kubernetes API (--disable api): health, version and, to administrators,
 * metrics. */
#ifndef SKIFF_API_BARE_H
#define SKIFF_API_BARE_H

#include "base/net/http.h"

void bare_handle(void *server, struct http_exchange *ex); /* an http_handler; arg is the struct api_server */

#endif
