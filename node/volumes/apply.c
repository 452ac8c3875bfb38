#include "node/volumes/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_path(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return err_set(err, ERR_INVALID, "path too long: %s", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "make %s", part);
        *p = '/';
    }
    if (mkdir(part, mode) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "make %s", part);
    return 0;
}

static bool is_mount_point(const char *path)
{
    char parent[PATH_MAX];
    struct stat here, above;
    snprintf(parent, sizeof parent, "%s/..", path);
    return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

static int mount_memory(const char *path, int64_t size, const char *mode, struct err *err)
{
    char options[80];
    if (is_mount_point(path))
        return 0;
    if (size > 0)
        snprintf(options, sizeof options, "%s,size=%lld", mode, (long long)size);
    else
        snprintf(options, sizeof options, "%s", mode);
    if (mount("tmpfs", path, "tmpfs", 0, options) < 0)
        return err_set_errno(err, ERR_IO, errno, "mount tmpfs at %s", path);
    return 0;
}

static int apply_empty_dir(const struct volume_plan *v, struct err *err)
{
    if (make_path(v->path, 0777, err) < 0)
        return err->code;
    if (v->memory && mount_memory(v->path, v->size, "mode=0777", err) < 0)
        return err->code;
    if (v->gid >= 0) {
        if (chown(v->path, (uid_t)-1, (gid_t)v->gid) < 0)
            return err_set_errno(err, ERR_IO, errno, "change the group of %s", v->path);
        if (chmod(v->path, 02777) < 0)
            return err_set_errno(err, ERR_IO, errno, "change the mode of %s", v->path);
    } else if (chmod(v->path, 0777) < 0) {
        return err_set_errno(err, ERR_IO, errno, "change the mode of %s", v->path);
    }
    return 0;
}

static int apply_host_path(const struct volume_plan *v, struct err *err)
{
    struct stat st;
    bool there = stat(v->path, &st) == 0;
    const char *type = v->type ? v->type : "";
    if (!*type)
        return 0;
    if (strcmp(type, "DirectoryOrCreate") == 0) {
        if (there && !S_ISDIR(st.st_mode))
            return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a directory", v->path);
        return there ? 0 : make_path(v->path, 0755, err);
    }
    if (strcmp(type, "FileOrCreate") == 0) {
        int fd;
        if (there && !S_ISREG(st.st_mode))
            return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a file", v->path);
        if (there)
            return 0;
        fd = open(v->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return err_set_errno(err, ERR_IO, errno, "create %s", v->path);
        close(fd);
        return 0;
    }
    if (strcmp(type, "Directory") == 0 && !(there && S_ISDIR(st.st_mode)))
        return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a directory", v->path);
    if (strcmp(type, "File") == 0 && !(there && S_ISREG(st.st_mode)))
        return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a file", v->path);
    if (strcmp(type, "Socket") == 0 && !(there && S_ISSOCK(st.st_mode)))
        return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a socket file", v->path);
    if (strcmp(type, "CharDevice") == 0 && !(there && S_ISCHR(st.st_mode)))
        return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a character device", v->path);
    if (strcmp(type, "BlockDevice") == 0 && !(there && S_ISBLK(st.st_mode)))
        return err_set(err, ERR_INVALID, "hostPath type check failed: %s is not a block device", v->path);
    return 0;
}

static int apply_files(const struct volume_plan *v, struct err *err)
{
    if (make_path(v->path, 0755, err) < 0)
        return err->code;
    if (v->memory && mount_memory(v->path, 0, "mode=0755", err) < 0)
        return err->code;
    if (v->gid >= 0) {
        for (size_t i = 0; i < v->n_files; i++)
            v->files[i].mode |= 0440;
    }
    return atomic_write(v->path, v->files, v->n_files, v->gid, err);
}

int volume_apply(const struct volume_plan *v, struct err *err)
{
    switch (v->kind) {
    case VOLUME_EMPTY_DIR:
        return apply_empty_dir(v, err);
    case VOLUME_HOST_PATH:
        return apply_host_path(v, err);
    case VOLUME_FILES:
        break;
    }
    return apply_files(v, err);
}

/* Never across a mount that would not go away: that is somebody's data. */
static int remove_tree(const char *path, dev_t device, int depth, struct err *err)
{
    DIR *d;
    struct dirent *e;
    struct stat st;
    char sub[PATH_MAX];
    int rc = 0;
    if (depth > 64 || lstat(path, &st) < 0)
        return 0;
    if (depth && st.st_dev != device && umount2(path, MNT_DETACH) < 0)
        return err_set_errno(err, ERR_IO, errno, "unmount %s", path);
    if (depth && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0 && lstat(path, &st) < 0)
        return 0; /* bind mounts of the same device */
    d = opendir(path);
    while (d && rc == 0 && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            rc = remove_tree(sub, device, depth + 1, err);
        else if (unlink(sub) < 0 && errno == EBUSY) {
            umount2(sub, MNT_DETACH);
            unlink(sub);
        }
    }
    if (d)
        closedir(d);
    if (rc == 0 && rmdir(path) < 0 && errno != ENOENT)
        return err_set_errno(err, ERR_IO, errno, "remove %s", path);
    return rc;
}

int volumes_remove(const char *pod_dir, struct err *err)
{
    struct stat st;
    if (lstat(pod_dir, &st) < 0)
        return 0;
    return remove_tree(pod_dir, st.st_dev, 0, err);
}
