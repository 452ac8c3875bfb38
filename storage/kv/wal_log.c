/* A log's payload is a batch: its sequence number, how many changes it has, the changes. */
#include "storage/kv/wal_internal.h"

#include "storage/kv/record.h"

#include <ctype.h>
#include <stdio.h>

/* A batch somewhere behind the damage: block boundaries and lengths may be among what is damaged. */
static void find_later(struct str text, struct wal_span *s)
{
    struct str payload;
    int type;

    for (size_t at = s->damage + 1; at + WAL_HEADER + WAL_BATCH_HEADER <= text.len; at++) {
        if ((text.p[at + 6] != WAL_FULL && text.p[at + 6] != WAL_FIRST) || !wal_record_at(text, at, &type, &payload) ||
            payload.len < WAL_BATCH_HEADER)
            continue;
        uint64_t sequence = wal_little(payload.p, 8);
        if (sequence < s->next || sequence >> 56)
            continue;
        s->resumes = sequence;
        s->resumes_at = at;
        return;
    }
}

void wal_read(struct str text, uint64_t until, struct wal_span *ret)
{
    struct wal_reader r = {.text = text};
    struct str payload;
    bool any_next = false; /* RocksDB marks the beginning of a log with a batch of nothing */
    int rc;

    *ret = (struct wal_span){0};
    while ((rc = wal_next(&r, &payload)) > 0) {
        uint64_t sequence = payload.len < WAL_BATCH_HEADER ? 0 : wal_little(payload.p, 8);
        uint64_t n = payload.len < WAL_BATCH_HEADER ? 0 : wal_little(payload.p + 8, 4);

        if (!sequence || sequence >> 56 || (ret->next && !any_next && sequence != ret->next)) {
            rc = -1;
            break;
        }
        if (sequence + n - (n > 0) > until) {
            ret->good_end = r.begin;
            buf_free(&r.pieces);
            return;
        }
        if (!ret->first)
            ret->first = sequence;
        any_next = n == 0;
        ret->next = sequence + n;
        ret->last_begin = r.begin;
        ret->good_end = r.at;
    }
    buf_free(&r.pieces);
    ret->damaged = rc < 0;
    ret->damage = r.begin;
    if (rc < 0)
        find_later(text, ret);
}

/* ---- what a batch says ---- */

struct contents {
    int64_t revision; /* 0 = not found */
    struct str first_key, last_key;
};

/* As far as it can be read. */
static void read_contents(struct str batch, struct contents *ret)
{
    struct str s = str_sub(batch, WAL_BATCH_HEADER, batch.len), key, value;
    uint64_t family;

    while (s.len) {
        int tag = (unsigned char)*s.p;

        s = str_sub(s, 1, s.len);
        family = 0;
        if (tag > 5 || tag == 2 || tag == 3 || (tag >= 4 && !wal_take_varint(&s, &family)) ||
            !wal_take_string(&s, &key))
            return;
        bool put = tag == 1 || tag == 5, is_key = family == KV_SPACE_META && key.len > 1 && key.p[0] == 'k';
        if (put && !wal_take_string(&s, &value))
            value = STR_NULL; /* cut off: the key is whole */
        if (is_key) {
            key = str_sub(key, 1, key.len);
            if (!ret->first_key.p || str_cmp(key, ret->first_key) < 0)
                ret->first_key = key;
            if (!ret->last_key.p || str_cmp(key, ret->last_key) > 0)
                ret->last_key = key;
        } else if (put && family == KV_SPACE_META && str_eqz(key, "mrevision") && value.len == 8) {
            ret->revision = record_get64(value.p);
        }
        if (put && !value.p)
            return;
    }
}

static void printable(struct str key, char *to, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < key.len && n + 2 < size; i++)
        to[n++] = isprint((unsigned char)key.p[i]) ? key.p[i] : '?';
    to[n] = 0;
}

static int64_t revision_at(struct str text, size_t at)
{
    struct wal_reader r = {.text = text, .at = at};
    struct contents c = {0};
    struct str payload;

    if (wal_next(&r, &payload) > 0 && payload.len >= WAL_BATCH_HEADER)
        read_contents(payload, &c);
    buf_free(&r.pieces);
    return c.revision;
}

/* Which revisions and keys stood where the damage is: from the batches around it and what can be read of its own. */
void wal_describe(struct str text, const struct wal_span *s, char *to, size_t size)
{
    int64_t before = s->next ? revision_at(text, s->last_begin) : 0;
    int64_t behind = s->resumes ? revision_at(text, s->resumes_at) : 0;
    struct contents c = {0};
    int n = 0;

    to[0] = 0;
    if (before)
        n = snprintf(to, size, ", after revision %lld", (long long)before);
    if (before && behind)
        n += snprintf(to + n, size - (size_t)n, " and before revision %lld", (long long)behind);
    size_t room = WAL_BLOCK - s->damage % WAL_BLOCK;
    struct str near = str_sub(text, s->damage + WAL_HEADER, s->damage + room);
    if (near.len > WAL_BATCH_HEADER)
        read_contents(near, &c);
    if (c.first_key.p) {
        char first[200], last[200];

        printable(c.first_key, first, sizeof first);
        printable(c.last_key, last, sizeof last);
        snprintf(to + n, size - (size_t)n, ", keys from \"%s\" to \"%s\" and on", first, last);
    }
}
