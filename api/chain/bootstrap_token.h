/* bootstrap tokens: "abcdef.0123456789abcdef", kept as Secrets bootstrap-token-ID in kube-system, good for joining. */
#ifndef SKIFF_API_CHAIN_BOOTSTRAP_TOKEN_H
#define SKIFF_API_CHAIN_BOOTSTRAP_TOKEN_H

#include "api/chain/identity.h"
#include "storage/cache/cache.h"

/* 0 with a reference for the caller; 1 = not such a token; ERR_UNAUTHORIZED = expired, unknown or wrong. */
int bootstrap_token_identity(struct cache *cache, const struct resource *secrets, struct str token,
                             struct identity **ret, struct err *err);

#endif
