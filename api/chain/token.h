/* token: service-account tokens, JSON Web Tokens signed with ES256 (the cluster's own P-256 key).
 *
 * Verification here is signature, issuer and time. Whether the account and the bound pod, secret or node still exist is
 * the authenticator's business (api/chain/authn.h).
 */
#ifndef SKIFF_API_CHAIN_TOKEN_H
#define SKIFF_API_CHAIN_TOKEN_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

#define TOKEN_ISSUER "https://kubernetes.default.svc.cluster.local"

struct token_signer;

struct token_object { /* name STR_NULL or empty: not bound to one */
    struct str name, uid;
};
struct token_claims {
    struct str issuer, subject, id; /* set by token_issue; subject is system:serviceaccount:NS:NAME */
    const struct str *audiences;    /* none given: the issuer itself */
    size_t n_audiences;
    int64_t issued_s, not_before_s, expires_s; /* Unix time; issue sets the first two when 0 */
    struct str namespace_;
    struct token_object service_account, pod, node, secret;
    int64_t warn_after_s; /* 0 = none: extended tokens of old-style volumes */
};

int token_signer_create(const char *key_pem, struct token_signer **ret, struct err *err);
void token_signer_destroy(struct token_signer *s);

/* Thread-safe. The token is in the arena. */
int token_issue(struct token_signer *s, struct arena *a, const struct token_claims *claims, struct str *ret_token,
                struct err *err);
/* 0 with the claims in the arena; 1 = not a token of ours (other issuer, not a JWT); ERR_UNAUTHORIZED = ours and bad.
 */
int token_verify(struct token_signer *s, struct arena *a, struct str token, struct token_claims *ret, struct err *err);
/* The public key as a JSON Web Key Set. */
struct str token_jwks(struct token_signer *s, struct arena *a);

#endif
