/* kv engine: what an engine must do so that kv (transactions, revisions, history, leases) can stand on it.
 *
 * An engine keeps three ordered spaces of bytes and writes batches to them atomically. It knows no revisions: record.h
 * says what kv puts where. A new engine is one table of functions and an opener that ends in kv_create; a fault
 * injector is an engine that wraps another one.
 *
 * Threads: `write` and `recover` come from one thread at a time; `get` and cursors come from any thread while writes go
 * on, and a cursor is closed by the thread that opened it. A read sees every batch whose write has returned; a cursor
 * may or may not see later ones, but never half of an entry.
 */
#ifndef SKIFF_STORAGE_KV_KV_ENGINE_H
#define SKIFF_STORAGE_KV_KV_ENGINE_H

#include "storage/kv/kv.h"

enum kv_space { KV_SPACE_META, KV_SPACE_VERSIONS, KV_SPACE_LOG, KV_SPACES };

struct kv_write {
    enum kv_space space;
    bool remove;
    struct str key;
    struct str head, body; /* the value is both, one after the other: bodies are never copied to be framed */
};

struct kv_cursor;
struct kv_engine;

struct kv_engine_ops {
    const char *name;
    bool overlap; /* reading while a batch is written pays: the next one is prepared meanwhile */
    /* Append the value to out; 1 = not there. */
    int (*get)(struct kv_engine *e, enum kv_space space, struct str key, struct buf *out, struct err *err);
    /* All of them or none; with `sync` the return means that they survive a crash of the machine. */
    int (*write)(struct kv_engine *e, const struct kv_write *writes, size_t n, bool sync, struct err *err);
    struct kv_cursor *(*cursor_open)(struct kv_engine *e, enum kv_space space);
    void (*cursor_seek)(struct kv_cursor *c, struct str key); /* to the first entry not below key */
    /* The entry the cursor stands at; 1 = past the end. The bytes live until the cursor moves. */
    int (*cursor_read)(struct kv_cursor *c, struct str *ret_key, struct str *ret_value, struct err *err);
    void (*cursor_next)(struct kv_cursor *c);
    void (*cursor_close)(struct kv_cursor *c);
    /* A write has failed: try to make the engine writable again, without what failed. */
    int (*recover)(struct kv_engine *e, struct err *err);
    /* Nobody has written for a while: memory that only buffers may go. May be NULL. */
    void (*settle)(struct kv_engine *e);
    void (*close)(struct kv_engine *e);
    /* kv_scrub; NULL: there are no files. */
    int (*scrub)(struct kv_engine *e, struct err *err);
};

struct kv_engine { /* the first member of every engine */
    const struct kv_engine_ops *ops;
};

/* Takes the engine over (also when it fails). */
int kv_create(struct kv_engine *e, int64_t history_ms, struct kv **ret, struct err *err);
/* The bare engines, for wrapping. */
int kv_engine_rocksdb(const char *dir, struct kv_engine **ret, struct err *err);
struct kv_engine *kv_engine_memory(void);
/* RocksDB on a file system of the caller's, who owns it, with small buffers: for fault injection (model/). */
struct rocksdb_env_t;
int kv_engine_rocksdb_in(const char *dir, struct rocksdb_env_t *env, struct kv_engine **ret, struct err *err);

#endif
