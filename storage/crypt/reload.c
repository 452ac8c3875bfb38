#include "storage/crypt/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"

#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { POLL_MS = 60 * 1000, RETRY_MS = 10 * 1000, SETTLE_MS = 100 };

struct reload {
    struct crypt *crypt;
    pthread_t thread;
    int stop_fd, watch_fd; /* watch_fd: -1 when the system has none left */
    struct metric *total, *last;
    char told[ERR_MESSAGE_MAX]; /* the failure last told, so that it is told once */
};

/* Whether to try again soon. */
static bool look(struct reload *r)
{
    struct err err;
    int rc = crypt_reload(r->crypt, &err);
    if (rc < 0) {
        metric_add(r->total, "failure", 1);
        if (strcmp(r->told, err.message) != 0)
            log_warn("storage", "the encryption configuration was not reloaded: %s", err.message);
        snprintf(r->told, sizeof r->told, "%s", err.message);
        return true;
    }
    r->told[0] = 0;
    if (rc == 0) {
        metric_add(r->total, "success", 1);
        metric_set(r->last, "success", (double)clock_wall_ms() / 1000);
        log_info("storage", "the encryption configuration %s was reloaded", crypt_file(r->crypt));
    }
    return false;
}

static void *run(void *arg)
{
    struct reload *r = arg;
    char events[4096];
    int wait_ms = POLL_MS;
    for (;;) {
        struct pollfd fds[] = {{.fd = r->stop_fd, .events = POLLIN}, {.fd = r->watch_fd, .events = POLLIN}};
        int n = poll(fds, 2, wait_ms);
        if (fds[0].revents)
            return NULL;
        if (n > 0 && fds[1].revents) { /* an editor does several things to a file */
            if (poll(fds, 1, SETTLE_MS) > 0)
                return NULL;
            if (read(r->watch_fd, events, sizeof events) < 0)
                continue;
        }
        wait_ms = look(r) ? RETRY_MS : POLL_MS;
    }
}

/* The folder, since files are replaced rather than written; also through the links of a mounted secret. */
static int watch_folder(const char *file)
{
    char *copy = mem_strdup(file);
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, dirname(copy), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ATTRIB) < 0) {
        close(fd);
        fd = -1;
    }
    free(copy);
    return fd;
}

struct reload *reload_start(struct crypt *c)
{
    struct reload *r = MEM_NEW(struct reload);
    r->crypt = c;
    r->total = metric_register(METRIC_COUNTER, "apiserver_encryption_config_controller_automatic_reloads_total",
                               "Reloads of the encryption configuration.", "status", NULL);
    r->last =
        metric_register(METRIC_GAUGE, "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds",
                        "When the encryption configuration was last reloaded.", "status", NULL);
    r->stop_fd = eventfd(0, EFD_CLOEXEC);
    r->watch_fd = watch_folder(crypt_file(c));
    if (r->stop_fd < 0 || pthread_create(&r->thread, NULL, run, r))
        abort();
    return r;
}

void reload_stop(struct reload *r)
{
    if (!r)
        return;
    if (eventfd_write(r->stop_fd, 1) < 0)
        abort();
    pthread_join(r->thread, NULL);
    close(r->stop_fd);
    if (r->watch_fd >= 0)
        close(r->watch_fd);
    free(r);
}
