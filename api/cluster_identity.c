#include "api/cluster_identity.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define CLUSTER_KEY "/skiff/cluster"
#define SEALED_KEY "/skiff/cluster/sealed"
#define SEALED_AS STR("/registry/secrets/skiff/cluster") /* sealed as a Secret would be */
#define SEALED_TEXT STR("skiff")

/* ---- hashes of public keys ---- */

static struct str hex(struct arena *a, const unsigned char *bytes, size_t n)
{
    char *out = arena_alloc(a, 2 * n + 1);
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return (struct str){out, 2 * n};
}

static struct str key_hash(struct arena *a, EVP_PKEY *key)
{
    unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int len = key ? i2d_PUBKEY(key, &der) : -1;
    bool ok = len > 0 && EVP_Digest(der, (size_t)len, digest, &n, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return ok ? hex(a, digest, n) : STR("");
}

static struct str certificate_hash(struct arena *a, const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    struct str hash = key_hash(a, cert ? X509_get_pubkey(cert) : NULL);
    X509_free(cert);
    BIO_free(in);
    return hash;
}

static struct str private_key_hash(struct arena *a, const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    struct str hash = key_hash(a, PEM_read_bio_PrivateKey(in, NULL, NULL, NULL));
    BIO_free(in);
    return hash;
}

/* ---- what is sealed ---- */

/* A text that only whoever has the keys can read; as digits, so that nothing on its way takes it for a sealed value.
 * Nothing while a key service is away: the server starts all the same, and says so on /readyz. */
static int seal(struct arena *a, const struct crypt *crypt, struct str *ret, struct str *ret_key, struct err *err)
{
    struct buf out = {0};
    *ret = *ret_key = STR("");
    bool can = crypt_wants(crypt, SEALED_AS) && !crypt_trouble(crypt);
    int rc = can ? crypt_seal(crypt, SEALED_AS, SEALED_TEXT, &out, err) : 1;
    if (rc == 0) {
        *ret = hex(a, (const unsigned char *)out.p, out.len);
        *ret_key = crypt_key_id(buf_str(&out)).p ? arena_str(a, crypt_key_id(buf_str(&out))) : STR("");
    }
    buf_free(&out);
    return rc < 0 ? rc : 0;
}

static struct str unhex(struct arena *a, struct str text)
{
    char *out = arena_alloc(a, text.len / 2 + 1);
    for (size_t i = 0; i + 1 < text.len; i += 2) {
        unsigned byte = 0;
        char pair[3] = {text.p[i], text.p[i + 1], 0};
        sscanf(pair, "%2x", &byte);
        out[i / 2] = (char)byte;
    }
    return (struct str){out, text.len / 2};
}

static bool opens(struct arena *a, const struct crypt *crypt, struct str text)
{
    struct err ignored = ERR_INIT;
    struct buf out = {0};
    bool fits =
        crypt_unseal(crypt, SEALED_AS, unhex(a, text), &out, &ignored) == 0 && str_eq(buf_str(&out), SEALED_TEXT);
    buf_free(&out);
    return fits;
}

/* ---- the record ---- */

struct record {
    struct str keys, sealed; /* empty = there is none */
    int64_t sealed_revision;
};

static struct str pair_value(struct arena *a, const struct kv_op_result *r)
{
    return r->n_pairs ? arena_str(a, r->pairs[0].value) : STR("");
}

/* Writes it if it is the first; answers what stands there then. */
static int first_or_there(struct kv *kv, struct arena *a, struct str keys, struct str sealed, struct record *ret,
                          struct err *err)
{
    struct kv_compare absent = {.key = STR(CLUSTER_KEY), .target = KV_TARGET_CREATE};
    struct kv_op puts[] = {{.kind = KV_PUT, .key = STR(CLUSTER_KEY), .value = keys},
                           {.kind = KV_PUT, .key = STR(SEALED_KEY), .value = sealed}};
    struct kv_op looks[] = {{.kind = KV_RANGE, .key = STR(CLUSTER_KEY)}, {.kind = KV_RANGE, .key = STR(SEALED_KEY)}};
    struct kv_txn txn = {&absent, 1, puts, sealed.len ? 2 : 1, looks, 2};
    struct kv_txn_result result;
    int rc = kv_txn_wait(kv, a, &txn, &result, err);
    if (rc < 0)
        return rc;
    *ret = (struct record){keys, sealed, 0};
    if (!result.succeeded) {
        ret->keys = pair_value(a, &result.ops[0]);
        ret->sealed = pair_value(a, &result.ops[1]);
        ret->sealed_revision = result.ops[1].n_pairs ? result.ops[1].pairs[0].mod_revision : 0;
    }
    return 0;
}

/* The first of several keys has changed: from now on the newer one is what a server must have. */
static int reseal(struct kv *kv, struct arena *a, struct str sealed, int64_t revision, struct err *err)
{
    struct kv_compare unchanged = {.key = STR(SEALED_KEY), .target = KV_TARGET_MOD, .number = revision};
    struct kv_op put = {.kind = KV_PUT, .key = STR(SEALED_KEY), .value = sealed};
    struct kv_txn txn = {&unchanged, 1, &put, 1, NULL, 0};
    struct kv_txn_result result;
    return kv_txn_wait(kv, a, &txn, &result, err);
}

static int refuse(struct err *err, const char *what, const char *data_dir)
{
    return err_set(err, ERR_FORBIDDEN,
                   "the store belongs to a cluster with another %s than %s/pki has: servers of one cluster share that "
                   "directory; copy it from a server that runs to %s/pki and start again",
                   what, data_dir, data_dir);
}

static struct str line(struct str text, const char *name)
{
    struct str one;
    while (str_split(&text, '\n', &one))
        if (str_starts(one, str_from(name)))
            return str_sub(one, strlen(name), one.len);
    return STR("");
}

static int claim(struct kv *kv, struct arena *a, const struct pki *pki, const struct crypt *crypt, const char *data_dir,
                 struct err *err)
{
    struct str sealed, key_id, ca = certificate_hash(a, pki->ca.cert_pem), sa = private_key_hash(a, pki->sa_key_pem);
    struct record there;
    int rc = seal(a, crypt, &sealed, &key_id, err);
    if (rc == 0)
        rc = first_or_there(kv, a,
                            arena_printf(a, "ca=" STR_FMT "\nservice-account=" STR_FMT "\n", STR_ARG(ca), STR_ARG(sa)),
                            sealed, &there, err);
    if (rc < 0)
        return rc;
    if (!str_eq(line(there.keys, "ca="), ca))
        return refuse(err, "certificate authority", data_dir);
    if (!str_eq(line(there.keys, "service-account="), sa))
        return refuse(err, "service-account key", data_dir);
    if (there.sealed.len && !crypt_trouble(crypt) && !opens(a, crypt, there.sealed))
        return refuse(err, "encryption key", data_dir);
    if (sealed.len && (!there.sealed.len || !str_eq(crypt_key_id(unhex(a, there.sealed)), key_id)))
        rc = reseal(kv, a, sealed, there.sealed_revision, err);
    return rc;
}

int cluster_identity_claim(struct kv *kv, const struct pki *pki, const struct crypt *crypt, const char *data_dir,
                           struct err *err)
{
    struct arena *a = arena_create(0);
    int rc = claim(kv, a, pki, crypt, data_dir, err);
    arena_destroy(a);
    return rc;
}
