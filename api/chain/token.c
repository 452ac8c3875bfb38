#include "api/chain/token.h"

#include "base/base64.h"
#include "base/clock.h"
#include "openapi/json.h"
#include "openapi/value.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

#define COORDINATE 32 /* bytes of a P-256 coordinate and of a signature's halves */
#define CLOCK_SKEW_S 10

struct token_signer {
    EVP_PKEY *key;
    char key_id[64];
};

static struct str bytes_of(const void *p, size_t len)
{
    return (struct str){p, len};
}

/* ---- the key ---- */

int token_signer_create(const char *key_pem, struct token_signer **ret, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(key_pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (!key || EVP_PKEY_get_bits(key) != 256 || !EVP_PKEY_is_a(key, "EC")) {
        EVP_PKEY_free(key);
        ERR_clear_error();
        return err_set(err, ERR_BAD_REQUEST, "the service-account key is not a P-256 private key in PEM");
    }
    struct token_signer *s = calloc(1, sizeof *s);
    s->key = key;
    unsigned char *der = NULL, sum[SHA256_DIGEST_LENGTH];
    int len = i2d_PUBKEY(key, &der);
    SHA256(der, (size_t)len, sum);
    OPENSSL_free(der);
    struct arena *a = arena_create(0);
    struct str id = base64url_encode(a, bytes_of(sum, sizeof sum));
    memcpy(s->key_id, id.p, id.len);
    arena_destroy(a);
    *ret = s;
    return 0;
}

void token_signer_destroy(struct token_signer *s)
{
    if (!s)
        return;
    EVP_PKEY_free(s->key);
    free(s);
}

static bool sign(struct token_signer *s, struct str text, unsigned char ret[2 * COORDINATE])
{
    unsigned char der[128];
    size_t der_len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
              EVP_DigestSign(ctx, der, &der_len, (const unsigned char *)text.p, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    const unsigned char *p = der;
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &p, (long)der_len) : NULL;
    ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), ret, COORDINATE) == COORDINATE &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), ret + COORDINATE, COORDINATE) == COORDINATE;
    ECDSA_SIG_free(sig);
    return ok;
}

static bool signature_good(struct token_signer *s, struct str text, struct str signature)
{
    if (signature.len != 2 * COORDINATE)
        return false;
    const unsigned char *p = (const unsigned char *)signature.p;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(p, COORDINATE, NULL), BN_bin2bn(p + COORDINATE, COORDINATE, NULL));
    unsigned char *der = NULL;
    int len = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = len > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)len, (const unsigned char *)text.p, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok;
}

/* ---- claims ---- */

static void set_object(struct arena *a, struct value *map, const char *key, const struct token_object *o)
{
    if (!o->name.len)
        return;
    struct value *v = value_map(a);
    value_setz(a, v, "name", value_string(a, o->name));
    value_setz(a, v, "uid", value_string(a, o->uid));
    value_setz(a, map, key, v);
}

static struct value *claims_value(struct arena *a, const struct token_claims *c)
{
    struct value *v = value_map(a), *audiences = value_list(a), *private_ = value_map(a);
    for (size_t i = 0; i < c->n_audiences; i++)
        value_append(a, audiences, value_string(a, c->audiences[i]));
    if (!c->n_audiences)
        value_append(a, audiences, value_stringz(a, TOKEN_ISSUER));
    value_setz(a, private_, "namespace", value_string(a, c->namespace_));
    set_object(a, private_, "node", &c->node);
    set_object(a, private_, "pod", &c->pod);
    set_object(a, private_, "secret", &c->secret);
    set_object(a, private_, "serviceaccount", &c->service_account);
    if (c->warn_after_s)
        value_setz(a, private_, "warnafter", value_int(a, c->warn_after_s));
    value_setz(a, v, "aud", audiences);
    value_setz(a, v, "exp", value_int(a, c->expires_s));
    value_setz(a, v, "iat", value_int(a, c->issued_s));
    value_setz(a, v, "iss", value_string(a, c->issuer));
    value_setz(a, v, "jti", value_string(a, c->id));
    value_setz(a, v, "kubernetes.io", private_);
    value_setz(a, v, "nbf", value_int(a, c->not_before_s));
    value_setz(a, v, "sub", value_string(a, c->subject));
    return v;
}

static struct str new_id(struct arena *a)
{
    unsigned char b[16];
    RAND_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
                        b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

int token_issue(struct token_signer *s, struct arena *a, const struct token_claims *claims, struct str *ret_token,
                struct err *err)
{
    struct token_claims c = *claims;
    c.issuer = STR(TOKEN_ISSUER);
    c.id = new_id(a);
    c.subject = arena_printf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(c.namespace_),
                             STR_ARG(c.service_account.name));
    if (!c.issued_s)
        c.issued_s = clock_wall_ms() / 1000;
    if (!c.not_before_s)
        c.not_before_s = c.issued_s;
    struct buf json = {0};
    json_encode(&json, claims_value(a, &c));
    struct str header = arena_printf(a, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", s->key_id);
    header = base64url_encode(a, header);
    struct str body = base64url_encode(a, buf_str(&json));
    buf_free(&json);
    struct str text = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(header), STR_ARG(body));
    unsigned char signature[2 * COORDINATE];
    if (!sign(s, text, signature)) {
        ERR_clear_error();
        return err_set(err, ERR_INTERNAL, "signing the token failed");
    }
    struct str tail = base64url_encode(a, bytes_of(signature, sizeof signature));
    *ret_token = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(text), STR_ARG(tail));
    return 0;
}

static struct token_object get_object(const struct value *private_, const char *key)
{
    const struct value *v = value_getz(private_, key);
    return (struct token_object){value_path_str(v, "name"), value_path_str(v, "uid")};
}

static int claims_read(struct arena *a, const struct value *v, struct token_claims *ret)
{
    const struct value *private_ = value_getz(v, "kubernetes.io"), *audiences = value_getz(v, "aud");
    *ret = (struct token_claims){
        .issuer = value_path_str(v, "iss"),
        .subject = value_path_str(v, "sub"),
        .id = value_path_str(v, "jti"),
        .issued_s = value_path_int(v, "iat", 0),
        .not_before_s = value_path_int(v, "nbf", 0),
        .expires_s = value_path_int(v, "exp", 0),
        .namespace_ = value_path_str(private_, "namespace"),
        .service_account = get_object(private_, "serviceaccount"),
        .pod = get_object(private_, "pod"),
        .node = get_object(private_, "node"),
        .secret = get_object(private_, "secret"),
        .warn_after_s = value_path_int(private_, "warnafter", 0),
    };
    size_t n = value_is(audiences, VALUE_STRING) ? 1 : value_len(audiences);
    struct str *list = ARENA_ARRAY(a, struct str, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = value_is(audiences, VALUE_STRING) ? audiences->string : value_str(value_at(audiences, i));
    ret->audiences = list;
    ret->n_audiences = n;
    return 0;
}

int token_verify(struct token_signer *s, struct arena *a, struct str token, struct token_claims *ret, struct err *err)
{
    struct str rest = token, header, body, json;
    if (!str_split(&rest, '.', &header) || !str_split(&rest, '.', &body) || !rest.p || str_contains(rest, STR(".")))
        return 1;
    struct json_options opt = {0};
    struct value *v;
    struct err ignored = ERR_INIT;
    if (!base64_decode(a, header, &json) || json_decode(a, json, &opt, &v, &ignored) < 0 || !value_is(v, VALUE_MAP))
        return 1;
    struct str alg = value_path_str(v, "alg");
    if (!base64_decode(a, body, &json) || json_decode(a, json, &opt, &v, &ignored) < 0 || !value_is(v, VALUE_MAP))
        return 1;
    if (!str_eq(value_path_str(v, "iss"), STR(TOKEN_ISSUER)))
        return 1;
    struct str signature, text = {token.p, header.len + 1 + body.len};
    if (!str_eq(alg, STR("ES256")) || !base64_decode(a, rest, &signature) || !signature_good(s, text, signature))
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token");
    claims_read(a, v, ret);
    int64_t now = clock_wall_ms() / 1000;
    if (now > ret->expires_s + CLOCK_SKEW_S)
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, service account token has expired");
    if (now + CLOCK_SKEW_S < ret->not_before_s)
        return err_set(err, ERR_UNAUTHORIZED, "invalid bearer token, service account token is not valid yet");
    return 0;
}

struct str token_jwks(struct token_signer *s, struct arena *a)
{
    unsigned char point[2 * COORDINATE + 1];
    size_t len = 0;
    EVP_PKEY_get_octet_string_param(s->key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len);
    if (len != sizeof point)
        return STR("{\"keys\":[]}");
    struct str x = base64url_encode(a, bytes_of(point + 1, COORDINATE));
    struct str y = base64url_encode(a, bytes_of(point + 1 + COORDINATE, COORDINATE));
    return arena_printf(a,
                        "{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"P-256\",\"alg\":\"ES256\","
                        "\"x\":\"" STR_FMT "\",\"y\":\"" STR_FMT "\"}]}",
                        s->key_id, STR_ARG(x), STR_ARG(y));
}
