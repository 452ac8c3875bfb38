#include "api/metrics_endpoint.h"

#include "api/chain/fairness.h"
#include "api/client/client.h"
#include "base/clock.h"
#include "base/metric.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static struct metric *in_flight, *resident, *cpu, *open_files, *started, *build;

void metrics_register(void)
{
    if (in_flight)
        return;
    in_flight = metric_register(METRIC_GAUGE, "apiserver_current_inflight_requests", "Requests that run now.",
                                "request_kind", NULL);
    resident =
        metric_register(METRIC_GAUGE, "process_resident_memory_bytes", "Resident memory size in bytes.", NULL, NULL);
    cpu = metric_register(METRIC_COUNTER, "process_cpu_seconds_total", "User and system CPU time spent in seconds.",
                          NULL, NULL);
    open_files = metric_register(METRIC_GAUGE, "process_open_fds", "Number of open file descriptors.", NULL, NULL);
    started = metric_register(METRIC_GAUGE, "process_start_time_seconds", "Start of the process, Unix time in seconds.",
                              NULL, NULL);
    build = metric_register(METRIC_GAUGE, "kubernetes_build_info", "Always 1, labelled with the version served.",
                            "git_version,major,minor", NULL);
    client_metrics_register();
    metric_set(started, NULL, (double)clock_wall_ms() / 1000.0);
    metric_set(build, "v1.36.2+skiff-" SKIFF_VERSION ",1,36", 1);
}

static double resident_bytes(void)
{
    long total = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%ld %ld", &total, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static double count_open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = -3; /* ".", ".." and the one this takes */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n > 0 ? n : 0;
}

void metrics_text(struct buf *out)
{
    static double cpu_told; /* counters only grow: add what is new */
    double now = cpu_seconds();
    metric_set(in_flight, "readOnly", fairness_in_flight(false));
    metric_set(in_flight, "mutating", fairness_in_flight(true));
    metric_set(resident, NULL, resident_bytes());
    metric_set(open_files, NULL, count_open_files());
    if (now > cpu_told)
        metric_add(cpu, NULL, now - cpu_told);
    cpu_told = now;
    metric_render(out);
}
