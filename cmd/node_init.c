/* node-init: process 1 of a node that `skiff up` made from namespaces (internal; not listed by --help).
 *
 * It gets the node ready (mounts of its own, network, host name), starts containerd and then the agent, starts either
 * again when it dies, and reaps what loses its parent, as init does. Killing it removes the node with every process and
 * mount in it; pods survive the death of containerd or the agent alone.
 */
#include "base/clock.h"
#include "base/log.h"
#include "cmd/cluster.h"
#include "cmd/fabric.h"
#include "cmd/local.h"
#include "cmd/options.h"
#include "cmd/pause_image.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define AREA "node-init"

struct node {
    struct cluster cluster;
    int number;
    char name[64], dir[640], socket[256], address[16];
};

struct child {
    const char *name;
    char *argv[24];
    pid_t pid;
    int64_t started_ms;
    int64_t again_ms; /* when to start it again; 0 = running or not yet wanted */
};

static int write_file(const char *path, const char *text, struct err *err)
{
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fflush(f) != 0) {
        int errnum = errno;
        if (f)
            fclose(f);
        return err_set_errno(err, ERR_IO, errnum, "write %s", path);
    }
    fclose(f);
    return 0;
}

/* The node's own view of the file system: separate from the host's, shared with its pods (mount propagation). */
static int mounts(const struct node *n, struct err *err)
{
    char path[700];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) != 0)
        return err_set_errno(err, ERR_IO, errno, "set mount propagation");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return err_set_errno(err, ERR_IO, errno, "mount /proc");
    umount2("/sys/fs/cgroup/unified", MNT_DETACH); /* hybrid hierarchies confuse runtimes; absent elsewhere */
    snprintf(path, sizeof path, "%s/log", n->dir);
    if (mount(path, "/var/log", NULL, MS_BIND, NULL) != 0)
        return err_set_errno(err, ERR_IO, errno, "bind %s to /var/log", path);
    mkdir("/run/containerd", 0711);
    if (mount("tmpfs", "/run/containerd", "tmpfs", MS_NOSUID | MS_NODEV, "mode=711") != 0)
        return err_set_errno(err, ERR_IO, errno, "mount /run/containerd");
    return 0;
}

static int containerd_config(const struct node *n, struct err *err)
{
    char path[700], text[4096];
    snprintf(path, sizeof path, "%s/containerd.toml", n->dir);
    snprintf(text, sizeof text,
             "version = 2\n"
             "root = \"%1$s/containerd\"\n"
             "state = \"/run/containerd/state\"\n"
             "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\","
             " \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\","
             " \"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n"
             "[grpc]\n  address = \"%2$s\"\n"
             "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"%1$s/opt\"\n"
             "[plugins.\"io.containerd.grpc.v1.cri\"]\n"
             "  sandbox_image = \"" PAUSE_IMAGE "\"\n"
             "  restrict_oom_score_adj = true\n"
             "  netns_mounts_under_state_dir = true\n"
             "  max_container_log_line_size = 16384\n"
             "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n"
             "    bin_dir = \"%1$s/cni/bin\"\n    conf_dir = \"%1$s/cni/net.d\"\n    max_conf_num = 1\n"
             "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
             "    snapshotter = \"overlayfs\"\n    default_runtime_name = \"runc\"\n"
             "  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
             "    runtime_type = \"io.containerd.runc.v2\"\n"
             "  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n"
             "    SystemdCgroup = false\n",
             n->dir, n->socket);
    return write_file(path, text, err);
}

static int prepare(struct node *n, struct err *err)
{
    static const char *const dirs[] = {"log", "log/pods", "log/containers", "containerd",
                                       "opt", "kubelet",  "cni/bin",        "cni/net.d"};
    char path[700];
    int rc;
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/%s", n->dir, dirs[i]);
        if ((rc = cluster_make_dir(path, err)) < 0)
            return rc;
    }
    if ((rc = mounts(n, err)) < 0 || (rc = fabric_join(&n->cluster, n->number, err)) < 0)
        return rc;
    if (sethostname(n->name, strlen(n->name)) != 0)
        return err_set_errno(err, ERR_IO, errno, "set the host name");
    if ((rc = write_file("/proc/sys/net/ipv4/ip_forward", "1", err)) < 0)
        return rc;
    return containerd_config(n, err);
}

static void spawn(struct child *c)
{
    c->started_ms = clock_mono_ms();
    c->again_ms = 0;
    c->pid = fork();
    if (c->pid != 0)
        return;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    execvp(c->argv[0], c->argv);
    log_error(AREA, "cannot run %s: %s", c->argv[0], strerror(errno));
    _exit(127);
}

static bool containerd_answers(const struct node *n)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%.100s", n->socket);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* The import waits for containerd by itself (ctr retries its connection); the mark spares it at the next start. */
static bool image_there(const struct node *n)
{
    char path[700];
    snprintf(path, sizeof path, "%s/pause-imported", n->dir);
    return access(path, F_OK) == 0;
}

static void image_imported(const struct node *n)
{
    char path[700];
    struct err err = ERR_INIT;
    snprintf(path, sizeof path, "%s/pause-imported", n->dir);
    if (write_file(path, PAUSE_IMAGE "\n", &err) < 0)
        log_warn(AREA, "%s", err.message);
}

static bool kubeconfig_there(const struct node *n)
{
    char path[700];
    snprintf(path, sizeof path, "%s/kubeconfig", n->dir);
    return access(path, F_OK) == 0;
}

/* Reap whatever ended; a child of ours is to be started again, later each time it dies young. */
static void reap(struct child **children, size_t n, const struct node *node, struct child *importer)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == importer->pid) {
            importer->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                image_imported(node);
            else
                importer->again_ms = clock_mono_ms() + 200;
        }
        for (size_t i = 0; i < n; i++) {
            if (children[i]->pid != pid)
                continue;
            bool young = clock_mono_ms() - children[i]->started_ms < 2000;
            children[i]->pid = 0;
            children[i]->again_ms = clock_mono_ms() + (young ? 1000 : 20);
            log_warn(AREA, "%s ended (%s %d), starting it again", children[i]->name,
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
}

static void fill_argv(struct node *n, struct child *containerd, struct child *importer, struct child *agent)
{
    static char config[700], archive[256], kubeconfig[700], root[700], endpoint[300], program[512], cni[700],
        cgroup[128];
    snprintf(config, sizeof config, "%s/containerd.toml", n->dir);
    snprintf(archive, sizeof archive, "%s/pause.tar", n->cluster.run_dir);
    snprintf(kubeconfig, sizeof kubeconfig, "%s/kubeconfig", n->dir);
    snprintf(root, sizeof root, "%s/kubelet", n->dir);
    snprintf(endpoint, sizeof endpoint, "unix://%s", n->socket);
    snprintf(cni, sizeof cni, "%s/cni", n->dir);
    snprintf(cgroup, sizeof cgroup, "/skiff-%s/%s", n->cluster.name, n->name);
    local_program(program, sizeof program);
    char **argv = containerd->argv;
    *argv++ = "containerd", *argv++ = "-c", *argv++ = config, *argv++ = "-l", *argv++ = "warn";
    argv = importer->argv;
    *argv++ = "ctr", *argv++ = "-a", *argv++ = n->socket, *argv++ = "-n", *argv++ = "k8s.io", *argv++ = "images";
    *argv++ = "import", *argv++ = archive;
    argv = agent->argv;
    *argv++ = program, *argv++ = "agent", *argv++ = "--kubeconfig", *argv++ = kubeconfig, *argv++ = "--node-name";
    *argv++ = n->name, *argv++ = "--runtime-endpoint", *argv++ = endpoint, *argv++ = "--root-dir", *argv++ = root;
    *argv++ = "--cni-dir", *argv++ = cni, *argv++ = "--cgroup-root", *argv++ = cgroup, *argv++ = "--node-ip";
    *argv++ = n->address;
}

static void supervise(struct node *n, sigset_t *watched)
{
    struct child containerd = {.name = "containerd"}, agent = {.name = "agent"}, importer = {.name = "import"};
    struct child *children[] = {&containerd, &agent};
    fill_argv(n, &containerd, &importer, &agent);
    spawn(&containerd);
    bool image = image_there(n), agent_started = false;
    for (;;) {
        bool starting = !agent_started;
        struct timespec wait = {.tv_sec = 0, .tv_nsec = starting ? 4000000 : 100000000};
        int signo = sigtimedwait(watched, NULL, &wait);
        if (signo == SIGTERM || signo == SIGINT)
            return;
        reap(children, 2, n, &importer);
        int64_t now = clock_mono_ms();
        for (size_t i = 0; i < 2; i++) {
            if (children[i]->again_ms && now >= children[i]->again_ms)
                spawn(children[i]);
        }
        if (!image && !importer.pid && containerd_answers(n)) {
            image = image_there(n);
            if (!image && now >= importer.again_ms)
                spawn(&importer);
        }
        if (image && !agent_started && kubeconfig_there(n)) {
            agent_started = true;
            spawn(&agent);
        }
    }
}

static int run(int argc, char **argv)
{
    struct node n = {0};
    struct err err = ERR_INIT;
    const char *cluster = NULL;
    int64_t number = 0;
    int n_positional, exit_code;
    struct option_spec specs[] = {
        {"cluster", OPTION_STRING, &cluster, "NAME", "cluster this node belongs to", .required = true},
        {"node", OPTION_INT, &number, "N", "its number", .min = 1, .max = CLUSTER_NODES_MAX, .required = true},
        {0},
    };
    if (options_parse(&command_node_init, specs, argc, argv, 0, &n_positional, &exit_code) < 0)
        return exit_code;
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    if (cluster_load(&n.cluster, cluster, &err) != 0)
        return command_fail(&command_node_init, "cluster %s: %s", cluster, err.message);
    n.number = (int)number;
    cluster_node_name(&n.cluster, n.number, n.name);
    cluster_node_dir(&n.cluster, n.number, n.dir);
    cluster_node_address(&n.cluster, n.number, n.address);
    local_runtime_socket(&n.cluster, n.number, n.socket);
    if (prepare(&n, &err) < 0)
        return command_fail(&command_node_init, "%s: %s", n.name, err.message);
    supervise(&n, &watched);
    return 0;
}

const struct command command_node_init = {"node-init", "--cluster NAME --node N", "process 1 of a node (internal)",
                                          run};
