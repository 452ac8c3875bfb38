#include "storage/snapshot/restore_internal.h"

#include "storage/kv/seed.h"
#include "storage/snapshot/etcd_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TXN_OPS = 128, TXN_BYTES = 2 << 20 };

/* ---- the directory ---- */

/* A store's directory is flat. */
static void remove_store(const char *dir)
{
    char path[4700];
    DIR *d = opendir(dir);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            unlink(path);
        }
    closedir(d);
    rmdir(dir);
}

static int prepare_folder(const char *dir, char store[4096], char partial[4200], struct err *err)
{
    struct stat st;
    if (snprintf(store, 4096, "%s/store", dir) >= 4096)
        return err_set(err, ERR_BAD_REQUEST, "the path is too long");
    snprintf(partial, 4200, "%s.partial", store);
    if (lstat(store, &st) == 0)
        return err_set(err, ERR_ALREADY_EXISTS,
                       "%s already holds a store, which is never overwritten: restore into a new directory", dir);
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create %s", dir);
    remove_store(partial); /* of a restore that was interrupted */
    return 0;
}

/* A server that starts on the directory finds the key where it looks for it. */
static int keep_config(const char *from, const char *dir, struct err *err)
{
    char path[4096], folder[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/" CRYPT_FILE, dir);
    snprintf(folder, sizeof folder, "%s/pki", dir);
    if (!from || stat(path, &st) == 0)
        return 0;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create %s", folder);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char block[4096];
    ssize_t n = -1;
    bool written = true;
    while (in >= 0 && out >= 0 && written && (n = read(in, block, sizeof block)) > 0)
        written = write(out, block, (size_t)n) == n;
    int failed = n < 0 || !written || fsync(out) < 0 ? (errno ? errno : EIO) : 0;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return failed ? err_set_errno(err, ERR_IO, failed, "copy %s to %s", from, path) : 0;
}

static int check_keys(const struct snapshot_restore *opt, const struct etcd_file *etcd, const struct crypt *crypt,
                      const struct snapshot_summary *s, struct err *err)
{
    char own[4200] = "";
    if (opt->data_dir)
        snprintf(own, sizeof own, "%s/" CRYPT_FILE, opt->data_dir);
    if (etcd && !opt->without_sealed)
        return etcd_file_check_keys(etcd, crypt, opt->encryption_config ? opt->encryption_config : own, err);
    for (size_t i = 0; i < s->n_keys && !opt->without_sealed; i++)
        if (!crypt_has_key(crypt, s->keys[i].id))
            return err_set(err, ERR_BAD_REQUEST,
                           "%lld values are sealed with key " STR_FMT
                           ", which is not in %s%s: bring the former cluster's " CRYPT_FILE
                           " there (or name it with --encryption-provider-config), or leave those values out with "
                           "--without-sealed",
                           (long long)s->keys[i].n, STR_ARG(s->keys[i].id),
                           opt->encryption_config ? opt->encryption_config
                           : opt->data_dir        ? opt->data_dir
                                                  : "the directory of --data-dir, which is not given",
                           opt->encryption_config || !opt->data_dir ? "" : "/" CRYPT_FILE);
    return 0;
}

/* ---- entries ---- */

struct filler {
    const struct snapshot_restore *opt;
    struct etcd_file *etcd; /* NULL: the file is our own */
    const struct crypt *crypt;
    struct kv *kv;
    struct arena *arena; /* of the operations */
    struct kv_op ops[TXN_OPS];
    size_t n_ops, bytes;
    struct buf plain;
    int64_t left_out;
    struct arena *of_summary;
    struct snapshot_summary *summary;
};

static int flush(struct filler *f, struct err *err)
{
    struct kv_txn txn = {.success = f->ops, .n_success = f->n_ops};
    struct kv_txn_result result;
    int rc = f->n_ops ? kv_txn_wait(f->kv, f->arena, &txn, &result, err) : 0;
    f->n_ops = f->bytes = 0;
    arena_reset(f->arena);
    return rc;
}

/* What was true of the servers of then only: which of them were alive, and whose store it was (in etcd the first server
 * says so anew). */
static bool of_former_servers(struct str key)
{
    return str_starts(key, STR("/registry/masterleases/")) || str_eq(key, STR("/skiff/cluster")) ||
           str_starts(key, STR("/skiff/cluster/"));
}

static int add(struct filler *f, const struct snapshot_entry *e, struct err *err)
{
    struct str value = e->value;
    if (of_former_servers(e->key))
        return 0;
    if (e->sealed) {
        f->plain.len = 0;
        if (f->opt->without_sealed && !crypt_has_key(f->crypt, crypt_key_id(e->value))) {
            f->left_out++;
            return 0;
        }
        if (crypt_unseal(f->crypt, e->key, e->value, &f->plain, err) < 0)
            return err_context(err, "key \"" STR_FMT "\"", STR_ARG(e->key));
        value = buf_str(&f->plain);
    }
    f->ops[f->n_ops++] = (struct kv_op){
        .kind = KV_PUT, .key = arena_str(f->arena, e->key), .value = arena_str(f->arena, value), .ttl_s = e->ttl_s};
    f->bytes += value.len;
    return f->n_ops == TXN_OPS || f->bytes >= TXN_BYTES ? flush(f, err) : 0;
}

static int add_from_etcd(void *arg, const struct snapshot_entry *e, struct err *err)
{
    struct filler *f = arg;
    int rc = add(f, e, err);
    return rc < 0 ? err_context(err, "key \"" STR_FMT "\"", STR_ARG(e->key)) : 0;
}

static void skip_from_etcd(void *arg, struct str what)
{
    struct filler *f = arg;
    struct snapshot_summary *s = f->summary;
    size_t at = 0;
    while (at < s->n_left_out && !str_eq(s->left_out[at].name, what))
        at++;
    if (at == s->n_left_out)
        ARENA_PUSH(f->of_summary, s->left_out, s->n_left_out, s->cap_left_out,
                   (struct snapshot_count){.name = arena_str(f->of_summary, what)});
    s->left_out[at].n++;
    f->left_out++;
}

static int fill_from_etcd(struct filler *f, struct err *err)
{
    f->arena = arena_create(0);
    int rc = etcd_file_entries(f->etcd, f->crypt, f->opt->without_sealed, add_from_etcd, skip_from_etcd, f, err);
    if (rc == 0)
        rc = flush(f, err);
    arena_destroy(f->arena);
    return rc;
}

static int fill(struct filler *f, struct err *err)
{
    int fd = open(f->opt->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", f->opt->file);
    struct snapshot_reader *r = snapshot_reader_create(snapshot_read_fd, &fd);
    struct snapshot_head head;
    struct snapshot_entry e;
    f->arena = arena_create(0);
    int rc = snapshot_reader_head(r, &head, err), end = 0;
    while (rc == 0 && !end) {
        end = snapshot_reader_next(r, &e, err);
        rc = end < 0 ? end : end ? flush(f, err) : add(f, &e, err);
        if (f->opt->progress && !f->n_ops)
            f->opt->progress(f->opt->progress_arg, snapshot_reader_bytes(r));
    }
    arena_destroy(f->arena);
    buf_free(&f->plain);
    snapshot_reader_destroy(r);
    close(fd);
    return rc;
}

int restore_fill(const struct snapshot_restore *opt, struct etcd_file *etcd, const struct crypt *crypt, struct kv *kv,
                 struct arena *a, struct snapshot_summary *s, int64_t *ret_left_out, struct err *err)
{
    struct filler f = {.opt = opt, .etcd = etcd, .crypt = crypt, .kv = kv, .of_summary = a, .summary = s};
    int rc = etcd ? fill_from_etcd(&f, err) : fill(&f, err);
    *ret_left_out = f.left_out;
    return rc;
}

static int make_store(const struct snapshot_restore *opt, struct etcd_file *etcd, struct crypt *crypt,
                      const char *partial, struct arena *a, struct snapshot_summary *s, int64_t *ret_left_out,
                      struct err *err)
{
    struct kv_rocksdb_options store = {.dir = partial};
    struct kv *kv = NULL;
    int rc = kv_seed_rocksdb(partial, s->head.revision + SNAPSHOT_REVISION_BUMP, err);
    if (rc == 0)
        rc = kv_open_rocksdb(&store, &kv, err);
    if (rc < 0)
        return rc;
    crypt_install(crypt, kv);
    rc = restore_fill(opt, etcd, crypt, kv, a, s, ret_left_out, err);
    kv_close(kv);
    return rc;
}

/* What can be said of the file before anything is written. */
static int open_file(const struct snapshot_restore *opt, struct arena *a, struct etcd_file **ret_etcd,
                     struct snapshot_summary *ret, struct err *err)
{
    if (!opt->from_etcd)
        return snapshot_summarize(a, opt->file, opt->progress, opt->progress_arg, ret, err);
    int rc = etcd_file_open(opt->file, ret_etcd, err);
    *ret = (struct snapshot_summary){0};
    if (rc == 0) {
        ret->head.revision = etcd_file_revision(*ret_etcd);
        ret->n_entries = etcd_file_keys(*ret_etcd);
        ret->n_sealed = etcd_file_sealed(*ret_etcd);
    }
    return rc;
}

/* What holds of either place: the file, and the keys of what is sealed in it. */
static int prepare(const struct snapshot_restore *opt, struct arena *a, struct etcd_file **ret_etcd,
                   struct crypt **ret_crypt, struct snapshot_summary *ret, struct err *err)
{
    int rc = open_file(opt, a, ret_etcd, ret, err);
    if (rc == 0 && ret->identities.n && opt->data_dir) { /* the keys among them are needed at once */
        ret->identities_made = ARENA_ARRAY(a, bool, ret->identities.n);
        if (mkdir(opt->data_dir, 0700) < 0 && errno != EEXIST)
            rc = err_set_errno(err, ERR_IO, errno, "create %s", opt->data_dir);
        else
            rc = identities_write(&ret->identities, opt->data_dir, ret->identities_made, err);
        ret->identities_made = rc < 0 ? NULL : ret->identities_made;
    }
    if (rc < 0)
        return rc;
    bool make_keys = opt->data_dir && !opt->store && (!ret->n_sealed || opt->without_sealed);
    rc = crypt_open(opt->data_dir ? opt->data_dir : "", opt->encryption_config, make_keys, ret_crypt, err);
    return rc < 0 ? rc : check_keys(opt, *ret_etcd, *ret_crypt, ret, err);
}

static int restore_directory(const struct snapshot_restore *opt, struct arena *a, struct etcd_file **ret_etcd,
                             struct crypt **ret_crypt, struct snapshot_summary *ret, int64_t *ret_left_out,
                             struct err *err)
{
    char store[4096], partial[4200];
    int rc = prepare_folder(opt->data_dir, store, partial, err);
    if (rc == 0)
        rc = prepare(opt, a, ret_etcd, ret_crypt, ret, err);
    if (rc == 0)
        rc = make_store(opt, *ret_etcd, *ret_crypt, partial, a, ret, ret_left_out, err);
    if (rc == 0)
        rc = keep_config(opt->encryption_config, opt->data_dir, err);
    if (rc == 0 && rename(partial, store) < 0)
        rc = err_set_errno(err, ERR_IO, errno, "rename %s to %s", partial, store);
    int fd = open(opt->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == 0 && (fd < 0 || fsync(fd) < 0))
        rc = err_set_errno(err, ERR_IO, errno, "sync %s", opt->data_dir);
    if (fd >= 0)
        close(fd);
    if (rc < 0 && rc != ERR_ALREADY_EXISTS)
        remove_store(partial);
    return rc;
}

int snapshot_restore(const struct snapshot_restore *opt, struct arena *a, struct snapshot_summary *ret,
                     int64_t *ret_left_out, struct err *err)
{
    struct crypt *crypt = NULL;
    struct etcd_file *etcd = NULL;
    int rc;
    *ret = (struct snapshot_summary){0};
    if (opt->store) {
        rc = prepare(opt, a, &etcd, &crypt, ret, err);
        if (rc == 0)
            rc = restore_etcd(opt, etcd, crypt, a, ret, ret_left_out, err);
    } else {
        rc = restore_directory(opt, a, &etcd, &crypt, ret, ret_left_out, err);
    }
    if (rc < 0 && ret->identities_made)
        identities_remove(&ret->identities, opt->data_dir, ret->identities_made);
    crypt_destroy(crypt);
    etcd_file_close(etcd);
    return rc;
}
