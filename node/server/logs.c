/* Logs: the runtime's log file (one line each: RFC3339Nano time, stream, P or F, text) as what kubectl shows. Following
 * looks at the file again when inotify says so, opens the new one after a rotation, and ends with the container. */
#include "node/server/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "openapi/meta/time.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (64 * 1024)
#define LOOK_AGAIN_MS 1000

struct log_request {
    bool follow, timestamps, previous;
    int64_t tail;      /* lines, -1 = all */
    int64_t since_us;  /* 0 = all */
    int64_t limit;     /* bytes left, -1 = no limit */
    struct str stream; /* "stdout", "stderr" or empty */
};

struct log_stream {
    struct agent *agent;
    struct http_exchange *ex; /* NULL: the client has gone */
    struct log_request want;
    char path[PATH_MAX], id[80], uid[80];
    int fd, notify;
    ino_t inode;
    uv_poll_t *poll;
    struct timer timer;
    struct buf pending; /* an unfinished line */
    bool at_line_start, waiting;
    bool ended; /* the container has ended: one more read, then over */
};

static void pump(struct log_stream *s);

static void poll_closed(uv_handle_t *h)
{
    free(h);
}

static void finish(struct log_stream *s)
{
    timer_stop(&s->timer);
    if (s->poll) {
        uv_poll_stop(s->poll);
        uv_close((uv_handle_t *)s->poll, poll_closed);
    }
    if (s->notify >= 0)
        close(s->notify);
    if (s->fd >= 0)
        close(s->fd);
    if (s->ex) {
        s->ex->on_close = NULL;
        s->ex->on_drain = NULL;
        http_finish(s->ex);
    }
    buf_free(&s->pending);
    free(s);
}

static void client_gone(struct http_exchange *ex)
{
    struct log_stream *s = ex->user;
    s->ex = NULL;
    finish(s);
}

static void drained(struct http_exchange *ex)
{
    struct log_stream *s = ex->user;
    if (s->waiting)
        timer_start(&s->timer, s->agent->loop, 0, (void (*)(void *))pump, s);
}

/* One line of the file into the output. A partial one (P) has no end of line: the next continues it. */
static void take_line(struct log_stream *s, struct str line, struct buf *out)
{
    struct str rest = line, stamp, stream, tag;
    int64_t at_us = 0;
    if (!str_split(&rest, ' ', &stamp) || !str_split(&rest, ' ', &stream) || !str_split(&rest, ' ', &tag))
        return;
    if (s->want.since_us && (time_parse_rfc3339(stamp, &at_us) != 0 || at_us < s->want.since_us))
        return;
    if (s->want.stream.len && !str_eq(stream, s->want.stream))
        return;
    if (s->want.timestamps && s->at_line_start) {
        buf_add_str(out, stamp);
        buf_add_char(out, ' ');
    }
    if (rest.p)
        buf_add_str(out, rest);
    s->at_line_start = !str_starts(tag, STR("P"));
    if (s->at_line_start)
        buf_add_char(out, '\n');
}

static bool send_out(struct log_stream *s, struct buf *out)
{
    struct slice piece;
    if (s->want.limit >= 0 && (int64_t)out->len >= s->want.limit) {
        out->len = (size_t)s->want.limit;
        s->want.limit = 0;
    } else if (s->want.limit >= 0) {
        s->want.limit -= (int64_t)out->len;
    }
    if (out->len) {
        piece = slice_copy(out->p, out->len);
        http_send(s->ex, &piece, 1);
    }
    buf_free(out);
    return s->want.limit != 0;
}

static bool container_runs(struct log_stream *s)
{
    const struct observed_pod *o = relist_find(s->agent->relist, str_from(s->uid));
    for (size_t i = 0; o && i < o->containers.len; i++) {
        if (strcmp(o->containers.items[i]->id, s->id) == 0)
            return o->containers.items[i]->state == OBSERVED_RUNNING ||
                   o->containers.items[i]->state == OBSERVED_CREATED;
    }
    return false;
}

/* Rotation renames the file and makes a new one under its name. */
static bool reopen(struct log_stream *s)
{
    struct stat st;
    int fd;
    if (stat(s->path, &st) < 0 || st.st_ino == s->inode)
        return false;
    fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = fd;
    s->inode = st.st_ino;
    if (s->notify >= 0)
        inotify_add_watch(s->notify, s->path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
    return true;
}

static void at_end(struct log_stream *s)
{
    if (!s->want.follow || s->ended) {
        finish(s);
        return;
    }
    if (!container_runs(s)) {
        s->ended = true;
        timer_start(&s->timer, s->agent->loop, 20, (void (*)(void *))pump, s);
        return;
    }
    timer_start(&s->timer, s->agent->loop, LOOK_AGAIN_MS, (void (*)(void *))pump, s);
}

static void pump(struct log_stream *s)
{
    char block[BLOCK];
    s->waiting = false;
    for (;;) {
        struct buf out = {0};
        ssize_t n;
        size_t done = 0, end;
        if (http_unsent(s->ex) > HTTP_HIGH_WATER) {
            s->waiting = true;
            return;
        }
        n = s->fd >= 0 ? read(s->fd, block, sizeof block) : 0;
        if (n <= 0) {
            if (s->want.follow && reopen(s))
                continue;
            at_end(s);
            return;
        }
        buf_add(&s->pending, block, (size_t)n);
        while (str_index(str_sub(buf_str(&s->pending), done, s->pending.len), '\n', &end)) {
            take_line(s, str_sub(buf_str(&s->pending), done, done + end), &out);
            done += end + 1;
        }
        buf_drop_front(&s->pending, done);
        if (!send_out(s, &out)) {
            finish(s);
            return;
        }
    }
}

static void noticed(uv_poll_t *h, int status, int events)
{
    struct log_stream *s = h->data;
    char drop[4096];
    (void)status;
    (void)events;
    while (read(s->notify, drop, sizeof drop) > 0)
        ;
    if (!s->waiting)
        pump(s);
}

/* Where the last n whole lines begin. Lines in parts count once. */
static off_t tail_offset(int fd, int64_t lines)
{
    char block[BLOCK];
    struct stat st;
    off_t end, at;
    int64_t seen = 0;
    if (fstat(fd, &st) < 0 || lines == 0)
        return fd >= 0 && lines == 0 ? st.st_size : 0;
    end = st.st_size;
    while (end > 0) {
        size_t n = end > (off_t)sizeof block ? sizeof block : (size_t)end;
        at = end - (off_t)n;
        if (pread(fd, block, n, at) != (ssize_t)n)
            return 0;
        for (size_t i = n; i > 0; i--) {
            if (block[i - 1] == '\n' && at + (off_t)i < st.st_size && ++seen == lines)
                return at + (off_t)i;
        }
        end = at;
    }
    return 0;
}

static bool parse(struct http_exchange *ex, struct log_request *want)
{
    struct str query = ex->query, name, value;
    int64_t n;
    *want = (struct log_request){.tail = -1, .limit = -1};
    while (http_query_next(ex->arena, &query, &name, &value)) {
        bool yes = str_eqz(value, "true") || str_eqz(value, "1");
        if (str_eqz(name, "follow"))
            want->follow = yes;
        else if (str_eqz(name, "timestamps"))
            want->timestamps = yes;
        else if (str_eqz(name, "previous"))
            want->previous = yes;
        else if (str_eqz(name, "tailLines") && str_to_i64(value, &n) && n >= 0)
            want->tail = n;
        else if (str_eqz(name, "limitBytes") && str_to_i64(value, &n) && n > 0)
            want->limit = n;
        else if (str_eqz(name, "sinceSeconds") && str_to_i64(value, &n) && n > 0)
            want->since_us = clock_wall_us() - n * 1000000;
        else if (str_eqz(name, "sinceTime"))
            want->since_us = time_from(value);
        else if (str_eqz(name, "stream") && !str_eqz(value, "All"))
            want->stream = str_eqz(value, "Stderr") ? STR("stderr") : STR("stdout");
    }
    return true;
}

static void watch(struct log_stream *s)
{
    s->notify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->notify < 0)
        return;
    inotify_add_watch(s->notify, s->path, IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF);
    s->poll = calloc(1, sizeof *s->poll);
    s->poll->data = s;
    uv_poll_init(loop_uv(s->agent->loop), s->poll, s->notify);
    uv_poll_start(s->poll, UV_READABLE, noticed);
}

void serve_logs(struct agent *a, struct http_exchange *ex, struct str namespace_, struct str pod, struct str container)
{
    struct http_header headers[] = {{STR("content-type"), STR("text/plain")}};
    struct log_request want;
    const struct observed_container *o;
    struct log_stream *s;
    struct pod *p;
    struct stat st;
    parse(ex, &want);
    o = serve_find_container(a, ex, namespace_, pod, container, want.previous);
    if (!o)
        return;
    p = pod_find_name(a, namespace_, pod);
    if (!want.previous && o->state == OBSERVED_CREATED) {
        const struct observed_container *before = observed_previous(pod_observed(p), str_from(o->name));
        o = before ? before : o;
    }
    s = calloc(1, sizeof *s);
    *s = (struct log_stream){.agent = a, .ex = ex, .want = want, .notify = -1, .at_line_start = true};
    snprintf(s->path, sizeof s->path, "%s", o->log_path);
    snprintf(s->id, sizeof s->id, "%s", o->id);
    snprintf(s->uid, sizeof s->uid, "%s", p->uid);
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd >= 0 && fstat(s->fd, &st) == 0) {
        s->inode = st.st_ino;
        if (want.tail >= 0)
            lseek(s->fd, tail_offset(s->fd, want.tail), SEEK_SET);
    }
    ex->user = s;
    ex->on_close = client_gone;
    ex->on_drain = drained;
    http_start(ex, 200, headers, 1);
    if (want.follow)
        watch(s);
    pump(s);
}
