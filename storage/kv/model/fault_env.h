/* fault_env: a file system in memory for RocksDB that fails as told and forgets at a crash what was never synced.
 *
 * It knows of every file how far it was synced, and of every directory which creations, renames and deletions were. A
 * crash (fault_env_crash_after, fault_env_freeze) stops the world: from then on every call fails and changes nothing.
 * Once the database is closed, fault_env_restart leaves what a disk might hold: unsynced tails dropped, cut anywhere,
 * or with pages of zeros and garbage in them; unsynced names as before or as after. What a failed sync was to write may
 * be lost although a later sync succeeds, as Linux has it.
 *
 * All chances are drawn from the seed. RocksDB's background jobs run one at a time, and only inside fault_env_pump when
 * held, so that the same calls meet the same faults. Who writes much meanwhile pumps now and then, else RocksDB makes
 * the writer wait for a job (they go on after a while, then at any time).
 */
#ifndef SKIFF_STORAGE_KV_MODEL_FAULT_ENV_H
#define SKIFF_STORAGE_KV_MODEL_FAULT_ENV_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { /* calls */
       FAULT_CREATE = 1,
       FAULT_APPEND = 2,
       FAULT_SYNC = 4,
       FAULT_READ = 8,
       FAULT_NAMES = 16, /* rename, delete */
       FAULT_DIR_SYNC = 32,
       FAULT_CHANGES = FAULT_CREATE | FAULT_APPEND | FAULT_SYNC | FAULT_NAMES | FAULT_DIR_SYNC
};
enum { /* files */
       FAULT_LOG = 1,
       FAULT_TABLE = 2,
       FAULT_BLOB = 4,
       FAULT_MANIFEST = 8,
       FAULT_OTHER = 16,
       FAULT_ALL_FILES = 31
};

struct fault_rule {
    unsigned calls, files;
    uint32_t skip;  /* so many matching calls go well first */
    uint32_t times; /* then so many fail; UINT32_MAX: all */
    bool no_space;  /* else an I/O error */
};

struct fault_env;
struct rocksdb_env_t;

/* `dir` is real and empty: what is live stands there too (tables and blobs aside), for who looks past RocksDB. */
struct fault_env *fault_env_create(uint64_t seed, const char *dir);
void fault_env_destroy(struct fault_env *env); /* nothing may have it open */
struct rocksdb_env_t *fault_env_rocksdb(struct fault_env *env);

void fault_env_fail(struct fault_env *env, const struct fault_rule *rule); /* replaces the last one */
void fault_env_heal(struct fault_env *env);
void fault_env_delay(struct fault_env *env, uint32_t longest_us); /* calls take up to so long; 0 = none */

void fault_env_freeze(struct fault_env *env);
void fault_env_crash_after(struct fault_env *env, uint32_t n_changes); /* 0 = disarmed */
bool fault_env_frozen(struct fault_env *env);
/* The disk after a crash of the machine. Not frozen, or when only the process died: nothing is lost yet. */
void fault_env_restart(struct fault_env *env, bool power_lost);
/* Turns a bit of something synced in a table or blob file; false when there is none. */
bool fault_env_rot(struct fault_env *env);

enum fault_jobs { FAULT_JOBS_RUN, FAULT_JOBS_FLUSH, FAULT_JOBS_HELD }; /* FLUSH: only what RocksDB may wait for */
void fault_env_jobs(struct fault_env *env, enum fault_jobs jobs);
void fault_env_pump(struct fault_env *env); /* runs every background job there is, and those that follow from it */

#ifdef __cplusplus
}
#endif

#endif
