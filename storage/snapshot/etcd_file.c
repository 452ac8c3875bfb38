#include "storage/snapshot/etcd_file.h"

#include "base/map.h"
#include "base/mem.h"
#include "storage/snapshot/bbolt.h"
#include "storage/takeover/claims.h"
#include "storage/takeover/stored.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST = 32, REVISION_KEY = 17, TTL_S = 3600 };

struct record { /* newest of its key */
    struct str key, value;
    int64_t create_revision, mod_revision, version, lease;
    bool deleted;
};

struct etcd_file {
    struct str file; /* mapped */
    struct map keys; /* struct record */
    struct arena *arena;
    int64_t revision, n_living;
};

/* ---- mvccpb.KeyValue ---- */

static bool get_varint(struct str *s, uint64_t *ret)
{
    *ret = 0;
    for (int shift = 0; shift < 64 && s->len; shift += 7) {
        uint8_t b = (uint8_t)*s->p;
        *s = str_sub(*s, 1, s->len);
        *ret |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

static bool record_parse(struct str s, struct record *ret)
{
    *ret = (struct record){0};
    while (s.len) {
        uint64_t tag, n;
        if (!get_varint(&s, &tag) || !get_varint(&s, &n))
            return false;
        switch (tag) {
        case 1 << 3 | 2:
        case 5 << 3 | 2:
            if (n > s.len)
                return false;
            *(tag >> 3 == 1 ? &ret->key : &ret->value) = str_sub(s, 0, n);
            s = str_sub(s, n, s.len);
            break;
        case 2 << 3:
            ret->create_revision = (int64_t)n;
            break;
        case 3 << 3:
            ret->mod_revision = (int64_t)n;
            break;
        case 4 << 3:
            ret->version = (int64_t)n;
            break;
        case 6 << 3:
            ret->lease = (int64_t)n;
            break;
        default:
            return false;
        }
    }
    return ret->key.len;
}

/* Revisions come in order: what comes later is newer. */
static int note(void *arg, struct str key, struct str value, struct err *err)
{
    struct etcd_file *f = arg;
    struct record r;
    if (key.len < REVISION_KEY || !record_parse(value, &r))
        return err_set(err, ERR_CORRUPT, "byte %zu: a revision that cannot be read", (size_t)(value.p - f->file.p));
    int64_t revision = 0;
    for (int i = 0; i < 8; i++)
        revision = revision << 8 | (uint8_t)key.p[i];
    r.deleted = key.len > REVISION_KEY && key.p[REVISION_KEY] == 't';
    if (revision > f->revision)
        f->revision = revision;
    struct record *known = map_get(&f->keys, r.key);
    f->n_living += !r.deleted - (known ? !known->deleted : 0);
    if (!known) {
        known = ARENA_NEW(f->arena, struct record);
        map_put(&f->keys, r.key, known);
    }
    *known = r;
    return 0;
}

/* ---- the file ---- */

static int check_digest(struct str *file, struct err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (file->len % 512 != DIGEST) /* a member's db has none */
        return 0;
    file->len -= DIGEST;
    EVP_Digest(file->p, file->len, digest, &n, EVP_sha256(), NULL);
    if (memcmp(digest, file->p + file->len, DIGEST) != 0)
        return err_set(err, ERR_CORRUPT, "byte %zu: the digest of the whole does not match: it was altered", file->len);
    return 0;
}

int etcd_file_open(const char *path, struct etcd_file **ret, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (fstat(fd, &st) < 0 || st.st_size == 0) {
        close(fd);
        return err_set(err, ERR_CORRUPT, "%s: the file is empty", path);
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int failed = errno;
    close(fd);
    if (p == MAP_FAILED)
        return err_set_errno(err, ERR_IO, failed, "map %s", path);
    struct etcd_file *f = MEM_NEW(struct etcd_file);
    f->arena = arena_create(0);
    f->file = (struct str){p, (size_t)st.st_size};
    struct str pages = f->file;
    int rc = check_digest(&pages, err);
    if (rc == 0)
        rc = bbolt_walk(pages, STR("key"), note, f, err);
    if (rc < 0) {
        etcd_file_close(f);
        return err_context(err, "%s", path);
    }
    *ret = f;
    return 0;
}

void etcd_file_close(struct etcd_file *f)
{
    if (!f)
        return;
    munmap((void *)(uintptr_t)f->file.p, f->file.len);
    map_finish(&f->keys);
    arena_destroy(f->arena);
    free(f);
}

int64_t etcd_file_revision(const struct etcd_file *f)
{
    return f->revision;
}

int64_t etcd_file_keys(const struct etcd_file *f)
{
    return f->n_living;
}

/* ---- encrypted values ---- */

static bool is_lost(const struct crypt *c, struct str value)
{
    struct str id = crypt_key_id(value);
    return crypt_is_sealed(value) && (!id.p || !crypt_has_key(c, id));
}

int64_t etcd_file_sealed(const struct etcd_file *f)
{
    struct map_iter it;
    struct str key;
    void *item;
    int64_t n = 0;
    map_iter_init(&it, &f->keys);
    while (map_iter_next(&it, &key, &item))
        n += crypt_is_sealed(((const struct record *)item)->value);
    return n;
}

int etcd_file_check_keys(const struct etcd_file *f, const struct crypt *crypt, const char *where, struct err *err)
{
    struct arena *a = arena_create(0);
    struct map_iter it;
    struct str key, name = STR_NULL, id = STR_NULL;
    void *item;
    long long n = 0;
    map_iter_init(&it, &f->keys);
    while (map_iter_next(&it, &key, &item)) {
        const struct record *r = item;
        if (!is_lost(crypt, r->value))
            continue;
        struct str resource = stored_resource_name(a, key);
        if (!n++) {
            name = resource;
            id = crypt_key_id(r->value);
            id = arena_str(a, id.p ? id : STR("(none named)"));
        }
    }
    int rc = 0;
    if (n)
        rc = err_set(err, ERR_BAD_REQUEST,
                     "%lld values are encrypted with keys that are not in %s (" STR_FMT " with " STR_FMT
                     "): name the cluster's EncryptionConfiguration with --encryption-provider-config, or leave those "
                     "values out with --without-sealed",
                     n, where, STR_ARG(name), STR_ARG(id));
    arena_destroy(a);
    return rc;
}

/* ---- entries ---- */

struct giving {
    const struct crypt *crypt;
    bool without_sealed;
    etcd_file_fn *fn;
    etcd_file_skip_fn *skip;
    void *arg;
    struct arena *arena;
    struct map *keys, claimed;
    struct buf plain;
};

/* Unless it is there already: later clusters keep addresses as objects, and Skiff's own etcd has both. */
static int give_claim(void *arg, struct str key, struct str value, struct err *err)
{
    struct giving *g = arg;
    const struct record *known = map_get(g->keys, key);
    if ((known && !known->deleted) || map_get(&g->claimed, key))
        return 0;
    map_put(&g->claimed, key, g);
    struct snapshot_entry e = {.key = key, .value = value};
    return g->fn(g->arg, &e, err);
}

static int give(struct giving *g, const struct record *r, struct err *err)
{
    struct str value = r->value, json, what;
    if (g->without_sealed && is_lost(g->crypt, value)) {
        g->skip(g->arg, arena_printf(g->arena, STR_FMT " (encrypted, the key is not there)",
                                     STR_ARG(stored_resource_name(g->arena, r->key))));
        return 0;
    }
    if (crypt_is_sealed(value)) {
        g->plain.len = 0;
        if (crypt_unseal(g->crypt, r->key, value, &g->plain, err) < 0)
            return err->code;
        value = buf_str(&g->plain);
    }
    int rc = stored_read(g->arena, r->key, value, &json, &what, err);
    if (rc == STORED_UNSERVED)
        g->skip(g->arg, what);
    if (rc < 0 || rc == STORED_UNSERVED)
        return rc < 0 ? rc : 0;
    struct snapshot_entry e = {.key = r->key,
                               .value = json,
                               .create_revision = r->create_revision,
                               .mod_revision = r->mod_revision,
                               .version = r->version,
                               .ttl_s = r->lease ? TTL_S : 0};
    rc = g->fn(g->arg, &e, err);
    if (rc == 0 && str_starts(r->key, STR("/registry/services/specs/")))
        rc = claims_of_service(g->arena, json, give_claim, g, err);
    return rc;
}

int etcd_file_entries(struct etcd_file *f, const struct crypt *crypt, bool without_sealed, etcd_file_fn *fn,
                      etcd_file_skip_fn *skip, void *arg, struct err *err)
{
    struct giving g = {.crypt = crypt,
                       .without_sealed = without_sealed,
                       .fn = fn,
                       .skip = skip,
                       .arg = arg,
                       .arena = arena_create(0),
                       .keys = &f->keys};
    struct map_iter it;
    struct str key;
    void *item;
    int rc = 0;
    map_iter_init(&it, &f->keys);
    while (rc == 0 && map_iter_next(&it, &key, &item)) {
        const struct record *r = item;
        if (r->deleted)
            continue;
        if (str_starts(key, STR("/registry/")))
            rc = give(&g, r, err);
        else
            skip(arg, stored_resource_name(g.arena, key));
        if (rc < 0)
            err_context(err, "key \"" STR_FMT "\"", STR_ARG(key));
        arena_reset(g.arena);
    }
    buf_free(&g.plain);
    map_finish(&g.claimed);
    arena_destroy(g.arena);
    return rc;
}
