/* bench runtime: what the container runtime itself takes for a pod: sandbox (with its network), container, start. The
 * figure of `bench running` less this one is what the cluster adds. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"
#include "node/cri/api.pb-c.h"
#include "node/cri/cri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE "runtime.v1.RuntimeService"

struct asker {
    struct loop *loop;
    struct cri *cri;
    const char *method;
    const char *(*id_of)(const ProtobufCMessage *response); /* NULL: there is none to keep */
    char id[128];
};

static void answered(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    struct asker *a = arg;
    if (!response && strncmp(a->method, "Stop", 4) != 0 && strncmp(a->method, "Remove", 6) != 0)
        die("%s: %s", a->method, err->message); /* a node's agent may have removed the stranger first: fine */
    if (response && a->id_of)
        snprintf(a->id, sizeof a->id, "%s", a->id_of(response));
    loop_stop(a->loop);
}

static const char *sandbox_id(const ProtobufCMessage *m)
{
    return ((const Runtime__V1__RunPodSandboxResponse *)m)->pod_sandbox_id;
}

static const char *container_id(const ProtobufCMessage *m)
{
    return ((const Runtime__V1__CreateContainerResponse *)m)->container_id;
}

static void call(struct asker *a, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *response, const char *(*id_of)(const ProtobufCMessage *))
{
    a->method = method;
    a->id_of = id_of;
    cri_call(a->cri, SERVICE, method, request, response, 60000, answered, a);
    loop_run(a->loop);
}

static void remove_sandbox(struct asker *a, char *id)
{
    Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
    Runtime__V1__RemovePodSandboxRequest remove = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
    stop.pod_sandbox_id = remove.pod_sandbox_id = id;
    call(a, "StopPodSandbox", &stop.base, &runtime__v1__stop_pod_sandbox_response__descriptor, NULL);
    call(a, "RemovePodSandbox", &remove.base, &runtime__v1__remove_pod_sandbox_response__descriptor, NULL);
}

static int64_t one_pod(struct asker *a, const char *image_name, int i)
{
    char name[64], sandbox[128], container[128];
    char *command[] = {"sleep", "100000"};
    snprintf(name, sizeof name, "bench-runtime-%d", i);
    Runtime__V1__PodSandboxMetadata meta = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
    meta.name = meta.uid = name;
    meta.namespace_ = "default";
    Runtime__V1__LinuxPodSandboxConfig lin = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
    Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
    pod.metadata = &meta;
    pod.hostname = name;
    pod.linux = &lin;
    Runtime__V1__RunPodSandboxRequest run = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
    run.config = &pod;
    Runtime__V1__ContainerMetadata container_meta = RUNTIME__V1__CONTAINER_METADATA__INIT;
    container_meta.name = "main";
    Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
    image.image = (char *)image_name;
    Runtime__V1__LinuxContainerConfig container_linux = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
    Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
    config.metadata = &container_meta;
    config.image = &image;
    config.linux = &container_linux;
    config.command = command;
    config.n_command = 2;
    Runtime__V1__CreateContainerRequest create = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
    create.pod_sandbox_id = sandbox;
    create.config = &config;
    create.sandbox_config = &pod;
    Runtime__V1__StartContainerRequest start = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
    start.container_id = container;

    int64_t began = clock_mono_us();
    call(a, "RunPodSandbox", &run.base, &runtime__v1__run_pod_sandbox_response__descriptor, sandbox_id);
    memcpy(sandbox, a->id, sizeof sandbox);
    call(a, "CreateContainer", &create.base, &runtime__v1__create_container_response__descriptor, container_id);
    memcpy(container, a->id, sizeof container);
    call(a, "StartContainer", &start.base, &runtime__v1__start_container_response__descriptor, NULL);
    int64_t took = clock_mono_us() - began;
    remove_sandbox(a, sandbox);
    return took;
}

static int run(int argc, char **argv)
{
    struct asker a = {0};
    struct err err = ERR_INIT;
    const char *socket = NULL, *image = "busybox:1.36";
    char endpoint[256];
    int64_t pods = 20;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"socket", OPTION_STRING, &socket, "PATH", "of the runtime", .required = true},
        {"pods", OPTION_INT, &pods, "N", "how many (20)", .min = 1, .max = 10000},
        {"image", OPTION_STRING, &image, "NAME", "present there, with a `sleep` (busybox:1.36)"},
        {0},
    };
    if (options_parse(&bench_runtime, specs, argc, argv, 0, &n, &exit_code) < 0)
        return exit_code;
    snprintf(endpoint, sizeof endpoint, "unix://%s", socket);
    a.loop = loop_create("runtime");
    if (cri_create(a.loop, endpoint, &a.cri, &err) < 0)
        die("%s", err.message);
    int64_t *times = MEM_ARRAY(int64_t, (size_t)pods);
    one_pod(&a, image, (int)pods);
    for (int64_t i = 0; i < pods; i++)
        times[i] = one_pod(&a, image, (int)i);
    printf("runtime_p50_ms %.1f\n", (double)median(times, (size_t)pods) / 1000);
    free(times);
    return 0;
}

const struct command bench_runtime = {"runtime", "--socket PATH [--pods N]", "the runtime's own part of a pod's start",
                                      run};
