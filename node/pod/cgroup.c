#include "node/pod/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

static bool unified(void)
{
    struct statfs fs;
    return statfs(CGROUP_MOUNT, &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
}

void cgroup_pod_path(char *out, size_t size, const char *root, enum qos qos, const char *uid)
{
    const char *class = qos_cgroup(qos);
    snprintf(out, size, "%s/kubepods%s%s/pod%s", root, *class ? "/" : "", class, uid);
}

static int write_file(const char *dir, const char *file, const char *text)
{
    char path[PATH_MAX];
    ssize_t n;
    int fd;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = write(fd, text, strlen(text));
    close(fd);
    return n < 0 ? -1 : 0;
}

static int write_number(const char *dir, const char *file, int64_t n)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)n);
    return write_file(dir, file, text);
}

/* mkdir -p below the mount. On v2 every directory on the way must hand its controllers down. */
static int make_path(const char *mount, const char *path, bool v2, struct err *err)
{
    char full[PATH_MAX];
    size_t at = strlen(mount);
    snprintf(full, sizeof full, "%s%s/", mount, path);
    for (char *p = full + at + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(full, 0755) < 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "make control group %s", full);
        if (v2) {
            static const char *const controllers[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io", "+hugetlb"};
            char *slash = strrchr(full, '/');
            *slash = 0;
            for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++)
                write_file(full, "cgroup.subtree_control", controllers[i]);
            *slash = '/';
        }
        *p = '/';
    }
    return 0;
}

static const char *const v1_controllers[] = {"cpu", "memory", "pids"};

static bool v1_mount(const char *controller, char *out, size_t size)
{
    struct stat st;
    snprintf(out, size, CGROUP_MOUNT "/%s", controller);
    return stat(out, &st) == 0;
}

static int make_everywhere(const char *path, struct err *err)
{
    char mount[128];
    int rc = 0;
    if (unified())
        return make_path(CGROUP_MOUNT, path, true, err);
    for (size_t i = 0; rc == 0 && i < sizeof v1_controllers / sizeof *v1_controllers; i++) {
        if (v1_mount(v1_controllers[i], mount, sizeof mount))
            rc = make_path(mount, path, false, err);
    }
    return rc;
}

int cgroup_prepare(const char *root, struct err *err)
{
    char path[PATH_MAX];
    static const char *const classes[] = {"", "/burstable", "/besteffort"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/kubepods%s", root, classes[i]);
        int rc = make_everywhere(path, err);
        if (rc < 0)
            return rc;
    }
    /* the least of all classes: only what nobody else wants */
    if (unified()) {
        snprintf(path, sizeof path, CGROUP_MOUNT "%s/kubepods/besteffort", root);
        write_number(path, "cpu.weight", 1);
    } else {
        snprintf(path, sizeof path, CGROUP_MOUNT "/cpu%s/kubepods/besteffort", root);
        write_number(path, "cpu.shares", 2);
    }
    return 0;
}

int cgroup_pod_create(const char *path, const struct amounts *amounts, struct err *err)
{
    char dir[PATH_MAX], text[64];
    int64_t shares = cpu_shares(amounts->cpu_request_milli), quota = cpu_quota_us(amounts->cpu_limit_milli);
    int rc = make_everywhere(path, err);
    if (rc < 0)
        return rc;
    if (unified()) {
        snprintf(dir, sizeof dir, CGROUP_MOUNT "%s", path);
        write_number(dir, "cpu.weight", cpu_weight(shares));
        if (quota) {
            snprintf(text, sizeof text, "%lld %d", (long long)quota, CPU_PERIOD_US);
            write_file(dir, "cpu.max", text);
        }
        if (amounts->memory_limit)
            write_number(dir, "memory.max", amounts->memory_limit);
        return 0;
    }
    snprintf(dir, sizeof dir, CGROUP_MOUNT "/cpu%s", path);
    write_number(dir, "cpu.shares", shares);
    if (quota) {
        write_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US);
        write_number(dir, "cpu.cfs_quota_us", quota);
    }
    snprintf(dir, sizeof dir, CGROUP_MOUNT "/memory%s", path);
    if (amounts->memory_limit)
        write_number(dir, "memory.limit_in_bytes", amounts->memory_limit);
    return 0;
}

static void kill_members(const char *dir)
{
    char path[PATH_MAX], line[32];
    FILE *f;
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        pid_t pid = atoi(line);
        if (pid > 1)
            kill(pid, SIGKILL);
    }
    if (f)
        fclose(f);
}

static void remove_tree(const char *dir, int depth)
{
    DIR *d = depth < 16 ? opendir(dir) : NULL;
    struct dirent *e;
    char path[PATH_MAX];
    while (d && (e = readdir(d))) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        remove_tree(path, depth + 1);
    }
    if (d)
        closedir(d);
    for (int i = 0; rmdir(dir) < 0 && errno == EBUSY && i < 20; i++) {
        kill_members(dir);
        usleep(5000);
    }
}

/* Under every hierarchy: containerd makes the path in all of them. */
void cgroup_remove(const char *path)
{
    char dir[PATH_MAX];
    DIR *d;
    struct dirent *e;
    if (unified()) {
        snprintf(dir, sizeof dir, CGROUP_MOUNT "%s", path);
        remove_tree(dir, 0);
        return;
    }
    d = opendir(CGROUP_MOUNT);
    while (d && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(dir, sizeof dir, CGROUP_MOUNT "/%s%s", e->d_name, path);
        if (access(dir, F_OK) == 0)
            remove_tree(dir, 0);
    }
    if (d)
        closedir(d);
}

void cgroup_sweep(const char *root, bool (*keep)(void *arg, const char *uid), void *arg)
{
    static const char *const classes[] = {"", "/burstable", "/besteffort"};
    char dir[PATH_MAX], path[PATH_MAX];
    for (size_t i = 0; i < 3; i++) {
        DIR *d;
        struct dirent *e;
        snprintf(dir, sizeof dir, CGROUP_MOUNT "%s%s/kubepods%s", unified() ? "" : "/memory", root, classes[i]);
        d = opendir(dir);
        while (d && (e = readdir(d))) {
            if (strncmp(e->d_name, "pod", 3) != 0 || keep(arg, e->d_name + 3))
                continue;
            snprintf(path, sizeof path, "%s/kubepods%s/%s", root, classes[i], e->d_name);
            cgroup_remove(path);
        }
        if (d)
            closedir(d);
    }
}
