/* A manifest's payload is an edit: which files and logs there are from then on. */
#include "storage/kv/wal_internal.h"

#include "storage/kv/kv_engine.h"

static bool skip_varints(struct str *s, int n)
{
    uint64_t value;

    while (n-- > 0)
        if (!wal_take_varint(s, &value))
            return false;
    return true;
}

static bool skip_strings(struct str *s, int n)
{
    struct str value;

    while (n-- > 0)
        if (!wal_take_string(s, &value))
            return false;
    return true;
}

/* Fields of a number and a text each, up to the number that ends them. */
static bool skip_custom(struct str *s, uint64_t end)
{
    uint64_t tag;

    while (wal_take_varint(s, &tag)) {
        if (tag == end)
            return true;
        if (!skip_strings(s, 1))
            return false;
    }
    return false;
}

struct edit {
    uint64_t family, log_number, last_sequence;
    bool has_log, has_sequence, dropped;
};

static bool read_edit(struct str s, struct edit *e)
{
    uint64_t tag;

    while (s.len) {
        bool ok;

        if (!wal_take_varint(&s, &tag))
            return false;
        switch (tag) {
        case 1:   /* comparator */
        case 201: /* column family added */
            ok = skip_strings(&s, 1);
            break;
        case 2:
            ok = e->has_log = wal_take_varint(&s, &e->log_number);
            break;
        case 4:
            ok = e->has_sequence = wal_take_varint(&s, &e->last_sequence);
            break;
        case 3:   /* next file number */
        case 9:   /* previous log */
        case 10:  /* oldest log to keep */
        case 203: /* largest column family */
        case 300: /* part of a group */
            ok = skip_varints(&s, 1);
            break;
        case 5: /* compaction cursor */
            ok = skip_varints(&s, 1) && skip_strings(&s, 1);
            break;
        case 6: /* file deleted */
            ok = skip_varints(&s, 2);
            break;
        case 7: /* file, in its four forms */
            ok = skip_varints(&s, 3) && skip_strings(&s, 2);
            break;
        case 100:
            ok = skip_varints(&s, 3) && skip_strings(&s, 2) && skip_varints(&s, 2);
            break;
        case 102:
            ok = skip_varints(&s, 4) && skip_strings(&s, 2) && skip_varints(&s, 2);
            break;
        case 103:
            ok = skip_varints(&s, 3) && skip_strings(&s, 2) && skip_varints(&s, 2) && skip_custom(&s, 1);
            break;
        case 200:
            ok = wal_take_varint(&s, &e->family);
            break;
        case 202:
            ok = e->dropped = true;
            break;
        case 400: /* blob file */
            ok = skip_varints(&s, 3) && skip_strings(&s, 2) && skip_custom(&s, 0);
            break;
        case 401: /* garbage in one */
            ok = skip_varints(&s, 3) && skip_custom(&s, 0);
            break;
        default:
            ok = (tag & 1 << 13) && skip_strings(&s, 1);
        }
        if (!ok)
            return false;
    }
    return true;
}

/* Whether an edit stands behind the damage, whole. Those of one sync could be torn so that the first is lost and the
 * last is not; but most syncs have one edit, and a store that is not opened is better than one that forgets. */
static bool is_any_whole(struct str text, size_t damage)
{
    struct str payload;
    int type;

    for (size_t at = damage + 1; at + WAL_HEADER < text.len; at++) {
        struct edit e = {0};

        if (text.p[at + 6] == WAL_FULL && wal_record_at(text, at, &type, &payload) && payload.len &&
            read_edit(payload, &e))
            return true;
    }
    return false;
}

bool wal_manifest_read(struct str text, struct wal_manifest *ret)
{
    struct wal_reader r = {.text = text};
    uint64_t logs[KV_SPACES] = {0};
    bool known = true;
    struct str payload;
    int rc;

    *ret = (struct wal_manifest){0};
    while ((rc = wal_next(&r, &payload)) > 0) {
        struct edit e = {0};

        known = read_edit(payload, &e) && !(e.has_log && e.family >= KV_SPACES);
        if (!known)
            break;
        if (e.has_log && e.log_number > logs[e.family])
            logs[e.family] = e.log_number;
        if (e.has_sequence && e.last_sequence > ret->last_sequence)
            ret->last_sequence = e.last_sequence;
    }
    buf_free(&r.pieces);
    ret->torn = rc < 0;
    ret->good_end = r.begin;
    ret->damaged = ret->torn && is_any_whole(text, r.begin);
    ret->oldest_log = UINT64_MAX;
    for (int i = 0; i < KV_SPACES; i++)
        if (logs[i] < ret->oldest_log)
            ret->oldest_log = logs[i];
    for (int i = 0; i < KV_SPACES; i++)
        if (logs[i] > ret->oldest_log && (!ret->newer_log || logs[i] < ret->newer_log))
            ret->newer_log = logs[i];
    return (known && !ret->torn) || ret->last_sequence || ret->damaged;
}
