/* recorder record …, recorder check LOG …: see README.md beside this file. */
#include "cmd/options.h"
#include "conformance/history/record.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct command command_record = {"record", "--kubeconfig FILE --log FILE [flags]",
                                              "ask a cluster, and write down what it answers", record_main};
static const struct command command_check = {"check", "LOG …", "find what is wrong with that", check_main};
const struct command *const commands[] = {&command_record, &command_check, NULL};

static int read_log(struct history *h, const char *file)
{
    char block[65536];
    ssize_t n;
    struct buf text = {0};
    struct err err = ERR_INIT;
    int fd = open(file, O_RDONLY | O_CLOEXEC), rc = -1;
    if (fd < 0) {
        fprintf(stderr, "recorder: %s: no such file, or not readable\n", file);
        return -1;
    }
    while ((n = read(fd, block, sizeof block)) > 0)
        buf_add(&text, block, (size_t)n);
    close(fd);
    rc = history_parse(h, buf_str(&text), &err);
    if (rc < 0)
        fprintf(stderr, "recorder: %s: %s\n", file, err.message);
    buf_free(&text);
    return rc;
}

int check_main(int argc, char **argv)
{
    struct history h;
    struct findings f = {0};
    int rc = argc > 1 ? 0 : -1;
    history_init(&h);
    for (int i = 1; i < argc && rc == 0; i++)
        rc = read_log(&h, argv[i]);
    if (rc < 0) {
        fputs("usage: recorder check LOG …\n", stderr);
        return 2;
    }
    history_check(&h, &f);
    printf(STR_FMT, STR_ARG(buf_str(&f.text)));
    for (int i = 0; i < FINDING_KINDS; i++) {
        if (f.counts[i])
            printf("%s %d\n", finding_kinds[i], f.counts[i]);
    }
    printf("%zu requests, %zu steps of watchers, %zu of leases, %zu of holders%s: %d findings\n", h.ops.len,
           h.steps.len, h.leases.len, h.held.len, h.final_us ? "" : ", and no end", f.total);
    rc = f.total || !h.final_us;
    findings_finish(&f);
    history_finish(&h);
    return rc;
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
    fputs("usage: recorder record|check …\n", stderr);
    return 2;
}
