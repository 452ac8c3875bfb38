#include "node/logs/rotate.h"

#include "base/log.h"
#include "node/cri/api.pb-c.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_MS 10000
#define MAX_SIZE (10 * 1024 * 1024)
#define MAX_FILES 5

struct log_rotation {
    struct agent *agent;
    struct timer timer;
};

/* Rotated files are "<path>.20260102-150405": by name is by age. */
static void drop_old(const char *path)
{
    char dir[PATH_MAX], oldest[PATH_MAX];
    const char *name;
    char *slash;
    snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (!slash)
        return;
    *slash = 0;
    name = slash + 1;
    for (;;) {
        DIR *d = opendir(dir);
        struct dirent *e;
        int n = 0;
        oldest[0] = 0;
        while (d && (e = readdir(d))) {
            size_t len = strlen(name);
            if (strncmp(e->d_name, name, len) != 0 || e->d_name[len] != '.')
                continue;
            n++;
            if (!oldest[0] || strcmp(e->d_name, oldest) < 0)
                snprintf(oldest, sizeof oldest, "%s", e->d_name);
        }
        if (d)
            closedir(d);
        if (n < MAX_FILES)
            return;
        *slash = '/';
        snprintf(slash + 1, sizeof dir - (size_t)(slash + 1 - dir), "%s", oldest);
        unlink(dir);
        snprintf(slash + 1, sizeof dir - (size_t)(slash + 1 - dir), "%s", name = strrchr(path, '/') + 1);
        *slash = 0;
    }
}

static void reopened(void *arg, const ProtobufCMessage *response, const struct err *err)
{
    char *path = arg;
    if (!response)
        log_warn("node", "open the log %s anew: %s", path, err->message);
    else
        drop_old(path);
    free(path);
}

static void rotate_one(struct agent *a, const struct observed_container *c)
{
    char rotated[PATH_MAX + 32];
    struct stat st;
    struct tm tm;
    time_t now = time(NULL);
    Runtime__V1__ReopenContainerLogRequest req = RUNTIME__V1__REOPEN_CONTAINER_LOG_REQUEST__INIT;
    if (c->state != OBSERVED_RUNNING || !*c->log_path || stat(c->log_path, &st) < 0 || st.st_size < MAX_SIZE)
        return;
    gmtime_r(&now, &tm);
    snprintf(rotated, sizeof rotated, "%s.%04d%02d%02d-%02d%02d%02d", c->log_path, tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (rename(c->log_path, rotated) < 0)
        return;
    req.container_id = c->id;
    cri_call(a->cri, RUNTIME_SERVICE, "ReopenContainerLog", &req.base,
             &runtime__v1__reopen_container_log_response__descriptor, RUNTIME_TIMEOUT_MS, reopened,
             strdup(c->log_path));
}

static void look_at(void *arg, const struct observed_pod *o)
{
    for (size_t i = 0; i < o->containers.len; i++)
        rotate_one(arg, o->containers.items[i]);
}

static void look(void *arg)
{
    struct log_rotation *r = arg;
    relist_each(r->agent->relist, look_at, r->agent);
    timer_start(&r->timer, r->agent->loop, LOOK_EVERY_MS, look, r);
}

struct log_rotation *log_rotation_create(struct agent *a)
{
    struct log_rotation *r = calloc(1, sizeof *r);
    r->agent = a;
    timer_start(&r->timer, a->loop, LOOK_EVERY_MS, look, r);
    return r;
}

void log_rotation_destroy(struct log_rotation *r)
{
    timer_stop(&r->timer);
    free(r);
}
