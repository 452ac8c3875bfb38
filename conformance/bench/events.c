#include "conformance/bench/events.h"
#include "base/mem.h"

static void on_response(void *arg, int status, const struct http_header *headers, size_t n)
{
    (void)headers;
    (void)n;
    struct events *e = arg;
    e->status = status;
    if (status == 200 && e->on_open)
        e->on_open(e->arg);
}

static void on_data(void *arg, struct str data)
{
    struct events *e = arg;
    const char *newline;
    if (e->status != 200) {
        buf_add_str(&e->rest, data);
        return;
    }
    while ((newline = memchr(data.p, '\n', data.len))) {
        size_t n = (size_t)(newline - data.p);
        buf_add(&e->rest, data.p, n);
        buf_add_char(&e->rest, '\0');
        e->on_event(e->arg, e->rest.p, e->rest.len - 1);
        e->rest.len = 0;
        data = str_sub(data, n + 1, data.len);
    }
    buf_add_str(&e->rest, data);
}

static void on_done(void *arg, const struct err *err)
{
    struct events *e = arg;
    die("the watch ended: %d %s " STR_FMT, e->status, err ? err->message : "", STR_ARG(buf_str(&e->rest)));
}

void events_watch(struct events *e, struct http_client *client, const char *path)
{
    struct http_call_options call = {
        .method = STR("GET"), .path = str_from(path), .handler = {on_response, on_data, NULL, NULL, on_done, NULL, e}};
    http_call_start(client, &call);
}
