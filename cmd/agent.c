/* skiff agent: this machine as a node. */
#include "node/agent.h"
#include "base/log.h"
#include "base/loop.h"
#include "cmd/options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct command command_agent;

struct running {
    struct loop *loop;
    struct agent *agent;
    uv_signal_t term, interrupt;
    bool stopping;
};

static void stopped(void *arg)
{
    struct running *r = arg;
    loop_stop(r->loop);
}

static void on_signal(uv_signal_t *s, int number)
{
    struct running *r = s->data;
    (void)number;
    if (r->stopping)
        _exit(1);
    r->stopping = true;
    agent_stop(r->agent, stopped, r);
}

static void watch(struct running *r, uv_signal_t *s, int number)
{
    uv_signal_init(loop_uv(r->loop), s);
    s->data = r;
    uv_signal_start(s, on_signal, number);
    uv_unref((uv_handle_t *)s);
}

/* "a,b,c" as a NULL-terminated list; the text is cut in place. */
static const char **list_of(char *text)
{
    const char **items = calloc(strlen(text) / 2 + 3, sizeof *items);
    size_t n = 0;
    char *save;
    for (char *one = strtok_r(text, ",", &save); one; one = strtok_r(NULL, ",", &save))
        items[n++] = one;
    return items;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    long len;
    if (!f)
        return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (len = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        text = calloc(1, (size_t)len + 1);
        if (fread(text, 1, (size_t)len, f) != (size_t)len)
            text[0] = 0;
    }
    fclose(f);
    return text;
}

static int run(int argc, char **argv)
{
    struct agent_options o = {.cluster_dns = "10.96.0.10"};
    struct running r = {0};
    struct err err = ERR_INIT;
    const char *server = NULL, *ca_file = NULL, *labels = NULL;
    int64_t simulated = 0;
    bool verbose = false;
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "server",
         .kind = OPTION_STRING,
         .value = &server,
         .argument = "URL,…",
         .help = "API servers, tried in turn"},
        {.name = "token",
         .kind = OPTION_STRING,
         .value = &o.token,
         .argument = "TOKEN",
         .help = "how to join with --server"},
        {.name = "ca-file",
         .kind = OPTION_STRING,
         .value = &ca_file,
         .argument = "FILE",
         .help = "the certificate authority of --server"},
        {.name = "kubeconfig",
         .kind = OPTION_STRING,
         .value = &o.kubeconfig,
         .argument = "FILE",
         .help = "server and credentials, instead of --server and --token"},
        {.name = "node-name",
         .kind = OPTION_STRING,
         .value = &o.node_name,
         .argument = "NAME",
         .help = "name of the Node (default: the host's name)"},
        {.name = "node-ip",
         .kind = OPTION_STRING,
         .value = &o.node_ip,
         .argument = "ADDRESS",
         .help = "the node's address (default: that of the default route)"},
        {.name = "node-labels",
         .kind = OPTION_STRING,
         .value = &labels,
         .argument = "KEY=VALUE,…",
         .help = "labels of the Node"},
        {.name = "runtime-endpoint",
         .kind = OPTION_STRING,
         .value = &o.runtime_endpoint,
         .argument = "unix://PATH",
         .help = "the container runtime (default: unix:///run/containerd/containerd.sock)"},
        {.name = "root-dir",
         .kind = OPTION_STRING,
         .value = &o.root_dir,
         .argument = "DIR",
         .help = "volumes and state of pods (default: /var/lib/skiff)"},
        {.name = "listen",
         .kind = OPTION_STRING,
         .value = &o.listen,
         .argument = "ADDR:PORT",
         .help = "the agent's own server (default: 0.0.0.0:10250)"},
        {.name = "cni-dir",
         .kind = OPTION_STRING,
         .value = &o.cni_dir,
         .argument = "DIR",
         .help = "where the runtime looks for bin/ and net.d/; without it the pod network is somebody else's"},
        {.name = "cgroup-root",
         .kind = OPTION_STRING,
         .value = &o.cgroup_root,
         .argument = "PATH",
         .help = "control group above those of pods"},
        {.name = "pod-cidr",
         .kind = OPTION_STRING,
         .value = &o.pod_cidr,
         .argument = "CIDR",
         .help = "this node's pod range (default: given by the cluster)"},
        {.name = "cluster-cidr",
         .kind = OPTION_STRING,
         .value = &o.cluster_cidr,
         .argument = "CIDR",
         .help = "all pods' range (default: 10.244.0.0/16)"},
        {.name = "cluster-dns",
         .kind = OPTION_STRING,
         .value = &o.cluster_dns,
         .argument = "ADDRESS",
         .help = "the cluster's name server (default: 10.96.0.10)"},
        {.name = "cluster-domain",
         .kind = OPTION_STRING,
         .value = &o.cluster_domain,
         .argument = "DOMAIN",
         .help = "suffix of cluster names (default: cluster.local)"},
        {.name = "simulated",
         .kind = OPTION_INT,
         .value = &simulated,
         .argument = "K",
         .min = 1,
         .max = 100000,
         .help = "K nodes without containers, for tests of the control plane"},
        {.name = "verbose", .kind = OPTION_BOOL, .value = &verbose, .help = "log more"},
        {0}};
    if (options_parse(&command_agent, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    if (!o.kubeconfig && !server)
        return command_fail(&command_agent,
                            "say which cluster to join: --kubeconfig FILE, or --server URL and --token TOKEN");
    if (server)
        o.servers = list_of(strdup(server));
    if (ca_file && !(o.ca_pem = read_file(ca_file)))
        return command_fail(&command_agent, "cannot read the certificate authority %s", ca_file);
    if (labels)
        o.labels = list_of(strdup(labels));
    o.simulated = (int)simulated;
    if (!simulated && geteuid() != 0)
        return command_fail(&command_agent, "a node that runs containers needs root; try sudo, or --simulated K");
    log_set_level(verbose ? LOG_DEBUG : LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    r.loop = loop_create("agent");
    if (agent_start(r.loop, &o, &r.agent, &err) < 0)
        return command_fail(&command_agent, "%s", err.message);
    watch(&r, &r.term, SIGTERM);
    watch(&r, &r.interrupt, SIGINT);
    loop_run(r.loop);
    return 0;
}

const struct command command_agent = {"agent", "--kubeconfig FILE | --server URL,… --token T [flags]",
                                      "make this machine a node: run the pods bound to it", run};
