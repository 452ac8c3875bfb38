#include "storage/kv/wal_internal.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYNCED_MARK(sequence) (((sequence) + 1) * 0x9e3779b97f4a7c15u)

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

/* 1 = there is no store yet, or RocksDB will say what is wrong with it. The path is the manifest's. */
static int find_manifest(const char *dir, struct wal_manifest *ret, char *path, size_t size)
{
    char name[256];
    struct buf text = {0};
    struct err ignored;
    int rc = 1;

    snprintf(path, size, "%s/CURRENT", dir);
    if (read_file(path, &text, &ignored) == 0 && text.len > 1 && text.len < sizeof name) {
        snprintf(name, sizeof name, "%.*s", (int)text.len - 1, text.p);
        snprintf(path, size, "%s/%s", dir, name);
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

    wal_describe(text, s, what, sizeof what);
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

/* The logs from the one that the manifest needs on; *last becomes the last change that is there. */
static int check_logs(const char *dir, const struct wal_manifest *manifest, uint64_t *last, struct err *err)
{
    struct buf text = {0};
    size_t n = 0;
    uint64_t *logs = list_logs(dir, manifest->oldest_log, &n);
    /* what was torn off may have been synced after all, and logs deleted for it: they would be missing */
    uint64_t expected = manifest->torn ? *last + 1 : 0;
    int rc = 0;

    if (manifest->torn && manifest->newer_log && (!n || logs[0] >= manifest->newer_log))
        rc = err_set(err, ERR_CORRUPT,
                     "the manifest in %s is damaged at byte %zu: log %06llu, which is needed then, is gone" ADVICE, dir,
                     manifest->good_end, (unsigned long long)manifest->oldest_log);
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
                        "%s begins at change %llu, but what is before it ends at change %llu: acknowledged changes are "
                        "missing" ADVICE,
                        path, (unsigned long long)s.first, (unsigned long long)expected - 1);
        if (s.next)
            expected = s.next;
    }
    if (expected && expected - 1 > *last)
        *last = expected - 1;
    free(logs);
    buf_free(&text);
    return rc;
}

int wal_check(const char *dir, struct err *err)
{
    struct wal_manifest manifest;
    char path[4096];
    uint64_t last, synced;
    int rc;

    if (find_manifest(dir, &manifest, path, sizeof path) != 0)
        return 0;
    if (manifest.damaged)
        return err_set(err, ERR_CORRUPT,
                       "%s is damaged at byte %zu: which files belong to the store cannot be read" ADVICE, path,
                       manifest.good_end);
    last = manifest.last_sequence;
    rc = check_logs(dir, &manifest, &last, err);
    if (rc == 0 && wal_synced_read(dir, &synced) && synced > last)
        rc = err_set(err, ERR_CORRUPT,
                     "the store in %s ends at change %llu, but %llu were acknowledged" ADVICE
                     ", or remove the file \"synced\" there to go on without them",
                     dir, (unsigned long long)last, (unsigned long long)synced);
    if (rc == 0 && manifest.torn)
        rc = cut_file(path, manifest.good_end, err);
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
