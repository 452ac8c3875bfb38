#include "storage/crypt/crypt.h"

#include "base/mem.h"
#include "storage/crypt/configuration.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALED_PREFIX STR("k8s:enc:")

struct crypt {
    struct arena *arena;
    struct encryption_configuration main, own; /* own: the data directory's, when another file leads */
    char *file;
    struct kv_transform transform;
};

static _Thread_local enum crypt_seen seen;

/* ---- files ---- */

static int read_file(const char *path, struct buf *out, struct err *err) /* 1 = absent */
{
    char block[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, errno, "open %s", path);
    while ((n = read(fd, block, sizeof block)) > 0 && out->len < 1u << 20)
        buf_add(out, block, (size_t)n);
    int failed = n < 0 ? errno : 0;
    close(fd);
    return failed ? err_set_errno(err, ERR_IO, failed, "read %s", path) : 0;
}

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

/* 1 = absent */
static int load(struct crypt *c, const char *path, struct encryption_configuration *ret, struct err *err)
{
    struct buf text = {0};
    int rc = read_file(path, &text, err);
    if (rc == 0) {
        rc = encryption_configuration_parse(c->arena, arena_str(c->arena, buf_str(&text)), ret, err);
        if (rc < 0)
            err_context(err, "%s", path);
    }
    buf_free(&text);
    return rc;
}

static int make_own(struct crypt *c, const char *data_dir, const char *path, struct err *err)
{
    char folder[4096];
    struct buf text = {0};
    snprintf(folder, sizeof folder, "%s/pki", data_dir);
    int rc = encryption_configuration_make(&text, err);
    if (rc == 0)
        rc = write_file(folder, path, buf_str(&text), err);
    buf_free(&text);
    return rc < 0 ? rc : load(c, path, &c->main, err);
}

/* ---- rules ---- */

static const struct encryption_rule *rule_of(const struct encryption_configuration *e, struct str key)
{
    for (size_t i = 0; i < e->n_rules; i++)
        for (size_t j = 0; j < e->rules[i].n_prefixes; j++)
            if (str_starts(key, e->rules[i].prefixes[j]))
                return &e->rules[i];
    return NULL;
}

static const struct cipher_key *sealer_of(const struct crypt *c, struct str key)
{
    const struct encryption_rule *r = rule_of(&c->main, key);
    return r ? r->sealer : NULL;
}

bool crypt_is_empty(const struct crypt *c)
{
    return !c->main.n_rules;
}

bool crypt_wants(const struct crypt *c, struct str key)
{
    return sealer_of(c, key) != NULL;
}

/* ---- sealing ---- */

bool crypt_is_sealed(struct str stored)
{
    return str_starts(stored, SEALED_PREFIX);
}

/* k8s:enc:KIND:v1:NAME: */
static bool split(struct str sealed, struct str *ret_kind, struct str *ret_name)
{
    struct str rest = str_sub(sealed, SEALED_PREFIX.len, sealed.len < 512 ? sealed.len : 512), version;
    return crypt_is_sealed(sealed) && str_split(&rest, ':', ret_kind) && str_split(&rest, ':', &version) && rest.p &&
           str_split(&rest, ':', ret_name) && rest.p;
}

struct str crypt_key_id(struct str sealed)
{
    static _Thread_local char id[512];
    struct str kind, name;
    if (!split(sealed, &kind, &name))
        return STR_NULL;
    int n = snprintf(id, sizeof id, STR_FMT ":" STR_FMT, STR_ARG(kind), STR_ARG(name));
    return (struct str){id, (size_t)n};
}

int crypt_seal(const struct crypt *c, struct str key, struct str plain, struct buf *out, struct err *err)
{
    const struct cipher_key *k = sealer_of(c, key);
    if (!k)
        return 1;
    buf_add_str(out, k->prefix);
    return cipher_seal(k, key, plain, out, err);
}

/* What opening with one key after the other has come to. */
struct attempt {
    struct str key, sealed;
    struct buf *out;
    const struct cipher_key *opened_by;
    size_t n_tried;
    struct err *err;
};

static void try_rule(struct attempt *t, const struct encryption_rule *r)
{
    for (size_t i = 0; i < r->n_keys && !t->opened_by; i++) {
        const struct cipher_key *k = r->keys[i];
        /* a second guess only where a wrong one is noticed */
        if (!str_starts(t->sealed, k->prefix) || (t->n_tried && !cipher_authenticates(k->kind)))
            continue;
        t->n_tried++;
        if (cipher_open(k, t->key, str_sub(t->sealed, k->prefix.len, t->sealed.len), t->out, t->err) == 0)
            t->opened_by = k;
    }
}

int crypt_unseal(const struct crypt *c, struct str key, struct str sealed, struct buf *out, struct err *err)
{
    struct attempt t = {.key = key, .sealed = sealed, .out = out, .err = err};
    const struct encryption_rule *own = rule_of(&c->main, key);
    if (own)
        try_rule(&t, own);
    for (size_t i = 0; i < c->main.n_rules && !t.opened_by; i++)
        if (&c->main.rules[i] != own)
            try_rule(&t, &c->main.rules[i]);
    for (size_t i = 0; i < c->own.n_rules && !t.opened_by; i++)
        try_rule(&t, &c->own.rules[i]);
    if (t.opened_by) {
        seen = own && t.opened_by == own->sealer ? CRYPT_SEEN_CURRENT : CRYPT_SEEN_STALE;
        return 0;
    }
    if (t.n_tried)
        return err->code;
    struct str id = crypt_key_id(sealed);
    return err_set(err, ERR_CORRUPT, "sealed with key " STR_FMT ", which is not in %s",
                   STR_ARG(id.p ? id : STR("(none named)")), c->file);
}

static bool has_key(const struct encryption_configuration *e, struct str id)
{
    for (size_t i = 0; i < e->n_rules; i++)
        for (size_t j = 0; j < e->rules[i].n_keys; j++) {
            const struct cipher_key *k = e->rules[i].keys[j];
            struct str rest = id, kind;
            if (str_split(&rest, ':', &kind) && str_eqz(kind, cipher_name(k->kind)) && str_eq(rest, k->name))
                return true;
        }
    return false;
}

bool crypt_has_key(const struct crypt *c, struct str id)
{
    return has_key(&c->main, id) || has_key(&c->own, id);
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
    return crypt_seal(arg, key, plain, out, err);
}

static int transform_open(void *arg, struct str key, struct str sealed, struct buf *out, struct err *err)
{
    return crypt_unseal(arg, key, sealed, out, err);
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

static void add_hashed(EVP_MD_CTX *md, const void *p, size_t len)
{
    uint64_t n = len; /* so that no two lists of parts read the same */
    EVP_DigestUpdate(md, &n, sizeof n);
    EVP_DigestUpdate(md, p, len);
}

struct str crypt_fingerprint(const struct crypt *c, struct arena *a)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    for (size_t i = 0; i < c->main.n_rules; i++) {
        const struct encryption_rule *r = &c->main.rules[i];
        for (size_t j = 0; j < r->n_prefixes; j++)
            add_hashed(md, r->prefixes[j].p, r->prefixes[j].len);
        if (r->sealer) {
            add_hashed(md, r->sealer->prefix.p, r->sealer->prefix.len);
            add_hashed(md, r->sealer->secret, r->sealer->secret_len);
        }
        add_hashed(md, "", 0);
    }
    EVP_DigestFinal_ex(md, digest, &n);
    EVP_MD_CTX_free(md);
    char *hex = arena_alloc(a, 65);
    for (unsigned i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return (struct str){hex, 64};
}

int crypt_open(const char *data_dir, const char *config_file, bool create, struct crypt **ret, struct err *err)
{
    char path[4096];
    struct crypt *c = MEM_NEW(struct crypt);
    c->arena = arena_create(0);
    c->transform = (struct kv_transform){CRYPT_TRANSFORM, transform_seal, transform_open, c};
    snprintf(path, sizeof path, "%s/" CRYPT_FILE, data_dir);
    c->file = mem_strdup(config_file ? config_file : path);
    int rc;
    if (config_file) {
        rc = load(c, config_file, &c->main, err);
        if (rc > 0)
            rc = err_set(err, ERR_BAD_REQUEST, "--encryption-provider-config %s: there is no such file", config_file);
        if (rc == 0)
            rc = load(c, path, &c->own, err);
    } else {
        rc = load(c, path, &c->main, err);
        if (rc > 0 && create)
            rc = make_own(c, data_dir, path, err);
    }
    if (rc < 0) {
        crypt_destroy(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void crypt_destroy(struct crypt *c)
{
    if (!c)
        return;
    arena_destroy(c->arena);
    free(c->file);
    free(c);
}
