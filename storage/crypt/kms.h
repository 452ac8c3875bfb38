/* kms: a key management service on the server's machine, spoken to over its unix socket (Kubernetes' KMS v2 API).
 *
 * The service never sees a value. It encrypts the seed that our keys come from (a new one whenever the service names a
 * new key, and at start) and decrypts the seeds that stored values name; those are remembered. So sealing asks nobody,
 * and opening asks once per seed.
 *
 * The service is asked for its status once a minute, every ten seconds while something is wrong. When its key's id
 * changes, a new seed is made, and values under the former key are stale (kms_open says so). While it does not answer,
 * values go on being sealed for three minutes and are opened as far as their seeds are known; after that writes are
 * refused. These are upstream's terms.
 *
 * A provider has a thread of its own, on which all its calls run. kms_open may wait for the service, for `timeout_ms`
 * at most; a seed that could not be decrypted is not asked for again for a second. Everything else answers at once.
 * Any thread.
 */
#ifndef SKIFF_STORAGE_CRYPT_KMS_H
#define SKIFF_STORAGE_CRYPT_KMS_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct kms;

struct kms_options {
    struct str name, endpoint; /* "unix:///run/kms.sock" */
    int64_t timeout_ms;        /* of one call, 0 = 3 s */
    /* 0 = upstream's: a minute, ten seconds, three minutes */
    int64_t poll_ms, retry_ms, write_ms;
    /* On the provider's thread, whenever another key seals from now on; cheap. */
    void (*on_change)(void *arg);
    void *arg;
};
int kms_create(const struct kms_options *opt, struct kms **ret, struct err *err);
struct kms *kms_share(struct kms *k);
void kms_release(struct kms *k); /* the last one ends it: not on the provider's thread. NULL is fine */
/* No more on_change: it is not running when this returns. */
void kms_detach(struct kms *k);

/* Until the first look at the service has ended, well or not. */
void kms_wait_checked(struct kms *k);
bool kms_wait_healthy(struct kms *k, int64_t timeout_ms);

/* NULL while the service is well, else why not, as upstream's health check says it. Asks again in the background when
 * the last look is some time ago. */
const char *kms_trouble(struct kms *k);

/* Appends the stored form without its prefix. ERR_INTERNAL, upstream's answer, while there is no key for it. */
int kms_seal(struct kms *k, struct str about, struct str plain, struct buf *out, struct err *err);
int kms_open(struct kms *k, struct str about, struct str sealed, struct buf *out, bool *ret_current, struct err *err);
/* Whether kms_seal can do its work now. */
int kms_can_seal(struct kms *k, struct err *err);
/* The id of the key that seals, as people may see it ("sha256:…"); STR_NULL without one. */
struct str kms_key_hash(struct kms *k, struct arena *a);

#endif
