/* crypt: encryption at rest: the value transform that seals what goes to the store.
 *
 * Keys come from the file DIR/pki/encryption.yaml, made at first start (mode 0600), or from the EncryptionConfiguration
 * a server is given; the keys of the former still open values then. A sealed value is what a stock kube-apiserver
 * stores, `k8s:enc:aesgcm:v1:NAME:` and the cipher's bytes, with the store's key as authenticated data. In kv it stands
 * behind the transform byte CRYPT_TRANSFORM; an engine that stores plain etcd values stores it as it is
 * (crypt_is_sealed tells).
 *
 * Values that are stored plain are always readable. Any thread, once crypt_open has returned.
 */
#ifndef SKIFF_STORAGE_CRYPT_CRYPT_H
#define SKIFF_STORAGE_CRYPT_CRYPT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "storage/kv/kv.h"

#include <stdbool.h>

#define CRYPT_TRANSFORM 1
#define CRYPT_FILE "pki/encryption.yaml" /* in the data directory */

struct crypt;

/* config_file NULL: the data directory's own, made when `create` and absent; neither: nothing is sealed or opened. */
int crypt_open(const char *data_dir, const char *config_file, bool create, struct crypt **ret, struct err *err);
void crypt_destroy(struct crypt *c);                /* after the kv that uses it; NULL is fine */
void crypt_install(struct crypt *c, struct kv *kv); /* kv_set_transforms: before the first read */

/* Appends the stored form; 1 = values of this key stay plain (nothing is appended). */
int crypt_seal(const struct crypt *c, struct str key, struct str plain, struct buf *out, struct err *err);
int crypt_unseal(const struct crypt *c, struct str key, struct str sealed, struct buf *out, struct err *err);

bool crypt_is_sealed(struct str stored);
/* "aesgcm:key-1": which key a sealed value needs; STR_NULL when the bytes do not say. */
struct str crypt_key_id(struct str sealed);
bool crypt_has_key(const struct crypt *c, struct str key_id);

/* Changes whenever the same values would be sealed otherwise (rules, order, keys); tells nothing about the secrets. */
struct str crypt_fingerprint(const struct crypt *c, struct arena *a);

/* While kv_range runs: what became of the pair just handed to its function. Reset after looking. */
enum crypt_seen { CRYPT_SEEN_PLAIN, CRYPT_SEEN_CURRENT, CRYPT_SEEN_STALE };
enum crypt_seen crypt_seen(void);
void crypt_seen_reset(void);
bool crypt_is_empty(const struct crypt *c);              /* no rules: nothing is ever sealed */
bool crypt_wants(const struct crypt *c, struct str key); /* new values of this key are sealed */

#endif
