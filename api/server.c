#include "api/server.h"

#include "api/bare.h"
#include "api/bootstrap.h"
#include "api/chain/authn.h"
#include "api/chain/chain.h"
#include "api/chain/rbac.h"
#include "api/chain/token.h"
#include "api/cluster_identity.h"
#include "api/metrics_endpoint.h"
#include "api/pki.h"
#include "api/registry/services.h"
#include "api/server_address.h"
#include "base/log.h"
#include "base/net/http.h"
#include "base/net/tls.h"
#include "storage/crypt/crypt.h"
#include "storage/crypt/reload.h"
#include "storage/crypt/reseal.h"
#include "storage/serve_etcd/serve.h"
#include "storage/snapshot/restore.h"
#include "storage/snapshot/schedule.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_GRACE_MS 1000

/* ---- parts, in the order in which they start ---- */

static void options_complete(struct api_server_options *o)
{
    if (!o->listen)
        o->listen = "127.0.0.1:6443";
    if (!o->store)
        o->store = "rocksdb";
    if (!o->service_cidr)
        o->service_cidr = "10.96.0.0/16";
    if (!o->pod_cidr)
        o->pod_cidr = "10.244.0.0/16";
    if (o->n_loops <= 0)
        o->n_loops = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (o->n_loops > 16)
        o->n_loops = 16;
}

static int start_store(struct api_server *s, struct err *err)
{
    const char *dir = s->options.data_dir;
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create the data directory %s", dir);
    if (strcmp(s->options.store, "memory") == 0)
        return kv_open_memory_for(s->options.history_ms, &s->kv, err);
    if (strncmp(s->options.store, "etcd=", 5) == 0) {
        char text[4096];
        snprintf(text, sizeof text, "%s;history-ms=%lld", s->options.store + 5, (long long)s->options.history_ms);
        int rc = kv_open_etcd_text(s->options.history_ms ? text : s->options.store + 5, &s->kv, err);
        return rc < 0 ? rc : snapshot_restore_unfinished(s->kv, err);
    }
    if (strcmp(s->options.store, "rocksdb") != 0)
        return err_set(err, ERR_BAD_REQUEST, "--store %s is not known: use rocksdb, memory or etcd=URL,…",
                       s->options.store);
    char path[4096];
    snprintf(path, sizeof path, "%s/store", dir);
    struct kv_rocksdb_options opt = {.dir = path, .history_ms = s->options.history_ms};
    return kv_open_rocksdb(&opt, &s->kv, err);
}

enum { KEY_SERVICE_WAIT_MS = 30 * 1000 }; /* one that starts along with this server */

/* Before the first read. */
static int start_crypt(struct api_server *s, struct err *err)
{
    int rc = crypt_open(s->options.data_dir, s->options.encryption_config, true, &s->crypt, err);
    if (rc == 0) {
        crypt_wait_services(s->crypt, KEY_SERVICE_WAIT_MS);
        crypt_install(s->crypt, s->kv);
    }
    return rc;
}

static int start_cache(struct api_server *s, struct err *err)
{
    size_t n, n_stored = 0;
    const struct resource *const *all = resources_builtin(&n);
    const struct resource **stored = malloc((n + 1) * sizeof *stored);
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && (!all[i]->stored_as || all[i]->stored_as == all[i]))
            stored[n_stored++] = all[i];
    int rc = cache_create(s->kv, stored, n_stored, &s->cache, err);
    free(stored);
    return rc < 0 ? rc : cache_add_keys(s->cache, STR(SERVICE_PORT_PREFIX), err);
}

static int start_identities(struct api_server *s, struct err *err)
{
    struct server_names names = {0};
    const struct api_server_options *o = &s->options;
    char more[4096]; /* others send clients where this server says it is */
    snprintf(more, sizeof more, "%s%s%s", o->tls_san ? o->tls_san : "", o->tls_san && o->advertise_address ? "," : "",
             o->advertise_address ? o->advertise_address : "");
    int rc = server_names_read(&names, o->listen, o->service_cidr, more, err);
    s->pki = calloc(1, sizeof *s->pki);
    if (rc == 0)
        rc = pki_load(s->options.data_dir, names.dns, names.ips, s->pki, err);
    server_names_finish(&names);
    if (rc < 0)
        return rc;
    s->ca_pem = s->pki->ca.cert_pem;
    s->agent_client_cert_pem = s->pki->agent_client.cert_pem;
    s->agent_client_key_pem = s->pki->agent_client.key_pem;
    rc = token_signer_create(s->pki->sa_key_pem, &s->signer, err);
    struct tls_options tls = {.cert_pem = s->pki->server.cert_pem,
                              .key_pem = s->pki->server.key_pem,
                              .ca_pem = s->ca_pem,
                              .server = true,
                              .alpn_h2 = true,
                              .alpn_http1 = true};
    if (rc == 0)
        rc = tls_context_create(&tls, &s->tls, err);
    struct tls_options agents = {.cert_pem = s->agent_client_cert_pem,
                                 .key_pem = s->agent_client_key_pem,
                                 .ca_pem = s->ca_pem,
                                 .alpn_http1 = true};
    return rc < 0 ? rc : tls_context_create(&agents, &s->agent_tls, err);
}

static int start_loops(struct api_server *s)
{
    for (int i = 0; i < s->options.n_loops; i++) {
        char name[16];
        snprintf(name, sizeof name, "net-%d", i);
        s->loops[s->n_loops++] = loop_create(name);
        loop_start(s->loops[i]);
    }
    return 0;
}

static int start_http(struct api_server *s, struct err *err)
{
    struct http_server_options opt = {.listen = s->options.listen,
                                      .tls = s->tls,
                                      .loops = s->loops,
                                      .n_loops = s->n_loops,
                                      .max_body = API_MAX_BODY,
                                      .handler = s->options.disable_api ? bare_handle : chain_handle,
                                      .arg = s};
    int rc = http_server_create(&opt, &s->http, err);
    if (rc < 0)
        return rc;
    s->port = http_server_port(s->http);
    server_address(s->options.listen, s->options.advertise_address, s->port, s->address, sizeof s->address);
    return 0;
}

static int write_kubeconfig(struct api_server *s, struct err *err)
{
    char path[4096], url[128];
    snprintf(path, sizeof path, "%s/admin.kubeconfig", s->options.data_dir);
    server_local_url(s->options.listen, s->port, url, sizeof url);
    return pki_write_kubeconfig_for(s->options.kubeconfig ? s->options.kubeconfig : path, "skiff", url,
                                    s->options.peer_servers, s->ca_pem, &s->pki->admin, err);
}

static int start_snapshots(struct api_server *s, struct err *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/snapshots", s->options.data_dir);
    struct snapshot_schedule_options opt = {.kv = s->kv,
                                            .crypt = s->crypt,
                                            .every_ms = s->options.snapshot_every_ms,
                                            .keep = s->options.snapshot_keep,
                                            .dir = s->options.snapshot_dir ? s->options.snapshot_dir : path};
    return snapshot_schedule_start(&opt, &s->snapshots, err);
}

/* Clear text on this machine's own addresses, else TLS with administrators' certificates: every key can be read there.
 */
static int start_serve_etcd(struct api_server *s, struct err *err)
{
    const char *listen = s->options.serve_etcd;
    char path[4096];
    bool secure = strncmp(listen, "https://", 8) == 0;
    listen += secure ? 8 : strncmp(listen, "http://", 7) == 0 ? 7 : 0;
    if (strncmp(s->options.store, "etcd=", 5) == 0)
        return err_set(err, ERR_BAD_REQUEST, "--serve-etcd: with --store etcd=…, clients use that cluster itself");
    if (!secure && !serve_etcd_is_loopback(listen)) {
        if (listen != s->options.serve_etcd)
            return err_set(err, ERR_BAD_REQUEST, "--serve-etcd %s: clear text is served on loopback addresses only",
                           s->options.serve_etcd);
        secure = true;
    }
    struct tls_context *tls = NULL;
    struct tls_options tls_opt = {.cert_pem = s->pki->server.cert_pem,
                                  .key_pem = s->pki->server.key_pem,
                                  .ca_pem = s->ca_pem,
                                  .server = true,
                                  .require_peer = true,
                                  .alpn_h2 = true,
                                  .alpn_http1 = true};
    if (secure && tls_context_create(&tls_opt, &tls, err) < 0)
        return err->code;
    snprintf(path, sizeof path, "%s/store", s->options.data_dir);
    struct serve_etcd_options opt = {.kv = s->kv,
                                     .listen = listen,
                                     .tls = tls,
                                     .organization = "system:masters",
                                     .store_dir = strcmp(s->options.store, "rocksdb") == 0 ? path : NULL,
                                     .crypt = s->options.disable_api ? NULL : s->crypt,
                                     .guard_registry = !s->options.disable_api};
    return serve_etcd_start(&opt, &s->serve_etcd, err);
}

/* An etcd for API servers elsewhere: of the cluster nothing but the store and its keys. */
static int start_without_api(struct api_server *s, struct err *err)
{
    int rc = start_store(s, err);
    if (rc == 0)
        rc = start_crypt(s, err);
    if (rc == 0)
        rc = start_identities(s, err);
    if (rc == 0)
        rc = start_loops(s);
    if (rc == 0)
        rc = start_http(s, err);
    if (rc == 0)
        rc = write_kubeconfig(s, err);
    if (rc == 0 && s->options.snapshot_every_ms > 0)
        rc = start_snapshots(s, err);
    return rc < 0 ? rc : start_serve_etcd(s, err);
}

static int start_all(struct api_server *s, struct err *err)
{
    int rc = start_store(s, err);
    if (rc == 0)
        rc = start_crypt(s, err);
    if (rc == 0)
        rc = start_identities(s, err);
    if (rc == 0 && kv_shared(s->kv))
        rc = cluster_identity_claim(s->kv, s->pki, s->crypt, s->options.data_dir, err);
    if (rc == 0)
        rc = start_cache(s, err);
    if (rc == 0)
        rc = start_loops(s);
    if (rc == 0)
        rc = api_verbs_init(s, err);
    if (rc == 0)
        rc = rbac_create(s->cache, &s->rbac, err);
    if (rc == 0)
        rc = authenticator_create(s, &s->authn, err);
    if (rc == 0)
        rc = start_http(s, err);
    if (rc == 0)
        rc = bootstrap_run(s, err);
    if (rc == 0)
        rc = write_kubeconfig(s, err);
    if (rc == 0)
        s->keeper = bootstrap_keeper_start(s);
    if (rc == 0)
        s->reseal = reseal_start(s->crypt, s->kv);
    if (rc == 0 && s->options.encryption_reload)
        s->reload = reload_start(s->crypt);
    if (rc == 0 && s->options.snapshot_every_ms > 0)
        rc = start_snapshots(s, err);
    if (rc == 0 && s->options.serve_etcd)
        rc = start_serve_etcd(s, err);
    return rc;
}

int api_server_start(const struct api_server_options *opt, struct api_server **ret, struct err *err)
{
    struct api_server *s = calloc(1, sizeof *s);
    s->options = *opt;
    options_complete(&s->options);
    chain_register_metrics();
    metrics_register();
    int rc = s->options.disable_api ? start_without_api(s, err) : start_all(s, err);
    if (rc < 0) {
        api_server_stop(s);
        return rc;
    }
    *ret = s;
    return 0;
}

/* ---- the end ---- */

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
};

static void latch_open(void *arg)
{
    struct latch *l = arg;
    pthread_mutex_lock(&l->lock);
    l->open = true;
    pthread_cond_signal(&l->opened);
    pthread_mutex_unlock(&l->lock);
}

static void stop_http(struct api_server *s)
{
    struct latch l = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    if (!s->http)
        return;
    http_server_stop(s->http, STOP_GRACE_MS, latch_open, &l);
    pthread_mutex_lock(&l.lock);
    while (!l.open)
        pthread_cond_wait(&l.opened, &l.lock);
    pthread_mutex_unlock(&l.lock);
}

void api_server_stop(struct api_server *s)
{
    if (!s)
        return;
    s->stopping = true;
    serve_etcd_stop(s->serve_etcd);
    bootstrap_keeper_stop(s->keeper);
    reload_stop(s->reload);
    reseal_stop(s->reseal);
    snapshot_schedule_stop(s->snapshots);
    stop_http(s);
    if (s->cache && s->n_loops)
        api_verbs_finish(s);
    for (size_t i = 0; i < s->n_loops; i++)
        loop_stop(s->loops[i]);
    for (size_t i = 0; i < s->n_loops; i++)
        loop_join(s->loops[i]);
    if (s->http)
        http_server_destroy(s->http);
    authenticator_destroy(s->authn);
    rbac_destroy(s->rbac);
    token_signer_destroy(s->signer);
    tls_context_destroy(s->tls);
    tls_context_destroy(s->agent_tls);
    if (s->cache)
        cache_destroy(s->cache);
    kv_close(s->kv);
    crypt_destroy(s->crypt);
    for (size_t i = 0; i < s->n_loops; i++)
        loop_destroy(s->loops[i]);
    if (s->pki)
        pki_finish(s->pki);
    free(s->pki);
    free(s);
}
