#include "base/net/tls.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct tls_context {
    SSL_CTX *ssl;
    bool server;
    unsigned char alpn[16]; /* in wire form, preferred first */
    unsigned alpn_len;
};

void tls_last_error(char *ret_text, size_t size)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    snprintf(ret_text, size, "%s", reason ? reason : e ? "TLS error" : "no reason given");
    ERR_clear_error();
}

static int fail(struct err *err, enum err_code code, const char *what)
{
    char text[256];
    tls_last_error(text, sizeof text);
    return err_set(err, code, "%s: %s", what, text);
}

static BIO *bio_of(const char *pem)
{
    BIO *b = BIO_new_mem_buf(pem, -1);
    if (!b)
        abort();
    return b;
}

static int context_use_chain(SSL_CTX *ssl, const char *cert_pem, const char *key_pem, struct err *err)
{
    BIO *b = bio_of(cert_pem);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
    bool ok = x && SSL_CTX_use_certificate(ssl, x) == 1;
    X509_free(x);
    while (ok && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)))
        ok = SSL_CTX_add0_chain_cert(ssl, x) == 1;
    BIO_free(b);
    if (!ok)
        return fail(err, ERR_INVALID, "certificate");
    ERR_clear_error(); /* the end of the PEM text */
    b = bio_of(key_pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    ok = key && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    BIO_free(b);
    return ok ? 0 : fail(err, ERR_INVALID, "private key");
}

static int context_trust(SSL_CTX *ssl, const char *ca_pem, bool server, struct err *err)
{
    BIO *b = bio_of(ca_pem);
    X509 *x;
    int n = 0;
    while ((x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x);
        if (server)
            SSL_CTX_add_client_CA(ssl, x);
        X509_free(x);
        n++;
    }
    BIO_free(b);
    ERR_clear_error();
    return n ? 0 : err_set(err, ERR_INVALID, "certificate authorities: no certificate found");
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    (void)ssl;
    const struct tls_context *c = arg;
    for (unsigned i = 0; i < c->alpn_len; i += 1u + c->alpn[i])
        for (unsigned j = 0; j < in_len; j += 1u + in[j])
            if (in[j] == c->alpn[i] && j + 1u + in[j] <= in_len && !memcmp(in + j + 1, c->alpn + i + 1, in[j])) {
                *out = in + j + 1;
                *out_len = in[j];
                return SSL_TLSEXT_ERR_OK;
            }
    return SSL_TLSEXT_ERR_NOACK; /* as without ALPN: HTTP/1.1 */
}

static void context_set_alpn(struct tls_context *c, bool h2, bool http1)
{
    if (h2) {
        memcpy(c->alpn, "\x02h2", 3);
        c->alpn_len = 3;
    }
    if (http1) {
        memcpy(c->alpn + c->alpn_len, "\x08http/1.1", 9);
        c->alpn_len += 9;
    }
    if (!c->alpn_len)
        return;
    if (c->server)
        SSL_CTX_set_alpn_select_cb(c->ssl, choose_alpn, c);
    else
        SSL_CTX_set_alpn_protos(c->ssl, c->alpn, c->alpn_len);
}

/* A certificate that does not verify is let in and told to the handler (http_peer.cert_invalid): whoever shows it gets
 * an answer 401, as from upstream, rather than a broken handshake. */
static int note_and_accept(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

int tls_context_create(const struct tls_options *opt, struct tls_context **ret, struct err *err)
{
    struct tls_context *c = MEM_NEW(struct tls_context);
    c->server = opt->server;
    c->ssl = SSL_CTX_new(opt->server ? TLS_server_method() : TLS_client_method());
    if (!c->ssl)
        abort();
    SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Idle connections are the common case here: buffers are returned, no session is kept for resumption. */
    SSL_CTX_set_mode(c->ssl,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c->ssl, 0);
    SSL_CTX_set_read_ahead(c->ssl, 1);
    SSL_CTX_set_cipher_list(c->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set1_groups_list(c->ssl, "X25519:P-256:P-384");
    context_set_alpn(c, opt->alpn_h2, opt->alpn_http1);

    int rc = 0;
    if (opt->cert_pem)
        rc = context_use_chain(c->ssl, opt->cert_pem, opt->key_pem ? opt->key_pem : opt->cert_pem, err);
    if (!rc && opt->ca_pem)
        rc = context_trust(c->ssl, opt->ca_pem, opt->server, err);
    if (rc) {
        tls_context_destroy(c);
        return rc;
    }
    if (opt->server && opt->require_peer)
        SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    else if (opt->server && opt->ca_pem)
        SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, note_and_accept);
    else if (!opt->server && !opt->insecure) {
        if (!opt->ca_pem)
            SSL_CTX_set_default_verify_paths(c->ssl);
        SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    }
    *ret = c;
    return 0;
}

/* The ALPN callback refers to the context, so it goes with the last connection, not before. */
static void context_gone(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    free(ptr);
}

static int context_index;

__attribute__((constructor)) static void context_index_init(void)
{
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, context_gone);
}

void tls_context_destroy(struct tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_set_ex_data(c->ssl, context_index, c);
    SSL_CTX_free(c->ssl);
}

struct ssl_ctx_st *tls_context_ssl(const struct tls_context *c)
{
    return c->ssl;
}

/* ---- certificates ---- */

void tls_pair_finish(struct tls_pair *p)
{
    free(p->cert_pem);
    if (p->key_pem)
        OPENSSL_cleanse(p->key_pem, strlen(p->key_pem));
    free(p->key_pem);
    *p = (struct tls_pair){0};
}

static char *text_of(BIO *b)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);
    return mem_dup(p, (size_t)n);
}

static char *key_text(EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *text = b && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1 ? text_of(b) : NULL;
    BIO_free(b);
    return text;
}

int tls_key_create(char **ret_key_pem, struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    *ret_key_pem = key ? key_text(key) : NULL;
    EVP_PKEY_free(key);
    return *ret_key_pem ? 0 : fail(err, ERR_INTERNAL, "create a private key");
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* Built as a structure, not as configuration text: a name with a comma in it must not become two. */
static bool add_alt_names(X509 *x, const char *const *dns, const char *const *ips)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;
    for (; ok && dns && *dns; dns++) {
        GENERAL_NAME *n = GENERAL_NAME_new();
        ASN1_IA5STRING *s = ASN1_IA5STRING_new();
        ok = n && s && ASN1_STRING_set(s, *dns, -1) == 1;
        GENERAL_NAME_set0_value(n, GEN_DNS, s);
        ok = ok && sk_GENERAL_NAME_push(names, n) > 0;
    }
    for (; ok && ips && *ips; ips++) {
        GENERAL_NAME *n = GENERAL_NAME_new();
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(*ips);
        ok = n && ip;
        if (ok)
            GENERAL_NAME_set0_value(n, GEN_IPADD, ip);
        else
            GENERAL_NAME_free(n);
        ok = ok && sk_GENERAL_NAME_push(names, n) > 0;
    }
    if (ok && sk_GENERAL_NAME_num(names) > 0)
        ok = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool fill_subject(X509 *x, const struct tls_cert_request *req)
{
    X509_NAME *name = X509_get_subject_name(x);
    for (const char *const *o = req->organizations; o && *o; o++)
        if (!X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)*o, -1, -1, 0))
            return false;
    return !req->common_name ||
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)req->common_name, -1, -1, 0);
}

static bool fill_cert(X509 *x, EVP_PKEY *key, const struct tls_cert_request *req, X509 *issuer)
{
    unsigned char serial[16];
    if (RAND_bytes(serial, sizeof serial) != 1)
        return false;
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    /* An hour back: the clocks of a cluster are not one. */
    ok = ok && X509_set_version(x, 2) && X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
         X509_time_adj_ex(X509_getm_notAfter(x), (int)req->valid_days, 0, NULL) && X509_set_pubkey(x, key) &&
         fill_subject(x, req) && X509_set_issuer_name(x, X509_get_subject_name(issuer));
    char usage[64];
    snprintf(usage, sizeof usage, "%s%s%s", req->server_auth ? "serverAuth" : "",
             req->server_auth && req->client_auth ? "," : "", req->client_auth ? "clientAuth" : "");
    ok = ok && add_extension(x, issuer, NID_basic_constraints, req->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    ok = ok && add_extension(x, issuer, NID_key_usage,
                             req->ca ? "critical,digitalSignature,keyCertSign,cRLSign"
                                     : "critical,digitalSignature,keyEncipherment");
    ok = ok && (!usage[0] || add_extension(x, issuer, NID_ext_key_usage, usage));
    ok = ok && add_extension(x, issuer, NID_subject_key_identifier, "hash");
    ok = ok && (issuer == x || add_extension(x, issuer, NID_authority_key_identifier, "keyid"));
    return ok && add_alt_names(x, req->dns_names, req->ip_addresses);
}

static int load_signer(const struct tls_pair *signer, X509 **ret_cert, EVP_PKEY **ret_key, struct err *err)
{
    BIO *b = bio_of(signer->cert_pem);
    *ret_cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    b = bio_of(signer->key_pem);
    *ret_key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    return *ret_cert && *ret_key ? 0 : fail(err, ERR_INVALID, "the signer's certificate and key");
}

int tls_cert_create(const struct tls_cert_request *req, const struct tls_pair *signer, struct tls_pair *ret,
                    struct err *err)
{
    *ret = (struct tls_pair){0};
    X509 *ca = NULL;
    EVP_PKEY *ca_key = NULL;
    if (signer && load_signer(signer, &ca, &ca_key, err) < 0) {
        X509_free(ca);
        EVP_PKEY_free(ca_key);
        return err->code;
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *b = BIO_new(BIO_s_mem());
    if (key && x && b && fill_cert(x, key, req, ca ? ca : x) && X509_sign(x, ca_key ? ca_key : key, EVP_sha256()) &&
        PEM_write_bio_X509(b, x) == 1) {
        ret->cert_pem = text_of(b);
        ret->key_pem = key_text(key);
    }
    BIO_free(b);
    X509_free(x);
    EVP_PKEY_free(key);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    if (ret->cert_pem && ret->key_pem)
        return 0;
    tls_pair_finish(ret);
    return fail(err, ERR_INTERNAL, "create a certificate");
}
