/* cipher: one key and what it does to bytes, in the stored forms that Kubernetes uses:
 *
 *   aesgcm     nonce (12), ciphertext, tag (16); the store's key is authenticated along
 *   aescbc     initialization vector (16), ciphertext padded as PKCS #7; nothing is authenticated
 *   secretbox  nonce (24), tag (16), ciphertext (XSalsa20 and Poly1305)
 *
 * Any thread. Errors: ERR_CORRUPT when bytes do not open under this key, ERR_INTERNAL when the library refuses.
 */
#ifndef SKIFF_STORAGE_CRYPT_CIPHER_H
#define SKIFF_STORAGE_CRYPT_CIPHER_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum cipher_kind {
    CIPHER_AESGCM,
    CIPHER_AESCBC,
    CIPHER_SECRETBOX,
    CIPHER_KINDS,
    CIPHER_KMS = CIPHER_KINDS, /* no cipher of this file: keyring.c hands such work to kms.h */
};

#define CIPHER_SECRET_MAX 32

struct cipher_key {
    enum cipher_kind kind;
    struct str name;
    struct str prefix; /* "k8s:enc:aesgcm:v1:NAME:" */
    uint8_t secret[CIPHER_SECRET_MAX];
    size_t secret_len;
    struct str endpoint; /* of CIPHER_KMS, as the two below */
    int64_t timeout_ms;
    struct kms *kms; /* the keyring's */
};

const char *cipher_name(enum cipher_kind kind); /* as in configurations and prefixes */
/* The lengths a secret may have, for people: "16, 24 or 32"; NULL when `len` is one of them. */
const char *cipher_wrong_length(enum cipher_kind kind, size_t len);
bool cipher_authenticates(enum cipher_kind kind); /* a wrong key is noticed for certain */

/* Appended to out, without the prefix. `about` is what is authenticated along, where that is done. */
int cipher_seal(const struct cipher_key *k, struct str about, struct str plain, struct buf *out, struct err *err);
int cipher_open(const struct cipher_key *k, struct str about, struct str sealed, struct buf *out, struct err *err);

/* secretbox.c; nonce of 24 bytes, secret of 32. */
enum { SECRETBOX_NONCE = 24, SECRETBOX_TAG = 16 };
int secretbox_seal(const uint8_t *secret, const uint8_t *nonce, struct str plain, struct buf *out, struct err *err);
int secretbox_open(const uint8_t *secret, const uint8_t *nonce, struct str sealed, struct buf *out, struct err *err);

#endif
