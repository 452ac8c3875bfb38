#include "storage/crypt/cipher.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { GCM_NONCE = 12, GCM_TAG = 16, CBC_BLOCK = 16 };

static const struct {
    const char *name, *lengths;
    bool authenticates;
} kinds[CIPHER_KINDS] = {
    [CIPHER_AESGCM] = {"aesgcm", "16, 24 or 32", true},
    [CIPHER_AESCBC] = {"aescbc", "16, 24 or 32", false},
    [CIPHER_SECRETBOX] = {"secretbox", "32", true},
};

const char *cipher_name(enum cipher_kind kind)
{
    return kind == CIPHER_KMS ? "kms" : kinds[kind].name;
}

bool cipher_authenticates(enum cipher_kind kind)
{
    return kind == CIPHER_KMS || kinds[kind].authenticates;
}

const char *cipher_wrong_length(enum cipher_kind kind, size_t len)
{
    bool fits = len == 32 || (kind != CIPHER_SECRETBOX && (len == 16 || len == 24));
    return fits ? NULL : kinds[kind].lengths;
}

static int library_failed(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "the cipher cannot be used");
}

static int does_not_open(struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the sealed value does not open: altered, or another key of the same name");
}

static const EVP_CIPHER *aes(const struct cipher_key *k)
{
    if (k->kind == CIPHER_AESGCM)
        return k->secret_len == 16 ? EVP_aes_128_gcm() : k->secret_len == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm();
    return k->secret_len == 16 ? EVP_aes_128_cbc() : k->secret_len == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc();
}

static uint8_t *room(struct buf *out, size_t len)
{
    buf_reserve(out, len);
    return (uint8_t *)out->p + out->len;
}

/* ---- AES-GCM ---- */

static int gcm_seal(const struct cipher_key *k, struct str about, struct str plain, struct buf *out, struct err *err)
{
    uint8_t *nonce = room(out, GCM_NONCE + plain.len + GCM_TAG), *text = nonce + GCM_NONCE;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    bool done = c && RAND_bytes(nonce, GCM_NONCE) == 1 && EVP_EncryptInit_ex(c, aes(k), NULL, k->secret, nonce) == 1 &&
                (!about.len || EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)about.p, (int)about.len) == 1) &&
                (n = 0, !plain.len || EVP_EncryptUpdate(c, text, &n, (const uint8_t *)plain.p, (int)plain.len) == 1) &&
                EVP_EncryptFinal_ex(c, text + n, &last) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, GCM_TAG, text + plain.len) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!done)
        return library_failed(err);
    out->len += GCM_NONCE + plain.len + GCM_TAG;
    return 0;
}

static int gcm_open(const struct cipher_key *k, struct str about, struct str sealed, struct buf *out, struct err *err)
{
    if (sealed.len < GCM_NONCE + GCM_TAG)
        return does_not_open(err);
    const uint8_t *nonce = (const uint8_t *)sealed.p, *text = nonce + GCM_NONCE;
    size_t len = sealed.len - GCM_NONCE - GCM_TAG;
    uint8_t *plain = room(out, len + 1);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    bool done = c && EVP_DecryptInit_ex(c, aes(k), NULL, k->secret, nonce) == 1 &&
                (!about.len || EVP_DecryptUpdate(c, NULL, &n, (const uint8_t *)about.p, (int)about.len) == 1) &&
                (n = 0, !len || EVP_DecryptUpdate(c, plain, &n, text, (int)len) == 1) &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, GCM_TAG, (void *)(text + len)) == 1 &&
                EVP_DecryptFinal_ex(c, plain + n, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!done)
        return does_not_open(err);
    out->len += len;
    return 0;
}

/* ---- AES-CBC ---- */

static int cbc_seal(const struct cipher_key *k, struct str plain, struct buf *out, struct err *err)
{
    uint8_t *iv = room(out, 2 * CBC_BLOCK + plain.len), *text = iv + CBC_BLOCK;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    bool done = c && RAND_bytes(iv, CBC_BLOCK) == 1 && EVP_EncryptInit_ex(c, aes(k), NULL, k->secret, iv) == 1 &&
                (!plain.len || EVP_EncryptUpdate(c, text, &n, (const uint8_t *)plain.p, (int)plain.len) == 1) &&
                EVP_EncryptFinal_ex(c, text + n, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!done)
        return library_failed(err);
    out->len += CBC_BLOCK + (size_t)n + (size_t)last;
    return 0;
}

static int cbc_open(const struct cipher_key *k, struct str sealed, struct buf *out, struct err *err)
{
    if (sealed.len < 2 * CBC_BLOCK || sealed.len % CBC_BLOCK)
        return does_not_open(err);
    size_t len = sealed.len - CBC_BLOCK;
    uint8_t *plain = room(out, len + CBC_BLOCK);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    bool done = c && EVP_DecryptInit_ex(c, aes(k), NULL, k->secret, (const uint8_t *)sealed.p) == 1 &&
                EVP_DecryptUpdate(c, plain, &n, (const uint8_t *)sealed.p + CBC_BLOCK, (int)len) == 1 &&
                EVP_DecryptFinal_ex(c, plain + n, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!done)
        return does_not_open(err);
    out->len += (size_t)n + (size_t)last;
    return 0;
}

/* ---- by kind ---- */

/* As many bytes as the library counts in an int, with room for what is added. */
static bool is_too_long(struct str text)
{
    return text.len > INT_MAX - 64;
}

int cipher_seal(const struct cipher_key *k, struct str about, struct str plain, struct buf *out, struct err *err)
{
    if (is_too_long(plain) || is_too_long(about))
        return library_failed(err);
    uint8_t nonce[SECRETBOX_NONCE];
    switch (k->kind) {
    case CIPHER_AESGCM:
        return gcm_seal(k, about, plain, out, err);
    case CIPHER_AESCBC:
        return cbc_seal(k, plain, out, err);
    default:
        if (RAND_bytes(nonce, sizeof nonce) != 1)
            return library_failed(err);
        buf_add(out, nonce, sizeof nonce);
        return secretbox_seal(k->secret, nonce, plain, out, err);
    }
}

int cipher_open(const struct cipher_key *k, struct str about, struct str sealed, struct buf *out, struct err *err)
{
    if (is_too_long(sealed) || is_too_long(about))
        return does_not_open(err);
    switch (k->kind) {
    case CIPHER_AESGCM:
        return gcm_open(k, about, sealed, out, err);
    case CIPHER_AESCBC:
        return cbc_open(k, sealed, out, err);
    default:
        if (sealed.len < SECRETBOX_NONCE + SECRETBOX_TAG)
            return does_not_open(err);
        if (secretbox_open(k->secret, (const uint8_t *)sealed.p, str_sub(sealed, SECRETBOX_NONCE, sealed.len), out,
                           err) < 0)
            return does_not_open(err);
        return 0;
    }
}
