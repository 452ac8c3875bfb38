#include "base/net/http_client.h"
#include "base/net/websocket_conn.h"

static void stream_write(void *stream, const struct slice *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        http_stream_write(stream, (struct str){pieces[i].p, pieces[i].len});
        ref_put(pieces[i].owner);
    }
}
static size_t stream_unsent(const void *stream)
{
    return http_stream_unsent(stream);
}
static void stream_read(void *stream, bool on)
{
    http_stream_read(stream, on);
}
static void stream_close(void *stream)
{
    http_stream_close(stream);
}

struct websocket *websocket_client(struct loop *loop, struct http_stream *stream,
                                   const struct websocket_options *options)
{
    static const struct websocket_transport transport = {stream_write, stream_unsent, stream_read, stream_close};
    struct websocket *w = websocket_create(loop, true, options, &transport);
    struct byte_stream_handler handler = {websocket_on_data, websocket_on_close, websocket_on_drain, w};
    websocket_attach(w, stream);
    http_stream_open(stream, &handler);
    return w;
}
