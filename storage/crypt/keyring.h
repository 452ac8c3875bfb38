/* keyring: the rules and keys in force at one moment, as read from the configuration. Counted and never changed: a
 * reload makes another one, and whoever seals or opens meanwhile ends with the one they began with. Connections to key
 * management services go on from one to the next where name, endpoint and time-out stay.
 */
#ifndef SKIFF_STORAGE_CRYPT_KEYRING_H
#define SKIFF_STORAGE_CRYPT_KEYRING_H

#include "base/ref.h"
#include "storage/crypt/configuration.h"
#include "storage/crypt/kms.h"

struct keyring {
    struct ref ref;
    struct arena *arena;
    struct encryption_configuration main, own; /* own: the data directory's, when another file leads */
    const char *file;                          /* for messages */
    uint8_t digest[32];                        /* of the files' text */
};

struct keyring_options {
    const char *file, *own_file;  /* own_file: NULL, or read besides when it is there */
    bool own;                     /* `file` is the data directory's: nobody else may be able to read it */
    void (*on_change)(void *arg); /* a service seals under another key from now on (kms.h) */
    void *arg;
    const struct keyring *former; /* whose services are taken over; NULL */
};
/* 1 = `file` is absent. */
int keyring_read(const struct keyring_options *opt, struct keyring **ret, struct err *err);
struct keyring *keyring_empty(const char *file);

const struct cipher_key *keyring_sealer(const struct keyring *k, struct str key); /* NULL: new values stay plain */
int keyring_seal(const struct cipher_key *with, struct str key, struct str plain, struct buf *out, struct err *err);
/* ret_current: as it would be sealed now. */
int keyring_open(const struct keyring *k, struct str key, struct str sealed, struct buf *out, bool *ret_current,
                 struct err *err);
bool keyring_has(const struct keyring *k, struct str key_id);
struct str keyring_fingerprint(const struct keyring *k, struct arena *a);
struct str keyring_key_id(struct str sealed);

#endif
