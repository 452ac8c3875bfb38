#include "cmd/cluster.h"

#include "base/str.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cluster_init(struct cluster *c, const char *name, const char *data_dir, struct err *err)
{
    size_t len = strlen(name);
    bool ok = len > 0 && len < sizeof c->name - 8 && name[0] != '-' && name[len - 1] != '-';
    for (size_t i = 0; i < len; i++)
        ok = ok && ((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-');
    if (!ok)
        return err_set(err, ERR_BAD_REQUEST,
                       "--name %s: use up to 31 lower-case letters, digits and '-', not at either end", name);
    memset(c, 0, sizeof *c);
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->run_dir, sizeof c->run_dir, "/run/skiff/%s", name);
    c->own_data_dir = data_dir == NULL;
    if (!data_dir) {
        snprintf(c->data_dir, sizeof c->data_dir, "/var/lib/skiff/%s", name);
        return 0;
    }
    char cwd[256] = "";
    if (data_dir[0] != '/' && !getcwd(cwd, sizeof cwd))
        return err_set_errno(err, ERR_IO, errno, "find the current directory");
    if (snprintf(c->data_dir, sizeof c->data_dir, "%s%s%s", cwd, data_dir[0] == '/' ? "" : "/", data_dir) > 400)
        return err_set(err, ERR_BAD_REQUEST, "--data-dir is longer than 400 bytes");
    return 0;
}

void cluster_path(const struct cluster *c, const char *file, char ret[256])
{
    snprintf(ret, 256, "%s/%s", c->run_dir, file);
}

void cluster_context(const struct cluster *c, char ret[64])
{
    snprintf(ret, 64, "skiff-%s", c->name);
}

void cluster_host_address(const struct cluster *c, char ret[16])
{
    snprintf(ret, 16, "10.89.%d.1", c->subnet & 255);
}

void cluster_node_address(const struct cluster *c, int node, char ret[16])
{
    snprintf(ret, 16, "10.89.%d.%d", c->subnet & 255, (10 + node) & 255);
}

void cluster_node_name(const struct cluster *c, int node, char ret[64])
{
    (void)c;
    snprintf(ret, 64, "node-%d", node);
}

void cluster_node_dir(const struct cluster *c, int node, char ret[640])
{
    char name[64];
    cluster_node_name(c, node, name);
    snprintf(ret, 640, "%s/nodes/%s", c->data_dir, name);
}

int cluster_save(const struct cluster *c, struct err *err)
{
    char path[256], part[280];
    cluster_path(c, "cluster", path);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "we");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "write %s", part);
    fprintf(f, "data_dir %s\nown_data_dir %d\nsimulated %d\nsubnet %d\nnodes %d\nport %d\n", c->data_dir,
            c->own_data_dir, c->simulated, c->subnet, c->n_nodes, c->port);
    if (fclose(f) != 0 || rename(part, path) != 0)
        return err_set_errno(err, ERR_IO, errno, "write %s", path);
    return 0;
}

int cluster_load(struct cluster *c, const char *name, struct err *err)
{
    int rc = cluster_init(c, name, NULL, err);
    if (rc < 0)
        return rc;
    char path[256], line[600];
    cluster_path(c, "cluster", path);
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? 1 : err_set_errno(err, ERR_IO, errno, "read %s", path);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = 0;
        if (strcmp(line, "data_dir") == 0)
            snprintf(c->data_dir, sizeof c->data_dir, "%s", value);
        else if (strcmp(line, "own_data_dir") == 0)
            c->own_data_dir = atoi(value) != 0;
        else if (strcmp(line, "simulated") == 0)
            c->simulated = atoi(value) != 0;
        else if (strcmp(line, "subnet") == 0)
            c->subnet = atoi(value);
        else if (strcmp(line, "nodes") == 0)
            c->n_nodes = atoi(value);
        else if (strcmp(line, "port") == 0)
            c->port = atoi(value);
    }
    fclose(f);
    return 0;
}

/* ---- process records ---- */

/* When the process started (clock ticks since boot): with the id it names one process for good. 0 = no such process. */
static unsigned long long start_time(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *at = strrchr(text, ')'); /* the name may hold anything, brackets included */
    unsigned long long ticks = 0;
    char state = 0;
    if (!at ||
        sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
               &ticks) != 2 ||
        state == 'Z')
        return 0;
    return ticks;
}

int cluster_pid_write(const struct cluster *c, const char *what, pid_t pid, struct err *err)
{
    char file[96], path[256];
    snprintf(file, sizeof file, "%s.pid", what);
    cluster_path(c, file, path);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_errno(err, ERR_IO, errno, "write %s", path);
    fprintf(f, "%d %llu\n", (int)pid, start_time(pid));
    if (fclose(f) != 0)
        return err_set_errno(err, ERR_IO, errno, "write %s", path);
    return 0;
}

pid_t cluster_pid(const struct cluster *c, const char *what)
{
    char file[96], path[256];
    int pid = 0;
    unsigned long long started = 0;
    snprintf(file, sizeof file, "%s.pid", what);
    cluster_path(c, file, path);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    int n = fscanf(f, "%d %llu", &pid, &started);
    fclose(f);
    return n == 2 && started && start_time(pid) == started ? pid : 0;
}

/* ---- directories ---- */

int cluster_make_dir(const char *path, struct err *err)
{
    char part[1024];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return err_set_errno(err, ERR_IO, errno, "make directory %s", part);
        if (!slash)
            return 0;
        *slash = '/';
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

int cluster_remove_tree(const char *path, struct err *err)
{
    if (nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return err_set_errno(err, ERR_IO, errno, "remove %s", path);
    return 0;
}
