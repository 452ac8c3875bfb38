/* cluster identity: servers that share a store must share their identities too: certificate authority, key of the
 * service-account tokens, keys of what is sealed at rest; that is, the directory DIR/pki. The first server of a cluster
 * writes down whose store it is (/skiff/cluster: hashes of the public keys, and a text that only the encryption keys
 * open); another that does not fit is refused, before it reads or writes anything else.
 */
#ifndef SKIFF_API_CLUSTER_IDENTITY_H
#define SKIFF_API_CLUSTER_IDENTITY_H

#include "api/pki.h"
#include "storage/crypt/crypt.h"
#include "storage/kv/kv.h"

/* Waits for the store. ERR_FORBIDDEN with a sentence that says what to do. Safe when several first servers race. */
int cluster_identity_claim(struct kv *kv, const struct pki *pki, const struct crypt *crypt, const char *data_dir,
                           struct err *err);

#endif
