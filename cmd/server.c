/* skiff server: the control plane: API server, controllers and scheduler in one process. */
#include "api/server.h"
#include "api/bootstrap.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/footprint.h"
#include "cmd/options.h"
#include "cmd/planes.h"
#include "storage/serve_etcd/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COMPACTION_MS (5 * 60 * 1000)
#define FOREVER_MS (100LL * 365 * 24 * 3600 * 1000)

static bool listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (n == len && strncmp(list, word, n) == 0)
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

static bool is_range(const char *cidr)
{
    char address[64];
    struct err ignored = ERR_INIT;
    const char *slash = strchr(cidr, '/');
    int bits = slash && slash[1] ? atoi(slash + 1) : -1;
    return bits > 0 && bits <= 128 && bootstrap_cidr_address(cidr, 1, address, sizeof address, &ignored) == 0;
}

static bool is_listen(const char *list)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        const char *colon = memrchr(list, ':', n);
        char *end;
        if (!colon || colon == list + n - 1)
            return false;
        long port = strtol(colon + 1, &end, 10);
        if (end != list + n || port < 0 || port > 65535)
            return false;
        list += n + (list[n] == ',');
    }
    return true;
}

/* What is wrong with the values, in words that say what would be right. */
static bool values_fit(const struct api_server_options *opt)
{
    if (strcmp(opt->store, "rocksdb") != 0 && strcmp(opt->store, "memory") != 0 && strncmp(opt->store, "etcd=", 5) != 0)
        command_fail(&command_server, "--store %s: use rocksdb, memory or etcd=URL,…", opt->store);
    else if (opt->disable_api && !opt->serve_etcd)
        command_fail(&command_server, "--disable api: say where etcd's API is to be served instead, with --serve-etcd");
    else if (!is_listen(opt->listen))
        command_fail(&command_server, "--listen %s: use ADDRESS:PORT, for example 127.0.0.1:6443", opt->listen);
    else if (!is_range(opt->service_cidr))
        command_fail(&command_server, "--service-cidr %s: use a range of addresses such as 10.96.0.0/16",
                     opt->service_cidr);
    else if (!is_range(opt->pod_cidr))
        command_fail(&command_server, "--pod-cidr %s: use a range of addresses such as 10.244.0.0/16", opt->pod_cidr);
    else
        return true;
    return false;
}

static int wait_for_end(void)
{
    const struct timespec pause = {.tv_sec = FOOTPRINT_EVERY_S};
    sigset_t set;
    int signo;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    while ((signo = sigtimedwait(&set, NULL, &pause)) < 0)
        footprint_shrink();
    return signo;
}

/* Threads inherit the mask: signals wait for wait_for_end. */
static void hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int serve(const struct api_server_options *opt, const struct planes_options *parts, int64_t began_ms)
{
    struct api_server *server;
    struct planes *planes = NULL;
    struct err err = ERR_INIT;
    char etcd[96] = "";
    int rc = api_server_start(opt, &server, &err);
    if (rc < 0)
        return command_fail(&command_server, "%s", err.message);
    if (!opt->disable_api)
        rc = planes_start(server, parts, &planes, &err);
    if (rc < 0) {
        api_server_stop(server);
        planes_destroy(planes);
        return command_fail(&command_server, "%s", err.message);
    }
    if (opt->disable_api)
        snprintf(etcd, sizeof etcd, "; no Kubernetes API, etcd's at port %d", serve_etcd_port(server->serve_etcd));
    printf("skiff %s is ready at https://%s after %lld ms; kubeconfig: %s%s%s\n", SKIFF_VERSION, server->address,
           (long long)(clock_mono_ms() - began_ms), opt->kubeconfig ? opt->kubeconfig : opt->data_dir,
           opt->kubeconfig ? "" : "/admin.kubeconfig", etcd);
    fflush(stdout);
    wait_for_end();
    if (planes)
        planes_stop(planes);
    api_server_stop(server);
    planes_destroy(planes);
    return 0;
}

static int run(int argc, char **argv)
{
    struct api_server_options opt = {.listen = "127.0.0.1:6443",
                                     .store = "rocksdb",
                                     .service_cidr = "10.96.0.0/16",
                                     .pod_cidr = "10.244.0.0/16",
                                     .snapshot_keep = 10};
    struct planes_options parts = {.times = LEADER_TIMES_DEFAULT};
    const char *disabled = NULL;
    int elect = -1;
    int64_t began_ms = clock_mono_ms(), compaction_ms = COMPACTION_MS;
    bool verbose = false;
    int n, exit_code;
    const struct option_spec specs[] = {
        {.name = "data-dir",
         .kind = OPTION_STRING,
         .value = &opt.data_dir,
         .argument = "DIR",
         .required = true,
         .help = "store, identities and admin.kubeconfig are kept here"},
        {.name = "listen",
         .kind = OPTION_STRING,
         .value = &opt.listen,
         .argument = "ADDR:PORT",
         .help = "where to serve HTTPS; port 0 chooses one (127.0.0.1:6443)"},
        {.name = "store",
         .kind = OPTION_STRING,
         .value = &opt.store,
         .argument = "rocksdb|memory|etcd=URL,…",
         .help = "the storage engine (rocksdb), or an etcd cluster"},
        {.name = "kubeconfig",
         .kind = OPTION_STRING,
         .value = &opt.kubeconfig,
         .argument = "FILE",
         .help = "where to write the administrator's (DIR/admin.kubeconfig)"},
        {.name = "disable",
         .kind = OPTION_CHOICES,
         .value = &disabled,
         .argument = "controllers,scheduler,api",
         .choices = "controllers,scheduler,api",
         .help = "parts to leave out"},
        {.name = "token-auth-file",
         .kind = OPTION_STRING,
         .value = &opt.token_auth_file,
         .argument = "FILE",
         .help = "static tokens: token,user,uid,\"group1,group2\" a line"},
        {.name = "service-cidr",
         .kind = OPTION_STRING,
         .value = &opt.service_cidr,
         .argument = "CIDR",
         .help = "addresses of Services (10.96.0.0/16)"},
        {.name = "pod-cidr",
         .kind = OPTION_STRING,
         .value = &opt.pod_cidr,
         .argument = "CIDR",
         .help = "addresses of pods, a /24 for each node (10.244.0.0/16)"},
        {.name = "tls-san",
         .kind = OPTION_STRING,
         .value = &opt.tls_san,
         .argument = "NAMES",
         .help = "more names and addresses for the certificate, by commas"},
        {.name = "advertise-address",
         .kind = OPTION_STRING,
         .value = &opt.advertise_address,
         .argument = "ADDR",
         .help = "where pods and nodes reach this server"},
        {.name = "peer-servers",
         .kind = OPTION_STRING,
         .value = &opt.peer_servers,
         .argument = "URL,…",
         .help = "the cluster's other servers, written to the kubeconfig beside this one"},
        {.name = "disable-admission",
         .kind = OPTION_STRING,
         .value = &opt.disable_admission,
         .argument = "PLUGINS",
         .help = "admission plugins to leave out, by commas"},
        {.name = "encryption-provider-config",
         .kind = OPTION_STRING,
         .value = &opt.encryption_config,
         .argument = "FILE",
         .help = "an EncryptionConfiguration, in place of DIR/pki/encryption.yaml"},
        {.name = "encryption-provider-config-automatic-reload",
         .kind = OPTION_BOOL,
         .value = &opt.encryption_reload,
         .help = "read that file again when it changes"},
        {.name = "etcd-compaction-interval",
         .kind = OPTION_DURATION_MS,
         .value = &compaction_ms,
         .argument = "DURATION",
         .help = "how long old versions are kept, in whatever store; 0 for ever (5m)"},
        {.name = "snapshot-every",
         .kind = OPTION_DURATION_MS,
         .value = &opt.snapshot_every_ms,
         .argument = "DURATION",
         .help = "take a snapshot so often (never)"},
        {.name = "snapshot-keep",
         .kind = OPTION_INT,
         .value = &opt.snapshot_keep,
         .argument = "N",
         .min = 0,
         .max = 100000,
         .help = "how many of these to keep, 0 for all (10)"},
        {.name = "snapshot-dir",
         .kind = OPTION_STRING,
         .value = &opt.snapshot_dir,
         .argument = "DIR",
         .help = "where to put them (DIR/snapshots)"},
        {.name = "serve-etcd",
         .kind = OPTION_STRING,
         .value = &opt.serve_etcd,
         .argument = "[https://]ADDR:PORT",
         .help = "serve etcd's v3 API there, too; in clear text on loopback (nowhere)"},
        {.name = "leader-elect",
         .kind = OPTION_MAYBE,
         .value = &elect,
         .help = "controllers and scheduler run on one server only (true with etcd, whose servers may be several)"},
        {.name = "leader-elect-lease-duration",
         .kind = OPTION_DURATION_MS,
         .value = &parts.times.lease_duration_ms,
         .argument = "DURATION",
         .help = "how long others wait for a leader that does not renew (15s)"},
        {.name = "leader-elect-renew-deadline",
         .kind = OPTION_DURATION_MS,
         .value = &parts.times.renew_deadline_ms,
         .argument = "DURATION",
         .help = "when a leader that cannot renew gives up (10s)"},
        {.name = "leader-elect-retry-period",
         .kind = OPTION_DURATION_MS,
         .value = &parts.times.retry_period_ms,
         .argument = "DURATION",
         .help = "how often it renews, and others try (2s)"},
        {.name = "verbose", .kind = OPTION_BOOL, .value = &verbose, .help = "log more"},
        {0},
    };
    if (options_parse(&command_server, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    opt.disable_api = listed(disabled, "api");
    if (!values_fit(&opt))
        return 2;
    opt.history_ms = compaction_ms ? compaction_ms : FOREVER_MS;
    parts.controllers = !listed(disabled, "controllers");
    parts.scheduler = !listed(disabled, "scheduler");
    parts.elect = elect < 0 ? strncmp(opt.store, "etcd=", 5) == 0 : elect;
    const char *objection = parts.elect ? leader_times_objection(&parts.times) : NULL;
    if (objection) {
        command_fail(&command_server, "--leader-elect-…: %s", objection);
        return 2;
    }
    if (verbose)
        log_set_level(LOG_DEBUG);
    footprint_prepare();
    signal(SIGPIPE, SIG_IGN);
    hold_signals();
    return serve(&opt, &parts, began_ms);
}

const struct command command_server = {"server", "--data-dir DIR [flags]", "run the control plane", run};
