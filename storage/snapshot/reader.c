#include "storage/snapshot/reader.h"

#include "base/arena.h"
#include "base/mem.h"
#include "openapi/json.h"
#include "openapi/meta/time.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

struct snapshot_reader {
    snapshot_read_fn *fn;
    void *arg;
    uint64_t at, chunk_at; /* bytes read; where the current chunk begins */
    uint32_t n_chunks;
    struct buf chunk; /* head, payload, checksum */
    struct str rest;  /* entries of it not read yet */
    struct buf last_key, identities;
    int64_t n_entries;
    EVP_MD_CTX *sha;
    char sha256[65];
    bool over;
};

struct snapshot_reader *snapshot_reader_create(snapshot_read_fn *fn, void *arg)
{
    struct snapshot_reader *r = MEM_NEW(struct snapshot_reader);
    r->fn = fn;
    r->arg = arg;
    r->sha = EVP_MD_CTX_new();
    EVP_DigestInit_ex(r->sha, EVP_sha256(), NULL);
    return r;
}

void snapshot_reader_destroy(struct snapshot_reader *r)
{
    if (!r)
        return;
    EVP_MD_CTX_free(r->sha);
    buf_free(&r->chunk);
    buf_free(&r->last_key);
    buf_free(&r->identities);
    free(r);
}

uint64_t snapshot_reader_bytes(const struct snapshot_reader *r)
{
    return r->at;
}

struct str snapshot_reader_identities(const struct snapshot_reader *r)
{
    return buf_str(&r->identities);
}

const char *snapshot_reader_sha256(const struct snapshot_reader *r)
{
    return r->sha256;
}

int64_t snapshot_read_fd(void *arg, void *p, size_t n, struct err *err)
{
    size_t got = 0;
    while (got < n) {
        ssize_t one = read(*(int *)arg, (char *)p + got, n - got);
        if (one < 0 && errno == EINTR)
            continue;
        if (one < 0)
            return err_set_errno(err, ERR_IO, errno, "read");
        if (!one)
            break;
        got += (size_t)one;
    }
    return (int64_t)got;
}

/* ---- chunks ---- */

static int damaged(const struct snapshot_reader *r, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static int damaged(const struct snapshot_reader *r, struct err *err, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_CORRUPT, "chunk %u at byte %llu: %s", r->n_chunks, (unsigned long long)r->chunk_at, what);
}

/* 0, 1 = nothing more, ERR_CORRUPT = ends within. */
static int take(struct snapshot_reader *r, size_t n, struct err *err)
{
    buf_reserve(&r->chunk, n);
    int64_t got = r->fn(r->arg, r->chunk.p + r->chunk.len, n, err);
    if (got < 0)
        return (int)got;
    r->at += (uint64_t)got;
    r->chunk.len += (size_t)got;
    if ((size_t)got == n)
        return 0;
    if (!r->chunk.len)
        return 1;
    return damaged(r, err, "the file ends within it, at byte %llu: it is truncated", (unsigned long long)r->at);
}

/* The next chunk's kind and payload. */
static int next_chunk(struct snapshot_reader *r, char *ret_kind, struct str *ret, struct err *err)
{
    r->chunk_at = r->at;
    r->chunk.len = 0;
    int rc = take(r, SNAPSHOT_CHUNK_HEAD, err);
    if (rc > 0)
        return damaged(r, err, "the file ends before it: it is truncated");
    if (rc < 0)
        return rc;
    uint32_t kind = snapshot_get32(r->chunk.p), number = snapshot_get32(r->chunk.p + 4),
             len = snapshot_get32(r->chunk.p + 8);
    if (number != r->n_chunks)
        return damaged(r, err, "it says that it is chunk %u: chunks are missing, or it is damaged", number);
    if (len > SNAPSHOT_CHUNK_MAX)
        return damaged(r, err, "its length of %u bytes is out of bounds", len);
    rc = take(r, (size_t)len + 4, err);
    if (rc < 0)
        return rc;
    uint32_t want = snapshot_get32(r->chunk.p + SNAPSHOT_CHUNK_HEAD + len);
    uint32_t got = (uint32_t)crc32(0, (const Bytef *)r->chunk.p, (uInt)(len + SNAPSHOT_CHUNK_HEAD));
    if (got != want)
        return damaged(r, err, "its checksum does not match: the bytes were altered");
    if (kind != 'T')
        EVP_DigestUpdate(r->sha, r->chunk.p, r->chunk.len);
    if (kind < 'A' || kind > 'z')
        return damaged(r, err, "its kind is not known");
    r->n_chunks++;
    *ret_kind = (char)kind;
    *ret = (struct str){r->chunk.p + SNAPSHOT_CHUNK_HEAD, len};
    return 0;
}

static int parse(struct snapshot_reader *r, struct arena *a, struct str text, struct value **ret, struct err *err)
{
    struct json_options plain = {.max_depth = 8};
    if (json_decode(a, text, &plain, ret, err) < 0 || !value_is(*ret, VALUE_MAP))
        return damaged(r, err, "it is no JSON object");
    return 0;
}

/* ---- head and tail ---- */

static int read_head(struct snapshot_reader *r, struct arena *a, struct snapshot_head *ret, struct err *err)
{
    struct value *v;
    struct str payload;
    char kind;
    int rc = next_chunk(r, &kind, &payload, err);
    if (rc == 0 && kind != 'H')
        rc = damaged(r, err, "the first chunk is no head");
    if (rc == 0)
        rc = parse(r, a, payload, &v, err);
    if (rc < 0)
        return rc;
    int64_t format = value_path_int(v, "format", 0);
    if (format > SNAPSHOT_FORMAT)
        return err_set(err, ERR_CORRUPT, "written by a newer version (format %lld, this one reads %d)",
                       (long long)format, SNAPSHOT_FORMAT);
    *ret = (struct snapshot_head){.revision = value_path_int(v, "revision", 0),
                                  .time_us = time_from(value_path_str(v, "time"))};
    if (format < 1 || ret->revision < 0 || ret->revision > INT64_MAX / 2)
        return damaged(r, err, "the head makes no sense");
    snprintf(ret->program, sizeof ret->program, STR_FMT, STR_ARG(value_path_str(v, "program")));
    return 0;
}

int snapshot_reader_head(struct snapshot_reader *r, struct snapshot_head *ret, struct err *err)
{
    char magic[8];
    int64_t n = r->fn(r->arg, magic, sizeof magic, err);
    if (n < 0)
        return (int)n;
    r->at = (uint64_t)n;
    if (!n)
        return err_set(err, ERR_CORRUPT, "the file is empty");
    if (!str_eq((struct str){magic, (size_t)n}, SNAPSHOT_MAGIC))
        return err_set(err, ERR_CORRUPT, "byte 0: this is no snapshot of Skiff");
    EVP_DigestUpdate(r->sha, magic, sizeof magic);
    struct arena *a = arena_create(0);
    int rc = read_head(r, a, ret, err);
    arena_destroy(a);
    return rc;
}

static int check_tail(struct snapshot_reader *r, struct arena *a, struct str payload, struct err *err)
{
    struct value *v;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int rc = parse(r, a, payload, &v, err);
    if (rc < 0)
        return rc;
    EVP_DigestFinal_ex(r->sha, digest, &n);
    for (unsigned i = 0; i < 32; i++)
        snprintf(r->sha256 + 2 * i, 3, "%02x", digest[i]);
    if (value_path_int(v, "entries", -1) != r->n_entries)
        return damaged(r, err, "it counts %lld entries, the file has %lld", (long long)value_path_int(v, "entries", -1),
                       (long long)r->n_entries);
    if (!str_eqz(value_path_str(v, "sha256"), r->sha256))
        return damaged(r, err, "the digest of the whole does not match: the file was put together from others");
    char extra;
    int64_t more = r->fn(r->arg, &extra, 1, err);
    if (more > 0)
        rc =
            err_set(err, ERR_CORRUPT, "byte %llu: the snapshot has ended, yet more follows", (unsigned long long)r->at);
    return more < 0 ? (int)more : rc;
}

/* ---- entries ---- */

static int take_entry(struct snapshot_reader *r, struct snapshot_entry *ret, struct err *err)
{
    const char *p = r->rest.p;
    if (r->rest.len < SNAPSHOT_ENTRY_HEAD)
        return damaged(r, err, "an entry ends beyond it");
    uint32_t key_len = snapshot_get32(p + 1), value_len = snapshot_get32(p + 5);
    if ((uint8_t)p[0] & ~SNAPSHOT_SEALED)
        return damaged(r, err, "an entry has flags that are not known");
    if ((uint64_t)key_len + value_len > r->rest.len - SNAPSHOT_ENTRY_HEAD)
        return damaged(r, err, "an entry ends beyond it");
    *ret = (struct snapshot_entry){
        .key = {p + SNAPSHOT_ENTRY_HEAD, key_len},
        .value = {p + SNAPSHOT_ENTRY_HEAD + key_len, value_len},
        .sealed = p[0] & SNAPSHOT_SEALED,
        .create_revision = (int64_t)snapshot_get64(p + 9),
        .mod_revision = (int64_t)snapshot_get64(p + 17),
        .version = (int64_t)snapshot_get64(p + 25),
        .ttl_s = snapshot_get32(p + 33),
    };
    if (!key_len || (r->last_key.len && str_cmp(ret->key, buf_str(&r->last_key)) <= 0))
        return damaged(r, err, "its keys are out of order");
    r->rest = str_sub(r->rest, SNAPSHOT_ENTRY_HEAD + (size_t)key_len + value_len, r->rest.len);
    r->last_key.len = 0;
    buf_add_str(&r->last_key, ret->key);
    r->n_entries++;
    return 0;
}

int snapshot_reader_next(struct snapshot_reader *r, struct snapshot_entry *ret, struct err *err)
{
    char kind;
    while (!r->over && !r->rest.len) {
        struct str payload;
        int rc = next_chunk(r, &kind, &payload, err);
        if (rc < 0)
            return rc;
        if (kind == 'D') {
            r->rest = payload;
        } else if (kind == 'T') {
            struct arena *a = arena_create(0);
            rc = check_tail(r, a, payload, err);
            arena_destroy(a);
            if (rc < 0)
                return rc;
            r->over = true;
        } else if (kind == SNAPSHOT_IDENTITIES) {
            if (r->identities.len || r->n_entries)
                return damaged(r, err, "identities stand once, and before the entries");
            buf_add_str(&r->identities, payload);
        } else if (kind < 'a') { /* small letters are additions that may be passed over */
            return damaged(r, err, "its kind (%c) is not known", kind);
        }
    }
    return r->over ? 1 : take_entry(r, ret, err);
}
