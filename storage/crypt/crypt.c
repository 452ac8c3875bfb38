#include "storage/crypt/crypt.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "storage/crypt/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Seals with random nonces of 96 bits under one key of aesgcm: NIST's bound is 2^32; half of it earns a warning. */
#define SEALS_WARN (1ull << 31)

struct crypt {
    char *file, *own_file; /* own_file: NULL unless another file leads */
    char *data_dir;
    struct kv_transform transform;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct keyring *keyring;
    uint64_t generation; /* counts what may make stored values stale */
    bool woken;
    _Atomic uint64_t n_seals;
};

static _Thread_local enum crypt_seen seen;

/* The caller's reference. The keys in force are the one thing in a crypt that changes. */
static struct keyring *current(const struct crypt *c)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&c->lock;
    pthread_mutex_lock(lock);
    struct keyring *k = c->keyring;
    ref_get(&k->ref);
    pthread_mutex_unlock(lock);
    return k;
}

/* ---- the file made at first start ---- */

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Never half a key, and none that a value was sealed with before it was on disk. */
static int write_file(const char *folder, const char *path, struct str text, struct err *err)
{
    char temporary[4200];
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create %s", folder);
    snprintf(temporary, sizeof temporary, "%s.%d.tmp", path, (int)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "create %s", temporary);
    ssize_t n = write(fd, text.p, text.len);
    int failed = n == (ssize_t)text.len ? 0 : n < 0 ? errno : ENOSPC;
    if (!failed && fsync(fd) < 0)
        failed = errno;
    close(fd);
    if (!failed && (rename(temporary, path) < 0 || sync_folder(folder) < 0))
        failed = errno;
    if (failed) {
        unlink(temporary);
        return err_set_errno(err, ERR_IO, failed, "write %s", path);
    }
    return 0;
}

static int make_own(const char *data_dir, const char *path, struct err *err)
{
    char folder[4096];
    struct buf text = {0};
    snprintf(folder, sizeof folder, "%s/pki", data_dir);
    buf_reserve(&text, 4096); /* growing would leave copies of the key behind */
    int rc = encryption_configuration_make(&text, err);
    if (rc == 0)
        rc = write_file(folder, path, buf_str(&text), err);
    OPENSSL_cleanse(text.p, text.cap);
    buf_free(&text);
    return rc;
}

/* ---- changes ---- */

static void service_changed(void *arg)
{
    struct crypt *c = arg;
    pthread_mutex_lock(&c->lock);
    c->generation++;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

uint64_t crypt_generation(struct crypt *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t n = c->generation;
    pthread_mutex_unlock(&c->lock);
    return n;
}

void crypt_wait_change(struct crypt *c, uint64_t generation, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&c->lock);
    while (c->generation == generation && !c->woken)
        if (pthread_cond_timedwait(&c->changed, &c->lock, &until) != 0)
            break;
    pthread_mutex_unlock(&c->lock);
}

void crypt_wake(struct crypt *c)
{
    pthread_mutex_lock(&c->lock);
    c->woken = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static int read_keyring(struct crypt *c, const struct keyring *former, struct keyring **ret, struct err *err)
{
    return keyring_read(&(struct keyring_options){.file = c->file,
                                                  .own_file = c->own_file,
                                                  .own = !c->own_file,
                                                  .on_change = service_changed,
                                                  .arg = c,
                                                  .former = former},
                        ret, err);
}

/* A service that does not answer would seal nothing: the former keys stay. */
static int check_services(const struct keyring *k, struct err *err)
{
    for (size_t i = 0; i < k->main.n_services; i++) {
        const char *why = kms_trouble(k->main.services[i]->kms);
        if (why)
            return err_set(err, ERR_UNAVAILABLE, "%s", why);
    }
    return 0;
}

int crypt_reload(struct crypt *c, struct err *err)
{
    struct keyring *next, *former = current(c);
    int rc = read_keyring(c, former, &next, err);
    if (rc > 0)
        rc = err_set(err, ERR_NOT_FOUND, "%s is not there any more", c->file);
    if (rc == 0 && memcmp(next->digest, former->digest, sizeof next->digest) == 0) {
        ref_put(&next->ref);
        rc = 1;
    } else if (rc == 0 && check_services(next, err) < 0) {
        ref_put(&next->ref);
        rc = err->code;
    } else if (rc == 0) {
        pthread_mutex_lock(&c->lock);
        c->keyring = next;
        c->generation++;
        atomic_store(&c->n_seals, 0);
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        ref_put(&former->ref); /* the crypt's own */
    }
    ref_put(&former->ref);
    return rc;
}

/* ---- asking ---- */

bool crypt_is_empty(const struct crypt *c)
{
    struct keyring *k = current(c);
    bool empty = !k->main.n_rules;
    ref_put(&k->ref);
    return empty;
}

bool crypt_wants(const struct crypt *c, struct str key)
{
    struct keyring *k = current(c);
    bool wants = keyring_sealer(k, key) != NULL;
    ref_put(&k->ref);
    return wants;
}

bool crypt_is_sealed(struct str stored)
{
    return str_starts(stored, STR("k8s:enc:"));
}

struct str crypt_key_id(struct str sealed)
{
    return keyring_key_id(sealed);
}

bool crypt_has_key(const struct crypt *c, struct str id)
{
    struct keyring *k = current(c);
    bool has = keyring_has(k, id);
    ref_put(&k->ref);
    return has;
}

struct str crypt_fingerprint(const struct crypt *c, struct arena *a)
{
    struct keyring *k = current(c);
    struct str text = keyring_fingerprint(k, a);
    ref_put(&k->ref);
    return text;
}

struct str crypt_server_id(const struct crypt *c, struct arena *a)
{
    char host[256] = "", path[4096];
    uint8_t digest[32];
    gethostname(host, sizeof host - 1);
    if (!realpath(c->data_dir, path))
        snprintf(path, sizeof path, "%s", c->data_dir);
    struct str text = arena_printf(a, "%s:%s", host, path);
    EVP_Digest(text.p, text.len, digest, NULL, EVP_sha256(), NULL);
    return arena_printf(a, "%02x%02x%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4],
                        digest[5], digest[6], digest[7]);
}

bool crypt_has_services(const struct crypt *c)
{
    struct keyring *k = current(c);
    bool has = k->main.n_services > 0;
    ref_put(&k->ref);
    return has;
}

const char *crypt_trouble(const struct crypt *c)
{
    static _Thread_local char text[700];
    const char *why = NULL;
    struct keyring *k = current(c);
    for (size_t i = 0; i < k->main.n_services && !why; i++)
        why = kms_trouble(k->main.services[i]->kms);
    snprintf(text, sizeof text, "%s", why ? why : "");
    ref_put(&k->ref);
    return why ? text : NULL;
}

void crypt_wait_services(const struct crypt *c, int64_t timeout_ms)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    struct keyring *k = current(c);
    for (size_t i = 0; i < k->main.n_services; i++) {
        struct kms *kms = k->main.services[i]->kms;
        int64_t left_ms = until_ms - clock_mono_ms();
        const char *why = kms_trouble(kms);
        if (why && left_ms > 0) {
            log_warn("storage", "waiting up to %lld s for a key management service: %s", (long long)left_ms / 1000,
                     why);
            kms_wait_healthy(kms, left_ms);
        }
    }
    ref_put(&k->ref);
}

/* ---- sealing ---- */

static void count_seal(const struct crypt *c, const struct cipher_key *with)
{
    _Atomic uint64_t *n = (_Atomic uint64_t *)(uintptr_t)&c->n_seals;
    if (with->kind == CIPHER_AESGCM && atomic_fetch_add_explicit(n, 1, memory_order_relaxed) + 1 == SEALS_WARN)
        log_warn("storage", "key " STR_FMT " of aesgcm has sealed two thousand million values: put a new one in front",
                 STR_ARG(with->name));
}

int crypt_seal(const struct crypt *c, struct str key, struct str plain, struct buf *out, struct err *err)
{
    struct keyring *k = current(c);
    const struct cipher_key *with = keyring_sealer(k, key);
    int rc = with ? keyring_seal(with, key, plain, out, err) : 1;
    if (rc == 0)
        count_seal(c, with);
    ref_put(&k->ref);
    return rc;
}

int crypt_can_seal(const struct crypt *c, struct str key, struct err *err)
{
    struct keyring *k = current(c);
    const struct cipher_key *with = keyring_sealer(k, key);
    int rc = with && with->kind == CIPHER_KMS ? kms_can_seal(with->kms, err) : 0;
    ref_put(&k->ref);
    return rc;
}

int crypt_unseal(const struct crypt *c, struct str key, struct str sealed, struct buf *out, struct err *err)
{
    bool as_now = false;
    if (!crypt_is_sealed(sealed)) { /* see transform_seal */
        seen = CRYPT_SEEN_PLAIN;
        buf_add_str(out, sealed);
        return 0;
    }
    struct keyring *k = current(c);
    int rc = keyring_open(k, key, sealed, out, &as_now, err);
    if (rc == 0)
        seen = as_now ? CRYPT_SEEN_CURRENT : CRYPT_SEEN_STALE;
    ref_put(&k->ref);
    return rc;
}

enum crypt_seen crypt_seen(void)
{
    return seen;
}

void crypt_seen_reset(void)
{
    seen = CRYPT_SEEN_PLAIN;
}

/* ---- as kv's transform ---- */

static int transform_seal(void *arg, struct str key, struct str plain, struct buf *out, struct err *err)
{
    buf_add_char(out, CRYPT_TRANSFORM);
    int rc = crypt_seal(arg, key, plain, out, err);
    if (rc > 0) /* the rules have changed since kv chose */
        buf_add_str(out, plain);
    return rc < 0 ? rc : 0;
}

static int transform_open(void *arg, struct str key, struct str sealed, struct buf *out, struct err *err)
{
    return crypt_unseal(arg, key, sealed, out, err);
}

static int transform_ready(void *arg, struct str key, struct err *err)
{
    return crypt_can_seal(arg, key, err);
}

static const struct kv_transform *choose(void *arg, struct str key)
{
    struct crypt *c = arg;
    return crypt_wants(c, key) ? &c->transform : NULL;
}

void crypt_install(struct crypt *c, struct kv *kv)
{
    const struct kv_transform *known[] = {&c->transform};
    kv_set_transforms(kv, known, 1, choose, c);
}

/* ---- the whole ---- */

static int open_files(struct crypt *c, bool create, struct err *err)
{
    struct keyring *k = NULL;
    int rc = read_keyring(c, NULL, &k, err);
    if (rc > 0 && c->own_file)
        return err_set(err, ERR_BAD_REQUEST, "--encryption-provider-config %s: there is no such file", c->file);
    if (rc > 0 && create) {
        rc = make_own(c->data_dir, c->file, err);
        if (rc == 0)
            rc = read_keyring(c, NULL, &k, err);
    }
    if (rc > 0)
        k = keyring_empty(c->file);
    c->keyring = k;
    return rc < 0 ? rc : 0;
}

int crypt_open(const char *data_dir, const char *config_file, bool create, struct crypt **ret, struct err *err)
{
    char path[4096];
    pthread_condattr_t monotonic;
    struct crypt *c = MEM_NEW(struct crypt);
    c->transform = (struct kv_transform){CRYPT_TRANSFORM, transform_seal, transform_open, c, transform_ready};
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    snprintf(path, sizeof path, "%s/" CRYPT_FILE, data_dir);
    c->data_dir = mem_strdup(data_dir);
    c->file = mem_strdup(config_file ? config_file : path);
    c->own_file = config_file ? mem_strdup(path) : NULL;
    int rc = open_files(c, create, err);
    if (rc < 0) {
        crypt_destroy(c);
        return rc;
    }
    *ret = c;
    return 0;
}

const char *crypt_file(const struct crypt *c)
{
    return c->file;
}

void crypt_destroy(struct crypt *c)
{
    if (!c)
        return;
    if (c->keyring) {
        for (size_t i = 0; i < c->keyring->main.n_services; i++)
            kms_detach(c->keyring->main.services[i]->kms);
        for (size_t i = 0; i < c->keyring->own.n_services; i++)
            kms_detach(c->keyring->own.services[i]->kms);
        ref_put(&c->keyring->ref);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c->file);
    free(c->own_file);
    free(c->data_dir);
    free(c);
}
