/* The RocksDB engine: a column family per space. Large values go to blob files, so that moving keys about in compaction
 * does not move values; buffers are small, since the objects are in memory above this anyway. What the options leave
 * off (WAL compression, recycled logs, range deletion …) was found to lose data or speed with this version. */
#include "base/mem.h"
#include "storage/kv/kv_engine.h"
#include "storage/kv/rocksdb_resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OPEN_SPACE_BYTES (4u << 20)

struct rocksdb_engine {
    struct kv_engine engine;
    int lock_fd;
    rocksdb_t *db;
    rocksdb_options_t *options[KV_SPACES];
    rocksdb_column_family_handle_t *cf[KV_SPACES];
    rocksdb_block_based_table_options_t *tables;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *sync, *no_sync;
};

struct kv_cursor {
    rocksdb_iterator_t *it;
};

/* Takes over the text. */
static int failed(char *text, const char *doing, struct err *err)
{
    enum err_code code = ERR_IO;

    if (strstr(text, "No space left") || strstr(text, "NoSpace") || strstr(text, "Disk quota"))
        code = ERR_NO_SPACE;
    else if (!strncmp(text, "Corruption", 10))
        code = ERR_CORRUPT;
    int rc = err_set(err, code, "%s: %s", doing, text);

    rocksdb_free(text);
    return rc;
}

static int rocks_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    char *text = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(r->db, r->read, r->cf[space], key.p, key.len, &text);

    if (text)
        return failed(text, "read the store", err);
    if (!slice)
        return 1;
    size_t len;
    const char *value = rocksdb_pinnableslice_value(slice, &len);
    buf_add(out, value, len);
    rocksdb_pinnableslice_destroy(slice);
    return 0;
}

static int rocks_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    char *text = NULL;

    for (size_t i = 0; i < n; i++) {
        const struct kv_write *w = &writes[i];

        if (w->remove) {
            rocksdb_writebatch_delete_cf(batch, r->cf[w->space], w->key.p, w->key.len);
        } else {
            const char *keys[] = {w->key.p}, *values[] = {w->head.p ? w->head.p : "", w->body.p ? w->body.p : ""};
            size_t key_lens[] = {w->key.len}, value_lens[] = {w->head.len, w->body.len};

            rocksdb_writebatch_putv_cf(batch, r->cf[w->space], 1, keys, key_lens, 2, values, value_lens);
        }
    }
    rocksdb_write(r->db, sync ? r->sync : r->no_sync, batch, &text);
    rocksdb_writebatch_destroy(batch);
    return text ? failed(text, "write the store", err) : 0;
}

static struct kv_cursor *rocks_cursor_open(struct kv_engine *e, enum kv_space space)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    struct kv_cursor *c = MEM_NEW(struct kv_cursor);

    c->it = rocksdb_create_iterator_cf(r->db, r->scan, r->cf[space]);
    return c;
}

static void rocks_cursor_seek(struct kv_cursor *c, struct str key)
{
    rocksdb_iter_seek(c->it, key.p, key.len);
}

static int rocks_cursor_read(struct kv_cursor *c, struct str *ret_key, struct str *ret_value, struct err *err)
{
    if (!rocksdb_iter_valid(c->it)) {
        char *text = NULL;

        rocksdb_iter_get_error(c->it, &text);
        return text ? failed(text, "read the store", err) : 1;
    }
    ret_key->p = rocksdb_iter_key(c->it, &ret_key->len);
    ret_value->p = rocksdb_iter_value(c->it, &ret_value->len);
    return 0;
}

static void rocks_cursor_next(struct kv_cursor *c)
{
    rocksdb_iter_next(c->it);
}

static void rocks_cursor_close(struct kv_cursor *c)
{
    rocksdb_iter_destroy(c->it);
    free(c);
}

static int rocks_recover(struct kv_engine *e, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    char *text;

    rocksdb_resume(r->db, &text); /* flushes what was acknowledged and starts a new log without what failed */
    return text ? failed(text, "resume the store", err) : 0;
}

static void rocks_close(struct kv_engine *e)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;

    for (int i = 0; i < KV_SPACES; i++)
        if (r->cf[i])
            rocksdb_column_family_handle_destroy(r->cf[i]);
    if (r->db)
        rocksdb_close(r->db);
    for (int i = 0; i < KV_SPACES; i++)
        if (r->options[i])
            rocksdb_options_destroy(r->options[i]);
    if (r->tables)
        rocksdb_block_based_options_destroy(r->tables);
    if (r->cache)
        rocksdb_cache_destroy(r->cache);
    if (r->read) {
        rocksdb_readoptions_destroy(r->read);
        rocksdb_readoptions_destroy(r->scan);
        rocksdb_writeoptions_destroy(r->sync);
        rocksdb_writeoptions_destroy(r->no_sync);
    }
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r);
}

/* ---- opening ---- */

static int make_dirs(const char *dir, struct err *err)
{
    char path[4096];

    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return err_set(err, ERR_BAD_REQUEST, "data directory name is too long");
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "make data directory %s", path);
        *slash = '/';
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "make data directory %s", path);
    return 0;
}

static int lock_dir(struct rocksdb_engine *r, const char *dir, struct err *err)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/lock", dir);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r->lock_fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(err, ERR_BUSY,
                       "data directory %s is in use by another process; stop it or choose another --data-dir", dir);
    return err_set_errno(err, ERR_IO, errno, "lock %s", path);
}

/* RocksDB aborts the process when its first files cannot be written: ask before. */
static int check_space(const char *dir, struct err *err)
{
    struct statvfs fs;

    if (statvfs(dir, &fs) < 0)
        return err_set_errno(err, ERR_IO, errno, "look at data directory %s", dir);
    if ((uint64_t)fs.f_bavail * fs.f_frsize < OPEN_SPACE_BYTES)
        return err_set(err, ERR_NO_SPACE,
                       "no space left for data directory %s: free at least %u MiB there or choose another --data-dir",
                       dir, OPEN_SPACE_BYTES >> 20);
    return 0;
}

static void set_options(struct rocksdb_engine *r, struct rocksdb_env_t *env)
{
    r->cache = rocksdb_cache_create_lru(2 << 20);
    r->tables = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(r->tables, r->cache);
    rocksdb_block_based_options_set_filter_policy(r->tables, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_format_version(r->tables, 5);
    for (int i = 0; i < KV_SPACES; i++) {
        rocksdb_options_t *o = r->options[i] = rocksdb_options_create();

        rocksdb_options_set_create_if_missing(o, 1);
        rocksdb_options_set_create_missing_column_families(o, 1);
        rocksdb_options_set_paranoid_checks(o, 1);
        rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
        rocksdb_options_set_max_background_jobs(o, 2);
        rocksdb_options_set_max_open_files(o, 256);
        rocksdb_options_set_max_file_opening_threads(o, 1);
        rocksdb_options_set_table_cache_numshardbits(o, 2);
        rocksdb_options_set_max_total_wal_size(o, 32 << 20);
        rocksdb_options_set_stats_dump_period_sec(o, 0);
        rocksdb_options_set_stats_persist_period_sec(o, 0);
        rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
        rocksdb_options_set_info_log_level(o, 3); /* errors */
        rocksdb_options_set_keep_log_file_num(o, 2);
        rocksdb_options_set_max_log_file_size(o, 1 << 20);
        rocksdb_options_set_max_manifest_file_size(o, 4 << 20);
        rocksdb_options_set_bytes_per_sync(o, 1 << 20);
        rocksdb_options_set_avoid_unnecessary_blocking_io(o, 1);
        rocksdb_options_set_compression(o, rocksdb_no_compression);
        rocksdb_options_set_block_based_table_factory(o, r->tables);
        rocksdb_options_set_max_write_buffer_number(o, 3);
        rocksdb_options_set_write_buffer_size(o, i == KV_SPACE_VERSIONS ? 4 << 20 : 1 << 20);
        rocksdb_options_set_target_file_size_base(o, 8 << 20);
        rocksdb_options_set_max_bytes_for_level_base(o, 32 << 20);
        rocksdb_options_set_level0_file_num_compaction_trigger(o, 8);
        rocksdb_options_set_level0_slowdown_writes_trigger(o, 40);
        rocksdb_options_set_level0_stop_writes_trigger(o, 64);
    }
    rocksdb_options_t *versions = r->options[KV_SPACE_VERSIONS], *meta = r->options[KV_SPACE_META];
    rocksdb_options_set_enable_blob_files(versions, 1);
    rocksdb_options_set_min_blob_size(versions, 1024);
    rocksdb_options_set_blob_file_size(versions, 64 << 20);
    rocksdb_options_set_enable_blob_gc(versions, 1);
    rocksdb_options_set_blob_gc_age_cutoff(versions, 0.1);
    rocksdb_options_set_blob_gc_force_threshold(versions, 0.5);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(meta, 0.05);
    rocksdb_options_set_memtable_whole_key_filtering(meta, 1);
    for (int i = 0; i < KV_SPACES && env; i++) { /* a file system of a test's: everything happens, with little data */
        rocksdb_options_set_env(r->options[i], env);
        rocksdb_options_set_write_buffer_size(r->options[i], 64 << 10);
        rocksdb_options_set_level0_file_num_compaction_trigger(r->options[i], 3);
        rocksdb_options_set_max_manifest_file_size(r->options[i], 2 << 10);
        rocksdb_options_set_blob_file_size(r->options[i], 64 << 10);
    }

    r->read = rocksdb_readoptions_create();
    r->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(r->scan, 0);
    r->sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->sync, 1);
    r->no_sync = rocksdb_writeoptions_create();
}

int kv_engine_rocksdb(const char *dir, struct kv_engine **ret, struct err *err)
{
    return kv_engine_rocksdb_in(dir, NULL, ret, err);
}

int kv_engine_rocksdb_in(const char *dir, struct rocksdb_env_t *env, struct kv_engine **ret, struct err *err)
{
    static const struct kv_engine_ops ops = {
        .name = "rocksdb",
        .get = rocks_get,
        .write = rocks_write,
        .cursor_open = rocks_cursor_open,
        .cursor_seek = rocks_cursor_seek,
        .cursor_read = rocks_cursor_read,
        .cursor_next = rocks_cursor_next,
        .cursor_close = rocks_cursor_close,
        .recover = rocks_recover,
        .close = rocks_close,
    };
    static const char *const names[KV_SPACES] = {"default", "versions", "log"};
    struct rocksdb_engine *r = MEM_NEW(struct rocksdb_engine);
    char *text = NULL;
    int rc;

    r->engine.ops = &ops;
    r->lock_fd = -1;
    if (!env &&
        ((rc = make_dirs(dir, err)) < 0 || (rc = check_space(dir, err)) < 0 || (rc = lock_dir(r, dir, err)) < 0)) {
        rocks_close(&r->engine);
        return rc;
    }
    set_options(r, env);
    r->db = rocksdb_open_column_families(r->options[0], dir, KV_SPACES, names,
                                         (const rocksdb_options_t *const *)r->options, r->cf, &text);
    if (text) {
        rc = failed(text, "open the store", err);
        err_context(err, "data directory %s", dir);
        rocks_close(&r->engine);
        return rc;
    }
    *ret = &r->engine;
    return 0;
}
