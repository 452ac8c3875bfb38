/* record: what kv keeps in an engine's three spaces.
 *
 *   versions   key, inverted revision  ->  flags, create revision, version, lease, transform byte, value
 *   log        revision, index         ->  kind, previous mod revision (0 = none), key
 *   meta       'k' key                 ->  create, mod, version, lease, size: the newest state of every living key
 *              'l' lease               ->  ttl, expiry, whether it was ever kept alive
 *              'a' lease key           ->  nothing: the keys of a lease
 *              'm' name                ->  "revision", "compacted", "format"
 *
 * Numbers are big-endian. In versions a key is closed by two zero bytes (a zero byte inside becomes 00 ff), so that
 * the order of entries is the order of keys, newest version first.
 */
#ifndef SKIFF_STORAGE_KV_RECORD_H
#define SKIFF_STORAGE_KV_RECORD_H

#include "storage/kv/kv_engine.h"

enum { RECORD_HEAD = 26, RECORD_TOMBSTONE = 1 };

struct version_head {
    uint8_t flags, transform;
    int64_t create_revision, version, lease;
};

struct key_state { /* of a key, newest */
    int64_t create_revision, mod_revision, version, lease;
    uint32_t size; /* of the stored value; 0 where format 1 wrote it */
};

struct log_entry {
    int64_t revision;
    enum kv_event_kind kind;
    int64_t prev_mod_revision;
    struct str key;
};

struct str record_version_key(struct arena *a, struct str key, int64_t revision);
/* Where all versions of key end. */
void record_version_end(struct buf *out, struct str key);
void record_version_start(struct buf *out, struct str key, int64_t revision);
/* The key's bytes go to `scratch` only when it holds a zero byte. */
bool record_parse_version_key(struct str entry, struct buf *scratch, struct str *ret_key, int64_t *ret_revision);
struct str record_version_head(struct arena *a, const struct version_head *h);
bool record_parse_version(struct str value, struct version_head *ret, struct str *ret_payload);

struct str record_log_key(struct arena *a, int64_t revision, uint32_t index);
struct str record_log_value(struct arena *a, const struct log_entry *e);
bool record_parse_log(struct str key, struct str value, struct log_entry *ret);

struct str record_meta_key(struct arena *a, char kind, struct str rest);
struct str record_lease_key(struct arena *a, char kind, int64_t lease, struct str key);
struct str record_state(struct arena *a, const struct key_state *s);
bool record_parse_state(struct str value, struct key_state *ret);
struct str record_number(struct arena *a, int64_t n);
void record_put64(char *p, int64_t n);
int64_t record_get64(const char *p);

#endif
