/* crypt: encryption at rest: the value transform that seals what goes to the store.
 *
 * Keys come from the file DIR/pki/encryption.yaml, made at first start (mode 0600), or from the EncryptionConfiguration
 * a server is given; the keys of the former still open values then. A sealed value is what a stock kube-apiserver
 * stores, `k8s:enc:aesgcm:v1:NAME:` and the cipher's bytes, with the store's key as authenticated data. In kv it stands
 * behind the transform byte CRYPT_TRANSFORM; an engine that stores plain etcd values stores it as it is
 * (crypt_is_sealed tells).
 *
 * Values that are stored plain are always readable. With key management services (kms.h) opening may wait for one, and
 * crypt_open waits for their first answer, however it turns out. The files may be read again while all goes on
 * (crypt_reload, reload.h). Any thread, once crypt_open has returned.
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

/* Whether crypt_seal can do its work now: ERR_INTERNAL while a service has given no key. */
int crypt_can_seal(const struct crypt *c, struct str key, struct err *err);

/* Key management services: whether there are any; NULL when all are well, else why not; wait until they are, at most so
 * long (at start, before the store is read). */
bool crypt_has_services(const struct crypt *c);
const char *crypt_trouble(const struct crypt *c);
void crypt_wait_services(const struct crypt *c, int64_t timeout_ms);

/* Read the files again: 0 = other keys and rules are in force now, 1 = nothing has changed. When it fails, because of
 * the text or a service that does not answer, those from before stay. One thread at a time. */
int crypt_reload(struct crypt *c, struct err *err);
const char *crypt_file(const struct crypt *c);
/* Counts what may make stored values stale: a reload, another key of a service. The wait ends at a change from
 * `generation`, after crypt_wake (for good), or after so long. */
uint64_t crypt_generation(struct crypt *c);
void crypt_wait_change(struct crypt *c, uint64_t generation, int64_t timeout_ms);
void crypt_wake(struct crypt *c);

/* Stands for this server among those that share a store: its host and data directory, hashed. */
struct str crypt_server_id(const struct crypt *c, struct arena *a);
/* Changes whenever the same values would be sealed otherwise (rules, order, keys); tells nothing about the secrets. */
struct str crypt_fingerprint(const struct crypt *c, struct arena *a);

/* While kv_range runs: what became of the pair just handed to its function. Reset after looking. */
enum crypt_seen { CRYPT_SEEN_PLAIN, CRYPT_SEEN_CURRENT, CRYPT_SEEN_STALE };
enum crypt_seen crypt_seen(void);
void crypt_seen_reset(void);
bool crypt_is_empty(const struct crypt *c);              /* no rules: nothing is ever sealed */
bool crypt_wants(const struct crypt *c, struct str key); /* new values of this key are sealed */

#endif
