/* The RocksDB engine: a column family per space. Large values go to blob files, so that moving keys about in compaction
 * does not move values; buffers are small, since the objects are in memory above this anyway. What the options leave
 * off (WAL compression, recycled logs, range deletion …) was found to lose data or speed with this version. */
#include "base/mem.h"
#include "storage/kv/kv_engine.h"
#include "storage/kv/record.h"
#include "storage/kv/rocksdb_log.h"
#include "storage/kv/rocksdb_resume.h"
#include "storage/kv/wal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OPEN_SPACE_BYTES (4u << 20)
#define BATCH_KEEP_BYTES (2u << 20)
#define SETTLE_BYTES (1u << 20)
#define BLOB_GC_CUTOFF "0.1" /* texts, since they are changed for a while in scrubbing */
#define BLOB_GC_THRESHOLD "0.5"

struct rocksdb_engine {
    struct kv_engine engine;
    char *dir;
    int lock_fd, synced_fd;
    pthread_rwlock_t open; /* held by who uses db, for writing while it is closed and opened again */
    rocksdb_t *db;         /* NULL: could not be opened again yet */
    rocksdb_options_t *options[KV_SPACES];
    rocksdb_column_family_handle_t *cf[KV_SPACES];
    rocksdb_block_based_table_options_t *tables;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read, *scan;
    rocksdb_writeoptions_t *sync, *no_sync;
    rocksdb_flushoptions_t *flush;
    /* the writer's */
    rocksdb_writebatch_t *batch;
    const struct kv_write **order;
    size_t order_cap;
    bool log_failed;   /* RocksDB must not go on with the log it has */
    uint64_t failures; /* background errors when all was well */
    uint64_t good;     /* sequence number of what the last write that succeeded ended with */
    struct err damage; /* its code is 0 unless a write was refused for damaged files */
};

struct kv_cursor {
    struct rocksdb_engine *engine;
    rocksdb_iterator_t *it; /* NULL: there is no database now */
    enum kv_space space;
    struct buf near; /* where it stood last, for naming damage behind that */
};

/* ---- what went wrong ---- */

static void printable(struct str key, char *to, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < key.len && n + 1 < size; i++)
        to[n++] = isprint((unsigned char)key.p[i]) ? key.p[i] : '?';
    to[n] = 0;
}

/* The key that an entry of a space is about, for people. */
static void entry_key(const char *space, struct str entry, char *to, size_t size)
{
    struct buf scratch = {0};
    struct str key = entry;
    int64_t revision;

    if (!strcmp(space, "versions") && record_parse_version_key(entry, &scratch, &key, &revision))
        printable(key, to, size);
    else if (!strcmp(space, "log") && entry.len >= 8)
        snprintf(to, size, "revision %lld", (long long)record_get64(entry.p));
    else
        printable(str_sub(entry, entry.len && entry.p[0] == 'k', entry.len), to, size);
    buf_free(&scratch);
}

/* Where the file that RocksDB's text names has its keys. False: it names none, or it is gone. */
static bool find_range(struct rocksdb_engine *r, const char *text, char *to, size_t size)
{
    const char *end = strstr(text, ".sst");
    const rocksdb_livefiles_t *files = end ? rocksdb_livefiles(r->db) : NULL;
    bool found = false;

    for (int i = 0; files && !found && i < rocksdb_livefiles_count(files); i++) {
        const char *name = rocksdb_livefiles_name(files, i), *space = rocksdb_livefiles_column_family_name(files, i);
        char first[160], last[160];
        struct str key;

        name += *name == '/';
        if (!strstr(text, name))
            continue;
        key.p = rocksdb_livefiles_smallestkey(files, i, &key.len);
        entry_key(space, key, first, sizeof first);
        key.p = rocksdb_livefiles_largestkey(files, i, &key.len);
        entry_key(space, key, last, sizeof last);
        snprintf(to, size, "\"%s\" to \"%s\"", first, last);
        found = true;
    }
    if (files)
        rocksdb_livefiles_destroy(files);
    return found;
}

/* Takes over the text. `near` is the key that was asked for, or where a cursor stood. */
static int failed(struct rocksdb_engine *r, char *text, const char *doing, const char *near, struct err *err)
{
    char range[400];
    int rc;

    if (strstr(text, "No space left") || strstr(text, "NoSpace") || strstr(text, "Disk quota"))
        rc = err_set(err, ERR_NO_SPACE, "%s: %s", doing, text);
    else if (strncmp(text, "Corruption", 10) != 0)
        rc = err_set(err, ERR_IO, "%s: %s", doing, text);
    else if (r->db && find_range(r, text, range, sizeof range))
        rc = err_set(err, ERR_CORRUPT, "%s: keys from %s are damaged: %s", doing, range, text);
    else if (near)
        rc = err_set(err, ERR_CORRUPT, "%s: what is stored at or behind \"%s\" is damaged: %s", doing, near, text);
    else
        rc = err_set(err, ERR_CORRUPT, "%s: %s", doing, text);
    rocksdb_free(text);
    return rc;
}

static int closed(struct err *err)
{
    return err_set(err, ERR_IO, "the store is being opened again after an error");
}

/* ---- reading and writing ---- */

static const char *const space_names[KV_SPACES] = {"default", "versions", "log"};

static int rocks_get(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    char *text = NULL;
    int rc = 1;

    pthread_rwlock_rdlock(&r->open);
    rocksdb_pinnableslice_t *slice =
        r->db ? rocksdb_get_pinned_cf(r->db, r->read, r->cf[space], key.p, key.len, &text) : NULL;
    if (!r->db) {
        rc = closed(err);
    } else if (text) {
        char near[200];

        entry_key(space_names[space], key, near, sizeof near);
        rc = failed(r, text, "read the store", near, err);
    } else if (slice) {
        size_t len;
        const char *value = rocksdb_pinnableslice_value(slice, &len);

        buf_add(out, value, len);
        rocksdb_pinnableslice_destroy(slice);
        rc = 0;
    }
    pthread_rwlock_unlock(&r->open);
    return rc;
}

static int by_key(const void *a, const void *b)
{
    const struct kv_write *x = *(const struct kv_write *const *)a, *y = *(const struct kv_write *const *)b;
    int order = (x->space > y->space) - (x->space < y->space);

    if (!order && x->space != KV_SPACE_LOG) /* the log comes in order by itself */
        order = str_cmp(x->key, y->key);
    return order ? order : (x > y) - (x < y);
}

/* In the order of keys: a memory table is quicker to fill so. Of one key, what was first stays first. */
static void fill_batch(struct rocksdb_engine *r, const struct kv_write *writes, size_t n)
{
    if (n > r->order_cap) {
        r->order_cap = n;
        r->order = mem_realloc(r->order, n * sizeof *r->order);
    }
    for (size_t i = 0; i < n; i++)
        r->order[i] = &writes[i];
    if (n > 4)
        qsort(r->order, n, sizeof *r->order, by_key);
    if (!r->batch)
        r->batch = rocksdb_writebatch_create();
    rocksdb_writebatch_clear(r->batch); /* keeps its room */
    for (size_t i = 0; i < n; i++) {
        const struct kv_write *w = r->order[i];

        if (w->remove) {
            rocksdb_writebatch_delete_cf(r->batch, r->cf[w->space], w->key.p, w->key.len);
        } else {
            const char *keys[] = {w->key.p}, *values[] = {w->head.p ? w->head.p : "", w->body.p ? w->body.p : ""};
            size_t key_lens[] = {w->key.len}, value_lens[] = {w->head.len, w->body.len};

            rocksdb_writebatch_putv_cf(r->batch, r->cf[w->space], 1, keys, key_lens, 2, values, value_lens);
        }
    }
}

static uint64_t background_errors(struct rocksdb_engine *r)
{
    uint64_t n = 0;

    return rocksdb_property_int(r->db, "rocksdb.background-errors", &n) == 0 ? n : 0;
}

static int rocks_write(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    char *text = NULL;
    size_t size;
    int rc = 0;

    pthread_rwlock_rdlock(&r->open);
    if (r->db) {
        fill_batch(r, writes, n);
        rocksdb_write(r->db, sync ? r->sync : r->no_sync, r->batch, &text);
        rocksdb_writebatch_data(r->batch, &size);
        if (size > BATCH_KEEP_BYTES) {
            rocksdb_writebatch_destroy(r->batch);
            r->batch = NULL;
        }
    }
    if (!r->db) {
        rc = closed(err);
    } else if (text) {
        rc = failed(r, text, "write the store", NULL, err);
        if (rc == ERR_CORRUPT)
            r->damage = *err;
        /* an error in the background stops writes before they reach the log; else it was the log's own */
        r->log_failed |= background_errors(r) == r->failures;
    } else {
        r->good = rocksdb_get_latest_sequence_number(r->db);
        if (sync)
            wal_synced_write(r->synced_fd, r->good);
    }
    pthread_rwlock_unlock(&r->open);
    return rc;
}

static struct kv_cursor *rocks_cursor_open(struct kv_engine *e, enum kv_space space)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    struct kv_cursor *c = MEM_NEW(struct kv_cursor);

    pthread_rwlock_rdlock(&r->open);
    c->engine = r;
    c->space = space;
    c->it = r->db ? rocksdb_create_iterator_cf(r->db, r->scan, r->cf[space]) : NULL;
    return c;
}

static void rocks_cursor_seek(struct kv_cursor *c, struct str key)
{
    c->near.len = 0;
    buf_add_str(&c->near, key);
    if (c->it)
        rocksdb_iter_seek(c->it, key.p, key.len);
}

static int rocks_cursor_read(struct kv_cursor *c, struct str *ret_key, struct str *ret_value, struct err *err)
{
    if (!c->it)
        return closed(err);
    if (!rocksdb_iter_valid(c->it)) {
        char *text = NULL;

        rocksdb_iter_get_error(c->it, &text);
        if (!text)
            return 1;
        char near[200];
        entry_key(space_names[c->space], buf_str(&c->near), near, sizeof near);
        return failed(c->engine, text, "read the store", near, err);
    }
    ret_key->p = rocksdb_iter_key(c->it, &ret_key->len);
    ret_value->p = rocksdb_iter_value(c->it, &ret_value->len);
    c->near.len = 0;
    buf_add_str(&c->near, *ret_key);
    return 0;
}

static void rocks_cursor_next(struct kv_cursor *c)
{
    if (c->it)
        rocksdb_iter_next(c->it);
}

static void rocks_cursor_close(struct kv_cursor *c)
{
    if (c->it)
        rocksdb_iter_destroy(c->it);
    pthread_rwlock_unlock(&c->engine->open);
    buf_free(&c->near);
    free(c);
}

/* ---- scrubbing ---- */

static int set_blob_gc(struct rocksdb_engine *r, const char *cutoff, const char *threshold, struct err *err)
{
    const char *names[] = {"blob_garbage_collection_age_cutoff", "blob_garbage_collection_force_threshold"};
    const char *values[] = {cutoff, threshold};
    char *text = NULL;

    rocksdb_set_options_cf(r->db, r->cf[KV_SPACE_VERSIONS], 2, names, values, &text);
    return text ? failed(r, text, "set up cleaning", NULL, err) : 0;
}

/* Everything out of the log and the memory tables, then every value into new files: a file of values is let go of only
 * when none in it is referred to. */
static int scrub_open(struct rocksdb_engine *r, struct err *err)
{
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_compactoptions_t *all = rocksdb_compactoptions_create();
    char *text = NULL;
    int rc = set_blob_gc(r, "1.0", "1.0", err);

    rocksdb_flushoptions_set_wait(flush, 1);
    rocksdb_compactoptions_set_exclusive_manual_compaction(all, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(all, 2); /* force */
    for (int i = 0; i < KV_SPACES && rc == 0; i++) {
        rocksdb_flush_cf(r->db, flush, r->cf[i], &text);
        if (text)
            rc = failed(r, text, "flush the store", NULL, err);
    }
    if (rc == 0)
        rocksdb_compact_range_cf_opt(r->db, r->cf[KV_SPACE_VERSIONS], all, NULL, 0, NULL, 0);
    struct err own;
    if (set_blob_gc(r, BLOB_GC_CUTOFF, BLOB_GC_THRESHOLD, &own) < 0 && rc == 0)
        rc = (*err = own).code;
    rocksdb_flushoptions_destroy(flush);
    rocksdb_compactoptions_destroy(all);
    return rc;
}

static int rocks_scrub(struct kv_engine *e, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;

    pthread_rwlock_rdlock(&r->open);
    int rc = r->db ? scrub_open(r, err) : closed(err);
    pthread_rwlock_unlock(&r->open);
    return rc;
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

/* Whether the directory takes a file at all. RocksDB is not closed in the hope of it, and not opened: some of its
 * asserts end the process when its first files cannot be written. */
static int check_writable(const char *dir, struct err *err)
{
    static const char bytes[4096];
    char path[4096];

    snprintf(path, sizeof path, "%s/probe", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && fdatasync(fd) == 0;
    int failure = errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return ok ? 0 : err_set_errno(err, ERR_IO, failure, "write %s", path);
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
        /* It would flush space after space beside a log that ends in what failed, and sync that: a crash between two
         * spaces brings half of the failed batch back. */
        rocksdb_resume_never_by_itself(o);
        rocksdb_options_set_wal_recovery_mode(o, rocksdb_point_in_time_recovery); /* after wal_check */
        rocksdb_options_set_max_background_jobs(o, 2);
        rocksdb_options_set_max_open_files(o, 256);
        rocksdb_options_set_max_file_opening_threads(o, 1);
        rocksdb_options_set_table_cache_numshardbits(o, 2);
        rocksdb_options_set_max_total_wal_size(o, 64 << 20);
        rocksdb_options_set_stats_dump_period_sec(o, 0);
        rocksdb_options_set_stats_persist_period_sec(o, 0);
        rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
        rocksdb_log_here(o);
        rocksdb_options_set_max_manifest_file_size(o, 4 << 20);
        rocksdb_options_set_bytes_per_sync(o, 1 << 20);
        rocksdb_options_set_avoid_unnecessary_blocking_io(o, 1);
        rocksdb_options_set_compression(o, rocksdb_no_compression);
        rocksdb_options_set_block_based_table_factory(o, r->tables);
        rocksdb_options_set_max_write_buffer_number(o, 4);
        rocksdb_options_set_write_buffer_size(o, i == KV_SPACE_VERSIONS ? 8 << 20 : 2 << 20);
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
    rocksdb_options_set_blob_gc_age_cutoff(versions, strtod(BLOB_GC_CUTOFF, NULL));
    rocksdb_options_set_blob_gc_force_threshold(versions, strtod(BLOB_GC_THRESHOLD, NULL));
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
    /* There are none; and where an iterator looks for them, it forgets an error at the border of two files and goes on
     * behind what it could not read. */
    rocksdb_readoptions_set_ignore_range_deletions(r->read, 1);
    rocksdb_readoptions_set_ignore_range_deletions(r->scan, 1);
    r->sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->sync, 1);
    r->no_sync = rocksdb_writeoptions_create();
    r->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(r->flush, 0);
}

/* ---- opening, closing, opening again ---- */

static int open_db(struct rocksdb_engine *r, const char *dir, struct err *err)
{
    char *text = NULL;

    r->db = rocksdb_open_column_families(r->options[0], dir, KV_SPACES, space_names,
                                         (const rocksdb_options_t *const *)r->options, r->cf, &text);
    if (!text) {
        r->good = rocksdb_get_latest_sequence_number(r->db);
        r->log_failed = false;
        r->failures = 0;
        return 0;
    }
    r->db = NULL;
    memset(r->cf, 0, sizeof r->cf);
    if (failed(r, text, "open the store", NULL, err) == ERR_CORRUPT)
        (void)err_context(err, "damaged files; restore a snapshot into a new directory "
                               "(skiff snapshot restore FILE --data-dir DIR)");
    return err_context(err, "data directory %s", dir);
}

static void close_db(struct rocksdb_engine *r)
{
    for (int i = 0; i < KV_SPACES; i++)
        if (r->cf[i])
            rocksdb_column_family_handle_destroy(r->cf[i]);
    memset(r->cf, 0, sizeof r->cf);
    if (r->db)
        rocksdb_close(r->db);
    r->db = NULL;
}

/* After an error of some kinds (of the log's file above all) RocksDB takes no more writes until it is opened anew. What
 * the failed writes left in the log is cut off before. */
static int open_again(struct rocksdb_engine *r, struct err *err)
{
    if (pthread_rwlock_trywrlock(&r->open) != 0)
        return err_set(err, ERR_IO, "the store is opened again once nobody reads it");
    close_db(r);
    int rc = wal_cut(r->dir, r->good, err);
    if (rc == 0)
        rc = wal_check(r->dir, err);
    if (rc == 0) {
        uint64_t good = r->good;
        rc = open_db(r, r->dir, err);
        if (rc == 0 && r->good < good)
            r->damage.code = rc = err_set(err, ERR_CORRUPT, "the store in %s lost acknowledged changes", r->dir);
    }
    pthread_rwlock_unlock(&r->open);
    return rc;
}

static int rocks_recover(struct kv_engine *e, struct err *err)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;
    char *text = NULL;
    int rc;

    if (r->damage.code) { /* trying does not mend files */
        *err = r->damage;
        return err->code;
    }
    if ((rc = check_writable(r->dir, err)) < 0 || (rc = check_space(r->dir, err)) < 0)
        return rc;
    /* Resuming flushes what was acknowledged and starts a new log without what failed, but not when there was nothing
     * to flush: then it goes on with the log that failed, and aborts. */
    if (r->db && !r->log_failed) {
        rocksdb_resume(r->db, &text);
        if (!text) {
            r->failures = background_errors(r);
            return 0;
        }
        (void)failed(r, text, "resume the store", NULL, err);
    }
    return open_again(r, err);
}

static void rocks_close(struct kv_engine *e);

/* What was written leaves its memory tables, and the logs become short. */
static void rocks_settle(struct kv_engine *e)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;

    if (e->ops->close != rocks_close)
        return; /* a wrapper's, that did not think of it */
    pthread_rwlock_rdlock(&r->open);
    for (int i = 0; i < KV_SPACES && r->db; i++) {
        uint64_t size;
        char *text = NULL;

        if (rocksdb_property_int_cf(r->db, r->cf[i], "rocksdb.cur-size-active-mem-table", &size) != 0 ||
            size < SETTLE_BYTES)
            continue;
        rocksdb_flush_cf(r->db, r->flush, r->cf[i], &text);
        if (text)
            rocksdb_free(text); /* the next write meets it */
    }
    pthread_rwlock_unlock(&r->open);
}

static void rocks_close(struct kv_engine *e)
{
    struct rocksdb_engine *r = (struct rocksdb_engine *)e;

    close_db(r);
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
        rocksdb_flushoptions_destroy(r->flush);
    }
    if (r->batch)
        rocksdb_writebatch_destroy(r->batch);
    free(r->order);
    pthread_rwlock_destroy(&r->open);
    if (r->synced_fd >= 0)
        close(r->synced_fd);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r->dir);
    free(r);
}

int kv_engine_rocksdb(const char *dir, struct kv_engine **ret, struct err *err)
{
    return kv_engine_rocksdb_in(dir, NULL, ret, err);
}

int kv_engine_rocksdb_in(const char *dir, struct rocksdb_env_t *env, struct kv_engine **ret, struct err *err)
{
    static const struct kv_engine_ops ops = {
        .name = "rocksdb",
        .overlap = true,
        .get = rocks_get,
        .write = rocks_write,
        .cursor_open = rocks_cursor_open,
        .cursor_seek = rocks_cursor_seek,
        .cursor_read = rocks_cursor_read,
        .cursor_next = rocks_cursor_next,
        .cursor_close = rocks_cursor_close,
        .recover = rocks_recover,
        .settle = rocks_settle,
        .close = rocks_close,
        .scrub = rocks_scrub,
    };
    struct rocksdb_engine *r = MEM_NEW(struct rocksdb_engine);
    int rc = 0;

    r->engine.ops = &ops;
    r->lock_fd = r->synced_fd = -1;
    pthread_rwlock_init(&r->open, NULL);
    r->dir = strdup(dir);
    rc = make_dirs(dir, err);
    if (rc == 0)
        rc = lock_dir(r, dir, err);
    if (rc == 0)
        rc = check_space(dir, err);
    if (rc == 0)
        rc = check_writable(dir, err);
    if (rc == 0)
        rc = wal_check(dir, err);
    if (rc == 0) {
        set_options(r, env);
        rc = open_db(r, dir, err);
    }
    if (rc < 0) {
        rocks_close(&r->engine);
        return rc;
    }
    r->synced_fd = wal_synced_open(dir);
    wal_synced_write(r->synced_fd, r->good);
    *ret = &r->engine;
    return 0;
}
