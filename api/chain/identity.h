/* identity: one authenticated user, counted, so that connections, the token cache and requests share it. */
#ifndef SKIFF_API_CHAIN_IDENTITY_H
#define SKIFF_API_CHAIN_IDENTITY_H

#include "api/chain/token.h"
#include "api/request.h"
#include "base/ref.h"

struct identity {
    struct ref ref;
    struct arena *arena; /* everything below lives here */
    struct api_user user;
    struct token_claims claims;       /* of a service-account token; subject STR_NULL otherwise */
    _Atomic int64_t checked_revision; /* the claims' objects were seen alive at this revision of the cache */
};

struct identity *identity_create(void);
/* The groups are copied; system:authenticated is added at the end unless it is there. */
void identity_set(struct identity *id, struct str name, struct str uid, const struct str *groups, size_t n_groups);
void identity_add_extra(struct identity *id, const char *key, struct str value);
static inline void identity_put(struct identity *id)
{
    ref_put(id ? &id->ref : NULL);
}
/* Keep it alive as long as the arena. */
const struct api_user *identity_hold(struct identity *id, struct arena *arena);

#endif
