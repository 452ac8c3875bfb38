#include "storage/crypt/envelope.h"

#include "storage/crypt/cipher.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

enum { INFO_LEN = 32 };

/* ---- the message ---- */

int envelope_check_key_id(const char *key_id, struct err *err)
{
    size_t len = strlen(key_id);
    if (!len)
        return err_set(err, ERR_CORRUPT, "keyID is empty");
    if (len > ENVELOPE_KEY_ID_MAX)
        return err_set(err, ERR_CORRUPT, "keyID is %zu bytes, which exceeds the max size of %d", len,
                       ENVELOPE_KEY_ID_MAX);
    return 0;
}

/* Labels of letters, digits and dashes, at least two of them. */
static bool is_domain(struct str name)
{
    struct str label;
    size_t n = 0;
    if (!name.len || name.len > 253)
        return false;
    while (str_split(&name, '.', &label)) {
        if (!label.len || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!((label.p[i] >= 'a' && label.p[i] <= 'z') || (label.p[i] >= '0' && label.p[i] <= '9') ||
                  label.p[i] == '-'))
                return false;
        n++;
    }
    return n >= 2;
}

static int check_annotations(const Kms__EncryptedObject *o, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < o->n_annotations; i++) {
        const Kms__Annotation *a = o->annotations[i];
        if (!is_domain(str_from(a->key)))
            return err_set(err, ERR_CORRUPT,
                           "failed to validate annotations: annotations: Invalid value: \"%.260s\": should be a domain "
                           "with at least two segments separated by dots",
                           a->key);
        total += strlen(a->key) + a->value.len;
    }
    if (total > ENVELOPE_ANNOTATIONS_MAX)
        return err_set(err, ERR_CORRUPT,
                       "failed to validate annotations: total size of annotations is %zu, which exceeds the max size "
                       "of %d",
                       total, ENVELOPE_ANNOTATIONS_MAX);
    return 0;
}

int envelope_check(const Kms__EncryptedObject *o, bool with_data, struct err *err)
{
    if (o->encrypted_dek_source_type != ENVELOPE_KEY && o->encrypted_dek_source_type != ENVELOPE_SEED)
        return err_set(err, ERR_CORRUPT, "unknown encryptedDEKSourceType: %d", o->encrypted_dek_source_type);
    if (with_data && !o->encrypted_data.len)
        return err_set(err, ERR_CORRUPT, "encrypted data is empty");
    if (!o->encrypted_dek_source.len)
        return err_set(err, ERR_CORRUPT, "failed to validate encrypted DEK source: encrypted DEK source is empty");
    if (o->encrypted_dek_source.len > ENVELOPE_SOURCE_MAX)
        return err_set(err, ERR_CORRUPT,
                       "failed to validate encrypted DEK source: encrypted DEK source is %zu bytes, which exceeds the "
                       "max size of %d",
                       o->encrypted_dek_source.len, ENVELOPE_SOURCE_MAX);
    if (envelope_check_key_id(o->key_id, err) < 0)
        return err_context(err, "failed to validate key id");
    return check_annotations(o, err);
}

int envelope_parse(struct str bytes, Kms__EncryptedObject **ret, struct err *err)
{
    Kms__EncryptedObject *o = kms__encrypted_object__unpack(NULL, bytes.len, (const uint8_t *)bytes.p);
    if (!o)
        return err_set(err, ERR_CORRUPT, "the sealed value is no message");
    int rc = envelope_check(o, true, err);
    if (rc < 0) {
        kms__encrypted_object__free_unpacked(o, NULL);
        return rc;
    }
    *ret = o;
    return 0;
}

int envelope_write(const Kms__EncryptedObject *head, struct str data, struct buf *out, struct err *err)
{
    Kms__EncryptedObject o = *head;
    o.encrypted_data = (ProtobufCBinaryData){data.len, (uint8_t *)(uintptr_t)data.p};
    int rc = envelope_check(&o, true, err);
    if (rc < 0)
        return rc;
    buf_reserve(out, kms__encrypted_object__get_packed_size(&o));
    out->len += kms__encrypted_object__pack(&o, (uint8_t *)out->p + out->len);
    return 0;
}

static void add_part(EVP_MD_CTX *md, const void *p, size_t len)
{
    uint64_t n = len; /* so that no two lists of parts read the same */
    EVP_DigestUpdate(md, &n, sizeof n);
    EVP_DigestUpdate(md, p, len);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(Kms__Annotation *const *)a)->key, (*(Kms__Annotation *const *)b)->key);
}

void envelope_digest(const Kms__EncryptedObject *o, uint8_t ret[ENVELOPE_DIGEST_LEN])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    add_part(md, &o->encrypted_dek_source_type, sizeof o->encrypted_dek_source_type);
    add_part(md, o->encrypted_dek_source.data, o->encrypted_dek_source.len);
    add_part(md, o->key_id, strlen(o->key_id));
    if (o->n_annotations > 1) /* a map has no order of its own */
        qsort(o->annotations, o->n_annotations, sizeof(Kms__Annotation *), by_key);
    for (size_t i = 0; i < o->n_annotations; i++) {
        add_part(md, o->annotations[i]->key, strlen(o->annotations[i]->key));
        add_part(md, o->annotations[i]->value.data, o->annotations[i]->value.len);
    }
    EVP_DigestFinal_ex(md, ret, NULL);
    EVP_MD_CTX_free(md);
}

/* ---- the data ---- */

/* HKDF-Expand for one block of output, which is the length of a key. */
static int derive(struct str seed, const uint8_t *info, struct cipher_key *ret, struct err *err)
{
    uint8_t text[INFO_LEN + 1];
    unsigned len = 0;
    memcpy(text, info, INFO_LEN);
    text[INFO_LEN] = 1;
    *ret = (struct cipher_key){.kind = CIPHER_AESGCM, .secret_len = 32};
    if (!HMAC(EVP_sha256(), seed.p, (int)seed.len, text, sizeof text, ret->secret, &len) || len != 32)
        return err_set(err, ERR_INTERNAL, "no key could be derived");
    return 0;
}

int envelope_check_source(enum envelope_type type, struct str source, struct err *err)
{
    if (type == ENVELOPE_SEED && (source.len < ENVELOPE_SEED_LEN || source.len > ENVELOPE_SOURCE_MAX))
        return err_set(err, ERR_CORRUPT, "invalid seed length %zu used for key generation", source.len);
    if (type == ENVELOPE_KEY && source.len != 16 && source.len != 24 && source.len != 32)
        return err_set(err, ERR_CORRUPT, "crypto/aes: invalid key size %zu", source.len);
    return 0;
}

int envelope_seal(struct str seed, struct str about, struct str plain, struct buf *out, struct err *err)
{
    struct cipher_key k;
    uint8_t info[INFO_LEN];
    if (RAND_bytes(info, sizeof info) != 1)
        return err_set(err, ERR_INTERNAL, "no randomness for a key");
    int rc = derive(seed, info, &k, err);
    if (rc == 0) {
        buf_add(out, info, sizeof info);
        rc = cipher_seal(&k, about, plain, out, err);
    }
    OPENSSL_cleanse(&k, sizeof k);
    return rc;
}

int envelope_open(enum envelope_type type, struct str source, struct str about, struct str sealed, struct buf *out,
                  struct err *err)
{
    struct cipher_key k = {.kind = CIPHER_AESGCM, .secret_len = source.len};
    int rc = envelope_check_source(type, source, err);
    if (rc < 0)
        return rc;
    if (type == ENVELOPE_SEED) {
        if (sealed.len < INFO_LEN)
            return err_set(err, ERR_CORRUPT, "the stored data was shorter than the required size");
        rc = derive(source, (const uint8_t *)sealed.p, &k, err);
        sealed = str_sub(sealed, INFO_LEN, sealed.len);
    } else {
        memcpy(k.secret, source.p, source.len);
    }
    if (rc == 0)
        rc = cipher_open(&k, about, sealed, out, err);
    OPENSSL_cleanse(&k, sizeof k);
    return rc;
}
