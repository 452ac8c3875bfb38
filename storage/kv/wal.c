/* The format is RocksDB's (and LevelDB's): blocks of 32 KiB hold records of checksum, length, type and payload; a
 * payload that does not fit goes on in the next block. Logs and the manifest share it. A log's payload is a batch: its
 * sequence number, how many changes it has, the changes. */
#include "storage/kv/wal.h"

#include "base/mem.h"
#include "storage/kv/record.h"
#include "storage/kv/rocksdb_crc32c.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 32768, HEADER = 7, BATCH_HEADER = 12, FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

#define SYNCED_MARK(sequence) (((sequence) + 1) * 0x9e3779b97f4a7c15u)

/* ---- records ---- */

static uint64_t little(const char *p, int bytes)
{
    uint64_t n = 0;

    for (int i = bytes - 1; i >= 0; i--)
        n = n << 8 | (uint8_t)p[i];
    return n;
}

/* Whether a whole physical record begins here; its payload. */
static bool record_at(struct str text, size_t at, int *ret_type, struct str *ret)
{
    size_t room = BLOCK - at % BLOCK;

    if (room > text.len - at)
        room = text.len - at;
    if (room < HEADER)
        return false;
    const char *p = text.p + at;
    size_t len = little(p + 4, 2);
    if (len > room - HEADER || p[6] < FULL || p[6] > LAST)
        return false;
    uint32_t masked = (uint32_t)little(p, 4) - 0xa282ead8u;
    if (rocksdb_crc32c(0, p + 6, len + 1) != (masked >> 17 | masked << 15))
        return false;
    *ret_type = p[6];
    *ret = (struct str){p + HEADER, len};
    return true;
}

struct reader {
    struct str text;
    size_t at, begin; /* where it stands; where the last payload began */
    struct buf pieces;
};

static bool all_zero(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i])
            return false;
    return true;
}

/* The next payload; 0 = the end (zeros count as that), -1 = something else stands at r->begin. */
static int read_payload(struct reader *r, struct str *ret)
{
    struct str piece;
    bool inside = false;
    int type;

    r->pieces.len = 0;
    for (r->begin = r->at;;) {
        size_t left = BLOCK - r->at % BLOCK;

        if (left < HEADER && r->at + left <= r->text.len) {
            r->at += left; /* the rest of a block that no header fits into */
            if (!inside)
                r->begin = r->at;
            continue;
        }
        if (r->at >= r->text.len)
            return inside ? -1 : 0;
        if (!record_at(r->text, r->at, &type, &piece))
            return !inside && all_zero(str_sub(r->text, r->at, r->text.len)) ? 0 : -1;
        if (inside != (type == MIDDLE || type == LAST))
            return -1;
        r->at += HEADER + piece.len;
        if (type == FULL) {
            *ret = piece;
            return 1;
        }
        inside = true;
        buf_add_str(&r->pieces, piece);
        if (type == LAST) {
            *ret = buf_str(&r->pieces);
            return 1;
        }
    }
}

/* ---- logs ---- */

/* A batch somewhere behind the damage: block boundaries and lengths may be among what is damaged. */
static void find_later(struct str text, struct wal_span *s)
{
    struct str payload;
    int type;

    for (size_t at = s->damage + 1; at + HEADER + BATCH_HEADER <= text.len; at++) {
        if ((text.p[at + 6] != FULL && text.p[at + 6] != FIRST) || !record_at(text, at, &type, &payload) ||
            payload.len < BATCH_HEADER)
            continue;
        uint64_t sequence = little(payload.p, 8);
        if (sequence < s->next || sequence >> 56)
            continue;
        s->resumes = sequence;
        s->resumes_at = at;
        return;
    }
}

void wal_read(struct str text, uint64_t until, struct wal_span *ret)
{
    struct reader r = {.text = text};
    struct str payload;
    bool any_next = false; /* RocksDB marks the beginning of a log with a batch of nothing */
    int rc;

    *ret = (struct wal_span){0};
    while ((rc = read_payload(&r, &payload)) > 0) {
        uint64_t sequence = payload.len < BATCH_HEADER ? 0 : little(payload.p, 8);
        uint64_t n = payload.len < BATCH_HEADER ? 0 : little(payload.p + 8, 4);

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

static bool take_varint(struct str *s, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && s->len; shift += 7) {
        uint8_t c = (uint8_t)*s->p;

        *s = str_sub(*s, 1, s->len);
        *ret |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return true;
    }
    return false;
}

static bool take_string(struct str *s, struct str *ret)
{
    uint64_t len;

    if (!take_varint(s, &len) || len > s->len)
        return false;
    *ret = str_sub(*s, 0, len);
    *s = str_sub(*s, len, s->len);
    return true;
}

/* As far as it can be read. */
static void read_contents(struct str batch, struct contents *ret)
{
    struct str s = str_sub(batch, BATCH_HEADER, batch.len), key, value;
    uint64_t family;

    while (s.len) {
        int tag = *s.p;

        s = str_sub(s, 1, s.len);
        family = 0;
        if (tag > 5 || tag == 2 || tag == 3 || (tag >= 4 && !take_varint(&s, &family)) || !take_string(&s, &key))
            return;
        bool put = tag == 1 || tag == 5, is_key = family == KV_SPACE_META && key.len > 1 && key.p[0] == 'k';
        if (put && !take_string(&s, &value))
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
    struct reader r = {.text = text, .at = at};
    struct contents c = {0};
    struct str payload;

    if (read_payload(&r, &payload) > 0 && payload.len >= BATCH_HEADER)
        read_contents(payload, &c);
    buf_free(&r.pieces);
    return c.revision;
}

/* Which revisions and keys stood where the damage is: from the batches around it and what can be read of its own. */
static void describe(struct str text, const struct wal_span *s, char *to, size_t size)
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
    size_t room = BLOCK - s->damage % BLOCK;
    struct str near = str_sub(text, s->damage + HEADER, s->damage + room);
    if (near.len > BATCH_HEADER)
        read_contents(near, &c);
    if (c.first_key.p) {
        char first[200], last[200];

        printable(c.first_key, first, sizeof first);
        printable(c.last_key, last, sizeof last);
        snprintf(to + n, size - (size_t)n, ", keys from \"%s\" to \"%s\" and on", first, last);
    }
}

/* ---- the manifest ---- */

static bool skip_varints(struct str *s, int n)
{
    uint64_t value;

    while (n-- > 0)
        if (!take_varint(s, &value))
            return false;
    return true;
}

static bool skip_strings(struct str *s, int n)
{
    struct str value;

    while (n-- > 0)
        if (!take_string(s, &value))
            return false;
    return true;
}

/* Fields of a number and a text each, up to the number that ends them. */
static bool skip_custom(struct str *s, uint64_t end)
{
    uint64_t tag;

    while (take_varint(s, &tag)) {
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

        if (!take_varint(&s, &tag))
            return false;
        switch (tag) {
        case 1:   /* comparator */
        case 201: /* column family added */
            ok = skip_strings(&s, 1);
            break;
        case 2:
            ok = e->has_log = take_varint(&s, &e->log_number);
            break;
        case 4:
            ok = e->has_sequence = take_varint(&s, &e->last_sequence);
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
            ok = take_varint(&s, &e->family);
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

bool wal_manifest_read(struct str text, struct wal_manifest *ret)
{
    struct reader r = {.text = text};
    uint64_t logs[KV_SPACES] = {0};
    struct str payload;
    int rc;

    *ret = (struct wal_manifest){0};
    while ((rc = read_payload(&r, &payload)) > 0) {
        struct edit e = {0};

        if (!read_edit(payload, &e) || (e.has_log && e.family >= KV_SPACES)) {
            rc = -1;
            break;
        }
        if (e.has_log && e.log_number > logs[e.family])
            logs[e.family] = e.log_number;
        if (e.has_sequence && e.last_sequence > ret->last_sequence)
            ret->last_sequence = e.last_sequence;
    }
    buf_free(&r.pieces);
    ret->oldest_log = UINT64_MAX;
    for (int i = 0; i < KV_SPACES; i++)
        if (logs[i] < ret->oldest_log)
            ret->oldest_log = logs[i];
    return rc == 0 || ret->last_sequence; /* its end may be torn like any other */
}

/* ---- files ---- */

static int read_file(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = 0;

    out->len = 0;
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (fstat(fd, &st) == 0)
        buf_reserve(out, (size_t)st.st_size + 1);
    while (out->len < out->cap && (n = read(fd, out->p + out->len, out->cap - out->len)) > 0)
        out->len += (size_t)n;
    int failure = errno;
    close(fd);
    return n < 0 ? err_set_errno(err, ERR_IO, failure, "read %s", path) : 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The numbers of the logs there, ascending; malloc'd. */
static uint64_t *list_logs(const char *dir, uint64_t oldest, size_t *ret_n)
{
    DIR *d = opendir(dir);
    uint64_t *logs = NULL, number;
    size_t n = 0, cap = 0;

    for (struct dirent *entry; d && (entry = readdir(d));) {
        struct str name = str_from(entry->d_name);

        if (!str_ends(name, STR(".log")) || !str_to_u64(str_sub(name, 0, name.len - 4), &number) || number < oldest)
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            logs = mem_realloc(logs, cap * sizeof *logs);
        }
        logs[n++] = number;
    }
    if (d)
        closedir(d);
    if (n)
        qsort(logs, n, sizeof *logs, by_number);
    *ret_n = n;
    return logs;
}

/* 1 = there is no store yet, or RocksDB will say what is wrong with it. */
static int find_manifest(const char *dir, struct wal_manifest *ret)
{
    char path[4096], name[256];
    struct buf text = {0};
    struct err ignored;
    int rc = 1;

    snprintf(path, sizeof path, "%s/CURRENT", dir);
    if (read_file(path, &text, &ignored) == 0 && text.len > 1 && text.len < sizeof name) {
        snprintf(name, sizeof name, "%.*s", (int)text.len - 1, text.p);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        if (read_file(path, &text, &ignored) == 0 && wal_manifest_read(buf_str(&text), ret))
            rc = 0;
    }
    buf_free(&text);
    return rc;
}

#define ADVICE "; restore a snapshot into a new directory (skiff snapshot restore FILE --data-dir DIR)"

static int lost(const char *path, const struct wal_span *s, struct str text, struct err *err)
{
    char what[700];

    describe(text, s, what, sizeof what);
    return err_set(err, ERR_CORRUPT, "%s is damaged at byte %zu%s: acknowledged changes cannot be read" ADVICE, path,
                   s->damage, what);
}

static int cut_file(const char *path, size_t end, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

    if (fd < 0 || ftruncate(fd, (off_t)end) < 0 || fsync(fd) < 0)
        rc = err_set_errno(err, ERR_IO, errno, "cut %s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

int wal_check(const char *dir, struct err *err)
{
    struct wal_manifest manifest;
    struct buf text = {0};
    uint64_t expected = 0, synced;
    size_t n = 0;
    int rc = 0;

    if (find_manifest(dir, &manifest) != 0)
        return 0;
    uint64_t last = manifest.last_sequence, *logs = list_logs(dir, manifest.oldest_log, &n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct wal_span s;
        char path[4096];

        snprintf(path, sizeof path, "%s/%06llu.log", dir, (unsigned long long)logs[i]);
        if ((rc = read_file(path, &text, err)) < 0)
            break;
        wal_read(buf_str(&text), UINT64_MAX, &s);
        if (s.resumes)
            rc = lost(path, &s, buf_str(&text), err);
        else if (s.damaged) /* RocksDB stops there, and finds spaces that were flushed since ahead of its logs */
            rc = cut_file(path, s.good_end, err);
        else if (expected && s.first > expected)
            rc =
                err_set(err, ERR_CORRUPT,
                        "%s begins at change %llu, but the log before it ends at change %llu: acknowledged changes are "
                        "missing" ADVICE,
                        path, (unsigned long long)s.first, (unsigned long long)expected - 1);
        if (s.next)
            expected = s.next;
    }
    if (expected && expected - 1 > last)
        last = expected - 1;
    if (rc == 0 && wal_synced_read(dir, &synced) && synced > last)
        rc = err_set(err, ERR_CORRUPT,
                     "the store in %s ends at change %llu, but %llu were acknowledged" ADVICE
                     ", or remove the file \"synced\" there to go on without them",
                     dir, (unsigned long long)last, (unsigned long long)synced);
    free(logs);
    buf_free(&text);
    return rc;
}

int wal_cut(const char *dir, uint64_t sequence, struct err *err)
{
    struct buf text = {0};
    size_t n = 0;
    uint64_t *logs = list_logs(dir, 0, &n);
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        struct wal_span s;
        char path[4096];

        snprintf(path, sizeof path, "%s/%06llu.log", dir, (unsigned long long)logs[i]);
        if ((rc = read_file(path, &text, err)) < 0)
            break;
        wal_read(buf_str(&text), sequence, &s);
        if (s.good_end == text.len)
            continue;
        rc = cut_file(path, s.good_end, err);
    }
    free(logs);
    buf_free(&text);
    return rc;
}

/* ---- how far it is acknowledged ---- */

int wal_synced_open(const char *dir)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/synced", dir);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

void wal_synced_write(int fd, uint64_t sequence)
{
    uint64_t note[2] = {sequence, SYNCED_MARK(sequence)};

    if (fd >= 0 && pwrite(fd, note, sizeof note, 0) < 0)
        return; /* it stays older than the truth */
}

bool wal_synced_read(const char *dir, uint64_t *ret_sequence)
{
    uint64_t note[2];
    char path[4096];

    snprintf(path, sizeof path, "%s/synced", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool whole = fd >= 0 && read(fd, note, sizeof note) == (ssize_t)sizeof note && SYNCED_MARK(note[0]) == note[1];
    if (fd >= 0)
        close(fd);
    *ret_sequence = note[0];
    return whole;
}
