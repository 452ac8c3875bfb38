/* skiff up: a cluster on this machine: one server, and nodes made from namespaces (or simulated ones).
 *
 * Doing it again is safe: what runs is left alone, what has died is started again.
 */
#include "api/client/client.h"
#include "api/pki.h"
#include "base/clock.h"
#include "cmd/fabric.h"
#include "cmd/local.h"
#include "cmd/pause_image.h"
#include "cmd/user_kubeconfig.h"
#include "openapi/views.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_PORT 6443

struct up {
    struct cluster cluster;
    const char *listen, *kubeconfig;
    char address[64]; /* where the server listens for people */
    int64_t n_nodes, wait_ms, began_us;
    bool fresh; /* the cluster was not there before */
    pid_t server;
};

static void step(const struct up *u, const char *what, const char *detail)
{
    printf(" \u2713 %-14s %5.2f s   %s\n", what, (double)(clock_mono_us() - u->began_us) / 1e6, detail);
    fflush(stdout);
}

static bool on_path(const char *program)
{
    char list[4096], *save = NULL, path[4300];
    const char *env = getenv("PATH");
    snprintf(list, sizeof list, "%s", env ? env : "/usr/sbin:/usr/bin:/sbin:/bin");
    for (char *dir = strtok_r(list, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        snprintf(path, sizeof path, "%s/%s", dir, program);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}

static int check_machine(const struct up *u, struct err *err)
{
    if (u->cluster.simulated)
        return 0;
    if (geteuid() != 0)
        return err_set(err, ERR_PERMISSION, "making nodes needs root: run it with sudo, or try `skiff up --simulated`");
    static const char *const needed[] = {"containerd", "ctr", "runc"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!on_path(needed[i]))
            return err_set(err, ERR_UNAVAILABLE,
                           "%s is not installed: run `apt-get install containerd runc` (or ci/deps) and try again",
                           needed[i]);
    }
    return 0;
}

/* ---- where the server listens ---- */

static bool port_is_free(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, address, &to.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static int any_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

/* --listen ADDR or ADDR:PORT. A port that was asked for must be free; the default one gives way to another. */
static int choose_address(struct up *u, struct err *err)
{
    const char *colon = u->listen ? strrchr(u->listen, ':') : NULL;
    int port = colon ? atoi(colon + 1) : u->cluster.port;
    snprintf(u->address, sizeof u->address, "%.*s",
             u->listen ? (int)(colon ? colon - u->listen : (long)strlen(u->listen)) : 9,
             u->listen ? u->listen : "127.0.0.1");
    struct in_addr parsed;
    if (inet_pton(AF_INET, u->address, &parsed) != 1 || port < 0 || port > 65535 || (colon && port == 0))
        return err_set(err, ERR_BAD_REQUEST, "--listen %s: use ADDRESS or ADDRESS:PORT, for example 127.0.0.1:6443",
                       u->listen);
    if (colon && !port_is_free(u->address, port))
        return err_set(err, ERR_BUSY, "port %d on %s is in use by another process: stop it or give another --listen",
                       port, u->address);
    if (!port)
        port = port_is_free(u->address, DEFAULT_PORT) ? DEFAULT_PORT : any_free_port();
    u->cluster.port = port;
    return 0;
}

/* ---- the processes ---- */

/* The last line of a log: what a process said before it gave up. */
static void last_line(const char *file, char *ret, size_t size)
{
    char line[512];
    FILE *f = fopen(file, "re");
    snprintf(ret, size, "see %s", file);
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (*line)
            snprintf(ret, size, "%s", line);
    }
    if (f)
        fclose(f);
}

static int start_server(struct up *u, struct err *err)
{
    char program[512], data[600], listen[128], host[16], log[256], out[64] = "", said[512];
    int ready[2];
    local_program(program, sizeof program);
    snprintf(data, sizeof data, "%s/server", u->cluster.data_dir);
    cluster_host_address(&u->cluster, host);
    if (u->cluster.simulated)
        snprintf(listen, sizeof listen, "%s:%d", u->address, u->cluster.port);
    else
        snprintf(listen, sizeof listen, "%s:%d,%s:%d", u->address, u->cluster.port, host, u->cluster.port);
    cluster_path(&u->cluster, "server.log", log);
    unlink(log);
    char *argv[] = {program,
                    "server",
                    "--data-dir",
                    data,
                    "--listen",
                    listen,
                    "--tls-san",
                    u->cluster.simulated ? "localhost" : host,
                    "--store",
                    u->cluster.simulated ? "memory" : "rocksdb",
                    u->cluster.simulated ? NULL : "--advertise-address",
                    host,
                    NULL};
    if (pipe2(ready, O_CLOEXEC) != 0)
        return err_set_errno(err, ERR_IO, errno, "make a pipe");
    int rc = local_spawn(argv, log, ready[1], &u->server, err);
    close(ready[1]);
    struct pollfd wait = {.fd = ready[0], .events = POLLIN};
    ssize_t n = rc == 0 && poll(&wait, 1, (int)u->wait_ms) > 0 ? read(ready[0], out, sizeof out - 1) : -1;
    close(ready[0]);
    if (rc == 0 && n <= 0) {
        last_line(log, said, sizeof said);
        local_stop(u->server, SIGTERM, 2000);
        const char *message = strstr(said, "skiff server: ");
        return err_set(err, ERR_UNAVAILABLE, "the server did not start: %s",
                       message ? message + strlen("skiff server: ") : said);
    }
    return rc < 0 ? rc : cluster_pid_write(&u->cluster, "server", u->server, err);
}

static int start_node(struct up *u, int node, struct err *err)
{
    char program[512], name[64], dir[640], log[256], file[80], number[16];
    local_program(program, sizeof program);
    cluster_node_name(&u->cluster, node, name);
    cluster_node_dir(&u->cluster, node, dir);
    snprintf(file, sizeof file, "%s.log", name);
    cluster_path(&u->cluster, file, log);
    snprintf(number, sizeof number, "%d", node);
    char *argv[] = {program, "node-init", "--cluster", u->cluster.name, "--node", number, NULL};
    pid_t pid = 0;
    int rc = cluster_make_dir(dir, err);
    if (rc == 0)
        rc = local_spawn_node(argv, log, &pid, err);
    return rc < 0 ? rc : cluster_pid_write(&u->cluster, name, pid, err);
}

static int write_private(const char *path, const char *text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)strlen(text) ? 0 : err_set_errno(err, ERR_IO, errno, "write %s", path);
}

/* A node's identity: its kubeconfig, the certificate of the agent's own server, and the CA. The kubeconfig comes last
 * and in one step: it is what node-init waits for before it starts the agent. */
static int enrol_node(struct up *u, int node, const char *ca_pem, struct err *err)
{
    char server[600], dir[640], name[64], address[16], host[16], url[64], path[700], part[700];
    const char *addresses[] = {address, NULL};
    struct pki_node identity = {0};
    snprintf(server, sizeof server, "%s/server", u->cluster.data_dir);
    cluster_node_dir(&u->cluster, node, dir);
    cluster_node_name(&u->cluster, node, name);
    cluster_node_address(&u->cluster, node, address);
    cluster_host_address(&u->cluster, host);
    snprintf(path, sizeof path, "%s/kubeconfig", dir);
    snprintf(part, sizeof part, "%s/kubeconfig.part", dir);
    snprintf(url, sizeof url, "https://%s:%d", host, u->cluster.port);
    int rc = pki_issue_node(server, name, addresses, &identity, err);
    if (rc == 0)
        rc = pki_write_kubeconfig(part, name, url, ca_pem, &identity.client, err);
    static const char *const files[] = {"ca.crt", "serving.crt", "serving.key"};
    const char *const texts[] = {ca_pem, identity.serving.cert_pem, identity.serving.key_pem};
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        char file[720];
        snprintf(file, sizeof file, "%s/%s", dir, files[i]);
        rc = write_private(file, texts[i], err);
    }
    if (rc == 0 && rename(part, path) != 0)
        rc = err_set_errno(err, ERR_IO, errno, "write %s", path);
    pki_node_finish(&identity);
    return rc;
}

static int start_simulated(struct up *u, struct err *err)
{
    char program[512], kubeconfig[700], log[256], count[16];
    local_program(program, sizeof program);
    snprintf(kubeconfig, sizeof kubeconfig, "%s/server/admin.kubeconfig", u->cluster.data_dir);
    snprintf(count, sizeof count, "%d", u->cluster.n_nodes);
    cluster_path(&u->cluster, "agent.log", log);
    char *argv[] = {program, "agent", "--kubeconfig", kubeconfig, "--simulated", count, NULL};
    pid_t pid = 0;
    int rc = local_spawn(argv, log, -1, &pid, err);
    return rc < 0 ? rc : cluster_pid_write(&u->cluster, "agent", pid, err);
}

static int start_missing(struct up *u, struct err *err)
{
    struct cluster *c = &u->cluster;
    int rc = 0;
    char image[256], detail[128];
    if (!c->simulated) {
        cluster_path(c, "pause.tar", image);
        if ((rc = pause_image_write(image, err)) < 0)
            return rc;
        for (int i = 1; i <= c->n_nodes && rc == 0; i++) {
            char name[64];
            cluster_node_name(c, i, name);
            rc = cluster_pid(c, name) ? 0 : start_node(u, i, err);
        }
    }
    if (rc == 0 && !cluster_pid(c, "server"))
        rc = start_server(u, err);
    if (rc < 0)
        return rc;
    snprintf(detail, sizeof detail, "https://%s:%d", u->address, c->port);
    step(u, "control plane", detail);
    if (c->simulated)
        return cluster_pid(c, "agent") ? 0 : start_simulated(u, err);
    char path[640];
    snprintf(path, sizeof path, "%s/server/pki/ca.crt", c->data_dir);
    char ca_pem[8192] = "";
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(ca_pem, 1, sizeof ca_pem - 1, f) : 0;
    if (f)
        fclose(f);
    if (!n)
        return err_set_errno(err, ERR_IO, errno, "read %s", path);
    for (int i = 1; i <= c->n_nodes && rc == 0; i++)
        rc = enrol_node(u, i, ca_pem, err);
    return rc;
}

/* ---- waiting for the nodes ---- */

struct readiness {
    struct loop *loop;
    struct informer *nodes;
    struct timer deadline, tick;
    int wanted, ready, shown;
    bool timed_out, tty;
};

static bool node_is_ready(struct arena *a, const struct object *o)
{
    const struct core_v1_node *node = view_object(a, o);
    for (size_t i = 0; i < node->status->conditions.len; i++) {
        if (str_eqz(node->status->conditions.items[i].type, "Ready"))
            return str_eqz(node->status->conditions.items[i].status, "True");
    }
    return false;
}

static void count_ready(void *arg)
{
    struct readiness *r = arg;
    struct arena *a = arena_create(0);
    struct object_tree *tree = informer_snapshot(r->nodes);
    struct object_tree_iter it;
    const struct object *o;
    r->ready = 0;
    object_tree_iter_init(&it, tree, STR(""));
    while ((o = object_tree_next(&it)))
        r->ready += node_is_ready(a, o);
    object_tree_put(tree);
    arena_destroy(a);
    if (r->tty && r->ready != r->shown) {
        printf("   nodes ready: %d of %d\r", r->ready, r->wanted);
        fflush(stdout);
        r->shown = r->ready;
    }
    if (r->ready >= r->wanted)
        loop_stop(r->loop);
}

static void on_node_change(void *arg, const struct object *old, const struct object *now)
{
    (void)old;
    (void)now;
    struct readiness *r = arg;
    if (!r->tick.heap_at) /* a thousand simulated nodes change together: count once per few milliseconds */
        timer_start(&r->tick, r->loop, r->wanted > 20 ? 20 : 0, count_ready, r);
}

static void on_deadline(void *arg)
{
    struct readiness *r = arg;
    r->timed_out = true;
    loop_stop(r->loop);
}

static int wait_for_nodes(struct up *u, const char *kubeconfig, struct err *err)
{
    struct readiness r = {.wanted = u->cluster.n_nodes, .tty = isatty(1)};
    struct client *client = NULL;
    char detail[64];
    r.loop = loop_create("up");
    int rc = client_create_kubeconfig(r.loop, kubeconfig, "skiff", &client, err);
    if (rc == 0) {
        struct informer_options options = {
            .resource = resource_find(STR(""), STR("nodes")), .on_change = on_node_change, .arg = &r};
        r.nodes = client_informer(client, &options);
        timer_start(&r.deadline, r.loop, u->wait_ms, on_deadline, &r);
        loop_run(r.loop);
        timer_stop(&r.deadline);
        timer_stop(&r.tick);
        informer_destroy(r.nodes);
        client_destroy(client);
        if (r.timed_out)
            rc = err_set(err, ERR_TIMEOUT, "%d of %d nodes became Ready in time; their logs are %s/node-*.log", r.ready,
                         r.wanted, u->cluster.run_dir);
    }
    if (rc == 0) {
        snprintf(detail, sizeof detail, "%d Ready", r.wanted);
        step(u, "nodes", detail);
    }
    return rc;
}

/* ---- the whole ---- */

/* One `up` or `down` of a name at a time; the lock goes with the process. */
static int lock_cluster(const struct cluster *c, struct err *err)
{
    char path[256];
    int rc = cluster_make_dir(c->run_dir, err);
    if (rc < 0)
        return rc;
    cluster_path(c, "lock", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(err, ERR_BUSY, "another skiff is starting or stopping the cluster %s: wait for it", c->name);
    }
    return 0;
}

static int make_or_find(struct up *u, const char *name, const char *data_dir, bool simulated, struct err *err)
{
    struct cluster *c = &u->cluster;
    int rc = cluster_load(c, name, err);
    if (rc == 0) {
        if (c->simulated != simulated)
            return err_set(err, ERR_CONFLICT, "cluster %s is %s: `skiff down` it first", name,
                           c->simulated ? "simulated" : "a real one");
        if (u->n_nodes > c->n_nodes)
            c->n_nodes = (int)u->n_nodes;
        char host[16];
        cluster_host_address(c, host);
        snprintf(u->address, sizeof u->address, "127.0.0.1");
        return cluster_save(c, err);
    }
    if (rc < 0 || (rc = cluster_init(c, name, data_dir, err)) < 0)
        return rc;
    u->fresh = true;
    c->simulated = simulated;
    c->n_nodes = u->n_nodes ? (int)u->n_nodes : 1;
    if ((rc = choose_address(u, err)) < 0 || (rc = cluster_make_dir(c->run_dir, err)) < 0 ||
        (rc = cluster_make_dir(c->data_dir, err)) < 0)
        return rc;
    if (!simulated && (rc = fabric_create(c, err)) < 0)
        return rc;
    return cluster_save(c, err);
}

static void say_what_next(const struct up *u, const char *context)
{
    printf("\nkubectl now talks to it (context \"%s\"). Try:\n"
           "  kubectl get nodes\n"
           "  kubectl create deployment hello --image=IMAGE --replicas=3\n"
           "  skiff load%s%s IMAGE.tar     images from this machine\n"
           "  skiff down%s%s               the end of it\n",
           context, strcmp(u->cluster.name, LOCAL_DEFAULT_NAME) ? " --name " : "",
           strcmp(u->cluster.name, LOCAL_DEFAULT_NAME) ? u->cluster.name : "",
           strcmp(u->cluster.name, LOCAL_DEFAULT_NAME) ? " --name " : "",
           strcmp(u->cluster.name, LOCAL_DEFAULT_NAME) ? u->cluster.name : "");
}

static int bring_up(struct up *u, const char *name, const char *data_dir, bool simulated, struct err *err)
{
    char kubeconfig[700], context[64];
    int rc = cluster_init(&u->cluster, name, data_dir, err);
    u->cluster.simulated = simulated;
    if (rc < 0 || (rc = check_machine(u, err)) < 0 || (rc = lock_cluster(&u->cluster, err)) < 0)
        return rc;
    if ((rc = make_or_find(u, name, data_dir, simulated, err)) < 0)
        return rc;
    printf("Cluster \"%s\", %d %snode%s\n", name, u->cluster.n_nodes, simulated ? "simulated " : "",
           u->cluster.n_nodes == 1 ? "" : "s");
    if ((rc = start_missing(u, err)) < 0)
        return rc;
    u->fresh = false; /* from here on it stays, for people to look into */
    snprintf(kubeconfig, sizeof kubeconfig, "%s/server/admin.kubeconfig", u->cluster.data_dir);
    cluster_context(&u->cluster, context);
    if ((rc = user_kubeconfig_merge(u->kubeconfig, kubeconfig, context, err)) < 0 ||
        (rc = wait_for_nodes(u, kubeconfig, err)) < 0)
        return rc;
    say_what_next(u, context);
    return 0;
}

static int run(int argc, char **argv)
{
    struct up u = {.wait_ms = 60000, .began_us = clock_mono_us()};
    struct err err = ERR_INIT;
    const char *name = LOCAL_DEFAULT_NAME, *data_dir = NULL;
    bool simulated = false;
    int n_positional, exit_code;
    struct option_spec specs[] = {
        {"name", OPTION_STRING, &name, "NAME", "name of the cluster (\"" LOCAL_DEFAULT_NAME "\")"},
        {"nodes", OPTION_INT, &u.n_nodes, "K", "how many nodes (1)", .min = 1, .max = 100000},
        {"simulated", OPTION_BOOL, &simulated, NULL, "nodes that run no containers: for tests of the control plane"},
        {"data-dir", OPTION_STRING, &data_dir, "DIR",
         "keep the cluster's data here (/var/lib/skiff/NAME); stays after `skiff down`"},
        {"listen", OPTION_STRING, &u.listen, "ADDR",
         "where the API is served (127.0.0.1:6443, or another port when that is taken)"},
        {"kubeconfig", OPTION_STRING, &u.kubeconfig, "FILE",
         "merge the context into this file ($KUBECONFIG or ~/.kube/config)"},
        {"wait", OPTION_DURATION_MS, &u.wait_ms, "DURATION", "how long to wait for Ready nodes (60s)"},
        {0},
    };
    if (options_parse(&command_up, specs, argc, argv, 0, &n_positional, &exit_code) < 0)
        return exit_code;
    if (!simulated && u.n_nodes > CLUSTER_NODES_MAX)
        return command_fail(&command_up,
                            "--nodes %d: at most %d real nodes fit one machine; --simulated has no such bound",
                            (int)u.n_nodes, CLUSTER_NODES_MAX);
    if (bring_up(&u, name, data_dir, simulated, &err) < 0) {
        if (u.fresh) /* half a cluster helps nobody */
            local_tear_down(&u.cluster);
        return command_fail(&command_up, "%s", err.message);
    }
    return 0;
}

const struct command command_up = {
    "up",
    "[--name N] [--nodes K] [--simulated] [--data-dir DIR] [--listen ADDR] [--kubeconfig FILE] "
    "[--wait DURATION]",
    "start a cluster on this machine", run};
