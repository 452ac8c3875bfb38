/* bench ready: how long from exec until /readyz answers 200, on a data directory that does not exist yet. */
#include "base/clock.h"
#include "base/mem.h"
#include "conformance/bench/bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GIVE_UP_US 30000000

static pid_t start(const char *program, const char *dir, const char *listen)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execl(program, program, "server", "--data-dir", dir, "--listen", listen, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static bool accepts(int port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    close(fd);
    return ok;
}

static int64_t measure(const char *program, const char *dir, int port)
{
    char listen[32], url[64];
    struct loop *loop = loop_create("ready");
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    snprintf(url, sizeof url, "https://%s", listen);
    struct target target = {.url = url};
    struct http_client *client = target_connect(&target, loop);
    int64_t began = clock_mono_us();
    pid_t pid = start(program, dir, listen);
    while (!accepts(port)) {
        if (clock_mono_us() - began > GIVE_UP_US || waitpid(pid, NULL, WNOHANG) == pid)
            die("the server did not start");
        usleep(500);
    }
    while (ask(loop, client, "GET", "/readyz", NULL, STR_NULL, NULL) != 200) {
        if (clock_mono_us() - began > GIVE_UP_US)
            die("the server did not become ready");
        usleep(500);
    }
    int64_t took = clock_mono_us() - began;
    http_client_destroy(client);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    return took;
}

static int run(int argc, char **argv)
{
    int64_t runs = 5, port = 0;
    int n, exit_code;
    const struct option_spec specs[] = {
        {"runs", OPTION_INT, &runs, "N", "how often; the median counts", .min = 1, .max = 1000},
        {"port", OPTION_INT, &port, "PORT", "where the server listens", .min = 1, .max = 65535, .required = true},
        {0},
    };
    if (options_parse(&bench_ready, specs, argc, argv, 2, &n, &exit_code) < 0)
        return exit_code;
    if (n != 2)
        die("ready PROGRAM DIRECTORY");
    int64_t *times = MEM_ARRAY(int64_t, (size_t)runs);
    for (int64_t i = 0; i < runs; i++) {
        char dir[512];
        snprintf(dir, sizeof dir, "%s/%d", argv[2], (int)i);
        times[i] = measure(argv[1], dir, (int)port);
    }
    printf("ready_ms %.1f\n", (double)median(times, (size_t)runs) / 1000);
    free(times);
    return 0;
}

const struct command bench_ready = {"ready", "--port PORT [--runs N] PROGRAM DIRECTORY", "exec to /readyz", run};
