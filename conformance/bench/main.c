/* The load program: bench COMMAND [flags]. See README.md beside this file. */
#include "conformance/bench/bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

const struct command *const commands[] = {
    &bench_ready, &bench_create,   &bench_seed,  &bench_fanout, &bench_drain,   &bench_running,  &bench_runtime,
    &bench_fill,  &bench_watchers, &bench_store, &bench_load,   &bench_compact, &bench_snapshot, NULL};

void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int64_t percentile(int64_t *values, size_t n, int percent)
{
    if (!n)
        return 0;
    qsort(values, n, sizeof *values, compare);
    size_t at = n * (size_t)percent / 100;
    return values[at < n ? at : n - 1];
}

int64_t median(int64_t *values, size_t n)
{
    return percentile(values, n, 50);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (const struct command *const *c = commands; argc > 1 && *c; c++) {
        if (strcmp((*c)->name, argv[1]) == 0)
            return (*c)->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "usage: bench COMMAND [flags], one of:\n");
    for (const struct command *const *c = commands; *c; c++)
        fprintf(stderr, "  %-8s %s\n", (*c)->name, (*c)->summary);
    return 2;
}
