/* SPDY to a real containerd: a pod on the host's network from an image made here, then exec with stdin, output and exit
 * code. Needs root, containerd, runc, ctr and a static busybox; skipped without. */
#include "base/net/http_client.h"
#include "base/net/spdy.h"
#include "node/cri/api.pb-c.h"
#include "node/cri/cri.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/skiff-cri-exec-XXXXXX";
static char endpoint[128];
static pid_t guard; /* the namespaces' PID 1: with it goes every shim */
static struct loop *loop;
static struct cri *cri;
static char container_id[128], sandbox[128];

static const char make_image[] =
    "set -e; cd \"$0\"; mkdir -p fs/bin fs/tmp; cp /bin/busybox fs/bin/busybox; "
    "for n in sh sleep cat echo; do ln -sf busybox fs/bin/$n; done; tar -C fs -cf layer.tar .; "
    "sum=$(sha256sum layer.tar | cut -d' ' -f1); "
    "printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/sleep\",\"100000\"]},"
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}' $sum > config.json; "
    "printf '[{\"Config\":\"config.json\",\"RepoTags\":[\"localhost/box:1\"],\"Layers\":[\"layer.tar\"]}]' > "
    "manifest.json; "
    "tar -cf image.tar manifest.json config.json layer.tar";

static int run_sh(const char *script)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, dir, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void runtime_main(void)
{
    char config[128], log[128], state[128];
    snprintf(config, sizeof config, "%s/config.toml", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    snprintf(state, sizeof state, "%s/state", dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) ||
        mount("proc", "/proc", "proc", 0, NULL))
        _exit(1);
    mkdir("/run/containerd", 0711);
    if (mount("tmpfs", "/run/containerd", "tmpfs", 0, NULL))
        _exit(1);
    (void)!system("ip link set lo up");
    execl("/usr/bin/containerd", "containerd", "--config", config, (char *)NULL);
    _exit(1);
}

static int start_runtime(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.toml", dir);
    FILE *f = fopen(path, "w");
    /* The streaming server listens in the test's own network namespace: the runtime shares it. */
    fprintf(
        f,
        "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\n[grpc]\naddress = \"%s/c.sock\"\n"
        "[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\nsandbox_image = \"localhost/box:1\"\n"
        "stream_server_address = \"127.0.0.1\"\nstream_server_port = \"0\"\n"
        "[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"%s/opt\"\n",
        dir, dir, dir, dir);
    fclose(f);
    guard = fork();
    if (guard == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNS | CLONE_NEWPID))
            _exit(1);
        pid_t first = fork();
        if (first == 0)
            runtime_main();
        waitpid(first, NULL, 0);
        _exit(0);
    }
    for (int i = 0; i < 500 && access(endpoint + 7, F_OK); i++)
        usleep(20000);
    char import[400];
    snprintf(import, sizeof import, "ctr -a %s -n k8s.io images import %s/image.tar >/dev/null", endpoint + 7, dir);
    return run_sh(import);
}

/* ---- calls, one at a time ---- */

static char answer_text[512];

static void on_answer(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    const char *(*read)(const ProtobufCMessage *m) = (const char *(*)(const ProtobufCMessage *))arg;
    if (err)
        fail_msg("%s", err->message);
    snprintf(answer_text, sizeof answer_text, "%s", read ? read(m) : "");
    loop_stop(loop);
}

static const char *call(const char *method, const ProtobufCMessage *m, const ProtobufCMessageDescriptor *d,
                        const char *(*read)(const ProtobufCMessage *m))
{
    cri_call(cri, "runtime.v1.RuntimeService", method, m, d, 30000, on_answer, (void *)read);
    loop_run(loop);
    return answer_text;
}

static const char *sandbox_id(const ProtobufCMessage *m)
{
    return ((const Runtime__V1__RunPodSandboxResponse *)m)->pod_sandbox_id;
}
static const char *container(const ProtobufCMessage *m)
{
    return ((const Runtime__V1__CreateContainerResponse *)m)->container_id;
}
static const char *exec_url(const ProtobufCMessage *m)
{
    return ((const Runtime__V1__ExecResponse *)m)->url;
}

static void run_pod(void)
{
    Runtime__V1__PodSandboxMetadata meta = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    meta.name = "p";
    meta.uid = "u";
    meta.namespace_ = "n";
    Runtime__V1__NamespaceOption ns = RUNTIME__V1__NAMESPACE_OPTION__INIT;
    ns.network = RUNTIME__V1__NAMESPACE_MODE__NODE;
    ns.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    Runtime__V1__LinuxSandboxSecurityContext security = RUNTIME__V1__LINUX_SANDBOX_SECURITY_CONTEXT__INIT;
    security.namespace_options = &ns;
    Runtime__V1__LinuxPodSandboxConfig lin = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
    lin.security_context = &security;
    Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
    pod.metadata = &meta;
    pod.linux = &lin;
    Runtime__V1__RunPodSandboxRequest run = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    run.config = &pod;
    snprintf(sandbox, sizeof sandbox, "%s",
             call("RunPodSandbox", &run.base, &runtime__v1__run_pod_sandbox_response__descriptor, sandbox_id));

    Runtime__V1__ContainerMetadata cmeta = RUNTIME__V1__CONTAINER_METADATA__INIT;
    cmeta.name = "c";
    Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
    image.image = "localhost/box:1";
    Runtime__V1__LinuxContainerSecurityContext csecurity = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
    csecurity.namespace_options = &ns;
    Runtime__V1__LinuxContainerConfig clin = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
    clin.security_context = &csecurity;
    Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
    config.metadata = &cmeta;
    config.image = &image;
    config.linux = &clin;
    Runtime__V1__CreateContainerRequest create = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    create.pod_sandbox_id = sandbox;
    create.config = &config;
    create.sandbox_config = &pod;
    snprintf(container_id, sizeof container_id, "%s",
             call("CreateContainer", &create.base, &runtime__v1__create_container_response__descriptor, container));
    Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    start.container_id = container_id;
    call("StartContainer", &start.base, &runtime__v1__start_container_response__descriptor, NULL);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(endpoint, sizeof endpoint, "unix://%s/c.sock", dir);
    if (geteuid() != 0 || access("/usr/bin/containerd", X_OK) || access("/bin/busybox", X_OK) ||
        run_sh("command -v runc ctr >/dev/null") || run_sh(make_image))
        return 0;
    if (start_runtime() != 0)
        return -1;
    struct err err = ERR_INIT;
    loop = loop_create("test");
    if (cri_create(loop, endpoint, &cri, &err) < 0)
        return -1;
    run_pod();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (cri) { /* in order, so that its control groups go as well */
        Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
        stop.pod_sandbox_id = sandbox;
        call("StopPodSandbox", &stop.base, &runtime__v1__stop_pod_sandbox_response__descriptor, NULL);
        Runtime__V1__RemovePodSandboxRequest remove = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
        remove.pod_sandbox_id = sandbox;
        call("RemovePodSandbox", &remove.base, &runtime__v1__remove_pod_sandbox_response__descriptor, NULL);
        cri_destroy(cri);
        loop_destroy(loop);
    }
    if (guard > 0) {
        kill(guard, SIGKILL); /* its child, the namespace's first process, dies with it */
        waitpid(guard, NULL, 0);
        usleep(200000);
    }
    return run_sh("rm -rf \"$0\"") == -1;
}

/* ---- exec ---- */

struct exec {
    struct http_client *client;
    struct http_stream *wire;
    struct spdy_session *session;
    struct spdy_stream *stdin_;
    struct buf out, err, status;
    struct str input;
    bool with_stdin;
};

static void wire_write(void *arg, struct str bytes)
{
    struct exec *x = arg;
    http_stream_write(x->wire, bytes);
}
static void wire_data(void *arg, struct str data)
{
    struct exec *x = arg;
    struct err err = ERR_INIT;
    if (spdy_session_feed(x->session, data, &err) < 0)
        fail_msg("%s", err.message);
}
static void wire_close(void *arg)
{
    ((struct exec *)arg)->wire = NULL;
    loop_stop(loop);
}
static void collect(void *arg, struct str data)
{
    buf_add_str(arg, data);
}
static void ignore(void *arg, struct str data)
{
    (void)arg;
    (void)data;
}
static void ended(void *arg)
{
    (void)arg;
}
static void was_reset(void *arg, int status)
{
    (void)arg;
    (void)status;
}
static void status_ended(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static struct spdy_stream *open_stream(struct exec *x, const char *type, const struct spdy_stream_handler *handler)
{
    struct http_header h = {STR("streamType"), str_from(type)};
    return spdy_stream_create(x->session, &h, 1, false, handler);
}

static void on_upgrade(void *arg, struct http_stream *wire)
{
    struct exec *x = arg;
    x->wire = wire;
    http_stream_open(wire, &(struct byte_stream_handler){wire_data, wire_close, NULL, x});
    x->session = spdy_session_create(&(struct spdy_session_options){.write = wire_write, .arg = x});
    open_stream(x, "error", &(struct spdy_stream_handler){NULL, collect, status_ended, was_reset, NULL, &x->status});
    if (x->with_stdin)
        x->stdin_ = open_stream(x, "stdin", &(struct spdy_stream_handler){NULL, ignore, ended, was_reset, NULL, x});
    open_stream(x, "stdout", &(struct spdy_stream_handler){NULL, collect, ended, was_reset, NULL, &x->out});
    open_stream(x, "stderr", &(struct spdy_stream_handler){NULL, collect, ended, was_reset, NULL, &x->err});
    if (x->with_stdin) {
        spdy_stream_write(x->stdin_, x->input);
        spdy_stream_end(x->stdin_);
    }
}

static void not_upgraded(void *arg, const struct err *err)
{
    (void)arg;
    fail_msg("no upgrade: %s", err ? err->message : "other status");
}

static void run_exec(struct exec *x, const char *script)
{
    char *cmd[] = {"/bin/sh", "-c", (char *)script};
    Runtime__V1__ExecRequest request = RUNTIME__V1__EXEC_REQUEST__INIT;
    request.container_id = container_id;
    request.cmd = cmd;
    request.n_cmd = 3;
    request.stdin = x->with_stdin = x->input.p != NULL;
    request.stdout = request.stderr = 1;
    char url[512], origin[512];
    snprintf(url, sizeof url, "%s", call("Exec", &request.base, &runtime__v1__exec_response__descriptor, exec_url));
    char *path = strchr(url + 8, '/');
    snprintf(origin, sizeof origin, "%.*s", (int)(path - url), url);
    const char *endpoints[] = {origin, NULL};
    struct err err = ERR_INIT;
    struct http_header h[] = {{STR("connection"), STR("Upgrade")},
                              {STR("upgrade"), STR("SPDY/3.1")},
                              {STR("x-stream-protocol-version"), STR("v4.channel.k8s.io")}};
    assert_int_equal(http_client_create(loop, &(struct http_client_options){.endpoints = endpoints}, &x->client, &err),
                     0);
    http_call_start(x->client, &(struct http_call_options){
                                   .method = STR("POST"),
                                   .path = str_from(path),
                                   .headers = h,
                                   .n_headers = 3,
                                   .upgrade = true,
                                   .timeout_ms = 10000,
                                   .handler = {.on_upgrade = on_upgrade, .on_done = not_upgraded, .arg = x}});
    loop_run(loop);
    spdy_session_destroy(x->session);
    http_stream_close(x->wire);
    http_client_destroy(x->client);
    buf_add_char(&x->out, 0);
    buf_add_char(&x->err, 0);
    buf_add_char(&x->status, 0);
}

static void exec_finish(struct exec *x)
{
    buf_free(&x->out);
    buf_free(&x->err);
    buf_free(&x->status);
}

static void test_exec(void **state)
{
    (void)state;
    if (!cri)
        skip();
    struct exec x = {0};
    run_exec(&x, "echo out; echo err >&2; exit 7");
    assert_string_equal(x.out.p, "out\n");
    assert_string_equal(x.err.p, "err\n");
    assert_non_null(strstr(x.status.p, "\"reason\":\"NonZeroExitCode\""));
    assert_non_null(strstr(x.status.p, "\"message\":\"7\""));
    exec_finish(&x);
}

static void test_stdin_ends(void **state)
{
    (void)state;
    if (!cri)
        skip();
    struct str big = {malloc(1000001), 1000000}; /* far beyond a window of 64 KiB, in both directions */
    memset((char *)big.p, 'x', big.len + 1);
    struct exec x = {.input = big};
    run_exec(&x, "cat");
    assert_int_equal(x.out.len, big.len + 1);
    assert_non_null(strstr(x.status.p, "\"status\":\"Success\""));
    exec_finish(&x);
    free((char *)big.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exec), cmocka_unit_test(test_stdin_ends)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
