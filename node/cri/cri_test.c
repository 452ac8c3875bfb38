/* Against a real containerd when there is one and we are root: its own root, state and socket, in a mount and network
 * namespace of its own. Without one, what happens when nobody listens. */
#include "base/clock.h"
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

struct run {
    struct loop *loop;
    struct cri *cri;
    int left;
    enum err_code code;
    char text[512], message[ERR_MESSAGE_MAX];
    size_t n;
};

static char dir[] = "/tmp/skiff-cri-test-XXXXXX";
static char endpoint[128];
static pid_t runtime;

static void config_write(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.toml", dir);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "version = 2\nroot = \"%s/root\"\nstate = \"%s/state\"\n[grpc]\naddress = \"%s/c.sock\"\n"
            "[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\n"
            "[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"%s/opt\"\n",
            dir, dir, dir, dir);
    fclose(f);
}

static int start_runtime(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(endpoint, sizeof endpoint, "unix://%s/c.sock", dir);
    if (geteuid() != 0 || access("/usr/bin/containerd", X_OK) != 0)
        return 0;
    config_write();
    runtime = fork();
    if (runtime == 0) {
        char config[128], log[128];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(config, sizeof config, "%s/config.toml", dir);
        snprintf(log, sizeof log, "%s/log", dir);
        int fd = open(log, O_CREAT | O_WRONLY, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        if (unshare(CLONE_NEWNS | CLONE_NEWNET) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
            _exit(1);
        execl("/usr/bin/containerd", "containerd", "--config", config, (char *)NULL);
        _exit(1);
    }
    for (int i = 0; i < 500; i++) {
        if (access(endpoint + 7, F_OK) == 0)
            return 0;
        usleep(20000);
    }
    return -1;
}

static int stop_runtime(void **state)
{
    (void)state;
    if (runtime > 0) {
        kill(runtime, SIGTERM);
        waitpid(runtime, NULL, 0);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == -1;
}

static void one_done(struct run *r, const struct err *err)
{
    r->code = err ? err->code : ERR_OK;
    snprintf(r->message, sizeof r->message, "%s", err ? err->message : "");
    if (--r->left == 0)
        loop_stop(r->loop);
}

static void on_version(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    struct run *r = arg;
    const Runtime__V1__VersionResponse *v = (const Runtime__V1__VersionResponse *)m;
    if (v)
        snprintf(r->text, sizeof r->text, "%s %s", v->runtime_name, v->runtime_api_version);
    one_done(r, err);
}

static void on_images(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    struct run *r = arg;
    if (m)
        r->n = ((const Runtime__V1__ListImagesResponse *)m)->n_images;
    one_done(r, err);
}

static void on_status(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    struct run *r = arg;
    if (m) {
        const Runtime__V1__StatusResponse *s = (const Runtime__V1__StatusResponse *)m;
        r->n = s->status->n_conditions;
        snprintf(r->text, sizeof r->text, "%s=%d", s->status->conditions[0]->type, s->status->conditions[0]->status);
    }
    one_done(r, err);
}

static void on_any(void *arg, const ProtobufCMessage *m, const struct err *err)
{
    (void)m;
    one_done(arg, err);
}

static void run_begin(struct run *r, const char *where, int calls)
{
    struct err err = ERR_INIT;
    *r = (struct run){.loop = loop_create("test"), .left = calls, .n = 99};
    assert_int_equal(cri_create(r->loop, where, &r->cri, &err), 0);
}

static void run_end(struct run *r)
{
    loop_run(r->loop);
    cri_destroy(r->cri);
    loop_destroy(r->loop);
}

static void test_real_runtime(void **state)
{
    (void)state;
    if (!runtime)
        skip();
    struct run r;
    Runtime__V1__VersionRequest version = RUNTIME__V1__VERSION_REQUEST__INIT;
    run_begin(&r, endpoint, 1);
    cri_call(r.cri, "runtime.v1.RuntimeService", "Version", &version.base, &runtime__v1__version_response__descriptor,
             5000, on_version, &r);
    run_end(&r);
    assert_string_equal(r.message, "");
    assert_string_equal(r.text, "containerd v1");

    Runtime__V1__ListImagesRequest images = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    run_begin(&r, endpoint, 1);
    cri_call(r.cri, "runtime.v1.ImageService", "ListImages", &images.base,
             &runtime__v1__list_images_response__descriptor, 5000, on_images, &r);
    run_end(&r);
    assert_string_equal(r.message, "");
    assert_int_equal(r.n, 0);

    Runtime__V1__StatusRequest status = RUNTIME__V1__STATUS_REQUEST__INIT;
    run_begin(&r, endpoint, 1);
    cri_call(r.cri, "runtime.v1.RuntimeService", "Status", &status.base, &runtime__v1__status_response__descriptor,
             5000, on_status, &r);
    run_end(&r);
    assert_string_equal(r.text, "RuntimeReady=1");
    assert_int_equal(r.n, 2);
}

static void test_real_errors(void **state)
{
    (void)state;
    if (!runtime)
        skip();
    struct run r;
    Runtime__V1__ContainerStatusRequest request = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
    request.container_id = "nowhere";
    run_begin(&r, endpoint, 1);
    cri_call(r.cri, "runtime.v1.RuntimeService", "ContainerStatus", &request.base,
             &runtime__v1__container_status_response__descriptor, 5000, on_any, &r);
    run_end(&r);
    assert_int_equal(r.code, ERR_NOT_FOUND);
    assert_non_null(strstr(r.message, "\"nowhere\""));

    run_begin(&r, endpoint, 1);
    cri_call(r.cri, "runtime.v1.RuntimeService", "NoSuchMethod", &request.base,
             &runtime__v1__container_status_response__descriptor, 5000, on_any, &r);
    run_end(&r);
    assert_int_equal(r.code, ERR_INTERNAL);
    assert_string_equal(r.message, "unknown method NoSuchMethod for service runtime.v1.RuntimeService");
}

static void test_many_at_once(void **state)
{
    (void)state;
    if (!runtime)
        skip();
    struct run r;
    Runtime__V1__VersionRequest version = RUNTIME__V1__VERSION_REQUEST__INIT;
    run_begin(&r, endpoint, 500);
    for (int i = 0; i < 500; i++)
        cri_call(r.cri, "runtime.v1.RuntimeService", "Version", &version.base,
                 &runtime__v1__version_response__descriptor, 20000, on_version, &r);
    run_end(&r);
    assert_string_equal(r.message, "");
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct run r;
    char where[160];
    snprintf(where, sizeof where, "unix://%s/none.sock", dir);
    Runtime__V1__VersionRequest version = RUNTIME__V1__VERSION_REQUEST__INIT;
    run_begin(&r, where, 2);
    for (int i = 0; i < 2; i++)
        cri_call(r.cri, "runtime.v1.RuntimeService", "Version", &version.base,
                 &runtime__v1__version_response__descriptor, 5000, on_version, &r);
    run_end(&r);
    assert_int_equal(r.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(r.message, "connect: no such file or directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_runtime),
        cmocka_unit_test(test_real_errors),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, start_runtime, stop_runtime);
}
