/* What the two halves of a key management service's client share: kms.c seals and opens, kms_status.c looks after the
 * service and its key. */
#ifndef SKIFF_STORAGE_CRYPT_KMS_INTERNAL_H
#define SKIFF_STORAGE_CRYPT_KMS_INTERNAL_H

#include "base/loop.h"
#include "base/net/grpc.h"
#include "base/ref.h"
#include "storage/crypt/envelope.h"
#include "storage/crypt/kms.h"

#include <pthread.h>

enum {
    KMS_HASH_MAX = 72,
    KMS_UID_MAX = 40,
    KMS_BUCKETS = 64,
    KMS_SOURCES_MAX = 2048, /* about one per key id and start of a server: those used last are kept */
    KMS_GRACE_MS = 5000,
    KMS_FORBEAR_MS = 1000,
    KMS_FRESH_MS = 20 * 1000, /* how old an answer for a health check may be; a bad one: */
    KMS_FRESH_BAD_MS = 3000,
};

/* What seals from some moment on: never changed once it is made. */
struct kms_sealer {
    struct ref ref;
    Kms__EncryptedObject *head; /* as stored, without the data */
    uint8_t seed[ENVELOPE_SEED_LEN];
};

struct kms_source {
    struct kms_source *next;
    uint8_t digest[ENVELOPE_DIGEST_LEN], secret[ENVELOPE_SOURCE_MAX];
    size_t secret_len;
    int64_t used_ms;
};

struct kms {
    struct ref ref;
    char *name, *endpoint;
    int64_t timeout_ms, poll_ms, retry_ms, write_ms;
    struct loop *loop;

    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* a look has ended */
    struct kms_sealer *sealer;
    int64_t seal_until_ms;
    bool checked, healthy, absent, asked_to_check; /* absent: it did not answer at all */
    int64_t checked_ms;
    char trouble[600];
    struct kms_source *sources[KMS_BUCKETS];
    size_t n_sources;

    pthread_mutex_t ask_lock; /* held over one question for a seed */
    int64_t failed_ms;
    struct err failed;
    uint8_t failed_digest[ENVELOPE_DIGEST_LEN];

    pthread_mutex_t change_lock;
    void (*on_change)(void *arg);
    void *on_change_arg;

    /* the provider's thread only */
    struct grpc_channel *channel;
    struct timer timer;
    bool checking;
    int64_t started_ms, until_ms; /* of the look; how long what it confirms may seal */
    char *next_key_id;            /* what the service says its key is, while a seed is encrypted with it */
    uint8_t next_seed[ENVELOPE_SEED_LEN];
};

void kms_sealer_free(struct ref *r);
void kms_hash(const char *key_id, char ret[KMS_HASH_MAX]);
char *kms_make_uid(char ret[KMS_UID_MAX]);
void kms_remember(struct kms *k, const uint8_t *digest, struct str secret);
void kms_check(struct kms *k); /* look at the service now, unless that is under way; on its thread */
void kms_measure(struct kms *k, const char *method, int64_t started_ms, const struct err *err);

#endif
