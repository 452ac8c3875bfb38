#include "storage/crypt/keyring.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALED_PREFIX STR("k8s:enc:")

/* ---- reading ---- */

/* Keys that others can read are worth a word; those that a server made for itself are refused then. */
static int check_mode(const char *path, mode_t mode, bool own, struct err *err)
{
    if (own && (mode & 0007))
        return err_set(err, ERR_PERMISSION,
                       "%s holds encryption keys and is open to every user of this machine (mode %04o): chmod 600 it, "
                       "and rotate the keys if others may have read it",
                       path, (unsigned)(mode & 07777));
    if (mode & 0077)
        log_warn("storage", "%s holds encryption keys and is open to other users of this machine (mode %04o)", path,
                 (unsigned)(mode & 07777));
    return 0;
}

static int read_file(const char *path, bool own, struct buf *out, struct err *err) /* 1 = absent */
{
    char block[4096];
    struct stat st;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, errno, "open %s", path);
    int rc = fstat(fd, &st) == 0 ? check_mode(path, st.st_mode, own, err) : 0;
    buf_reserve(out, 1u << 16); /* growing would leave copies of keys behind */
    while (rc == 0 && out->len < 1u << 20 && (n = read(fd, block, sizeof block)) > 0)
        buf_add(out, block, (size_t)n);
    if (n < 0)
        rc = err_set_errno(err, ERR_IO, errno, "read %s", path);
    OPENSSL_cleanse(block, sizeof block);
    close(fd);
    return rc;
}

/* 1 = absent */
static int load(struct keyring *k, const char *path, bool own, struct encryption_configuration *ret, struct err *err)
{
    struct buf text = {0};
    int rc = read_file(path, own, &text, err);
    if (rc == 0) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        EVP_DigestInit_ex(md, EVP_sha256(), NULL);
        EVP_DigestUpdate(md, k->digest, sizeof k->digest);
        EVP_DigestUpdate(md, text.p, text.len);
        EVP_DigestFinal_ex(md, k->digest, NULL);
        EVP_MD_CTX_free(md);
        rc = encryption_configuration_parse(k->arena, buf_str(&text), ret, err);
        if (rc < 0)
            err_context(err, "%s", path);
    }
    if (text.p)
        OPENSSL_cleanse(text.p, text.cap);
    buf_free(&text);
    return rc;
}

/* ---- services ---- */

static struct kms *find_service(const struct keyring *former, const struct cipher_key *like)
{
    for (size_t i = 0; former && i < former->main.n_services; i++) {
        const struct cipher_key *k = former->main.services[i];
        if (str_eq(k->name, like->name) && str_eq(k->endpoint, like->endpoint) && k->timeout_ms == like->timeout_ms)
            return k->kms;
    }
    return NULL;
}

static int connect_services(const struct keyring_options *opt, const struct encryption_configuration *e,
                            struct err *err)
{
    for (size_t i = 0; i < e->n_services; i++) {
        struct cipher_key *k = e->services[i];
        struct kms *had = find_service(opt->former, k);
        struct kms_options o = {.name = k->name,
                                .endpoint = k->endpoint,
                                .timeout_ms = k->timeout_ms,
                                .on_change = opt->on_change,
                                .arg = opt->arg};
        if (had)
            k->kms = kms_share(had);
        else if (kms_create(&o, &k->kms, err) < 0)
            return err->code;
    }
    for (size_t i = 0; i < e->n_services; i++)
        kms_wait_checked(e->services[i]->kms);
    return 0;
}

static void forget(const struct encryption_configuration *e)
{
    for (size_t i = 0; i < e->n_services; i++)
        kms_release(e->services[i]->kms);
}

static void keyring_free(struct ref *r)
{
    struct keyring *k = (struct keyring *)r;
    forget(&k->main);
    forget(&k->own);
    arena_wipe(k->arena);
    free(k);
}

struct keyring *keyring_empty(const char *file)
{
    struct keyring *k = MEM_NEW(struct keyring);
    ref_init(&k->ref, keyring_free);
    k->arena = arena_create(0);
    k->file = arena_strdup(k->arena, file);
    return k;
}

int keyring_read(const struct keyring_options *opt, struct keyring **ret, struct err *err)
{
    struct keyring *k = keyring_empty(opt->file);
    int rc = load(k, opt->file, opt->own, &k->main, err);
    if (rc == 0 && opt->own_file) {
        rc = load(k, opt->own_file, true, &k->own, err);
        rc = rc > 0 ? 0 : rc;
    }
    if (rc == 0)
        rc = connect_services(opt, &k->main, err);
    if (rc == 0)
        rc = connect_services(opt, &k->own, err);
    if (rc != 0) {
        ref_put(&k->ref);
        return rc;
    }
    *ret = k;
    return 0;
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

const struct cipher_key *keyring_sealer(const struct keyring *k, struct str key)
{
    const struct encryption_rule *r = rule_of(&k->main, key);
    return r ? r->sealer : NULL;
}

/* k8s:enc:KIND:VERSION:NAME: */
static bool split(struct str sealed, struct str *ret_kind, struct str *ret_name)
{
    struct str rest = str_sub(sealed, SEALED_PREFIX.len, sealed.len < 512 ? sealed.len : 512), version;
    return str_starts(sealed, SEALED_PREFIX) && str_split(&rest, ':', ret_kind) && str_split(&rest, ':', &version) &&
           rest.p && str_split(&rest, ':', ret_name) && rest.p;
}

struct str keyring_key_id(struct str sealed)
{
    static _Thread_local char id[512];
    struct str kind, name;
    if (!split(sealed, &kind, &name))
        return STR_NULL;
    int n = snprintf(id, sizeof id, STR_FMT ":" STR_FMT, STR_ARG(kind), STR_ARG(name));
    return (struct str){id, (size_t)n};
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

bool keyring_has(const struct keyring *k, struct str id)
{
    return has_key(&k->main, id) || has_key(&k->own, id);
}

/* ---- sealing ---- */

int keyring_seal(const struct cipher_key *with, struct str key, struct str plain, struct buf *out, struct err *err)
{
    size_t before = out->len;
    buf_add_str(out, with->prefix);
    int rc =
        with->kind == CIPHER_KMS ? kms_seal(with->kms, key, plain, out, err) : cipher_seal(with, key, plain, out, err);
    if (rc < 0)
        out->len = before;
    return rc;
}

/* What opening with one key after the other has come to. */
struct attempt {
    struct str key, sealed;
    struct buf *out;
    const struct cipher_key *opened_by;
    bool current; /* of a service: under its present key */
    size_t n_tried;
    struct err *err;
};

static int open_with(const struct cipher_key *k, struct attempt *t)
{
    struct str bytes = str_sub(t->sealed, k->prefix.len, t->sealed.len);
    t->current = true;
    if (k->kind == CIPHER_KMS)
        return kms_open(k->kms, t->key, bytes, t->out, &t->current, t->err);
    return cipher_open(k, t->key, bytes, t->out, t->err);
}

static void try_rule(struct attempt *t, const struct encryption_rule *r)
{
    for (size_t i = 0; i < r->n_keys && !t->opened_by; i++) {
        const struct cipher_key *k = r->keys[i];
        /* a second guess only where a wrong one is noticed */
        if (!str_starts(t->sealed, k->prefix) || (t->n_tried && !cipher_authenticates(k->kind)))
            continue;
        t->n_tried++;
        if (open_with(k, t) == 0)
            t->opened_by = k;
    }
}

int keyring_open(const struct keyring *k, struct str key, struct str sealed, struct buf *out, bool *ret_current,
                 struct err *err)
{
    struct attempt t = {.key = key, .sealed = sealed, .out = out, .err = err};
    const struct encryption_rule *own = rule_of(&k->main, key);
    if (own)
        try_rule(&t, own);
    for (size_t i = 0; i < k->main.n_rules && !t.opened_by; i++)
        if (&k->main.rules[i] != own)
            try_rule(&t, &k->main.rules[i]);
    for (size_t i = 0; i < k->own.n_rules && !t.opened_by; i++)
        try_rule(&t, &k->own.rules[i]);
    if (t.opened_by) {
        *ret_current = own && t.opened_by == own->sealer && t.current;
        return 0;
    }
    if (t.n_tried)
        return err->code;
    struct str id = keyring_key_id(sealed);
    return err_set(err, ERR_CORRUPT, "sealed with key " STR_FMT ", which is not in %s",
                   STR_ARG(id.p ? id : STR("(none named)")), k->file);
}

/* ---- fingerprint ---- */

static void add_hashed(EVP_MD_CTX *md, const void *p, size_t len)
{
    uint64_t n = len; /* so that no two lists of parts read the same */
    EVP_DigestUpdate(md, &n, sizeof n);
    EVP_DigestUpdate(md, p, len);
}

static void add_sealer(EVP_MD_CTX *md, const struct cipher_key *k, struct arena *a)
{
    add_hashed(md, k->prefix.p, k->prefix.len);
    if (k->kind == CIPHER_KMS) {
        struct str hash = kms_key_hash(k->kms, a);
        add_hashed(md, hash.p, hash.len);
    } else {
        add_hashed(md, k->secret, k->secret_len);
    }
}

struct str keyring_fingerprint(const struct keyring *k, struct arena *a)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    for (size_t i = 0; i < k->main.n_rules; i++) {
        const struct encryption_rule *r = &k->main.rules[i];
        for (size_t j = 0; j < r->n_prefixes; j++)
            add_hashed(md, r->prefixes[j].p, r->prefixes[j].len);
        if (r->sealer)
            add_sealer(md, r->sealer, a);
        add_hashed(md, "", 0);
    }
    EVP_DigestFinal_ex(md, digest, NULL);
    EVP_MD_CTX_free(md);
    char *hex = arena_alloc(a, 65);
    for (unsigned i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return (struct str){hex, 64};
}
