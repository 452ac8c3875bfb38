#include "storage/snapshot/etcd_file.h"

#include "base/map.h"
#include "base/mem.h"
#include "openapi/convert.h"
#include "openapi/json.h"
#include "openapi/protobuf.h"
#include "storage/snapshot/bbolt.h"

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

/* ---- values ---- */

/* NULL: no built-in resource's. Prefixes end in a slash, so at most one is right. */
static const struct resource *resource_of(struct str key)
{
    size_t n;
    const struct resource *const *all = resources_builtin(&n);
    for (size_t i = 0; i < n; i++)
        if (all[i]->storage_prefix.len && str_starts(key, all[i]->storage_prefix))
            return all[i]->stored_as ? all[i]->stored_as : all[i];
    return NULL;
}

static int from_protobuf(struct arena *a, const struct resource *r, struct str bytes, struct value **ret,
                         struct err *err)
{
    struct protobuf_envelope e;
    int rc = protobuf_open(bytes, &e, err);
    if (rc < 0)
        return rc;
    struct str rest = e.api_version, group;
    str_split(&rest, '/', &group);
    const struct resource *stored = rest.p ? resource_find_kind(group, e.kind) : resource_find_kind(STR(""), e.kind);
    const struct resource_version *v = resource_version_find(stored ? stored : r, rest.p ? rest : group);
    if (!v)
        return err_set(err, ERR_BAD_REQUEST, "kind " STR_FMT " of " STR_FMT " is not known", STR_ARG(e.kind),
                       STR_ARG(e.api_version));
    rc = protobuf_decode(a, v->message, e.raw, ret, err);
    if (rc == 0) {
        value_setz(a, *ret, "kind", value_string(a, e.kind));
        value_setz(a, *ret, "apiVersion", value_string(a, e.api_version));
    }
    return rc;
}

/* The object as it is stored here. */
static int to_stored(struct arena *a, const struct resource *r, struct str bytes, struct buf *out, struct err *err)
{
    struct json_options plain = {0};
    struct value *v = NULL;
    bool json = str_starts(bytes, STR("{"));
    int rc = json ? json_decode(a, bytes, &plain, &v, err) : from_protobuf(a, r, bytes, &v, err);
    if (rc < 0)
        return rc;
    struct str from = value_path_str(v, "apiVersion"), to = convert_storage_api_version(a, r);
    if (from.len && !str_eq(from, to)) {
        v = convert(a, r, from, to, v, err);
        if (!v)
            return err->code;
    } else if (json) {
        buf_add_str(out, bytes);
        return 0;
    }
    json_encode(out, v);
    return 0;
}

static int entry_of(struct arena *a, const struct crypt *crypt, const struct record *r, struct buf *plain,
                    struct buf *out, struct err *err)
{
    const struct resource *resource = resource_of(r->key);
    struct str value = r->value;
    plain->len = out->len = 0;
    if (crypt_is_sealed(value)) {
        int rc = crypt_unseal(crypt, r->key, value, plain, err);
        if (rc < 0)
            return rc;
        value = buf_str(plain);
    }
    if (resource)
        return to_stored(a, resource, value, out, err);
    /* custom resources are always JSON */
    struct str rest = str_sub(r->key, strlen("/registry/"), r->key.len), group;
    str_split(&rest, '/', &group);
    if (!str_contains(group, STR(".")) || !str_starts(value, STR("{")))
        return 1;
    buf_add_str(out, value);
    return 0;
}

/* ---- node ports ---- */

/* A stock cluster keeps them in a bitmap that is left out; here each is a key that names its Service
 * (api/registry/services.h), so that no other Service gets it. */
#define NODE_PORTS "/registry/ranges/nodeports/"
enum { PORTS = 65536 };

struct claims {
    struct arena *arena;
    bool taken[PORTS];
    etcd_file_fn *fn;
    void *arg;
};

static int claim(struct claims *c, int64_t port, struct str owner, struct err *err)
{
    if (port <= 0 || port >= PORTS || c->taken[port])
        return 0;
    c->taken[port] = true;
    struct snapshot_entry e = {.key = arena_printf(c->arena, NODE_PORTS "%05lld", (long long)port), .value = owner};
    return c->fn(c->arg, &e, err);
}

static int claim_ports(struct claims *c, struct str service, struct err *err)
{
    struct json_options plain = {0};
    struct value *v = NULL;
    int rc = json_decode(c->arena, service, &plain, &v, err);
    struct str owner = arena_printf(c->arena, STR_FMT "/" STR_FMT, STR_ARG(value_path_str(v, "metadata.namespace")),
                                    STR_ARG(value_path_str(v, "metadata.name")));
    const struct value *ports = value_path(v, "spec.ports");
    for (size_t i = 0; rc == 0 && i < value_len(ports); i++)
        rc = claim(c, value_path_int(value_at(ports, i), "nodePort", 0), owner, err);
    return rc < 0 ? rc : claim(c, value_path_int(v, "spec.healthCheckNodePort", 0), owner, err);
}

int etcd_file_entries(struct etcd_file *f, const struct crypt *crypt, etcd_file_fn *fn, void *arg,
                      int64_t *ret_left_out, struct err *err)
{
    struct arena *a = arena_create(0);
    struct claims *claims = MEM_NEW(struct claims);
    const struct resource *services = resource_find(STR(""), STR("services"));
    struct buf plain = {0}, out = {0};
    struct map_iter it;
    struct str key;
    void *item;
    int rc = 0;
    *ret_left_out = 0;
    *claims = (struct claims){.arena = a, .fn = fn, .arg = arg};
    map_iter_init(&it, &f->keys);
    while (rc >= 0 && map_iter_next(&it, &key, &item)) {
        const struct record *r = item;
        if (r->deleted)
            continue;
        rc = str_starts(r->key, STR("/registry/")) ? entry_of(a, crypt, r, &plain, &out, err) : 1;
        if (rc < 0)
            err_context(err, "key \"" STR_FMT "\"", STR_ARG(r->key));
        else if (rc == 1)
            ++*ret_left_out;
        else
            rc = fn(arg,
                    &(struct snapshot_entry){.key = r->key,
                                             .value = buf_str(&out),
                                             .create_revision = r->create_revision,
                                             .mod_revision = r->mod_revision,
                                             .version = r->version,
                                             .ttl_s = r->lease ? TTL_S : 0},
                    err);
        if (rc == 0 && services && str_starts(r->key, services->storage_prefix))
            rc = claim_ports(claims, buf_str(&out), err);
        arena_reset(a);
    }
    buf_free(&plain);
    buf_free(&out);
    free(claims);
    arena_destroy(a);
    return rc < 0 ? rc : 0;
}
