/* configuration: which resources are sealed and with which keys, as upstream's EncryptionConfiguration says it
 * (apiserver.config.k8s.io/v1): a list of rules, each with its resources and its providers in order. The first provider
 * seals, all of them open. The file that a server makes for itself has the same form, so that a cluster can change
 * hands in both directions.
 */
#ifndef SKIFF_STORAGE_CRYPT_CONFIGURATION_H
#define SKIFF_STORAGE_CRYPT_CONFIGURATION_H

#include "base/arena.h"
#include "storage/crypt/cipher.h"

struct encryption_rule {
    const struct str *prefixes; /* of the store's keys it is about */
    size_t n_prefixes;
    const struct cipher_key *sealer; /* NULL: new values stay plain (identity comes first) */
    const struct cipher_key *const *keys;
    size_t n_keys;
};

struct encryption_configuration {
    const struct encryption_rule *rules; /* the first that is about a key counts */
    size_t n_rules;
    struct cipher_key *const *services; /* those of CIPHER_KMS, their names unique; not yet connected */
    size_t n_services;
};

/* Everything is in the arena. ERR_BAD_REQUEST says what would be right. */
int encryption_configuration_parse(struct arena *a, struct str text, struct encryption_configuration *ret,
                                   struct err *err);

/* A configuration that seals Secrets with AES-256-GCM under a fresh key. */
int encryption_configuration_make(struct buf *out, struct err *err);

#endif
