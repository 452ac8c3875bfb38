#include "storage/snapshot/schedule.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "openapi/meta/time.h"
#include "storage/snapshot/file.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 60000

struct snapshot_schedule {
    struct snapshot_schedule_options opt;
    char dir[4096];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool stop;
};

static bool is_ours(const char *name)
{
    struct str s = str_from(name);
    return str_starts(s, STR("skiff-")) && str_ends(s, STR(".snapshot"));
}

static int only_ours(const struct dirent *e)
{
    return is_ours(e->d_name);
}

/* By the revision at the end of the name: clocks are set back, revisions never go back. */
static long long revision_of(const char *name)
{
    const char *dash = strrchr(name, '-');
    return dash ? atoll(dash + 1) : 0;
}

static int by_revision(const struct dirent **a, const struct dirent **b)
{
    long long x = revision_of((*a)->d_name), y = revision_of((*b)->d_name);
    return x != y ? (x > y) - (x < y) : strcmp((*a)->d_name, (*b)->d_name);
}

/* What a crash left half-written. */
static void remove_partials(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_starts(str_from(e->d_name), STR("skiff-")) && str_ends(str_from(e->d_name), STR(".snapshot.partial")))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

/* When the newest was taken; 0 = there is none. */
static int64_t newest_ms(const char *dir)
{
    struct dirent **list;
    int64_t ms = 0;
    int n = scandir(dir, &list, only_ours, versionsort);
    for (int i = 0; i < n; i++) {
        char path[4500];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        if (stat(path, &st) == 0 && st.st_mtime * 1000 > ms)
            ms = st.st_mtime * 1000;
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return ms;
}

static void remove_old(const char *dir, int64_t keep)
{
    struct dirent **list;
    int n = scandir(dir, &list, only_ours, by_revision);
    for (int i = 0; i < n; i++) {
        char path[4500];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        if (keep > 0 && i < n - keep && unlink(path) < 0)
            log_warn("storage", "an old snapshot cannot be removed: %s: %s", path, strerror(errno));
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

static int take(struct snapshot_schedule *s)
{
    char path[4500];
    struct snapshot_summary summary;
    struct err err = ERR_INIT;
    int64_t began_ms = clock_mono_ms();
    struct time_civil t = time_civil_from(clock_wall_ms() / 1000);
    struct arena *a = arena_create(0);
    snprintf(path, sizeof path, "%s/skiff-%04d%02d%02dT%02d%02d%02dZ-%lld.snapshot", s->dir, t.year, t.month, t.day,
             t.hour, t.minute, t.second, (long long)kv_revision(s->opt.kv));
    int rc = snapshot_save(s->opt.kv, s->opt.crypt, STR_NULL, path, NULL, NULL, &s->stop, a, &summary, &err);
    if (rc == 0)
        log_info("storage", "snapshot %s: revision %lld, %lld entries, %llu bytes, %lld ms", path,
                 (long long)summary.head.revision, (long long)summary.n_entries, (unsigned long long)summary.size,
                 (long long)(clock_mono_ms() - began_ms));
    else if (rc != ERR_CANCELED)
        log_error("storage", "no snapshot was taken, the next attempt follows in a minute: %s", err.message);
    arena_destroy(a);
    if (rc == 0)
        remove_old(s->dir, s->opt.keep);
    return rc;
}

static void wait_ms(struct snapshot_schedule *s, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop) && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *arg)
{
    struct snapshot_schedule *s = arg;
    int64_t last_ms = newest_ms(s->dir), now_ms = clock_wall_ms();
    int64_t next_ms = last_ms ? last_ms + s->opt.every_ms - now_ms : s->opt.every_ms;
    if (next_ms > s->opt.every_ms) /* a clock that was set back */
        next_ms = s->opt.every_ms;
    while (!atomic_load(&s->stop)) {
        wait_ms(s, next_ms > 0 ? next_ms : 0);
        if (atomic_load(&s->stop))
            break;
        int64_t began_ms = clock_mono_ms();
        int rc = take(s);
        next_ms = rc < 0 && s->opt.every_ms > RETRY_MS ? RETRY_MS : s->opt.every_ms - (clock_mono_ms() - began_ms);
    }
    return NULL;
}

int snapshot_schedule_start(const struct snapshot_schedule_options *opt, struct snapshot_schedule **ret,
                            struct err *err)
{
    if (mkdir(opt->dir, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, errno, "create the folder of snapshots %s", opt->dir);
    if (access(opt->dir, W_OK | X_OK) < 0)
        return err_set_errno(err, ERR_IO, errno, "the folder of snapshots %s", opt->dir);
    remove_partials(opt->dir);
    struct snapshot_schedule *s = MEM_NEW(struct snapshot_schedule);
    pthread_condattr_t monotonic;
    s->opt = *opt;
    snprintf(s->dir, sizeof s->dir, "%s", opt->dir);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&s->thread, NULL, run, s))
        abort();
    *ret = s;
    return 0;
}

void snapshot_schedule_stop(struct snapshot_schedule *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->stop, true);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}
