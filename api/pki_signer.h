/* pki signer: approves and signs the certificate requests of nodes: those of joining agents (bootstrap tokens) and of
 * nodes that renew, for the signers kubernetes.io/kube-apiserver-client-kubelet and kubernetes.io/kubelet-serving.
 * Requests for the signer kubernetes.io/kube-apiserver-client are signed once somebody has approved them.
 */
#ifndef SKIFF_API_PKI_SIGNER_H
#define SKIFF_API_PKI_SIGNER_H

#include "api/server.h"

struct pki_signer;
/* On the loop's thread. Writes are made behind `fence` (api/client/client.h; NULL = none). */
struct client_fence;
int pki_signer_start(struct api_server *server, struct loop *loop, const struct client_fence *fence,
                     struct pki_signer **ret, struct err *err);
void pki_signer_stop(struct pki_signer *s); /* NULL is fine */

/* What becomes of a request, from its spec alone (tests). 0 = not ours to approve; else the condition's message. */
const char *pki_signer_approves(const struct value *csr);

#endif
