/* authn: who is asking. Client certificates (CN and O), the static token file, service-account tokens, bootstrap
 * tokens, else system:anonymous.
 *
 * A verified token is remembered and revalidated when the objects it stands on (account, pod, secret, node) have moved
 * on; a connection's certificate identity is kept with the connection.
 */
#ifndef SKIFF_API_CHAIN_AUTHN_H
#define SKIFF_API_CHAIN_AUTHN_H

#include "api/request.h"
#include "api/server.h"

struct authenticator;

int authenticator_create(struct api_server *server, struct authenticator **ret, struct err *err);
void authenticator_destroy(struct authenticator *a);

/* The user of a request, valid as long as `arena`. ERR_UNAUTHORIZED: credentials were given and are not valid. */
int authn_request(struct authenticator *a, struct http_exchange *ex, struct arena *arena, const struct api_user **ret,
                  struct err *err);

struct api_attributes;

/* Impersonate-User and its companions: *user becomes whom the headers name, if `user` may. ERR_FORBIDDEN otherwise, and
 * *ret_refused is what was not allowed. */
int authn_impersonate(struct rbac *rbac, struct http_exchange *ex, struct arena *arena, const struct api_user **user,
                      struct api_attributes *ret_refused, struct err *err);

/* A bearer token on its own (TokenReview). Audiences asked for: none = the API server's. ret_audiences gets those of
 * the token that match. 0; 1 = nobody's token; ERR_UNAUTHORIZED with the reason. The user is in the arena. */
int authn_token(struct authenticator *a, struct arena *arena, struct str token, const struct str *audiences,
                size_t n_audiences, const struct api_user **ret, const struct str **ret_audiences,
                size_t *ret_n_audiences, struct err *err);

#endif
