/* Any bytes as frames from the peer: the first byte picks the role, the size of pieces and whether streams are held. */
#include "base/net/spdy.h"

#include <stddef.h>
#include <stdint.h>

struct target {
    bool hold;
};

static void write_out(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes;
}
static void on_data(void *arg, struct str data)
{
    (void)arg;
    (void)data;
}
static void on_end(void *arg)
{
    (void)arg;
}
static void on_reset(void *arg, int status)
{
    (void)arg;
    (void)status;
}
static void on_stream(void *arg, struct spdy_stream *st, const struct http_header *headers, size_t n)
{
    struct target *t = arg;
    struct spdy_stream_handler h = {.on_data = on_data, .on_end = on_end, .on_reset = on_reset};
    spdy_stream_accept(st, headers, n, &h);
    if (t->hold)
        spdy_stream_read(st, false);
    spdy_stream_write(st, STR("answer"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct target t = {.hold = data[0] & 2};
    struct spdy_session *s = spdy_session_create(
        &(struct spdy_session_options){.server = data[0] & 1, .write = write_out, .on_stream = on_stream, .arg = &t});
    struct spdy_stream_handler h = {.on_data = on_data, .on_end = on_end, .on_reset = on_reset};
    struct http_header header = {STR("streamtype"), STR("data")};
    spdy_stream_create(s, &header, 1, false, &h);
    size_t piece = (size_t)(data[0] >> 2) + 1;
    struct err err = ERR_INIT;
    for (size_t at = 1; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        if (spdy_session_feed(s, (struct str){(const char *)data + at, n}, &err) < 0)
            break;
    }
    spdy_session_destroy(s);
    return 0;
}
