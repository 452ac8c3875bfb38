/* skiff down: the end of a cluster that `skiff up` made: no process, mount, namespace, cgroup, link or file stays. */
#include "base/clock.h"
#include "base/log.h"
#include "cmd/fabric.h"
#include "cmd/local.h"
#include "cmd/user_kubeconfig.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AREA "down"
#define CGROUP_WAIT_MS 3000

/* Remove a cgroup and those below it. Processes that were just killed leave theirs within milliseconds. */
static bool remove_cgroup(const char *path, int64_t deadline_ms)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT;
    bool ok = true;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        char below[1024];
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        ok = remove_cgroup(below, deadline_ms) && ok;
    }
    closedir(dir);
    while (rmdir(path) != 0 && errno != ENOENT) {
        if (errno != EBUSY || clock_mono_ms() > deadline_ms)
            return false;
        usleep(5000);
    }
    return ok;
}

/* The node agents' cgroups lie below /skiff-NAME: in every hierarchy (v1), or in the one there is (v2). */
static int remove_cgroups(const struct cluster *c)
{
    int failed = 0;
    int64_t deadline_ms = clock_mono_ms() + CGROUP_WAIT_MS;
    char path[512];
    snprintf(path, sizeof path, "/sys/fs/cgroup/skiff-%s", c->name);
    failed += !remove_cgroup(path, deadline_ms);
    DIR *dir = opendir("/sys/fs/cgroup");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/skiff-%s", entry->d_name, c->name);
        failed += access(path, F_OK) == 0 && !remove_cgroup(path, deadline_ms);
    }
    if (dir)
        closedir(dir);
    if (failed)
        log_warn(AREA, "%d cgroups of cluster %s are still in use", failed, c->name);
    return failed;
}

static int remove_files(const struct cluster *c)
{
    struct err err = ERR_INIT;
    char path[700];
    int failed = 0;
    snprintf(path, sizeof path, "%s%s", c->data_dir, c->own_data_dir ? "" : "/nodes");
    if (cluster_remove_tree(path, &err) < 0)
        failed++, log_warn(AREA, "%s", err.message);
    if (cluster_remove_tree(c->run_dir, &err) < 0)
        failed++, log_warn(AREA, "%s", err.message);
    rmdir("/run/skiff"); /* these two only when no other cluster is left */
    if (c->own_data_dir)
        rmdir("/var/lib/skiff");
    return failed;
}

int local_tear_down(const struct cluster *c)
{
    for (int i = 1; !c->simulated && i <= c->n_nodes; i++) {
        char name[64];
        cluster_node_name(c, i, name);
        local_stop(cluster_pid(c, name), SIGKILL, 10000); /* process 1: the node goes with it */
    }
    local_stop(cluster_pid(c, "agent"), SIGTERM, 3000);
    local_stop(cluster_pid(c, "server"), SIGTERM, 10000);
    int failed = 0;
    if (!c->simulated) {
        fabric_destroy(c);
        failed += remove_cgroups(c);
    }
    return failed + remove_files(c);
}

static int run(int argc, char **argv)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    const char *name = LOCAL_DEFAULT_NAME, *kubeconfig = NULL;
    int n_positional, exit_code;
    struct option_spec specs[] = {
        {"name", OPTION_STRING, &name, "NAME", "name of the cluster (\"" LOCAL_DEFAULT_NAME "\")"},
        {"kubeconfig", OPTION_STRING, &kubeconfig, "FILE", "where `skiff up` merged its context"},
        {0},
    };
    if (options_parse(&command_down, specs, argc, argv, 0, &n_positional, &exit_code) < 0)
        return exit_code;
    int rc = cluster_load(&cluster, name, &err);
    if (rc < 0)
        return command_fail(&command_down, "%s", err.message);
    if (rc == 1) {
        printf("No cluster \"%s\" on this machine.\n", name);
        return 0;
    }
    if (!cluster.simulated && geteuid() != 0)
        return command_fail(&command_down, "removing nodes needs root: run it with sudo");
    char context[64];
    cluster_context(&cluster, context);
    int failed = local_tear_down(&cluster);
    if (user_kubeconfig_remove(kubeconfig, context, &err) < 0)
        failed++, log_warn(AREA, "%s", err.message);
    if (failed)
        return command_fail(&command_down, "some of cluster %s could not be removed; run `skiff down` again", name);
    printf("Cluster \"%s\" is gone.\n", name);
    return 0;
}

const struct command command_down = {"down", "[--name N] [--kubeconfig FILE]", "remove a cluster that `up` made", run};
