#include "storage/snapshot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { WRITE_BACK = 2 << 20 };

int snapshot_file_create(struct snapshot_file *f, const char *path, struct err *err)
{
    if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path)
        return err_set(err, ERR_BAD_REQUEST, "the path is too long");
    snprintf(f->partial, sizeof f->partial, "%s.partial", path);
    f->bytes = 0;
    f->begun = f->waited = 0;
    f->fd = open(f->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return f->fd < 0 ? err_set_errno(err, ERR_IO, errno, "create %s", f->partial) : 0;
}

/* To the disk as it comes, some MB at a time: all at once at the end would hold up what the store syncs meanwhile. */
static void write_back(struct snapshot_file *f)
{
    off_t due = (off_t)(f->bytes - f->bytes % WRITE_BACK), begun = f->begun;
    if (due <= begun)
        return;
    sync_file_range(f->fd, begun, due - begun, SYNC_FILE_RANGE_WRITE);
    if (begun > f->waited)
        sync_file_range(f->fd, f->waited, begun - f->waited,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    f->waited = begun;
    f->begun = due;
}

int snapshot_file_add(struct snapshot_file *f, struct str bytes, struct err *err)
{
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = write(f->fd, bytes.p + at, bytes.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, ERR_IO, errno, "write %s", f->partial);
        at += (size_t)n;
    }
    f->bytes += bytes.len;
    write_back(f);
    return 0;
}

void snapshot_file_abandon(struct snapshot_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    unlink(f->partial);
}

static int sync_folder_of(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

int snapshot_file_commit(struct snapshot_file *f, struct arena *a, struct snapshot_summary *ret, struct err *err)
{
    int rc = 0;
    if (fsync(f->fd) < 0)
        rc = err_set_errno(err, ERR_IO, errno, "write %s", f->partial);
    if (rc == 0)
        rc = snapshot_summarize(a, f->partial, NULL, NULL, ret, err);
    if (rc == 0 && (rename(f->partial, f->path) < 0 || sync_folder_of(f->path) < 0))
        rc = err_set_errno(err, ERR_IO, errno, "rename %s to %s", f->partial, f->path);
    if (rc < 0) {
        snapshot_file_abandon(f);
        return rc;
    }
    close(f->fd);
    f->fd = -1;
    return 0;
}

int snapshot_save(struct kv *kv, const struct crypt *crypt, struct str identities, const char *path,
                  snapshot_progress *progress, void *arg, const _Atomic(bool) *stop, struct arena *a,
                  struct snapshot_summary *ret, struct err *err)
{
    struct snapshot_file f;
    struct buf piece = {0};
    int rc = snapshot_file_create(&f, path, err);
    if (rc < 0)
        return rc;
    struct snapshot_writer *w = snapshot_writer_create(kv, crypt);
    snapshot_writer_identities(w, identities);
    bool over = false;
    while (rc == 0 && !over) {
        if (stop && atomic_load(stop)) {
            rc = err_set(err, ERR_CANCELED, "stopped");
            break;
        }
        piece.len = 0;
        rc = snapshot_writer_next(w, &piece, err);
        over = rc == 1;
        if (rc >= 0)
            rc = snapshot_file_add(&f, buf_str(&piece), err);
        if (progress)
            progress(arg, f.bytes);
    }
    snapshot_writer_destroy(w);
    buf_free(&piece);
    if (rc < 0) {
        snapshot_file_abandon(&f);
        return rc;
    }
    return snapshot_file_commit(&f, a, ret, err);
}
