/* events: a watch as lines of JSON. */
#ifndef SKIFF_CONFORMANCE_BENCH_EVENTS_H
#define SKIFF_CONFORMANCE_BENCH_EVENTS_H

#include "conformance/bench/bench.h"

struct events {                                                /* zero-initialise, then set the callbacks */
    void (*on_open)(void *arg);                                /* may be NULL */
    void (*on_event)(void *arg, const char *line, size_t len); /* ends in NUL, without its newline */
    void *arg;
    int status;
    struct buf rest;
};
/* Until the process ends: a watch that the server ends is a failure. `path` is the list's, with watch=1. */
void events_watch(struct events *e, struct http_client *client, const char *path);

#endif
