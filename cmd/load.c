/* skiff load: image archives (docker save, OCI) from this machine into every node of a cluster. */
#include "cmd/local.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* All nodes at once: containerd's import is bound by the processor, and nodes do not share their stores. */
static int load_everywhere(const struct cluster *c, const char *file)
{
    pid_t children[CLUSTER_NODES_MAX + 1] = {0};
    int failed = 0;
    for (int i = 1; i <= c->n_nodes; i++) {
        char name[64], socket[256];
        cluster_node_name(c, i, name);
        local_runtime_socket(c, i, socket);
        pid_t node = cluster_pid(c, name);
        if (!node) {
            fprintf(stderr, "skiff load: %s is not running: `skiff up` starts it again\n", name);
            failed++;
            continue;
        }
        char *argv[] = {"ctr", "-a", socket, "-n", "k8s.io", "images", "import", "--digests=false", (char *)file, NULL};
        fflush(stdout); /* or each child would print it again */
        children[i] = fork();
        if (children[i] == 0) {
            if (!freopen("/dev/null", "w", stdout))
                _exit(126);
            _exit(local_run_in_node(node, argv));
        }
    }
    for (int i = 1; i <= c->n_nodes; i++) {
        int status = 0;
        if (children[i] > 0 &&
            (waitpid(children[i], &status, 0) != children[i] || !WIFEXITED(status) || WEXITSTATUS(status)))
            failed++;
    }
    return failed;
}

static int run(int argc, char **argv)
{
    struct cluster cluster;
    struct err err = ERR_INIT;
    const char *name = LOCAL_DEFAULT_NAME;
    int n_files, exit_code, failed = 0;
    struct option_spec specs[] = {
        {"name", OPTION_STRING, &name, "NAME", "name of the cluster (\"" LOCAL_DEFAULT_NAME "\")"},
        {0},
    };
    if (options_parse(&command_load, specs, argc, argv, 1000, &n_files, &exit_code) < 0)
        return exit_code;
    if (n_files == 0) {
        fprintf(stderr, "skiff load: name at least one image archive, for example `skiff load app.tar`\n");
        return 2;
    }
    int rc = cluster_load(&cluster, name, &err);
    if (rc != 0)
        return command_fail(&command_load, "%s",
                            rc < 0 ? err.message : "no such cluster on this machine: start it with `skiff up`");
    if (cluster.simulated)
        return command_fail(&command_load, "cluster %s is simulated: its nodes hold no images", name);
    for (int i = 1; i <= n_files; i++) {
        char path[4096];
        if (!realpath(argv[i], path)) {
            fprintf(stderr, "skiff load: %s: no such file\n", argv[i]);
            failed++;
            continue;
        }
        int here = load_everywhere(&cluster, path);
        failed += here;
        if (!here)
            printf("%s: loaded into %d node%s\n", argv[i], cluster.n_nodes, cluster.n_nodes == 1 ? "" : "s");
    }
    return failed ? 1 : 0;
}

const struct command command_load = {"load", "[--name N] IMAGE.tar …", "load image archives into every node", run};
