/* Snapshot: a file that etcd itself opens (bbolt), made and sent piece by piece: measured first, then written (see
 * bbolt_writer.h), by worker threads; the loop sends. What was compacted meanwhile stays until the end, so a client
 * that takes nothing for a minute is given up. */
#include "base/mem.h"
#include "storage/serve_etcd/backend.h"
#include "storage/serve_etcd/serve_internal.h"
#include "storage/snapshot/bbolt_writer.h"

#include <openssl/evp.h>
#include <stdlib.h>

enum {
    PIECE = 1 << 20,   /* of a worker's turn */
    BLOB = 128 * 1024, /* of a message */
    STALL_MS = 60000
};

struct lease {
    int64_t id, ttl_s, left_s;
};

struct saving {
    struct grpc_incoming *call;
    struct backend *backend;
    struct backend_place at;
    struct bbolt_writer *writer;
    EVP_MD_CTX *sha;
    struct buf piece;
    struct arena *arena;
    struct lease *leases; /* by id */
    size_t n_leases;
    uint64_t left; /* bytes to be sent */
    bool started, ended, working, gone;
    struct timer stall;
    int rc;
    struct err err;
};

/* ---- the file ---- */

static int by_id(const void *x, const void *y)
{
    uint64_t a = (uint64_t)((const struct lease *)x)->id, b = (uint64_t)((const struct lease *)y)->id;

    return (a > b) - (a < b);
}

static int take_leases(struct saving *v, struct err *err)
{
    const struct kv_lease_state *all;
    int rc = kv_leases(serve_of(v->call)->kv, v->arena, &all, &v->n_leases, err);

    if (rc < 0)
        return rc;
    v->leases = ARENA_ARRAY(v->arena, struct lease, v->n_leases + 1);
    for (size_t i = 0; i < v->n_leases; i++)
        v->leases[i] = (struct lease){all[i].id, all[i].ttl_s, all[i].left_s};
    qsort(v->leases, v->n_leases, sizeof *v->leases, by_id);
    return 0;
}

static void big_endian(char p[8], uint64_t v)
{
    for (int i = 8; i--; v >>= 8)
        p[i] = (char)(v & 0xff);
}

static size_t put_varint(char *p, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        p[n++] = (char)(v | 0x80);
    p[n++] = (char)v;
    return n;
}

/* leasepb.Lease: id, time to live, what is left of it. */
static void add_leases(struct saving *v, struct buf *out)
{
    for (size_t i = 0; i < v->n_leases; i++) {
        const struct lease *l = &v->leases[i];
        char key[8], value[40];
        size_t n = 0;

        big_endian(key, (uint64_t)l->id);
        value[n++] = 1 << 3;
        n += put_varint(value + n, (uint64_t)l->id);
        value[n++] = 2 << 3;
        n += put_varint(value + n, (uint64_t)l->ttl_s);
        value[n++] = 3 << 3;
        n += put_varint(value + n, (uint64_t)(l->left_s > 0 ? l->left_s : 1));
        bbolt_writer_add(v->writer, (struct str){key, 8}, (struct str){value, n}, out);
    }
}

static void add_meta(struct saving *v, struct buf *out)
{
    int64_t compacted = backend_compacted(v->backend);
    char index[8], term[8], revision[17] = {0};

    big_endian(index, (uint64_t)backend_revision(v->backend));
    big_endian(term, 1);
    big_endian(revision, (uint64_t)compacted);
    revision[8] = '_';
    bbolt_writer_add(v->writer, STR("consistent_index"), (struct str){index, 8}, out);
    if (compacted) {
        bbolt_writer_add(v->writer, STR("finishedCompactRev"), (struct str){revision, 17}, out);
        bbolt_writer_add(v->writer, STR("scheduledCompactRev"), (struct str){revision, 17}, out);
    }
    bbolt_writer_add(v->writer, STR("term"), (struct str){term, 8}, out);
}

/* The buckets of an etcd in their order: those before the keys, and those behind. */
static void add_before(struct saving *v, struct buf *out)
{
    static const char *const empty[] = {"alarm", "auth", "authRoles", "authUsers", "cluster"};

    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
        bbolt_writer_bucket(v->writer, str_from(empty[i]), out);
    bbolt_writer_bucket(v->writer, STR("key"), out);
}

static void add_behind(struct saving *v, struct buf *out)
{
    bbolt_writer_bucket(v->writer, STR("lease"), out);
    add_leases(v, out);
    bbolt_writer_bucket(v->writer, STR("members"), out);
    bbolt_writer_bucket(v->writer, STR("members_removed"), out);
    bbolt_writer_bucket(v->writer, STR("meta"), out);
    add_meta(v, out);
}

static int measure_pair(void *arg, struct str key, struct str value, struct err *err)
{
    (void)err;
    bbolt_writer_add(((struct saving *)arg)->writer, key, (struct str){NULL, value.len}, NULL);
    return 0;
}

static int write_pair(void *arg, struct str key, struct str value, struct err *err)
{
    struct saving *v = arg;

    (void)err;
    bbolt_writer_add(v->writer, key, value, &v->piece);
    return 0;
}

static int start(struct saving *v)
{
    struct serve_etcd *s = serve_of(v->call);
    struct backend_place at = {0};
    int rc = backend_open(s->kv, s->opt.crypt, 0, &v->backend, &v->err);

    if (rc == 0)
        rc = take_leases(v, &v->err);
    if (rc < 0)
        return rc;
    v->writer = bbolt_writer_create();
    v->sha = EVP_MD_CTX_new();
    EVP_DigestInit_ex(v->sha, EVP_sha256(), NULL);
    add_before(v, NULL);
    rc = backend_walk(v->backend, &at, 0, measure_pair, v, &v->err);
    if (rc < 0)
        return rc;
    add_behind(v, NULL);
    v->left = bbolt_writer_start(v->writer, &v->piece) + 32;
    add_before(v, &v->piece);
    return 0;
}

static int make_piece(struct saving *v)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    int rc = v->started ? 0 : start(v);

    v->started = true;
    if (rc == 0)
        rc = backend_walk(v->backend, &v->at, PIECE, write_pair, v, &v->err);
    if (rc == 1) {
        add_behind(v, &v->piece);
        rc = bbolt_writer_finish(v->writer, &v->piece, &v->err);
        v->ended = true;
    }
    EVP_DigestUpdate(v->sha, v->piece.p, v->piece.len);
    if (rc == 0 && v->ended) {
        EVP_DigestFinal_ex(v->sha, digest, &n);
        buf_add(&v->piece, digest, n);
    }
    return rc;
}

/* ---- the call ---- */

static void saving_destroy(struct saving *v)
{
    timer_stop(&v->stall);
    backend_close(v->backend);
    bbolt_writer_destroy(v->writer);
    EVP_MD_CTX_free(v->sha);
    buf_free(&v->piece);
    arena_destroy(v->arena);
    free(v);
}

static void send_piece(struct saving *v)
{
    struct grpc_incoming *c = v->call;
    int64_t revision = backend_revision(v->backend);

    for (size_t at = 0, n; at < v->piece.len && !v->gone; at += n) {
        struct arena *a = arena_create(0);
        Etcdserverpb__SnapshotResponse out = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;

        n = v->piece.len - at < BLOB ? v->piece.len - at : BLOB;
        v->left -= n;
        out.header = serve_header(serve_of(c), a, revision);
        out.remaining_bytes = v->left;
        out.blob = serve_bytes((struct str){v->piece.p + at, n});
        grpc_stream_send(c, &out.base);
        arena_destroy(a);
    }
    v->piece.len = 0;
}

static void work(void *arg)
{
    struct saving *v = arg;

    v->rc = make_piece(v);
}

static void done(void *arg);

static void on_stall(void *arg)
{
    struct saving *v = arg;

    grpc_end(v->call, GRPC_DEADLINE_EXCEEDED, "etcdserver: the snapshot was not read for a minute");
}

static void go_on(struct saving *v)
{
    if (v->working || v->gone)
        return;
    timer_stop(&v->stall);
    if (grpc_stream_unsent(v->call) > HTTP_HIGH_WATER) {
        timer_start(&v->stall, v->call->loop, STALL_MS, on_stall, v);
        return; /* on_drain goes on */
    }
    v->working = true;
    serve_begin(v->call);
    loop_work(v->call->loop, work, done, v);
}

static void done(void *arg)
{
    struct saving *v = arg;
    struct grpc_incoming *c = v->call;

    if (!v->gone && v->rc == 0)
        send_piece(v);
    v->working = false;
    if (v->gone) { /* perhaps while the piece was sent */
        saving_destroy(v);
    } else if (v->rc < 0) {
        serve_fail(c, &v->err);
    } else if (v->ended) {
        grpc_end(c, GRPC_OK, NULL);
    } else {
        go_on(v);
    }
    serve_finished(c);
}

static void on_over(struct grpc_incoming *c)
{
    struct saving *v = c->user;

    v->gone = true;
    timer_stop(&v->stall);
    if (!v->working)
        saving_destroy(v);
}

static void on_drain(struct grpc_incoming *c)
{
    go_on(c->user);
}

void serve_snapshot(struct grpc_incoming *c, const ProtobufCMessage *request)
{
    struct saving *v = MEM_NEW(struct saving);

    (void)request;
    *v = (struct saving){.call = c, .arena = arena_create(0)};
    c->user = v;
    c->on_over = on_over;
    c->on_drain = on_drain;
    go_on(v);
}
