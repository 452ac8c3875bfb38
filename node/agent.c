#include "node/agent.h"

#include "api/client/kubeconfig.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/images.h"
#include "node/logs/rotate.h"
#include "node/network/network.h"
#include "node/node_object.h"
#include "node/pod/cgroup.h"
#include "node/recorder.h"
#include "node/server/server.h"
#include "node/simulated.h"
#include "node/sources.h"
#include "node/state.h"
#include "node/volumes/plan.h"
#include "node/volumes/volumes.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_SYS_RESOURCE_BIT 24

/* ---- options ---- */

static const char *keep(struct arena *a, const char *s, const char *otherwise)
{
    return s ? arena_strdup(a, s) : otherwise ? arena_strdup(a, otherwise) : NULL;
}

static const char *const *keep_list(struct arena *a, const char *const *list)
{
    const char **copy;
    size_t n = 0;
    if (!list)
        return NULL;
    while (list[n])
        n++;
    copy = ARENA_ARRAY(a, const char *, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(a, list[i]);
    return copy;
}

static const char *read_text(struct arena *a, const char *path)
{
    char block[4096];
    struct buf text = {0};
    FILE *f = fopen(path, "re");
    struct str copy;
    size_t n;
    if (!f)
        return NULL;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        buf_add(&text, block, n);
    fclose(f);
    copy = arena_str(a, text.p ? buf_str(&text) : STR(""));
    buf_free(&text);
    return copy.p;
}

static int read_kubeconfig(struct agent *a, struct err *err)
{
    struct kubeconfig k = {0};
    const char *text = read_text(a->arena, a->opt.kubeconfig);
    int rc;
    if (!text)
        return err_set_errno(err, ERR_IO, errno, "read %s", a->opt.kubeconfig);
    rc = kubeconfig_parse(a->arena, str_from(text), a->opt.kubeconfig, &k, err);
    if (rc < 0)
        return rc;
    a->opt.servers = k.servers;
    a->opt.ca_pem = k.ca_pem;
    a->opt.cert_pem = k.cert_pem;
    a->opt.key_pem = k.key_pem;
    a->opt.token = k.token;
    return 0;
}

/* A certificate for the agent's own server may lie beside the kubeconfig, as `skiff up` leaves it. */
static void find_serving_certificate(struct agent *a)
{
    const char *slash = a->opt.kubeconfig ? strrchr(a->opt.kubeconfig, '/') : NULL;
    const char *cert, *key;
    if (!slash || a->opt.serving_cert_pem)
        return;
    int len = (int)(slash - a->opt.kubeconfig);
    cert = read_text(a->arena, arena_printf(a->arena, "%.*s/serving.crt", len, a->opt.kubeconfig).p);
    key = read_text(a->arena, arena_printf(a->arena, "%.*s/serving.key", len, a->opt.kubeconfig).p);
    if (cert && key) {
        a->opt.serving_cert_pem = cert;
        a->opt.serving_key_pem = key;
    }
}

static void find_address(struct agent *a)
{
    struct ifaddrs *all, *i;
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(53)}, mine;
    socklen_t len = sizeof mine;
    int fd;
    if (a->opt.node_ip) {
        snprintf(a->node_ip, sizeof a->node_ip, "%s", a->opt.node_ip);
        return;
    }
    inet_pton(AF_INET, "192.0.2.1", &target.sin_addr); /* nothing is sent: the route tells the source address */
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&target, sizeof target) == 0 &&
        getsockname(fd, (struct sockaddr *)&mine, &len) == 0)
        inet_ntop(AF_INET, &mine.sin_addr, a->node_ip, sizeof a->node_ip);
    if (fd >= 0)
        close(fd);
    if (*a->node_ip || getifaddrs(&all) < 0)
        return;
    for (i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) || *a->node_ip)
            continue;
        inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, a->node_ip, sizeof a->node_ip);
    }
    freeifaddrs(all);
    if (!*a->node_ip)
        snprintf(a->node_ip, sizeof a->node_ip, "127.0.0.1");
}

static void take_options(struct agent *a, const struct agent_options *o)
{
    struct agent_options *k = &a->opt;
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    *k = *o;
    k->kubeconfig = keep(a->arena, o->kubeconfig, NULL);
    k->servers = keep_list(a->arena, o->servers);
    k->ca_pem = keep(a->arena, o->ca_pem, NULL);
    k->token = keep(a->arena, o->token, NULL);
    k->cert_pem = keep(a->arena, o->cert_pem, NULL);
    k->key_pem = keep(a->arena, o->key_pem, NULL);
    k->hostname = keep(a->arena, o->hostname, o->node_name ? o->node_name : host);
    k->node_name = keep(a->arena, o->node_name, o->simulated ? "node" : host);
    k->node_ip = keep(a->arena, o->node_ip, NULL);
    k->labels = keep_list(a->arena, o->labels);
    k->runtime_endpoint = keep(a->arena, o->runtime_endpoint, "unix:///run/containerd/containerd.sock");
    k->root_dir = keep(a->arena, o->root_dir, "/var/lib/skiff");
    k->log_dir = keep(a->arena, o->log_dir, "/var/log/pods");
    k->cgroup_root = keep(a->arena, o->cgroup_root, "");
    k->cluster_dns = keep(a->arena, o->cluster_dns, NULL);
    k->cluster_domain = keep(a->arena, o->cluster_domain, "cluster.local");
    k->pod_cidr = keep(a->arena, o->pod_cidr, NULL);
    k->cluster_cidr = keep(a->arena, o->cluster_cidr, "10.244.0.0/16");
    k->cni_dir = keep(a->arena, o->cni_dir, NULL);
    k->listen = keep(a->arena, o->listen, "0.0.0.0:10250");
    k->serving_cert_pem = keep(a->arena, o->serving_cert_pem, NULL);
    k->serving_key_pem = keep(a->arena, o->serving_key_pem, NULL);
    k->client_ca_pem = keep(a->arena, o->client_ca_pem, NULL);
}

/* Scores below our own need a capability that containers of CI systems often lack. */
static int least_oom_score_adj(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    FILE *f;
    int own = 0;
    if (syscall(SYS_capget, &head, data) == 0 && (data[0].effective & (1u << CAP_SYS_RESOURCE_BIT)))
        return -1000;
    f = fopen("/proc/self/oom_score_adj", "re");
    if (f && fscanf(f, "%d", &own) != 1)
        own = 0;
    if (f)
        fclose(f);
    return own > 0 ? own : 0;
}

/* ---- informers and the rest ---- */

static void pod_changed(void *arg, const struct object *old, const struct object *now)
{
    agent_pod_changed(arg, old, now);
}

static void pods_synced(void *arg)
{
    agent_pods_synced(arg);
}

static void source_changed(void *arg, struct source *s)
{
    struct agent *a = arg;
    struct map_iter it;
    struct str key;
    void *v;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v)) {
        struct pod *p = v;
        bool uses = false;
        for (size_t i = 0; i < p->sources.len; i++)
            uses = uses || p->sources.items[i] == s;
        if (!uses)
            continue;
        if (p->volumes)
            pod_volumes_touch(p->volumes);
        for (size_t i = 0; i < p->n_init + p->n_main; i++)
            p->containers[i].m.retry_at_ms = 0;
        pod_poke(p);
    }
}

static void start_network(struct agent *a)
{
    struct err err = ERR_INIT;
    struct network_options opt = {.node_name = a->opt.node_name,
                                  .cni_dir = a->opt.cni_dir,
                                  .data_dir = arena_printf(a->arena, "%s/addresses", a->opt.root_dir).p,
                                  .cluster_cidr = a->opt.cluster_cidr,
                                  .cluster_dns = a->opt.cluster_dns,
                                  .cluster_domain = a->opt.cluster_domain};
    if (a->opt.no_network || !a->opt.cni_dir)
        return;
    mkdir(opt.data_dir, 0755);
    if (network_start(a->client, a->loop, &opt, &a->network, &err) < 0)
        log_error("node", "pod network: %s", err.message);
}

static void registered(struct agent *a)
{
    start_network(a);
    node_object_touch(a->node);
}

/* ---- what an earlier life left behind: directories and control groups of pods nobody knows ---- */

struct sweeping {
    struct agent *agent;
    struct map known; /* uids; values are not used */
};

static bool known(void *arg, const char *uid)
{
    struct sweeping *s = arg;
    return map_get(&s->known, str_from(uid)) != NULL;
}

static void sweep_files(void *arg)
{
    struct sweeping *s = arg;
    char path[PATH_MAX];
    struct dirent *e;
    DIR *d;
    cgroup_sweep(s->agent->opt.cgroup_root, known, s);
    snprintf(path, sizeof path, "%s/pods", s->agent->opt.root_dir);
    d = opendir(path);
    while (d && (e = readdir(d))) {
        struct err err = ERR_INIT;
        if (e->d_name[0] == '.' || known(s, e->d_name))
            continue;
        snprintf(path, sizeof path, "%s/pods/%s", s->agent->opt.root_dir, e->d_name);
        if (volumes_remove(path, &err) < 0)
            log_warn("node", "%s", err.message);
    }
    if (d)
        closedir(d);
}

static void swept(void *arg)
{
    struct sweeping *s = arg;
    map_finish(&s->known);
    free(s);
}

static void remember_observed(void *arg, const struct observed_pod *o)
{
    struct sweeping *s = arg;
    map_put(&s->known, str_from(o->uid), s);
}

static void sweep(void *arg)
{
    struct agent *a = arg;
    struct sweeping *s;
    struct map_iter it;
    struct str key;
    void *v;
    if (!a->pods_synced || !relist_synced(a->relist)) {
        timer_start(&a->sweep, a->loop, 1000, sweep, a);
        return;
    }
    a->swept = true;
    s = calloc(1, sizeof *s);
    s->agent = a;
    map_iter_init(&it, &a->pods);
    while (map_iter_next(&it, &key, &v))
        map_put(&s->known, key, s);
    relist_each(a->relist, remember_observed, s);
    loop_work(a->loop, sweep_files, swept, s);
}

/* ---- start and stop ---- */

static int make_client(struct agent *a, struct err *err)
{
    struct client_http_options opt = {.servers = a->opt.servers,
                                      .ca_pem = a->opt.ca_pem,
                                      .cert_pem = a->opt.cert_pem,
                                      .key_pem = a->opt.key_pem,
                                      .token = a->opt.token,
                                      .user_agent = "skiff-agent",
                                      .learn_servers = true};
    return client_create_http(a->loop, &opt, &a->client, err);
}

static int make_dirs(struct agent *a, struct err *err)
{
    const char *dirs[] = {a->opt.root_dir, arena_printf(a->arena, "%s/pods", a->opt.root_dir).p, a->opt.log_dir};
    for (size_t i = 0; i < 3; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/", dirs[i]);
        for (char *p = path + 1; *p; p++) {
            if (*p != '/')
                continue;
            *p = 0;
            if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return err_set_errno(err, ERR_IO, errno, "make %s", path);
            *p = '/';
        }
    }
    return 0;
}

static int start_real(struct agent *a, struct err *err)
{
    char selector[300];
    struct informer_options pods = {
        .resource = resource_find(STR(""), STR("pods")), .on_change = pod_changed, .on_synced = pods_synced, .arg = a};
    struct informer_options services = {.resource = resource_find(STR(""), STR("services"))};
    struct relist_options relist = {
        .loop = a->loop, .on_change = agent_runtime_changed, .on_pass = agent_runtime_pass, .arg = a};
    struct node_facts facts = {0};
    int rc = make_dirs(a, err);
    if (rc < 0)
        return rc;
    rc = cgroup_prepare(a->opt.cgroup_root, err);
    if (rc < 0) {
        log_warn("node", "%s", err->message);
        *err = ERR_INIT;
    }
    find_address(a);
    node_facts_read(a->arena, &facts);
    a->memory_capacity = facts.memory;
    a->least_oom_score_adj = least_oom_score_adj();
    snprintf(a->runtime_scheme, sizeof a->runtime_scheme, "containerd");
    rc = cri_create(a->loop, a->opt.runtime_endpoint, &a->cri, err);
    if (rc == 0)
        rc = agent_server_create(a, &a->server, err);
    if (rc < 0)
        return rc;
    a->recorder = recorder_create(a->client, a->opt.node_name);
    a->sources = sources_create(a->client, source_changed, a);
    a->images = images_create(a);
    relist.cri = a->cri;
    a->relist = relist_create(&relist);
    a->node = node_object_create(a, registered);
    snprintf(selector, sizeof selector, "spec.nodeName=%s", a->opt.node_name);
    pods.field_selector = str_from(selector);
    a->pod_informer = client_informer(a->client, &pods);
    a->service_informer = client_informer(a->client, &services);
    a->rotation = log_rotation_create(a);
    timer_start(&a->sweep, a->loop, 5000, sweep, a);
    return 0;
}

int agent_start(struct loop *loop, const struct agent_options *opt, struct agent **ret, struct err *err)
{
    struct agent *a = calloc(1, sizeof *a);
    int rc = 0;
    a->loop = loop;
    a->arena = arena_create(0);
    take_options(a, opt);
    if (a->opt.kubeconfig)
        rc = read_kubeconfig(a, err);
    if (rc == 0)
        rc = make_client(a, err);
    if (rc < 0) {
        arena_destroy(a->arena);
        free(a);
        return rc;
    }
    find_serving_certificate(a);
    if (a->opt.simulated > 0)
        a->simulation = simulation_start(a);
    else
        rc = start_real(a, err);
    if (rc < 0) {
        agent_stop(a, NULL, NULL);
        return rc;
    }
    *ret = a;
    return 0;
}

struct stopping {
    struct agent *a;
    void (*done)(void *arg);
    void *arg;
};

/* What is still in flight refers to pods: they stay, the process is about to end. */
static void server_stopped(void *arg)
{
    struct stopping *s = arg;
    if (s->done)
        s->done(s->arg);
    free(s);
}

void agent_stop(struct agent *a, void (*done)(void *arg), void *arg)
{
    struct stopping *s = calloc(1, sizeof *s);
    *s = (struct stopping){a, done, arg};
    a->stopping = true;
    timer_stop(&a->sweep);
    if (a->rotation)
        log_rotation_destroy(a->rotation);
    if (a->network)
        network_stop(a->network);
    node_object_destroy(a->node);
    simulation_stop(a->simulation);
    if (a->relist)
        agent_pods_finish(a);
    images_destroy(a->images);
    informer_destroy(a->pod_informer);
    informer_destroy(a->service_informer);
    cri_destroy(a->cri);
    client_destroy(a->client);
    agent_server_stop(a->server, server_stopped, s);
}

int agent_port(const struct agent *a)
{
    return agent_server_port(a->server);
}

const char *agent_node_name(const struct agent *a)
{
    return a->opt.node_name;
}
