/* server: the API server as a whole: what it is made of and how it starts and stops.
 *
 * api_server_start brings up: identities (certificates, token key, admin kubeconfig) in the data directory, the objects
 * of a fresh cluster, the network loops and the HTTPS port. Controllers and scheduler run on a loop of their own with
 * in-process clients (api/client/client.h).
 */
#ifndef SKIFF_API_SERVER_H
#define SKIFF_API_SERVER_H

#include "base/err.h"
#include "base/loop.h"
#include "storage/cache/cache.h"

#include <stdbool.h>

struct pki;
struct crypt;
struct reseal;
struct reload;
struct snapshot_schedule;
struct serve_etcd;
struct tls_context;
struct rbac;          /* api/chain/rbac.h: rules compiled from objects, kept current by watch */
struct authenticator; /* api/chain/authn.h */
struct token_signer;  /* api/chain/token.h: service-account tokens (ES256) */
struct admission;     /* api/admission/admission.h */

struct api_server_options {
    const char *data_dir;
    const char *listen;            /* "127.0.0.1:6443"; port 0 = choose */
    const char *store;             /* "rocksdb", "memory", "etcd=URL,…" (kv_open_etcd_text) */
    const char *kubeconfig;        /* NULL = data_dir/admin.kubeconfig */
    const char *token_auth_file;   /* NULL = none; lines token,user,uid,"group1,group2" */
    const char *service_cidr;      /* "10.96.0.0/16" */
    const char *pod_cidr;          /* "10.244.0.0/16" */
    const char *tls_san;           /* further names and addresses, comma-separated, or NULL */
    const char *disable_admission; /* comma-separated plugin names, or NULL */
    const char *advertise_address; /* of the kubernetes endpoints; NULL = from listen */
    const char *peer_servers;      /* "URL,URL" of the cluster's other servers, for kubeconfigs; NULL = none */
    const char *encryption_config; /* EncryptionConfiguration file; NULL = DIR/pki/encryption.yaml, made when absent */
    bool encryption_reload;        /* look after that file, and put in force what it comes to say */
    const char *snapshot_dir;      /* NULL = data_dir/snapshots */
    int64_t history_ms;            /* how long old versions are kept; 0 = five minutes */
    int64_t snapshot_every_ms;     /* 0 = none are taken by the server itself */
    int64_t snapshot_keep;         /* how many; 0 = all */
    const char *serve_etcd;        /* where to serve etcd's API, "[https://]ADDR:PORT"; NULL = nowhere */
    bool disable_api;              /* no Kubernetes API: health and version only; with serve_etcd */
    int n_loops;                   /* network threads, 0 = number of processors */
};

struct api_server {
    struct api_server_options options;
    struct kv *kv;
    struct crypt *crypt;                 /* storage/crypt/crypt.h: the keys that seal values at rest */
    struct reseal *reseal;               /* brings what is stored to them */
    struct reload *reload;               /* reads them again; NULL unless asked for */
    struct snapshot_schedule *snapshots; /* NULL unless asked for */
    struct serve_etcd *serve_etcd;       /* etcd's API over the store; NULL unless asked for */
    struct cache *cache;
    struct loop *loops[16]; /* network threads */
    size_t n_loops;
    struct http_server *http;
    struct rbac *rbac;
    struct authenticator *authn;
    struct token_signer *signer;
    struct admission *admission;
    char *ca_pem;                                       /* the cluster's CA certificate, also for kube-root-ca.crt */
    char *agent_client_cert_pem, *agent_client_key_pem; /* how the server proves itself to agents (exec, logs) */
    struct tls_context *tls;                            /* of the HTTPS port */
    struct tls_context *agent_tls; /* of connections to agents: that identity, and the cluster's CA */
    struct pki *pki;               /* api/pki.h; its CA signs certificate requests */
    char address[64];              /* host:port that clients in and out of the cluster can use */
    int port;
    bool bootstrapped;               /* the objects of a fresh cluster are there */
    struct bootstrap_keeper *keeper; /* puts back what speaks of this server */
    _Atomic bool stopping;
};

int api_server_start(const struct api_server_options *opt, struct api_server **ret, struct err *err);
/* Drain and stop: the caller's thread waits. */
void api_server_stop(struct api_server *s);

#endif
