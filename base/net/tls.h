/* tls: contexts and certificates (OpenSSL). Connections themselves are run by the HTTP server and client. */
#ifndef SKIFF_BASE_NET_TLS_H
#define SKIFF_BASE_NET_TLS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_context; /* counted inside; shared by threads */

struct tls_options {
    const char *cert_pem, *key_pem; /* texts, not files; NULL = none (clients) */
    const char *ca_pem;             /* verifies the peer; NULL = do not ask (servers), system roots (clients) */
    bool server;
    bool require_peer; /* servers: refuse clients without a certificate; else it is optional */
    bool insecure;     /* clients: do not verify (probes) */
    bool alpn_h2, alpn_http1;
};
int tls_context_create(const struct tls_options *opt, struct tls_context **ret, struct err *err);
void tls_context_destroy(struct tls_context *c); /* connections made from it live on; NULL is fine */
/* For those who run connections: the SSL_CTX, and what OpenSSL last complained of on this thread (clears its queue). */
struct ssl_ctx_st *tls_context_ssl(const struct tls_context *c);
void tls_last_error(char *ret_text, size_t size);

/* Key pairs and certificates, P-256 and ECDSA with SHA-256. All texts are PEM, malloc'd. */
struct tls_pair {
    char *cert_pem, *key_pem;
};
void tls_pair_finish(struct tls_pair *p);
struct tls_cert_request {
    const char *common_name;
    const char *const *organizations; /* NULL-terminated or NULL */
    const char *const *dns_names;
    const char *const *ip_addresses;
    bool ca, server_auth, client_auth;
    int64_t valid_days;
};
/* signer NULL: self-signed. */
int tls_cert_create(const struct tls_cert_request *req, const struct tls_pair *signer, struct tls_pair *ret,
                    struct err *err);
int tls_key_create(char **ret_key_pem, struct err *err); /* P-256 private key, for signing tokens */

#endif
