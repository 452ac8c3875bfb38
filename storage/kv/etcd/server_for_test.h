/* server_for_test: an etcd of the machine's own, on loopback, for tests: whatever is in the path, and other versions of
 * it that ci/deps has unpacked (SKIFF_ETCD_DIRS names their programs' directories). A test goes through them:
 *     while (etcd_next()) …
 */
#ifndef SKIFF_STORAGE_KV_ETCD_SERVER_FOR_TEST_H
#define SKIFF_STORAGE_KV_ETCD_SERVER_FOR_TEST_H

#include "base/arena.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct etcd_server {
    pid_t pid;
    char name[16], dir[64], url[64], peer_url[64];
    char cluster[256];        /* "name=peer URL,…"; empty: it alone */
    const char *const *extra; /* flags, NULL-terminated */
};

static char etcd_programs[256]; /* "DIR/", "": in the path */
static char etcd_version[32];   /* of the one chosen */

static inline bool etcd_choose(const char *dir, size_t len)
{
    char command[400];

    snprintf(etcd_programs, sizeof etcd_programs, "%.*s%s", (int)len, dir, len ? "/" : "");
    snprintf(command, sizeof command, "%setcd --version 2>/dev/null", etcd_programs);
    FILE *f = popen(command, "r");
    bool there = f && fscanf(f, "etcd Version: %31s", etcd_version) == 1;
    if (f)
        pclose(f);
    return there;
}

static inline bool etcd_installed(void) /* the one in the path */
{
    return etcd_choose("", 0);
}

/* Choose the next one there is; false after the last. */
static inline bool etcd_next(void)
{
    static bool begun;
    static const char *rest;
    static char first[32];

    if (!begun) {
        begun = true;
        rest = getenv("SKIFF_ETCD_DIRS");
        rest = rest ? rest : "/opt/skiff/etcd-3.5/usr/bin";
        if (etcd_choose("", 0)) {
            snprintf(first, sizeof first, "%s", etcd_version);
            return true;
        }
    }
    while (*rest) {
        const char *dir = rest;
        size_t n = strcspn(rest, ":");

        rest += n + (rest[n] == ':');
        if (etcd_choose(dir, n) && strcmp(first, etcd_version) != 0)
            return true;
    }
    return false;
}

/* Below the ports that connections get, so that nobody's takes it before the server does. */
static inline int etcd_free_port(void)
{
    static unsigned turn;

    for (;;) {
        unsigned at = ((unsigned)getpid() * 2654435761u) / 7 + turn++;
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(12000 + at % 18000)),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        bool free = fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof to) == 0;

        if (fd < 0)
            abort();
        close(fd);
        if (free)
            return ntohs(to.sin_port);
    }
}

/* A directory and ports, unless it has them. */
static inline void etcd_server_prepare(struct etcd_server *s, const char *name)
{
    if (!s->dir[0]) {
        snprintf(s->name, sizeof s->name, "%s", name);
        s->cluster[0] = 0;
        snprintf(s->dir, sizeof s->dir, "/tmp/skiff-etcd-test-XXXXXX");
        if (!mkdtemp(s->dir))
            abort();
        snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", etcd_free_port());
        snprintf(s->peer_url, sizeof s->peer_url, "http://127.0.0.1:%d", etcd_free_port());
    }
}

/* On the same directory and ports as before, if there were any. Clients wait for it. */
static inline void etcd_server_start(struct etcd_server *s)
{
    etcd_server_prepare(s, "one");
    if (!s->cluster[0])
        snprintf(s->cluster, sizeof s->cluster, "%s=%s", s->name, s->peer_url);
    s->pid = fork();
    if (s->pid)
        return;
    const char *args[32] = {"etcd",      "--name",
                            s->name,     "--data-dir",
                            s->dir,      "--listen-client-urls",
                            s->url,      "--advertise-client-urls",
                            s->url,      "--listen-peer-urls",
                            s->peer_url, "--initial-advertise-peer-urls",
                            s->peer_url, "--initial-cluster",
                            s->cluster,  "--max-request-bytes",
                            "4194304",   "--heartbeat-interval",
                            "50",        "--election-timeout",
                            "500"};
    size_t n = 0;
    while (args[n])
        n++;
    for (size_t i = 0; s->extra && s->extra[i] && n < 31; i++)
        args[n++] = s->extra[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not longer than the test */
    int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    dup2(null, 2);
    char program[300];
    snprintf(program, sizeof program, "%setcd", etcd_programs);
    execvp(program, (char *const *)(uintptr_t)args);
    _exit(127);
}

static inline void etcd_server_kill(struct etcd_server *s, int signal)
{
    if (s->pid > 0) {
        kill(s->pid, signal);
        waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

static inline void etcd_server_remove(struct etcd_server *s)
{
    char command[128];

    etcd_server_kill(s, SIGKILL);
    snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
    if (s->dir[0] && system(command) != 0)
        abort();
    s->dir[0] = 0;
}

#endif
