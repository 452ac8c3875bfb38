#include "storage/snapshot/writer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "openapi/meta/time.h"
#include "storage/snapshot/format.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define EVERYTHING_FROM STR("\0")
#define EVERYTHING_TO STR("\xff\xff\xff\xff\xff\xff\xff\xff")

#define TTL_S 3600 /* events': of leases whose end is not known */

struct lease_left {
    int64_t id, left_s;
};

struct snapshot_writer {
    struct kv *kv;
    const struct crypt *crypt;
    int64_t revision;
    struct kv_hold *hold;
    struct arena *arena;       /* of the leases */
    struct lease_left *leases; /* by id */
    size_t n_leases;
    struct buf identities;
    struct buf next; /* the key the next slice begins at */
    uint32_t n_chunks;
    int64_t n_entries, n_bytes;
    bool begun;
    EVP_MD_CTX *sha;

    struct buf *out; /* during a call */
    struct buf sealed;
    size_t chunk_at;
    int rc;
    struct err *err;
};

struct snapshot_writer *snapshot_writer_create(struct kv *kv, const struct crypt *crypt)
{
    struct snapshot_writer *w = MEM_NEW(struct snapshot_writer);
    w->kv = kv;
    w->crypt = crypt;
    struct err ignored = ERR_INIT; /* without a hold, reading later tells what is gone */
    w->revision = kv_revision(kv);
    kv_hold(kv, w->revision, &w->hold, &ignored);
    w->arena = arena_create(0);
    buf_add_str(&w->next, EVERYTHING_FROM);
    w->sha = EVP_MD_CTX_new();
    EVP_DigestInit_ex(w->sha, EVP_sha256(), NULL);
    return w;
}

void snapshot_writer_destroy(struct snapshot_writer *w)
{
    if (!w)
        return;
    kv_hold_end(w->kv, w->hold);
    arena_destroy(w->arena);
    buf_free(&w->identities);
    buf_free(&w->next);
    buf_free(&w->sealed);
    EVP_MD_CTX_free(w->sha);
    free(w);
}

int64_t snapshot_writer_revision(const struct snapshot_writer *w)
{
    return w->revision;
}

void snapshot_writer_identities(struct snapshot_writer *w, struct str packed)
{
    buf_add_str(&w->identities, packed);
}

/* ---- leases ---- */

static int by_id(const void *x, const void *y)
{
    int64_t a = ((const struct lease_left *)x)->id, b = ((const struct lease_left *)y)->id;
    return (a > b) - (a < b);
}

static void take_leases(struct snapshot_writer *w)
{
    const struct kv_lease_state *all;
    struct err ignored = ERR_INIT;
    if (kv_leases(w->kv, w->arena, &all, &w->n_leases, &ignored) < 0)
        w->n_leases = 0;
    w->leases = ARENA_ARRAY(w->arena, struct lease_left, w->n_leases + 1);
    for (size_t i = 0; i < w->n_leases; i++)
        w->leases[i] = (struct lease_left){all[i].id, all[i].left_s};
    qsort(w->leases, w->n_leases, sizeof *w->leases, by_id);
}

static uint32_t ttl_of(const struct snapshot_writer *w, int64_t lease)
{
    if (!lease)
        return 0;
    const struct lease_left *l =
        w->n_leases ? bsearch(&(struct lease_left){.id = lease}, w->leases, w->n_leases, sizeof *l, by_id) : NULL;
    if (!l)
        return TTL_S;
    return l->left_s < 1 ? 1 : l->left_s > UINT32_MAX ? UINT32_MAX : (uint32_t)l->left_s;
}

/* ---- chunks ---- */

static void open_chunk(struct snapshot_writer *w, char kind)
{
    w->chunk_at = w->out->len;
    snapshot_add32(w->out, (uint32_t)kind);
    snapshot_add32(w->out, w->n_chunks++);
    snapshot_add32(w->out, 0);
}

static size_t chunk_len(const struct snapshot_writer *w)
{
    return w->out->len - w->chunk_at - SNAPSHOT_CHUNK_HEAD;
}

static void close_chunk(struct snapshot_writer *w)
{
    uint32_t len = (uint32_t)chunk_len(w);
    char *head = w->out->p + w->chunk_at;
    for (int i = 0; i < 4; i++)
        head[8 + i] = (char)(len >> (24 - 8 * i));
    snapshot_add32(w->out, (uint32_t)crc32(0, (const Bytef *)head, (uInt)(len + SNAPSHOT_CHUNK_HEAD)));
}

static void drop_chunk(struct snapshot_writer *w)
{
    w->out->len = w->chunk_at;
    w->n_chunks--;
}

static void add_head(struct snapshot_writer *w)
{
    char now[TIME_TEXT_MAX];
    time_write(clock_wall_us(), now);
    buf_add_str(w->out, SNAPSHOT_MAGIC);
    open_chunk(w, 'H');
    buf_printf(w->out, "{\"format\":%d,\"revision\":%lld,\"time\":\"%s\",\"program\":\"skiff " SKIFF_VERSION "\"}",
               SNAPSHOT_FORMAT, (long long)w->revision, now);
    close_chunk(w);
    if (w->identities.len) {
        open_chunk(w, SNAPSHOT_IDENTITIES);
        buf_add_str(w->out, buf_str(&w->identities));
        close_chunk(w);
    }
}

/* The digest is of everything before this chunk. */
static void add_tail(struct snapshot_writer *w)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex(w->sha, digest, &n);
    open_chunk(w, 'T');
    buf_printf(w->out, "{\"entries\":%lld,\"sha256\":\"", (long long)w->n_entries);
    for (unsigned i = 0; i < n; i++)
        buf_printf(w->out, "%02x", digest[i]);
    buf_addz(w->out, "\"}");
    close_chunk(w);
}

/* ---- entries ---- */

static bool add_entry(void *arg, const struct kv_pair *p)
{
    struct snapshot_writer *w = arg;
    struct str value = p->value;
    w->sealed.len = 0;
    int sealed = crypt_seal(w->crypt, p->key, p->value, &w->sealed, w->err);
    if (sealed < 0) {
        w->rc = err_context(w->err, "key \"" STR_FMT "\"", STR_ARG(p->key));
        return false;
    }
    if (sealed == 0)
        value = buf_str(&w->sealed);
    buf_add_char(w->out, sealed == 0 ? SNAPSHOT_SEALED : 0);
    snapshot_add32(w->out, (uint32_t)p->key.len);
    snapshot_add32(w->out, (uint32_t)value.len);
    snapshot_add64(w->out, (uint64_t)p->create_revision);
    snapshot_add64(w->out, (uint64_t)p->mod_revision);
    snapshot_add64(w->out, (uint64_t)p->version);
    snapshot_add32(w->out, ttl_of(w, p->lease));
    buf_add_str(w->out, p->key);
    buf_add_str(w->out, value);
    w->n_entries++;
    w->n_bytes += (int64_t)(p->key.len + value.len);
    w->next.len = 0;
    buf_add_str(&w->next, p->key);
    buf_add_char(&w->next, 0);
    return chunk_len(w) < SNAPSHOT_CHUNK_TARGET;
}

/* What comes across a network is asked for in about the size it is wanted. */
static size_t slice_limit(const struct snapshot_writer *w)
{
    if (!kv_shared(w->kv))
        return 0;
    return w->n_entries ? (size_t)(SNAPSHOT_CHUNK_TARGET / (w->n_bytes / w->n_entries + 32)) + 2 : 64;
}

int snapshot_writer_next(struct snapshot_writer *w, struct buf *out, struct err *err)
{
    size_t from = out->len;
    struct buf at = w->next;
    w->out = out;
    w->err = err;
    w->rc = 0;
    if (!w->begun) {
        take_leases(w);
        add_head(w);
    }
    w->begun = true;
    open_chunk(w, 'D');
    w->next = (struct buf){0};
    int rc = kv_range(w->kv, buf_str(&at), EVERYTHING_TO, w->revision, slice_limit(w), add_entry, w, NULL, err);
    if (rc == 0)
        rc = w->rc;
    if (rc == ERR_EXPIRED)
        err_context(err, "the snapshot took longer than history is kept");
    if (rc < 0) {
        buf_free(&at);
        return rc;
    }
    bool over = !chunk_len(w);
    if (over) {
        drop_chunk(w);
        w->next = at;
    } else {
        close_chunk(w);
        buf_free(&at);
    }
    EVP_DigestUpdate(w->sha, out->p + from, out->len - from);
    if (over)
        add_tail(w);
    return over;
}
