/* pki: the cluster's identities, made at first start and kept in DIR/pki (P-256, files of mode 0600):
 *   ca.crt ca.key                 the cluster CA; signs everything below and is what clients trust
 *   server.crt server.key         the API server (made anew when the names or addresses asked for change)
 *   admin.crt admin.key           CN kubernetes-admin, O system:masters: the admin kubeconfig
 *   agent-client.crt .key         CN kube-apiserver-kubelet-client, O system:masters: the server towards agents
 *   sa.key                        signs service-account tokens
 */
#ifndef SKIFF_API_PKI_H
#define SKIFF_API_PKI_H

#include "base/arena.h"
#include "base/err.h"
#include "base/net/tls.h"
#include "base/str.h"

struct pki {
    struct tls_pair ca, server, admin, agent_client;
    char *sa_key_pem;
};

/* `dns_names` and `ip_addresses` (NULL-terminated) are those the server's certificate must hold. */
int pki_load(const char *data_dir, const char *const *dns_names, const char *const *ip_addresses, struct pki *ret,
             struct err *err);
void pki_finish(struct pki *p);

struct pki_node {
    struct tls_pair client;  /* CN system:node:NAME, O system:nodes */
    struct tls_pair serving; /* the agent's own server: name and addresses */
};
/* For nodes started on this machine: signed with the CA in data_dir, which must be there already. `addresses` is
 * NULL-terminated (node IPs). */
int pki_issue_node(const char *data_dir, const char *node_name, const char *const *addresses, struct pki_node *ret,
                   struct err *err);
void pki_node_finish(struct pki_node *n);

struct pki_csr { /* what a request asks for */
    struct str common_name;
    struct str organizations[8];
    size_t n_organizations;
    bool has_alternative_names;
};
/* Strings in the arena. ERR_BAD_REQUEST: malformed, or more organizations than anybody has. */
int pki_csr_read(struct arena *a, struct str csr_pem, struct pki_csr *ret, struct err *err);

/* Sign a PKCS#10 request (PEM) with the CA: subject and alternative names as requested. Texts are malloc'd PEM. */
int pki_sign_csr(const struct tls_pair *ca, struct str csr_pem, bool server_auth, bool client_auth, int64_t valid_s,
                 char **ret_cert_pem, struct err *err);

/* Write a kubeconfig with one context (mode 0600, replaced in one step). `name` is cluster, user and context. */
int pki_write_kubeconfig(const char *file, const char *name, const char *server_url, const char *ca_pem,
                         const struct tls_pair *client, struct err *err);
/* The same, with further servers ("URL,URL"; NULL = none) for clients that can use them (client/kubeconfig.h). */
int pki_write_kubeconfig_for(const char *file, const char *name, const char *server_url, const char *more_servers,
                             const char *ca_pem, const struct tls_pair *client, struct err *err);

#endif
