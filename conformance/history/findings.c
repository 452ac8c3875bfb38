#include "conformance/history/history.h"

#include <stdarg.h>
#include <stdio.h>

const char *const finding_kinds[FINDING_KINDS] = {
    "torn",       "revision-reused", "nobody-wrote",  "failed-but-there", "applied-twice",
    "lost-write", "lost-update",     "created-twice", "resurrected",      "order",
    "stale-read", "future-read",     "list-mixed",    "watch-reordered",  "watch-twice",
    "watch-gap",  "watch-type",      "two-holders",   "held-twice",       "too-many"};

void finding(struct findings *f, enum finding_kind kind, int line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    f->total++;
    if (++f->counts[kind] > (f->shown_of_a_kind ? f->shown_of_a_kind : 10))
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(&f->text, "%s: line %d: %s\n", finding_kinds[kind], line, text);
}

void findings_finish(struct findings *f)
{
    buf_free(&f->text);
}
