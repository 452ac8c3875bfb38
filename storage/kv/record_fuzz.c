/* What stands in an engine's spaces, read back: any bytes are refused or understood, and what is understood is written
 * again as it was. */
#include "storage/kv/record.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static void keys(struct arena *a, struct str in)
{
    struct buf scratch = {0}, start = {0};
    struct str key;
    int64_t revision;

    if (record_parse_version_key(in, &scratch, &key, &revision)) {
        struct buf again = {0};
        struct str name = arena_str(a, key), whole = record_version_key(a, name, revision), once;
        int64_t same;

        /* damaged separators may be read as another key, but that one is read back as itself, between its bounds */
        assert(record_parse_version_key(whole, &again, &once, &same) && same == revision && str_eq(once, name));
        record_version_start(&start, name, revision);
        assert(str_eq(buf_str(&start), whole));
        record_version_end(&start, name);
        assert(str_cmp(whole, buf_str(&start)) < 0);
        buf_free(&again);
    }
    buf_free(&scratch);
    buf_free(&start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_create(64u << 20);
    struct str in = {(const char *)data, size}, payload;
    struct version_head head;
    struct key_state state;
    struct log_entry entry;

    keys(a, in);
    if (record_parse_version(in, &head, &payload)) {
        assert(payload.len + RECORD_HEAD == in.len);
        assert(str_eq(record_version_head(a, &head), str_sub(in, 0, RECORD_HEAD)));
    }
    if (record_parse_state(in, &state)) { /* an older form lacks the end */
        struct str again = record_state(a, &state);
        assert(again.len >= in.len && str_eq(str_sub(again, 0, in.len), in));
    }
    if (size >= 12 && record_parse_log(str_sub(in, 0, 12), str_sub(in, 12, size), &entry)) {
        struct log_entry again;

        assert(record_parse_log(str_sub(in, 0, 12), record_log_value(a, &entry), &again));
        assert(again.kind == entry.kind && again.prev_mod_revision == entry.prev_mod_revision &&
               str_eq(again.key, entry.key));
    }
    arena_destroy(a);
    return 0;
}
