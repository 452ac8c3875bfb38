#include "api/pki.h"

#include "api/client/kubeconfig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CA_DAYS 3650
#define LEAF_DAYS 365
#define RENEW_BEFORE_S (30 * 86400)

/* ---- files ---- */

static int file_read(const char *path, char **ret, struct err *err) /* 1 = absent */
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, errno, "open %s", path);
    struct stat st;
    char *text = NULL;
    ssize_t n = -1;
    if (fstat(fd, &st) == 0 && st.st_size < 1 << 20) {
        text = malloc((size_t)st.st_size + 1);
        n = read(fd, text, (size_t)st.st_size);
    }
    close(fd);
    if (n < 0) {
        free(text);
        return err_set_errno(err, ERR_IO, errno, "read %s", path);
    }
    text[n] = 0;
    *ret = text;
    return 0;
}

/* A temporary file beside it, synced, then renamed over: never half a key. */
static int file_write(const char *path, struct str text, struct err *err)
{
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.%d.tmp", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "create %s", temporary);
    ssize_t n = write(fd, text.p, text.len);
    int failed = n != (ssize_t)text.len ? (n < 0 ? errno : ENOSPC) : 0;
    if (!failed && fdatasync(fd) < 0)
        failed = errno;
    close(fd);
    if (!failed && rename(temporary, path) < 0)
        failed = errno;
    if (failed) {
        unlink(temporary);
        return err_set_errno(err, ERR_IO, failed, "write %s", path);
    }
    return 0;
}

static void path_of(char *out, size_t cap, const char *dir, const char *name, const char *suffix)
{
    snprintf(out, cap, "%s/pki/%s.%s", dir, name, suffix);
}

static int pair_read(const char *dir, const char *name, struct tls_pair *ret, struct err *err)
{
    char path[4096];
    path_of(path, sizeof path, dir, name, "crt");
    int rc = file_read(path, &ret->cert_pem, err);
    if (rc)
        return rc;
    path_of(path, sizeof path, dir, name, "key");
    rc = file_read(path, &ret->key_pem, err);
    if (rc) {
        free(ret->cert_pem);
        *ret = (struct tls_pair){0};
    }
    return rc;
}

static int pair_write(const char *dir, const char *name, const struct tls_pair *pair, struct err *err)
{
    char path[4096];
    path_of(path, sizeof path, dir, name, "key");
    int rc = file_write(path, str_from(pair->key_pem), err);
    if (rc < 0)
        return rc;
    path_of(path, sizeof path, dir, name, "crt");
    return file_write(path, str_from(pair->cert_pem), err);
}

/* ---- certificates ---- */

static X509 *cert_parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return x;
}

/* Signed by this CA, lasting long enough, and naming everything asked for. */
static bool cert_serves(const char *pem, const char *ca_pem, const char *const *dns, const char *const *ips)
{
    X509 *x = cert_parse(pem), *ca = cert_parse(ca_pem);
    time_t until = time(NULL) + RENEW_BEFORE_S;
    bool ok = x && ca && X509_cmp_time(X509_get0_notAfter(x), &until) > 0 && X509_verify(x, X509_get0_pubkey(ca)) == 1;
    for (; ok && dns && *dns; dns++)
        ok = X509_check_host(x, *dns, 0, 0, NULL) == 1;
    for (; ok && ips && *ips; ips++)
        ok = X509_check_ip_asc(x, *ips, 0) == 1;
    X509_free(x);
    X509_free(ca);
    ERR_clear_error();
    return ok;
}

static int pair_ensure(const char *dir, const char *name, const struct tls_cert_request *req,
                       const struct tls_pair *signer, struct tls_pair *ret, struct err *err)
{
    int rc = pair_read(dir, name, ret, err);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        if (cert_serves(ret->cert_pem, signer ? signer->cert_pem : ret->cert_pem, req->dns_names, req->ip_addresses))
            return 0;
        if (!signer)
            return err_set(err, ERR_CORRUPT,
                           "%s/pki/%s.crt is no valid certificate authority, or it expires within a month", dir, name);
        tls_pair_finish(ret);
    }
    rc = tls_cert_create(req, signer, ret, err);
    return rc < 0 ? rc : pair_write(dir, name, ret, err);
}

static const struct tls_cert_request ca_request = {.common_name = "skiff-ca", .ca = true, .valid_days = CA_DAYS};
static const char *const masters[] = {"system:masters", NULL};
static const struct tls_cert_request admin_request = {
    .common_name = "kubernetes-admin", .organizations = masters, .client_auth = true, .valid_days = LEAF_DAYS};
static const struct tls_cert_request agent_client_request = {.common_name = "kube-apiserver-kubelet-client",
                                                             .organizations = masters,
                                                             .client_auth = true,
                                                             .valid_days = LEAF_DAYS};

static int sa_key_ensure(const char *dir, char **ret, struct err *err)
{
    char path[4096];
    path_of(path, sizeof path, dir, "sa", "key");
    int rc = file_read(path, ret, err);
    if (rc <= 0)
        return rc;
    rc = tls_key_create(ret, err);
    return rc < 0 ? rc : file_write(path, str_from(*ret), err);
}

int pki_load(const char *data_dir, const char *const *dns_names, const char *const *ip_addresses, struct pki *ret,
             struct err *err)
{
    char path[4096];
    *ret = (struct pki){0};
    snprintf(path, sizeof path, "%s/pki", data_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create %s", path);
    struct tls_cert_request server = {.common_name = "kube-apiserver",
                                      .dns_names = dns_names,
                                      .ip_addresses = ip_addresses,
                                      .server_auth = true,
                                      .valid_days = LEAF_DAYS};
    int rc = pair_ensure(data_dir, "ca", &ca_request, NULL, &ret->ca, err);
    if (rc == 0)
        rc = pair_ensure(data_dir, "server", &server, &ret->ca, &ret->server, err);
    if (rc == 0)
        rc = pair_ensure(data_dir, "admin", &admin_request, &ret->ca, &ret->admin, err);
    if (rc == 0)
        rc = pair_ensure(data_dir, "agent-client", &agent_client_request, &ret->ca, &ret->agent_client, err);
    if (rc == 0)
        rc = sa_key_ensure(data_dir, &ret->sa_key_pem, err);
    if (rc < 0)
        pki_finish(ret);
    return rc;
}

void pki_finish(struct pki *p)
{
    tls_pair_finish(&p->ca);
    tls_pair_finish(&p->server);
    tls_pair_finish(&p->admin);
    tls_pair_finish(&p->agent_client);
    free(p->sa_key_pem);
    *p = (struct pki){0};
}

int pki_issue_node(const char *data_dir, const char *node_name, const char *const *addresses, struct pki_node *ret,
                   struct err *err)
{
    struct tls_pair ca = {0};
    *ret = (struct pki_node){0};
    int rc = pair_read(data_dir, "ca", &ca, err);
    if (rc == 1)
        return err_set(err, ERR_NOT_FOUND, "%s/pki holds no certificate authority: start the server there first",
                       data_dir);
    if (rc < 0)
        return rc;
    static const char *const nodes[] = {"system:nodes", NULL};
    char user[300];
    snprintf(user, sizeof user, "system:node:%s", node_name);
    const char *names[] = {node_name, "localhost", NULL};
    struct tls_cert_request client = {
        .common_name = user, .organizations = nodes, .client_auth = true, .valid_days = LEAF_DAYS};
    struct tls_cert_request serving = {.common_name = user,
                                       .organizations = nodes,
                                       .dns_names = names,
                                       .ip_addresses = addresses,
                                       .server_auth = true,
                                       .valid_days = LEAF_DAYS};
    rc = tls_cert_create(&client, &ca, &ret->client, err);
    if (rc == 0)
        rc = tls_cert_create(&serving, &ca, &ret->serving, err);
    tls_pair_finish(&ca);
    if (rc < 0)
        pki_node_finish(ret);
    return rc;
}

void pki_node_finish(struct pki_node *n)
{
    tls_pair_finish(&n->client);
    tls_pair_finish(&n->serving);
}

/* ---- signing requests ---- */

static bool extension_add(X509 *x, X509 *issuer, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool san_copy(X509 *x, X509_REQ *req)
{
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
    int at = X509v3_get_ext_by_NID(all, NID_subject_alt_name, -1);
    bool ok = at < 0 || X509_add_ext(x, X509v3_get_ext(all, at), -1) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    return ok;
}

static X509 *cert_from_request(X509_REQ *req, X509 *ca, EVP_PKEY *ca_key, bool server_auth, bool client_auth,
                               int64_t valid_s)
{
    X509 *x = X509_new();
    unsigned char serial[16];
    RAND_bytes(serial, sizeof serial);
    serial[0] &= 0x7f;
    BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
    BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));
    BN_free(bn);
    bool ok = X509_set_version(x, 2) == 1 && X509_set_subject_name(x, X509_REQ_get_subject_name(req)) == 1 &&
              X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(x), -300) && X509_gmtime_adj(X509_getm_notAfter(x), (long)valid_s) &&
              X509_set_pubkey(x, X509_REQ_get0_pubkey(req)) == 1 &&
              extension_add(x, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
              extension_add(x, ca, NID_ext_key_usage,
                            server_auth && client_auth ? "serverAuth,clientAuth"
                            : server_auth              ? "serverAuth"
                                                       : "clientAuth") &&
              extension_add(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
              extension_add(x, ca, NID_authority_key_identifier, "keyid") && san_copy(x, req) &&
              X509_sign(x, ca_key, EVP_sha256()) > 0;
    if (ok)
        return x;
    X509_free(x);
    return NULL;
}

static X509_REQ *request_parse(struct str pem, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.len);
    X509_REQ *req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (req && X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) == 1)
        return req;
    X509_REQ_free(req);
    ERR_clear_error();
    err_set(err, ERR_BAD_REQUEST, "the certificate request is malformed or not signed by its own key");
    return NULL;
}

static struct str name_entry(struct arena *a, const X509_NAME *name, int at)
{
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    struct str s = len < 0 ? STR("") : arena_str(a, (struct str){(char *)text, (size_t)len});
    OPENSSL_free(text);
    return s;
}

int pki_csr_read(struct arena *a, struct str csr_pem, struct pki_csr *ret, struct err *err)
{
    X509_REQ *req = request_parse(csr_pem, err);
    if (!req)
        return err->code;
    *ret = (struct pki_csr){0};
    const X509_NAME *name = X509_REQ_get_subject_name(req);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1), rc = 0;
    if (at >= 0)
        ret->common_name = name_entry(a, name, at);
    for (at = -1; (at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0;) {
        if (ret->n_organizations == sizeof ret->organizations / sizeof *ret->organizations) {
            rc = err_set(err, ERR_BAD_REQUEST, "the certificate request names too many organizations");
            break;
        }
        ret->organizations[ret->n_organizations++] = name_entry(a, name, at);
    }
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
    ret->has_alternative_names = X509v3_get_ext_by_NID(all, NID_subject_alt_name, -1) >= 0;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    X509_REQ_free(req);
    return rc;
}

int pki_sign_csr(const struct tls_pair *ca, struct str csr_pem, bool server_auth, bool client_auth, int64_t valid_s,
                 char **ret_cert_pem, struct err *err)
{
    X509_REQ *req = request_parse(csr_pem, err);
    if (!req)
        return err->code;
    X509 *ca_cert = cert_parse(ca->cert_pem);
    BIO *bio = BIO_new_mem_buf(ca->key_pem, -1);
    EVP_PKEY *ca_key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    X509 *x = ca_cert && ca_key ? cert_from_request(req, ca_cert, ca_key, server_auth, client_auth, valid_s) : NULL;
    int rc = 0;
    if (x) {
        BIO *out = BIO_new(BIO_s_mem());
        PEM_write_bio_X509(out, x);
        char *p;
        long len = BIO_get_mem_data(out, &p);
        *ret_cert_pem = strndup(p, (size_t)len);
        BIO_free(out);
    } else {
        rc = err_set(err, ERR_INTERNAL, "signing the certificate failed");
    }
    X509_free(x);
    X509_free(ca_cert);
    EVP_PKEY_free(ca_key);
    X509_REQ_free(req);
    ERR_clear_error();
    return rc;
}

/* ---- kubeconfig ---- */

static void add_base64(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    buf_reserve(out, (len + 2) / 3 * 4 + 1);
    out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->p + out->len, (const unsigned char *)text, (int)len);
}

int pki_write_kubeconfig(const char *file, const char *name, const char *server_url, const char *ca_pem,
                         const struct tls_pair *client, struct err *err)
{
    return pki_write_kubeconfig_for(file, name, server_url, NULL, ca_pem, client, err);
}

static void add_servers(struct buf *b, const char *first, const char *more)
{
    buf_printf(b, "\n    extensions:\n    - extension:\n        servers:\n        - %s", first);
    struct str rest = str_from(more), one;
    while (str_split(&rest, ',', &one))
        if (one.len)
            buf_printf(b, "\n        - " STR_FMT, STR_ARG(one));
    buf_addz(b, "\n      name: " KUBECONFIG_SERVERS);
}

int pki_write_kubeconfig_for(const char *file, const char *name, const char *server_url, const char *more_servers,
                             const char *ca_pem, const struct tls_pair *client, struct err *err)
{
    struct buf b = {0};
    buf_addz(&b, "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority-data: ");
    add_base64(&b, ca_pem);
    if (more_servers)
        add_servers(&b, server_url, more_servers);
    buf_printf(&b, "\n    server: %s\n  name: %s\n", server_url, name);
    buf_printf(&b, "contexts:\n- context:\n    cluster: %s\n    user: %s\n  name: %s\n", name, name, name);
    buf_printf(&b, "current-context: %s\nusers:\n- name: %s\n  user:\n    client-certificate-data: ", name, name);
    add_base64(&b, client->cert_pem);
    buf_addz(&b, "\n    client-key-data: ");
    add_base64(&b, client->key_pem);
    buf_addz(&b, "\n");
    int rc = file_write(file, buf_str(&b), err);
    buf_free(&b);
    return rc;
}
