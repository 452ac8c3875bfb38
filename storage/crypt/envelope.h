/* envelope: how a value sealed under a key management service is stored: the value under a data key of ours, beside it
 * that data key's source as the service encrypted it. A message of Kubernetes' (EncryptedObject), in two ways:
 *
 *   a key    the source is a key of AES-GCM; the data is nonce (12), ciphertext, tag (16)
 *   a seed   every value has a key of its own, HKDF-Expand with SHA-256 of the seed and 32 random bytes; the data is
 *            those 32 bytes, nonce (12), ciphertext, tag (16). What is written: nonces cannot run out.
 *
 * Either way the store's key is authenticated along. Errors as in cipher.h. Any thread.
 */
#ifndef SKIFF_STORAGE_CRYPT_ENVELOPE_H
#define SKIFF_STORAGE_CRYPT_ENVELOPE_H

#include "base/err.h"
#include "base/str.h"
#include "storage/crypt/kms.pb-c.h"

enum envelope_type { ENVELOPE_KEY = 0, ENVELOPE_SEED = 1 };

enum {
    ENVELOPE_SEED_LEN = 32, /* of those we make; a service may know longer ones */
    ENVELOPE_SOURCE_MAX = 1024,
    ENVELOPE_KEY_ID_MAX = 1024,
    ENVELOPE_ANNOTATIONS_MAX = 32 * 1024,
    ENVELOPE_DIGEST_LEN = 32,
};

/* What upstream demands of the pieces; its words. encrypted_data is looked at when `with_data`. */
int envelope_check(const Kms__EncryptedObject *o, bool with_data, struct err *err);
int envelope_check_key_id(const char *key_id, struct err *err);

/* ERR_CORRUPT; free with kms__encrypted_object__free_unpacked(o, NULL). */
int envelope_parse(struct str bytes, Kms__EncryptedObject **ret, struct err *err);
/* The packed message is appended; `head` is everything but the data. */
int envelope_write(const Kms__EncryptedObject *head, struct str data, struct buf *out, struct err *err);

/* Stands for everything but the data: equal for values of one data key. */
void envelope_digest(const Kms__EncryptedObject *o, uint8_t ret[ENVELOPE_DIGEST_LEN]);

/* The data alone. */
int envelope_seal(struct str seed, struct str about, struct str plain, struct buf *out, struct err *err);
int envelope_open(enum envelope_type type, struct str source, struct str about, struct str sealed, struct buf *out,
                  struct err *err);
/* ERR_CORRUPT when a decrypted source cannot be one. */
int envelope_check_source(enum envelope_type type, struct str source, struct err *err);

#endif
