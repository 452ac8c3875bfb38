#include "cmd/local.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void local_program(char *ret, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", ret, size - 1);
    if (n <= 0) {
        snprintf(ret, size, "skiff");
        return;
    }
    ret[n] = 0;
}

void local_runtime_socket(const struct cluster *c, int node, char ret[256])
{
    char name[64], file[96];
    cluster_node_name(c, node, name);
    snprintf(file, sizeof file, "%s.sock", name);
    cluster_path(c, file, ret);
}

/* In the child: standard input from nowhere, output and errors to the log, no other descriptor left open. */
static void redirect(const char *log_file, int out_fd)
{
    int null = open("/dev/null", O_RDONLY), log = open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (null < 0 || log < 0)
        _exit(126);
    dup2(null, 0);
    dup2(out_fd >= 0 ? out_fd : log, 1);
    dup2(log, 2);
    close_range(3, ~0u, 0);
}

static void exec_or_die(char *const argv[])
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "skiff: cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int local_spawn(char *const argv[], const char *log_file, int out_fd, pid_t *ret, struct err *err)
{
    pid_t pid = fork();
    if (pid < 0)
        return err_set_errno(err, ERR_IO, errno, "start %s", argv[0]);
    if (pid == 0) {
        setsid();
        redirect(log_file, out_fd);
        exec_or_die(argv);
    }
    *ret = pid;
    return 0;
}

/* A first child makes the namespaces; its child is process 1 of the new one and outlives it. */
int local_spawn_node(char *const argv[], const char *log_file, pid_t *ret, struct err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return err_set_errno(err, ERR_IO, errno, "make a pipe");
    pid_t maker = fork();
    if (maker == 0) {
        int told[2] = {0, 0}; /* process id, errno */
        if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) != 0)
            told[1] = errno;
        else if ((told[0] = fork()) == 0) {
            setsid();
            redirect(log_file, -1);
            exec_or_die(argv);
        }
        ssize_t n = write(report[1], told, sizeof told);
        _exit(n == (ssize_t)sizeof told ? 0 : 1);
    }
    close(report[1]);
    int told[2] = {0, EIO};
    ssize_t n = maker > 0 ? read(report[0], told, sizeof told) : -1;
    close(report[0]);
    if (maker > 0)
        waitpid(maker, NULL, 0);
    if (n != (ssize_t)sizeof told || told[0] <= 0)
        return err_set_errno(err, ERR_IO, told[1], "make the namespaces of a node");
    *ret = told[0];
    return 0;
}

static int open_namespace(pid_t pid, const char *which)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, which);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int local_run_in_node(pid_t node, char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        int mnt = open_namespace(node, "mnt"), net = open_namespace(node, "net");
        if (mnt < 0 || net < 0 || setns(net, CLONE_NEWNET) != 0 || setns(mnt, CLONE_NEWNS) != 0) {
            fprintf(stderr, "skiff: cannot enter the node: %s\n", strerror(errno));
            _exit(126);
        }
        exec_or_die(argv);
    }
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void local_stop(pid_t pid, int signo, int wait_ms)
{
    if (pid <= 0)
        return;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    struct pollfd end = {.fd = fd, .events = POLLIN};
    syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0);
    if (poll(&end, 1, wait_ms) == 0) {
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        poll(&end, 1, 10000);
    }
    close(fd);
    waitpid(pid, NULL, WNOHANG); /* when it is our own child */
}
