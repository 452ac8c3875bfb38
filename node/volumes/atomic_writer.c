#include "node/volumes/atomic_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool same_file(const char *dir, const struct volume_file *f)
{
    char path[PATH_MAX], *have;
    struct stat st;
    bool same = false;
    int fd;
    snprintf(path, sizeof path, "%s/..data/" STR_FMT, dir, STR_ARG(f->path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && (size_t)st.st_size == f->data.len && (st.st_mode & 07777) == f->mode) {
        have = malloc(f->data.len + 1);
        same = read(fd, have, f->data.len + 1) == (ssize_t)f->data.len &&
               (f->data.len == 0 || memcmp(have, f->data.p, f->data.len) == 0);
        free(have);
    }
    close(fd);
    return same;
}

static size_t count_files(const char *dir, int depth)
{
    DIR *d = depth < 32 ? opendir(dir) : NULL;
    struct dirent *e;
    size_t n = 0;
    char path[PATH_MAX];
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        n += e->d_type == DT_DIR ? count_files(path, depth + 1) : 1;
    }
    if (d)
        closedir(d);
    return n;
}

static bool up_to_date(const char *dir, const struct volume_file *files, size_t n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/..data/", dir);
    if (access(path, F_OK) < 0 || count_files(path, 0) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!same_file(dir, &files[i]))
            return false;
    }
    return true;
}

static void remove_tree(const char *path, int depth)
{
    DIR *d = depth < 32 ? opendir(path) : NULL;
    struct dirent *e;
    char sub[PATH_MAX];
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            remove_tree(sub, depth + 1);
        else
            unlink(sub);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static int make_parents(char *path, size_t from, struct err *err)
{
    for (char *p = path + from; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "make %s", path);
        *p = '/';
    }
    return 0;
}

static int write_file(const char *dir, const struct volume_file *f, int64_t gid, struct err *err)
{
    char path[PATH_MAX];
    size_t done = 0;
    int fd, n = snprintf(path, sizeof path, "%s/" STR_FMT, dir, STR_ARG(f->path));
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_INVALID, "path too long: " STR_FMT, STR_ARG(f->path));
    if (make_parents(path, strlen(dir) + 1, err) < 0)
        return err->code;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, f->mode & 0777);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "create %s", path);
    while (done < f->data.len) {
        ssize_t w = write(fd, f->data.p + done, f->data.len - done);
        if (w < 0) {
            close(fd);
            return err_set_errno(err, ERR_IO, errno, "write %s", path);
        }
        done += (size_t)w;
    }
    if ((f->uid >= 0 || gid >= 0) &&
        fchown(fd, f->uid >= 0 ? (uid_t)f->uid : (uid_t)-1, gid >= 0 ? (gid_t)gid : (gid_t)-1) < 0)
        err_set_errno(err, ERR_IO, errno, "change the owner of %s", path); /* the mode below still lets root read */
    fchmod(fd, f->mode & 07777);                                           /* past the umask */
    close(fd);
    return 0;
}

static void top_name(struct str path, char *out, size_t size)
{
    size_t at = path.len;
    str_index(path, '/', &at);
    snprintf(out, size, "%.*s", (int)at, path.p);
}

static bool wanted(const char *name, const struct volume_file *files, size_t n)
{
    char top[NAME_MAX + 1];
    for (size_t i = 0; i < n; i++) {
        top_name(files[i].path, top, sizeof top);
        if (strcmp(top, name) == 0)
            return true;
    }
    return false;
}

/* Links for new names, none for those that went. */
static int link_names(const char *dir, const struct volume_file *files, size_t n, struct err *err)
{
    char path[PATH_MAX], target[PATH_MAX], top[NAME_MAX + 1];
    struct dirent *e;
    DIR *d;
    for (size_t i = 0; i < n; i++) {
        top_name(files[i].path, top, sizeof top);
        snprintf(path, sizeof path, "%s/%s", dir, top);
        snprintf(target, sizeof target, "..data/%s", top);
        if (symlink(target, path) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "link %s", path);
    }
    d = opendir(dir);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.' && e->d_name[1] == '.')
            continue;
        if (strcmp(e->d_name, ".") == 0 || e->d_type != DT_LNK || wanted(e->d_name, files, n))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    return 0;
}

int atomic_write(const char *dir, const struct volume_file *files, size_t n, int64_t gid, struct err *err)
{
    char stamped[PATH_MAX], link[PATH_MAX], tmp[PATH_MAX], old[NAME_MAX + 1] = "", name[80];
    struct timespec now;
    struct tm tm;
    ssize_t len;
    if (up_to_date(dir, files, n))
        return link_names(dir, files, n, err);
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    snprintf(name, sizeof name, "..%04d_%02d_%02d_%02d_%02d_%02d.%09ld", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec);
    snprintf(stamped, sizeof stamped, "%s/%s", dir, name);
    snprintf(link, sizeof link, "%s/..data", dir);
    snprintf(tmp, sizeof tmp, "%s/..data_tmp", dir);
    len = readlink(link, old, sizeof old - 1);
    old[len > 0 ? len : 0] = 0;
    if (mkdir(stamped, 0755) < 0)
        return err_set_errno(err, ERR_IO, errno, "make %s", stamped);
    chmod(stamped, 0755);
    for (size_t i = 0; i < n; i++) {
        if (write_file(stamped, &files[i], gid, err) < 0) {
            remove_tree(stamped, 0);
            return err->code;
        }
    }
    unlink(tmp);
    if (symlink(name, tmp) < 0 || rename(tmp, link) < 0) {
        int e = errno;
        remove_tree(stamped, 0);
        return err_set_errno(err, ERR_IO, e, "link %s", link);
    }
    if (link_names(dir, files, n, err) < 0)
        return err->code;
    if (old[0]) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, old);
        remove_tree(path, 0);
    }
    return 0;
}
