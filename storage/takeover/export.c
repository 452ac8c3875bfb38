#include "storage/takeover/export.h"

#include "storage/crypt/crypt.h"

#include <stdio.h>
#include <sys/stat.h>

enum { TXN_OPS = 64, TXN_BYTES = 1 << 20 /* etcd takes 1.5 MiB by default */, TTL_S = 3600 };

#define REGISTRY STR("/registry/")

struct export
{
    struct kv *to;
    const struct crypt *crypt; /* that seals there; NULL = nothing is */
    struct arena *arena;
    struct kv_op ops[TXN_OPS];
    struct kv_compare absent[TXN_OPS];
    size_t n, bytes;
    int64_t n_done, n_sealed;
    int rc;
    struct err *err;
};

/* Never over what is there, should somebody else write too. */
static int flush(struct export *e)
{
    struct kv_txn txn = {.compares = e->absent, .n_compares = e->n, .success = e->ops, .n_success = e->n};
    struct kv_txn_result result = {.succeeded = true};
    if (e->rc == 0 && e->n)
        e->rc = kv_txn_wait(e->to, e->arena, &txn, &result, e->err);
    if (e->rc == 0 && !result.succeeded)
        e->rc = err_set(e->err, ERR_CONFLICT, "another program writes to this etcd too");
    e->n_done += (int64_t)e->n;
    e->n = e->bytes = 0;
    arena_reset(e->arena);
    return e->rc;
}

static bool add(void *arg, const struct kv_pair *p)
{
    struct export *e = arg;
    if (e->n == TXN_OPS || (e->n && e->bytes + p->value.len > TXN_BYTES))
        flush(e);
    struct str key = arena_str(e->arena, p->key);
    e->absent[e->n] = (struct kv_compare){.key = key, .target = KV_TARGET_CREATE, .relation = KV_EQUAL};
    e->ops[e->n++] = (struct kv_op){
        .kind = KV_PUT, .key = key, .value = arena_str(e->arena, p->value), .ttl_s = p->lease ? TTL_S : 0};
    e->bytes += p->key.len + p->value.len;
    e->n_sealed += e->crypt && crypt_wants(e->crypt, p->key);
    return e->rc == 0;
}

static bool note_key(void *arg, const struct kv_pair *p)
{
    snprintf(arg, 256, STR_FMT, STR_ARG(p->key));
    return false;
}

static int check_empty(struct kv *to, struct str end, const char *text, struct err *err)
{
    char key[256] = "";
    int64_t revision;
    int rc = kv_range(to, REGISTRY, end, 0, 1, note_key, key, &revision, err);
    if (rc == 0 && key[0])
        rc = err_set(err, ERR_ALREADY_EXISTS, "%s already holds a cluster (%s), which is never overwritten", text, key);
    return rc;
}

static int open_from(const struct takeover_export *opt, struct crypt **ret_crypt, struct kv **ret, struct err *err)
{
    char store[4096];
    struct stat st;
    struct kv_rocksdb_options from = {.dir = store};
    if (snprintf(store, sizeof store, "%s/store", opt->data_dir) >= (int)sizeof store || stat(store, &st) < 0)
        return err_set(err, ERR_NOT_FOUND, "%s holds no store", opt->data_dir);
    int rc = crypt_open(opt->data_dir, opt->encryption_config, false, ret_crypt, err);
    if (rc == 0)
        rc = kv_open_rocksdb(&from, ret, err);
    if (rc == ERR_BUSY)
        err_set(err, ERR_BUSY, "%s is in use by a running server: stop it first", opt->data_dir);
    return rc;
}

static int copy(struct export *e, struct kv *from, struct str end, struct err *err)
{
    int64_t revision;
    int rc = kv_range(from, REGISTRY, end, 0, 0, add, e, &revision, err);
    if (rc == 0)
        rc = flush(e);
    if (rc < 0 && e->n_done)
        err_context(err, "the etcd now holds a part of the cluster and must be emptied before another try");
    return rc;
}

int takeover_export(const struct takeover_export *opt, int64_t *ret_n, int64_t *ret_n_sealed, struct err *err)
{
    struct export e = {.arena = arena_create(0), .err = err};
    struct arena *a = arena_create(0);
    struct crypt *crypt = NULL;
    struct kv *from = NULL;
    struct str end = kv_prefix_end(a, REGISTRY);
    int rc = open_from(opt, &crypt, &from, err);
    if (rc == 0)
        rc = kv_open_etcd_text(opt->to, &e.to, err);
    if (rc == 0) {
        crypt_install(crypt, from);
        if (!opt->plain) {
            crypt_install(crypt, e.to);
            e.crypt = crypt;
        }
        rc = check_empty(e.to, end, opt->to, err);
    }
    if (rc == 0)
        rc = copy(&e, from, end, err);
    *ret_n = e.n_done;
    *ret_n_sealed = e.n_sealed;
    kv_close(e.to);
    kv_close(from);
    crypt_destroy(crypt);
    arena_destroy(e.arena);
    arena_destroy(a);
    return rc;
}
